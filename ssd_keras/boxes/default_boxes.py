"""Default boxes (anchors, priors): positions and shapes."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from ssd_keras.core.config_record import ConfigRecord

CLIP_MODES = ("none", "size", "corners")
MAX_LEVEL = 16  # of a feature map with cells of 65,536 pixels
VARIANCES = (0.1, 0.1, 0.2, 0.2)
"""Factors of the box deltas yxhw: the paper's implementation divides by them in encoding."""

Shapes: TypeAlias = Sequence[Any]
"""For each feature map the (height, width) of a cell's boxes in input pixels."""
Offset: TypeAlias = float | tuple[tuple[float, float], ...]


@keras.saving.register_keras_serializable("ssd_keras")
@dataclasses.dataclass(frozen=True)
class DefaultBoxes(ConfigRecord):
    """The choice of default boxes of a model: everything but the feature map sizes.

    Every cell of a feature map has the same boxes about its centre. `paper`, `from_scales`,
    `explicit` and `octaves` choose their shapes.

    Args:
        shapes: for each map the (height, width) of a cell's boxes in input pixels.
        steps: distance of cells in input pixels for each map. Default None: image / map.
        offset: centre within the cell, 0..1: one number, or (y, x) for each map. Default 0.5.
        clip: "none" (default); "size" limits heights and widths to the image's, "corners" cuts
            boxes at its border.
        variances: divisors of the four box deltas. Default (0.1, 0.1, 0.2, 0.2).

    Raises:
        ValueError: for an unknown `clip`, a shape without area, or numbers of shapes, steps and
            offsets that do not match.

    Example:

    >>> spec = DefaultBoxes(shapes=(((30, 30), (20, 45)), ((80, 80),)))
    >>> spec.boxes_per_cell
    (2, 1)
    >>> spec.boxes((300, 300), [(38, 38), (19, 19)]).shape
    (3249, 4)
    """

    shapes: Shapes
    steps: tuple[float, ...] | None = None
    offset: Offset = 0.5
    clip: str = "none"
    variances: tuple[float, float, float, float] = VARIANCES

    def __post_init__(self) -> None:
        # Lists come back from JSON: frozen tuples keep the record hashable and comparable.
        try:
            object.__setattr__(self, "shapes", _shapes(self.shapes))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"shapes is {self.shapes}; expected for each feature map a list of (height, "
                "width), such as [[[10, 20], [20, 10]], [[40, 40]]]."
            ) from error
        offset: Any = self.offset
        offset = tuple(map(_pair, offset)) if np.ndim(offset) else float(offset)
        object.__setattr__(self, "offset", offset)
        for name in ("steps", "variances"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(map(float, value)))
        if self.clip not in CLIP_MODES:
            raise ValueError(
                f"clip={self.clip!r} is unknown; choose one of {', '.join(CLIP_MODES)}."
            )
        for number, cell in enumerate(self.shapes, start=1):
            if not cell or min(min(shape) for shape in cell) <= 0:
                raise ValueError(
                    f"shapes of feature map {number} are {cell}; expected at least one (height, "
                    "width) of more than 0 pixels."
                )
        for name in ("steps", "offset"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != len(self.shapes):
                raise ValueError(
                    f"{name} has {len(value)} entries; expected {len(self.shapes)}, one for each "
                    "feature map."
                )

    @classmethod
    def paper(
        cls,
        sizes: Sequence[float],
        aspect_ratios: Sequence[Sequence[float]],
        steps: Sequence[float] | None = None,
        *,
        first_square: float | None = None,
        **options: Any,
    ) -> "DefaultBoxes":
        """Returns the paper's boxes (section 2.2), in the order of Caffe and torchvision.

        A cell has a square box of the map's size, a square box of the geometric mean of this and
        the next map's size, then for each aspect ratio a wide box and a tall one.

        Args:
            sizes: side of the square box of each map in input pixels, and one more.
            aspect_ratios: for each map the ratios width / height above 1.
            steps: distance of cells in input pixels for each map. Default None: image / map.
            first_square: side in input pixels of the only square box of the first map. Default
                None: the two square boxes of other maps.
            **options: other fields of `DefaultBoxes`.

        Returns:
            `DefaultBoxes`.

        Raises:
            ValueError: when there is not one more size than maps.

        Example:

        >>> DefaultBoxes.paper(sizes=(30, 120), aspect_ratios=((4,),)).shapes
        (((30.0, 30.0), (60.0, 60.0), (15.0, 60.0), (60.0, 15.0)),)
        """
        if len(sizes) != len(aspect_ratios) + 1:
            raise ValueError(
                f"aspect_ratios of {len(aspect_ratios)} feature maps need one more size than "
                f"that; got {len(sizes)} sizes."
            )
        cells = list(map(_paper_shapes, sizes, sizes[1:], aspect_ratios))
        if first_square is not None:
            cells[0] = [(first_square, first_square), *cells[0][2:]]
        return cls(_shapes(cells), None if steps is None else tuple(steps), **options)

    @classmethod
    def from_scales(
        cls,
        image_size: tuple[int, int],
        num_feature_maps: int,
        *,
        smallest: float = 0.2,
        largest: float = 0.9,
        last: float | None = None,
        aspect_ratios: Sequence[Sequence[float]] | None = None,
        **options: Any,
    ) -> "DefaultBoxes":
        """Returns `paper`'s boxes of evenly spaced sizes (equation 4), for any input size.

        Args:
            image_size: height and width of the input in pixels; the shorter side counts.
            num_feature_maps: number of feature maps, at least 1.
            smallest: size on the first map as a share of the shorter side, 0..1. Default 0.2.
            largest: size on the last map as a share of the shorter side. Default 0.9.
            last: the size beyond the last map's, as a share. Default None: it continues the row.
            aspect_ratios: for each map the ratios above 1. Default (2, 3) on every map.
            **options: other arguments of `paper`.

        Returns:
            `DefaultBoxes`.

        Example:

        >>> boxes = DefaultBoxes.from_scales((200, 300), 3, smallest=0.1, largest=0.5)
        >>> [cell[0] for cell in boxes.shapes]
        [(20.0, 20.0), (60.0, 60.0), (100.0, 100.0)]
        """
        step = (largest - smallest) / max(1, num_feature_maps - 1)
        scales = [smallest + step * index for index in range(num_feature_maps + 1)]
        if last is not None:
            scales[-1] = last
        sizes = [round(scale * min(image_size), 6) for scale in scales]
        return cls.paper(sizes, aspect_ratios or ((2.0, 3.0),) * num_feature_maps, **options)

    @classmethod
    def explicit(
        cls, shapes: Sequence[Sequence[Sequence[float]]], order: str = "hw", **options: Any
    ) -> "DefaultBoxes":
        """Returns boxes of any shapes, such as those of k-means or of a YOLO configuration.

        Args:
            shapes: for each map the sides of a cell's boxes in input pixels.
            order: of the two sides: "hw" (default), or "wh", as YOLO's configurations have them.
            **options: other fields of `DefaultBoxes`.

        Returns:
            `DefaultBoxes`.

        Raises:
            ValueError: for another order.

        Example:

        >>> DefaultBoxes.explicit([[(10, 13), (16, 30)], [(30, 61)]], order="wh").shapes
        (((13.0, 10.0), (30.0, 16.0)), ((61.0, 30.0),))
        """
        if order not in ("hw", "wh"):
            raise ValueError(f"order={order!r} is unknown; choose 'hw' or 'wh'.")
        axis = 1 if order == "hw" else -1
        return cls(_shapes([shape[::axis] for shape in cell] for cell in shapes), **options)

    @classmethod
    def octaves(
        cls,
        image_size: tuple[int, int],
        levels: Sequence[int] = (3, 4, 5, 6, 7),
        *,
        scales_per_octave: int = 2,
        aspect_ratios: Sequence[float] = (1.0, 2.0, 0.5),
        base_scale: float = 4.0,
        **options: Any,
    ) -> "DefaultBoxes":
        """Returns RetinaNet's boxes as the TF Object Detection API places them.

        The map of a level has cells of 2^level pixels and boxes from `base_scale` cells on. For
        each aspect ratio come all scales (the API's order).

        Args:
            image_size: height and width of the input in pixels.
            levels: of the feature maps, finest first. Default 3 to 7.
            scales_per_octave: sizes from one level to the next. Default 2; RetinaNet's paper has 3.
            aspect_ratios: width / height of the boxes. Default (1, 2, 0.5).
            base_scale: side of the smallest square box in cells. Default 4.
            **options: clip and variances.

        Returns:
            `DefaultBoxes`.

        Example:

        >>> boxes = DefaultBoxes.octaves((320, 320))
        >>> boxes.shapes[0][:2], boxes.steps[-1], boxes.offset[-1]
        (((32.0, 32.0), (45.254833995939045, 45.254833995939045)), 128.0, (0.0, 0.0))
        """
        if not all(isinstance(level, int) and 0 <= level <= MAX_LEVEL for level in levels):
            raise ValueError(
                f"levels={levels!r} must be whole numbers between 0 and {MAX_LEVEL}, such as "
                "(3, 4, 5)."
            )
        if not min(aspect_ratios) > 0:
            raise ValueError(f"aspect_ratios={aspect_ratios} must be above 0.")
        scales = [base_scale * 2 ** (k / scales_per_octave) for k in range(scales_per_octave)]
        cell = [
            (scale / math.sqrt(ratio), scale * math.sqrt(ratio))
            for ratio in aspect_ratios
            for scale in scales
        ]
        steps = [2**level for level in levels]
        return cls(
            _shapes([(step * h, step * w) for h, w in cell] for step in steps),
            tuple(map(float, steps)),
            # The API's rule: centres of cells where they fill the image, else their corners.
            tuple(_pair(0.0 if side % step else 0.5 for side in image_size) for step in steps),
            **options,
        )

    @property
    def boxes_per_cell(self) -> tuple[int, ...]:
        """Number of default boxes in a cell of each map."""
        return tuple(map(len, self.shapes))

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
            ValueError: for another number of maps than `shapes` has.
        """
        if len(feature_sizes) != len(self.shapes):
            raise ValueError(
                f"{len(feature_sizes)} feature maps need as many entries of shapes; got "
                f"{len(self.shapes)}."
            )
        maps = []
        centers = cell_centers(image_size, feature_sizes, self.steps, self.offset)
        for cell, (y, x) in zip(self.shapes, centers, strict=True):
            box_size = np.array(cell) / np.array(image_size)
            if self.clip == "size":
                box_size = np.minimum(box_size, 1.0)
            center = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)[:, :, None, :]
            corners = np.concatenate([center - box_size / 2, center + box_size / 2], axis=-1)
            maps.append(corners.reshape(-1, 4))
        boxes = np.concatenate(maps)
        return (np.clip(boxes, 0.0, 1.0) if self.clip == "corners" else boxes).astype("float32")

    def resized(self, factor: float) -> "DefaultBoxes":
        """Returns the boxes for an input of another size, whose cells share the image.

        Args:
            factor: of heights and widths.

        Returns:
            `DefaultBoxes` without steps, and without offsets of single maps: both belong to one
            input size.

        Example:

        >>> DefaultBoxes((((30, 20),),), steps=(8,)).resized(1.5)
        DefaultBoxes(shapes=(((45.0, 30.0),),), steps=None, offset=0.5, clip='none', \
variances=(0.1, 0.1, 0.2, 0.2))
        """
        return dataclasses.replace(
            self,
            shapes=_shapes([(h * factor, w * factor) for h, w in cell] for cell in self.shapes),
            steps=None,
            offset=0.5 if isinstance(self.offset, tuple) else self.offset,
        )


def cell_centers(
    image_size: tuple[int, int],
    feature_sizes: Sequence[tuple[int, int]],
    steps: Sequence[float] | None = None,
    offset: Offset = 0.5,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns for each map the relative y of the rows' centres and x of the columns' centres."""
    height, width = image_size
    offsets = np.broadcast_to(offset, (len(feature_sizes), 2))
    centers = []
    for index, (rows, columns) in enumerate(feature_sizes):
        step_y, step_x = (height / rows, width / columns) if steps is None else [steps[index]] * 2
        offset_y, offset_x = offsets[index]
        y = (np.arange(rows) + offset_y) * step_y / height
        x = (np.arange(columns) + offset_x) * step_x / width
        centers.append((y, x))
    return centers


def _paper_shapes(
    size: float, next_size: float, aspect_ratios: Sequence[float]
) -> list[tuple[float, float]]:
    """Returns heights and widths of one map's boxes in a cell."""
    # The order of Caffe's PriorBox layer and of torchvision, here of ratios 2 and 3:
    #
    #   0 +----+  1 +-----+  2 +-------+  3 +--+  4 +---------+  5 +-+
    #     |size|    |mean |    |   2   |    |  |    |    3    |    | |
    #     +----+    |     |    +-------+    |  |    +---------+    | |
    #               +-----+                 +--+                   +-+
    #                                        1/2                   1/3
    mean = math.sqrt(size * next_size)
    shapes = [(size, size), (mean, mean)]
    for ratio in aspect_ratios:
        root = math.sqrt(ratio)
        shapes += [(size / root, size * root), (size * root, size / root)]
    return shapes


def _shapes(cells: Iterable[Iterable[Iterable[float]]]) -> tuple:
    return tuple(tuple(map(_pair, cell)) for cell in cells)


def _pair(values: Iterable[float]) -> tuple[float, float]:
    first, second = map(float, values)
    return first, second
