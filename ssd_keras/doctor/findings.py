"""What is wrong with the boxes and classes of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ssd_keras.data.problems import Problem
from ssd_keras.data.records import DetectionData, Example
from ssd_keras.data.splits import Split

# The words of the readers' problems, and what such problems are called together.
PROBLEM_KINDS = (
    ("has no area", "boxes of no area"),
    ("has swapped corners", "boxes with swapped corners"),
    ("lies outside the image", "boxes outside their image"),
    ("reaches outside the image", "boxes that reach outside their image"),
    ("is not four numbers", "boxes that are not four numbers"),
    ("unknown class", "objects of unknown classes"),
    ("the image is missing", "missing images"),
    ("the annotation file is missing", "missing annotation files"),
    ("as annotated", "images of another size than annotated"),
    ("is cut off", "broken images"),
    ("the file is empty; expected an image", "broken images"),
    ("not an image", "broken images"),
    ("header cannot be read", "broken images"),
)


SAME_IOU = 0.9
"""Two boxes of one class that overlap by this much are one object, annotated twice."""


DISPUTED_IOU = 0.98


@dataclass(frozen=True)
class Finding:
    """Something wrong in a data set."""

    kind: str  # what findings like this one are called together, such as "boxes of no area"
    place: str  # the file, or the image, and the object in it
    what: str  # the details

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


def reader_findings(data: DetectionData) -> list[Finding]:
    """What the readers have left out or mended, by kind."""
    found = []
    for problem in data.problems:
        found.append(Finding(kind_of(problem), problem.place, f"{problem.what}; {problem.mended}"))
    return found


def kind_of(problem: Problem) -> str:
    """What problems like this one are called together."""
    kinds = (kind for words, kind in PROBLEM_KINDS if words in problem.what)
    return next(kinds, "other problems of the files")


def box_findings(data: DetectionData) -> list[Finding]:
    """Objects that are annotated twice, or once with each of two classes."""
    found = []
    for example in data.examples:
        repeated, disputed = repeated_boxes(example), disputed_boxes(example)
        for kind, rows in (("objects annotated twice", repeated), ("disputed objects", disputed)):
            for row, earlier in rows.items():
                name, other = (data.class_names[example.labels[i]] for i in (row, earlier))
                what = f"object {row + 1} ({name}) lies on object {earlier + 1} ({other})"
                found.append(Finding(kind, example.place, what))
    return found


def repeated_boxes(example: Example) -> dict[int, int]:
    """The objects that repeat an earlier one: same class, nearly the same box."""
    return _pairs(example, SAME_IOU, same_class=True)


def disputed_boxes(example: Example) -> dict[int, int]:
    """The objects whose box an earlier one of another class has too."""
    return _pairs(example, DISPUTED_IOU, same_class=False)


def _pairs(example: Example, least_iou: float, same_class: bool) -> dict[int, int]:
    overlap = _overlaps(example.boxes)
    of_one_class = example.labels[:, None] == example.labels[None, :]
    usable = ~(example.is_crowd[:, None] | example.is_crowd[None, :])
    linked = np.tril((overlap >= least_iou) & (of_one_class == same_class) & usable, k=-1)
    pairs: dict[int, int] = {}
    for row in np.flatnonzero(linked.any(axis=1)):
        # An object that only repeats another repeated one is told once, by its first twin.
        pairs[int(row)] = int(np.argmax(linked[row]))
    return pairs


def _overlaps(boxes: np.ndarray) -> np.ndarray:
    """IoU [n, n] of x, y, width, height boxes."""
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    sides = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
    shared = np.prod(np.maximum(sides, 0.0), axis=-1)
    areas = np.prod(boxes[:, 2:], axis=-1)
    return shared / (areas[:, None] + areas[None] - shared)


def class_findings(splits: Sequence[Split]) -> list[Finding]:
    """Classes that a split never shows."""
    found = []
    counts = [_label_counts(split.data) for split in splits]
    for label, name in enumerate(splits[0].data.class_names):
        for split, own in zip(splits, counts, strict=True):
            if own[label]:
                continue
            others = [
                f"{other.name} {count[label]}"
                for other, count in zip(splits, counts, strict=True)
                if count[label]
            ]
            what = f"no object of class '{name}'"
            what += f" ({', '.join(others)})" if others else ""
            found.append(Finding("classes never seen", split.name, what))
    return found


def _label_counts(data: DetectionData) -> np.ndarray:
    labels = [example.labels for example in data.examples]
    return np.bincount(np.concatenate(labels), minlength=len(data.class_names))
