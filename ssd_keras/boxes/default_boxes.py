"""Default boxes (anchors, priors): positions and shapes."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ssd_keras.core.config_record import ConfigRecord

CLIP_MODES = ("none", "size", "corners")
VARIANCES = (0.1, 0.1, 0.2, 0.2)
"""Factors of the box deltas yxhw: the paper's implementation divides by them in encoding."""


@keras.saving.register_keras_serializable("ssd_keras")
@dataclasses.dataclass(frozen=True)
class DefaultBoxes(ConfigRecord):
    """The choice of default boxes of a model: everything but the feature map sizes.

    A cell has a square box of the map's size, a square box of the geometric mean of this and the
    next map's size, then for each aspect ratio a wide box and a tall one (paper section 2.2).

    Args:
        sizes: side of the square box of each map in input pixels, and one more.
        aspect_ratios: for each map the ratios width / height above 1.
        steps: distance of cells in input pixels for each map. Default None: image / map.
        offset: centre within the cell, 0..1. Default 0.5.
        clip: "none" (default); "size" limits heights and widths to the image's, "corners" cuts
            boxes at its border.
        variances: divisors of the four box deltas. Default (0.1, 0.1, 0.2, 0.2).
        first_square: side in input pixels of the only square box of the first map. Default None:
            the two square boxes of other maps.

    Raises:
        ValueError: for an unknown `clip`, or numbers of sizes, ratios and steps that do not match.

    Example:

    >>> spec = DefaultBoxes(sizes=(30, 60, 111), aspect_ratios=((2,), (2, 3)))
    >>> spec.boxes_per_cell
    (4, 6)
    >>> spec.boxes((300, 300), [(38, 38), (19, 19)]).shape
    (7942, 4)
    """

    sizes: tuple[float, ...]
    aspect_ratios: tuple[tuple[float, ...], ...]
    steps: tuple[float, ...] | None = None
    offset: float = 0.5
    clip: str = "none"
    variances: tuple[float, float, float, float] = VARIANCES
    first_square: float | None = None

    def __post_init__(self) -> None:
        # Lists come back from JSON: frozen tuples keep the record hashable and comparable.
        for name in ("sizes", "steps", "variances"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))
        ratios = tuple(map(tuple, self.aspect_ratios))
        object.__setattr__(self, "aspect_ratios", ratios)
        if self.clip not in CLIP_MODES:
            raise ValueError(
                f"clip={self.clip!r} is unknown; choose one of {', '.join(CLIP_MODES)}."
            )
        if len(self.sizes) != len(ratios) + 1:
            raise ValueError(
                f"aspect_ratios of {len(ratios)} feature maps need one more size than that; got "
                f"{len(self.sizes)} sizes."
            )
        if self.steps is not None and len(self.steps) != len(ratios):
            raise ValueError(
                f"aspect_ratios of {len(ratios)} feature maps need as many steps; got "
                f"{len(self.steps)} steps."
            )

    @property
    def boxes_per_cell(self) -> tuple[int, ...]:
        """Number of default boxes in a cell of each map."""
        first, *others = (2 + 2 * len(ratios) for ratios in self.aspect_ratios)
        return (first - (self.first_square is not None), *others)

    def boxes(
        self, image_size: tuple[int, int], feature_sizes: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """Returns the default boxes of all feature maps, in the order of the heads' outputs.

        Maps run from the finest to the coarsest, cells row by row, then the boxes of a cell.

        Args:
            image_size: height and width of the input in pixels.
            feature_sizes: height and width of each map in cells.

        Returns:
            relative yxyx boxes float32 [N, 4].

        Raises:
            ValueError: for another number of maps than `aspect_ratios` has.
        """
        if len(feature_sizes) != len(self.aspect_ratios):
            raise ValueError(
                f"{len(feature_sizes)} feature maps need as many aspect_ratios; got "
                f"{len(self.aspect_ratios)} aspect_ratios."
            )
        maps = []
        centers = cell_centers(image_size, feature_sizes, self.steps, self.offset)
        for index, (y, x) in enumerate(centers):
            box_size = self._cell_shapes(index) / np.array(image_size)
            if self.clip == "size":
                box_size = np.minimum(box_size, 1.0)
            center = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)[:, :, None, :]
            corners = np.concatenate([center - box_size / 2, center + box_size / 2], axis=-1)
            maps.append(corners.reshape(-1, 4))
        boxes = np.concatenate(maps)
        return (np.clip(boxes, 0.0, 1.0) if self.clip == "corners" else boxes).astype("float32")

    def _cell_shapes(self, index: int) -> np.ndarray:
        """Returns heights and widths in pixels of one map's boxes in a cell, [boxes, 2]."""
        # The order of Caffe's PriorBox layer and of torchvision, here of ratios 2 and 3:
        #
        #   0 +----+  1 +-----+  2 +-------+  3 +--+  4 +---------+  5 +-+
        #     |size|    |mean |    |   2   |    |  |    |    3    |    | |
        #     +----+    |     |    +-------+    |  |    +---------+    | |
        #               +-----+                 +--+                   +-+
        #                                        1/2                   1/3
        size = self.sizes[index]
        mean = math.sqrt(size * self.sizes[index + 1])
        shapes = [(size, size), (mean, mean)]
        if index == 0 and self.first_square is not None:
            shapes = [(self.first_square, self.first_square)]
        for ratio in self.aspect_ratios[index]:
            root = math.sqrt(ratio)
            shapes += [(size / root, size * root), (size * root, size / root)]
        return np.array(shapes)

    @classmethod
    def from_scales(
        cls,
        image_size: tuple[int, int],
        num_feature_maps: int,
        *,
        smallest: float = 0.2,
        largest: float = 0.9,
        aspect_ratios: Sequence[Sequence[float]] | None = None,
        **options: Any,
    ) -> "DefaultBoxes":
        """Returns evenly spaced sizes as in equation 4 of the paper, for any input size.

        Args:
            image_size: height and width of the input in pixels; the shorter side counts.
            num_feature_maps: number of feature maps, at least 1.
            smallest: size on the first map as a share of the shorter side, 0..1. Default 0.2.
            largest: size on the last map as a share of the shorter side. Default 0.9.
            aspect_ratios: for each map the ratios above 1. Default (2, 3) on every map.
            **options: other fields of `DefaultBoxes`.

        Returns:
            `DefaultBoxes` whose extra last size continues the row.

        Example:

        >>> DefaultBoxes.from_scales((200, 300), 3, smallest=0.1, largest=0.5).sizes
        (20.0, 60.0, 100.0, 140.0)
        """
        step = (largest - smallest) / max(1, num_feature_maps - 1)
        scales = [smallest + step * index for index in range(num_feature_maps + 1)]
        sizes = tuple(round(scale * min(image_size), 6) for scale in scales)
        ratios = aspect_ratios or ((2.0, 3.0),) * num_feature_maps
        return cls(sizes=sizes, aspect_ratios=tuple(tuple(r) for r in ratios), **options)


def cell_centers(
    image_size: tuple[int, int],
    feature_sizes: Sequence[tuple[int, int]],
    steps: Sequence[float] | None = None,
    offset: float = 0.5,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns for each map the relative y of the rows' centres and x of the columns' centres."""
    height, width = image_size
    centers = []
    for index, (rows, columns) in enumerate(feature_sizes):
        step_y, step_x = (height / rows, width / columns) if steps is None else [steps[index]] * 2
        y = (np.arange(rows) + offset) * step_y / height
        x = (np.arange(columns) + offset) * step_x / width
        centers.append((y, x))
    return centers
