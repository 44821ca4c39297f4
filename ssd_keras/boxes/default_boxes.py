"""Default boxes (anchors, priors): where they stand and how large they are."""

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


def default_boxes(
    image_size: tuple[int, int],
    feature_sizes: Sequence[tuple[int, int]],
    sizes: Sequence[float],
    aspect_ratios: Sequence[Sequence[float]],
    steps: Sequence[float] | None = None,
    offset: float = 0.5,
    clip: str = "none",
    first_square: float | None = None,
) -> np.ndarray:
    """Default boxes of all feature maps, in the order of the heads (paper section 2.2).

    Within a cell: aspect ratio 1 at this map's size, aspect ratio 1 at the geometric mean of
    this and the next map's size, then each aspect ratio followed by its reciprocal. Cells run
    row by row, maps from the finest to the coarsest.
    """
    if clip not in CLIP_MODES:
        raise ValueError(f"clip={clip!r} is unknown; choose one of {', '.join(CLIP_MODES)}.")
    if not len(feature_sizes) == len(aspect_ratios) == len(sizes) - 1:
        raise ValueError(
            f"{len(feature_sizes)} feature maps need as many aspect_ratios and one more size; "
            f"got {len(aspect_ratios)} aspect_ratios and {len(sizes)} sizes."
        )
    if steps is not None and len(steps) != len(feature_sizes):
        raise ValueError(
            f"{len(feature_sizes)} feature maps need as many steps; got {len(steps)} steps."
        )
    maps = []
    for index, center in enumerate(cell_centers(image_size, feature_sizes, steps, offset)):
        shapes = _cell_shapes(sizes[index], sizes[index + 1], aspect_ratios[index])
        if index == 0 and first_square is not None:
            shapes = np.array([(first_square, first_square), *shapes[2:]])
        box_size = shapes / np.array(image_size)
        if clip == "size":
            box_size = np.minimum(box_size, 1.0)
        centers = np.stack(np.meshgrid(*center, indexing="ij"), axis=-1)
        centers = centers[:, :, None, :]
        corners = np.concatenate([centers - box_size / 2, centers + box_size / 2], axis=-1)
        maps.append(corners.reshape(-1, 4))
    boxes = np.concatenate(maps)
    return (np.clip(boxes, 0.0, 1.0) if clip == "corners" else boxes).astype("float32")


def cell_centers(
    image_size: tuple[int, int],
    feature_sizes: Sequence[tuple[int, int]],
    steps: Sequence[float] | None = None,
    offset: float = 0.5,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Where the cells of each feature map have their default boxes' centres."""
    height, width = image_size
    centers = []
    for index, (rows, columns) in enumerate(feature_sizes):
        step_y, step_x = height / rows, width / columns
        if steps is not None:
            step_y = step_x = steps[index]
        y = (np.arange(rows) + offset) * step_y / height
        x = (np.arange(columns) + offset) * step_x / width
        centers.append((y, x))
    return centers


def _cell_shapes(size: float, next_size: float, aspect_ratios: Sequence[float]) -> np.ndarray:
    """Heights and widths in pixels of one cell's default boxes, [boxes, 2]."""
    between = math.sqrt(size * next_size)
    shapes = [(size, size), (between, between)]
    for ratio in aspect_ratios:
        root = math.sqrt(ratio)
        shapes += [(size / root, size * root), (size * root, size / root)]
    return np.array(shapes)


@keras.saving.register_keras_serializable("ssd_keras")
@dataclasses.dataclass(frozen=True)
class DefaultBoxes(ConfigRecord):
    """The choice of default boxes of a model: everything but the feature map sizes.

    Args:
        sizes: side of the square box of each map in input pixels, and one more.
        aspect_ratios: for each map the ratios above 1; see `default_boxes`.
        steps: distance of cells in input pixels for each map, or None for image / map.
        offset: centre within the cell. Default 0.5.
        clip: "none", "size" or "corners". Default "none".
        variances: divisors of the four box deltas. Default (0.1, 0.1, 0.2, 0.2).
        first_square: side in input pixels of the first map's only square box, or None for two
            squares; see `default_boxes`. Default None.

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

    def __post_init__(self):
        # Lists come back from JSON: frozen tuples keep the record hashable and comparable.
        for name in ("sizes", "steps", "variances"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))
        ratios = tuple(tuple(each) for each in self.aspect_ratios)
        object.__setattr__(self, "aspect_ratios", ratios)
        if self.clip not in CLIP_MODES:
            raise ValueError(
                f"clip={self.clip!r} is unknown; choose one of {', '.join(CLIP_MODES)}."
            )
        if len(self.sizes) != len(self.aspect_ratios) + 1:
            raise ValueError(
                f"{len(self.aspect_ratios)} feature maps need one more size than that; "
                f"got {len(self.sizes)} sizes."
            )

    @property
    def boxes_per_cell(self) -> tuple[int, ...]:
        """Number of default boxes in a cell of each map."""
        first, *others = (2 + 2 * len(ratios) for ratios in self.aspect_ratios)
        return (first - (self.first_square is not None), *others)

    def boxes(
        self, image_size: tuple[int, int], feature_sizes: Sequence[tuple[int, int]]
    ) -> np.ndarray:
        """The boxes for these sizes; see `default_boxes`.

        Args:
            image_size: height and width of the input in pixels.
            feature_sizes: height and width of each map in cells.

        Returns:
            relative yxyx boxes float32 [N, 4].
        """
        return default_boxes(
            image_size,
            feature_sizes,
            self.sizes,
            self.aspect_ratios,
            self.steps,
            self.offset,
            self.clip,
            self.first_square,
        )

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
        """Evenly spaced sizes as in equation 4 of the paper, for any input size.

        Args:
            image_size: height and width of the input in pixels; the shorter side counts.
            num_feature_maps: number of feature maps, at least 1.
            smallest: size on the first map as a share of the shorter side, 0..1.
            largest: size on the last map as a share of the shorter side.
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
