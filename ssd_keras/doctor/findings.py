"""What is wrong with the boxes and classes of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ssd_keras.boxes.formats import convert_boxes
from ssd_keras.boxes.iou import pairwise_iou
from ssd_keras.data.problems import ProblemKind
from ssd_keras.data.records import DetectionData, Example
from ssd_keras.data.splits import Split

SAME_IOU = 0.9
"""Two boxes of one class that overlap by this much are one object, annotated twice."""


DISPUTED_IOU = 0.98


class FindingKind(Enum):
    """Title of what a comparison of objects, images or splits finds; "{}" names a split."""

    REPEATED = "objects annotated twice"
    DISPUTED = "disputed objects"
    UNSEEN_CLASS = "classes never seen"
    SHIFTED = "boxes shifted by one"
    PERHAPS_SHIFTED = "boxes perhaps shifted by one"
    DUPLICATE = "duplicate images"
    LOOK_ALIKE = "images that look alike"
    SHARED = "images of {} that are in {} too"
    NEARLY_SHARED = "images of {} that are in {} too, nearly the same"

    @property
    def title(self) -> str:
        return self.value


@dataclass(frozen=True)
class Finding:
    """Something wrong in a data set."""

    kind: ProblemKind | FindingKind
    location: str  # the file, or the image, and the object in it
    detail: str
    splits: tuple[str, ...] = ()  # names of the splits that the title of the kind names

    def __str__(self) -> str:
        return f"{self.location}: {self.detail}"

    @property
    def title(self) -> str:
        """Heading of findings of this kind, such as "boxes of no area"."""
        return self.kind.title.format(*self.splits)


def reader_findings(data: DetectionData) -> list[Finding]:
    """Returns what the readers have left out or clipped."""
    return [
        Finding(problem.kind, problem.location, f"{problem.sentence}; {problem.action}")
        for problem in data.problems
    ]


def box_findings(data: DetectionData) -> list[Finding]:
    """Objects that are annotated twice, or once with each of two classes."""
    found = []
    for example in data.examples:
        repeated, disputed = repeated_boxes(example), disputed_boxes(example)
        for kind, rows in ((FindingKind.REPEATED, repeated), (FindingKind.DISPUTED, disputed)):
            for row, earlier in rows.items():
                name, other = (data.class_names[example.labels[i]] for i in (row, earlier))
                what = f"object {row + 1} ({name}) lies on object {earlier + 1} ({other})"
                found.append(Finding(kind, example.location, what))
    return found


def repeated_boxes(example: Example) -> dict[int, int]:
    """The objects that repeat an earlier one: same class, nearly the same box."""
    return _pairs(example, SAME_IOU, same_class=True)


def disputed_boxes(example: Example) -> dict[int, int]:
    """The objects whose box an earlier one of another class has too."""
    return _pairs(example, DISPUTED_IOU, same_class=False)


def _pairs(example: Example, least_iou: float, same_class: bool) -> dict[int, int]:
    corners = convert_boxes(example.boxes, "xywh", "xyxy")
    iou = pairwise_iou(corners, corners)
    of_one_class = example.labels[:, None] == example.labels[None, :]
    usable = ~(example.is_crowd[:, None] | example.is_crowd[None, :])
    linked = np.tril((iou >= least_iou) & (of_one_class == same_class) & usable, k=-1)
    pairs: dict[int, int] = {}
    for row in np.flatnonzero(linked.any(axis=1)):
        # An object that only repeats another repeated one is told once, by its first twin.
        pairs[int(row)] = int(np.argmax(linked[row]))
    return pairs


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
            found.append(Finding(FindingKind.UNSEEN_CLASS, split.name, what))
    return found


def _label_counts(data: DetectionData) -> np.ndarray:
    labels = [example.labels for example in data.examples]
    return np.bincount(np.concatenate(labels), minlength=len(data.class_names))
