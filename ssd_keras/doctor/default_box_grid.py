"""The default boxes of a model as the doctor sees them: shapes on grids of cells."""

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ssd_keras.boxes.default_boxes import DefaultBoxes, cell_centers
from ssd_keras.data.records import DetectionData

if TYPE_CHECKING:
    from ssd_keras.models import SSD


class DefaultBoxGrid(NamedTuple):
    """Default boxes, the model's input in pixels (height, width), and the maps in cells."""

    spec: DefaultBoxes
    image_size: tuple[int, int]
    feature_sizes: tuple[tuple[int, int], ...]

    def boxes(self) -> np.ndarray:
        """All default boxes, relative yxyx float32 [N, 4]."""
        return self.spec.boxes(self.image_size, self.feature_sizes)

    def shapes(self) -> list[np.ndarray]:
        """For each map the relative heights and widths of one cell's boxes, [boxes, 2].

        Boxes that the model cuts at the border are taken uncut.
        """
        clip = "none" if self.spec.clip == "corners" else self.spec.clip
        spec = dataclasses.replace(self.spec, clip=clip)
        cells = spec.boxes(self.image_size, ((1, 1),) * len(self.feature_sizes))
        shapes = cells[:, 2:].astype(np.float64) - cells[:, :2]
        return np.split(shapes, np.cumsum(spec.boxes_per_cell)[:-1])

    def centers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each map the relative y of its rows' centres and the relative x of its columns'."""
        spec = self.spec
        return cell_centers(self.image_size, self.feature_sizes, spec.steps, spec.offset)


def default_box_grid(model: "SSD") -> DefaultBoxGrid:
    """The layout of a model."""
    return DefaultBoxGrid(model.default_boxes, model.image_size, model.feature_sizes)


class Objects(NamedTuple):
    """All objects of a data set but crowds: arrays with one row an object.

    `boxes` relative yxyx float64 [n, 4], `labels` int [n], `images` int [n] (index of the
    example), `rows` int [n] (index in the example).
    """

    boxes: np.ndarray
    labels: np.ndarray
    images: np.ndarray
    rows: np.ndarray

    def sides(self, image_size: tuple[int, int]) -> np.ndarray:
        """Square roots of the areas in pixels of a model's input, [n]."""
        sides = (self.boxes[:, 2:] - self.boxes[:, :2]) * np.asarray(image_size, np.float64)
        return np.sqrt(np.prod(sides, axis=-1))


def objects_of(data: DetectionData) -> Objects:
    """The objects that a model can learn from."""
    columns: list[list[np.ndarray]] = [[np.zeros((0, 4))], [], [], []]
    for index, example in enumerate(data.examples):
        rows = np.flatnonzero(~example.is_crowd)
        columns[0].append(example.relative_boxes()[rows].astype(np.float64))
        columns[1].append(example.labels[rows])
        columns[2].append(np.full(len(rows), index))
        columns[3].append(rows)
    empty = [np.zeros(0, np.int64)]
    return Objects(np.concatenate(columns[0]), *(np.concatenate(empty + c) for c in columns[1:]))
