"""Statistics of a data set: objects by class, size and aspect ratio."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssd_keras.data.records import DetectionData

PERCENTILES = (10, 50, 90)
SIDE_EDGES = (8, 16, 32, 64, 128, 256)
ASPECT_EDGES = (1 / 3, 1 / 2, 1 / 1.25, 1.25, 2, 3)
ASPECT_NAMES = ("<1:3", "1:3-1:2", "1:2-1:1.25", "square", "1.25:1-2:1", "2:1-3:1", ">3:1")


class ClassStatistics(NamedTuple):
    """Counts of one class, and percentiles 10, 50 and 90 (NaN without objects) of its boxes."""

    name: str
    objects: int
    images: int
    difficult: int
    sides: tuple[float, ...]  # square roots of the areas in the image's pixels
    aspects: tuple[float, ...]  # width / height


def class_statistics(data: DetectionData) -> list[ClassStatistics]:
    """Counts and measures the objects of every class; the last row is that of all classes."""
    labels = _concatenate([example.labels for example in data.examples], np.int32)
    difficult = _concatenate([example.is_difficult for example in data.examples], bool)
    images = _concatenate(
        [np.full(len(example.labels), index) for index, example in enumerate(data.examples)],
        np.int64,
    )
    sides, aspects = sides_and_aspects(pixel_boxes(data))
    masks = [labels == label for label in range(len(data.class_names))]
    return [
        ClassStatistics(
            name,
            int(mask.sum()),
            len(np.unique(images[mask])),
            int(difficult[mask].sum()),
            _percentiles(sides[mask]),
            _percentiles(aspects[mask]),
        )
        for name, mask in zip(
            [*data.class_names, "all"], [*masks, np.ones(len(labels), bool)], strict=True
        )
    ]


def pixel_boxes(data: DetectionData) -> np.ndarray:
    """Returns the boxes of all images, x, y, width, height in pixels, float64 [n, 4]."""
    return _concatenate([example.boxes for example in data.examples], np.float64).reshape(-1, 4)


def sides_and_aspects(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the square roots of the areas, and widths divided by heights."""
    widths, heights = boxes[:, 2], boxes[:, 3]
    return np.sqrt(widths * heights), widths / heights


def histogram(values: np.ndarray, edges: Sequence[float]) -> list[int]:
    """Counts the values below the first edge, between each two, and from the last one on."""
    return np.bincount(np.digitize(values, edges), minlength=len(edges) + 1).tolist()


def label_counts(data: DetectionData) -> np.ndarray:
    """Returns the number of objects of each class."""
    labels = _concatenate([example.labels for example in data.examples], np.int32)
    return np.bincount(labels, minlength=len(data.class_names))


def _percentiles(values: np.ndarray) -> tuple[float, ...]:
    if not len(values):
        return (float("nan"),) * len(PERCENTILES)
    return tuple(np.percentile(values, PERCENTILES).tolist())


def _concatenate(arrays: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(arrays).astype(dtype) if arrays else np.zeros(0, dtype)
