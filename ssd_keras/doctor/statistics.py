"""What is in a data set: objects by class, by size and by shape."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssd_keras.data.records import DetectionData

PERCENTILES = (10, 50, 90)
SIDE_EDGES = (8, 16, 32, 64, 128, 256)
ASPECT_EDGES = (1 / 3, 1 / 2, 1 / 1.25, 1.25, 2, 3)
ASPECT_NAMES = ("<1:3", "1:3-1:2", "1:2-1:1.25", "square", "1.25:1-2:1", "2:1-3:1", ">3:1")


class ClassCount(NamedTuple):
    """One class of a data set.

    Sides are square roots of areas in the image's pixels, aspects are width / height; both as
    percentiles 10, 50 and 90, not-a-number where there is no object.
    """

    name: str
    objects: int
    images: int
    difficult: int
    sides: tuple[float, ...]
    aspects: tuple[float, ...]


def count_classes(data: DetectionData) -> list[ClassCount]:
    """Counts and measures the objects of every class."""
    boxes = object_boxes(data)
    labels = _joined([example.labels for example in data.examples], np.int32)
    difficult = _joined([example.is_difficult for example in data.examples], bool)
    images = _joined(
        [np.full(len(x.labels), index) for index, x in enumerate(data.examples)], np.int64
    )
    sides, aspects = sides_and_aspects(boxes)
    rows = []
    for label, name in [*enumerate(data.class_names), (None, "all")]:
        chosen = np.ones(len(labels), bool) if label is None else labels == label
        rows.append(
            ClassCount(
                name,
                int(chosen.sum()),
                len(np.unique(images[chosen])),
                int(difficult[chosen].sum()),
                _percentiles(sides[chosen]),
                _percentiles(aspects[chosen]),
            )
        )
    return rows


def object_boxes(data: DetectionData) -> np.ndarray:
    """The boxes of all images, one below the other."""
    return _joined([example.boxes for example in data.examples], np.float64).reshape(-1, 4)


def sides_and_aspects(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Square roots of the areas, and widths divided by heights."""
    widths, heights = boxes[:, 2], boxes[:, 3]
    return np.sqrt(widths * heights), widths / heights


def histogram(values: np.ndarray, edges: Sequence[float]) -> list[int]:
    """How many values lie below the first edge, between each two, and from the last one on."""
    return np.bincount(np.digitize(values, edges), minlength=len(edges) + 1).tolist()


def _percentiles(values: np.ndarray) -> tuple[float, ...]:
    if not len(values):
        return (float("nan"),) * len(PERCENTILES)
    return tuple(float(value) for value in np.percentile(values, PERCENTILES))


def _joined(arrays: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(arrays).astype(dtype) if arrays else np.zeros(0, dtype)
