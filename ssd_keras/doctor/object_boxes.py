"""The boxes and labels of all objects of a data set, as columns."""

from typing import NamedTuple

import numpy as np

from ssd_keras.data.records import DetectionData


class ObjectBoxes(NamedTuple):
    """All objects of a data set except crowds, one row per object."""

    boxes: np.ndarray  # relative yxyx float64 [n, 4]
    labels: np.ndarray  # int [n]
    example_indices: np.ndarray  # int [n], the example in the data set
    object_indices: np.ndarray  # int [n], the object in the example

    @classmethod
    def from_data(cls, data: DetectionData) -> "ObjectBoxes":
        # A first row block without objects: data without examples give empty columns.
        rows = [(np.zeros((0, 4)), *(np.zeros(0, np.int64),) * 3)]
        for index, example in enumerate(data.examples):
            chosen = np.flatnonzero(~example.is_crowd)
            boxes = example.relative_boxes()[chosen].astype(np.float64)
            rows.append((boxes, example.labels[chosen], np.full(len(chosen), index), chosen))
        return cls(*map(np.concatenate, zip(*rows, strict=True)))

    def take(self, rows: np.ndarray) -> "ObjectBoxes":
        """Returns the table of these rows."""
        return ObjectBoxes(*(column[rows] for column in self))

    def sides(self, image_size: tuple[int, int]) -> np.ndarray:
        """Returns the square roots of the areas in pixels of a model's input, [n]."""
        shapes = (self.boxes[:, 2:] - self.boxes[:, :2]) * np.asarray(image_size, np.float64)
        return np.sqrt(np.prod(shapes, axis=-1))
