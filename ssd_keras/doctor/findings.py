"""Findings: what is wrong with the boxes and classes of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ssd_keras.boxes.formats import convert_boxes
from ssd_keras.boxes.iou import pairwise_iou
from ssd_keras.data.problems import ProblemKind
from ssd_keras.data.records import DetectionData, Example
from ssd_keras.data.splits import Split
from ssd_keras.doctor.statistics import label_counts

SAME_OBJECT_IOU = 0.9  # of boxes of one class: one object, annotated twice
DISPUTED_IOU = 0.98  # of boxes of two classes


class FindingKind(Enum):
    """Kinds of findings beside `ProblemKind`, with their titles; "{}" stands for a split."""

    REPEATED = "objects annotated twice"
    DISPUTED = "disputed objects"
    EMPTY_CLASS = "classes without objects"
    SHIFTED = "boxes shifted by one"
    PERHAPS_SHIFTED = "boxes perhaps shifted by one"
    DUPLICATE = "duplicate images"
    NEAR_DUPLICATE = "near-duplicate images"
    LEAK = "images of {} that are in {} too"
    NEAR_LEAK = "images of {} with near-duplicates in {}"

    @property
    def title(self) -> str:
        return self.value


@dataclass(frozen=True)
class Finding:
    """Something wrong in a data set, found by a reader or by comparison."""

    kind: ProblemKind | FindingKind
    location: str  # the file, image or split, and the object in it
    detail: str
    splits: tuple[str, ...] = ()  # names in the title of the kind

    def __str__(self) -> str:
        return f"{self.location}: {self.detail}"

    @property
    def title(self) -> str:
        """Heading under which reports group findings, such as "boxes of no area"."""
        return self.kind.title.format(*self.splits)


def reader_findings(data: DetectionData) -> list[Finding]:
    """Returns what the readers have dropped or clipped."""
    return [
        Finding(problem.kind, problem.location, f"{problem.sentence}; {problem.action}")
        for problem in data.problems
    ]


def box_findings(data: DetectionData) -> list[Finding]:
    """Returns the objects that are annotated twice, with one class or with two."""
    found = []
    for example in data.examples:
        repeated, disputed = repeated_boxes(example), disputed_boxes(example)
        for kind, pairs in ((FindingKind.REPEATED, repeated), (FindingKind.DISPUTED, disputed)):
            for later, earlier in pairs.items():
                name, other = (data.class_names[example.labels[row]] for row in (later, earlier))
                detail = f"object {later + 1} ({name}) lies on object {earlier + 1} ({other})"
                found.append(Finding(kind, example.location, detail))
    return found


def repeated_boxes(example: Example) -> dict[int, int]:
    """Maps objects to the first earlier object of the same class with nearly the same box."""
    return _overlapping_pairs(example, SAME_OBJECT_IOU, same_class=True)


def disputed_boxes(example: Example) -> dict[int, int]:
    """Maps objects to the first earlier object of another class with the same box."""
    return _overlapping_pairs(example, DISPUTED_IOU, same_class=False)


def _overlapping_pairs(example: Example, min_iou: float, same_class: bool) -> dict[int, int]:
    boxes = convert_boxes(example.boxes, "xywh", "yxyx")
    is_same_class = example.labels[:, None] == example.labels
    is_crowd = example.is_crowd[:, None] | example.is_crowd
    overlaps = (pairwise_iou(boxes, boxes) >= min_iou) & (is_same_class == same_class)
    overlaps = np.tril(overlaps & ~is_crowd, k=-1)
    return {int(row): int(np.argmax(overlaps[row])) for row in np.flatnonzero(overlaps.any(axis=1))}


def class_findings(splits: Sequence[Split]) -> list[Finding]:
    """Returns the classes without objects, by split."""
    counts = [label_counts(split.data) for split in splits]
    found = []
    for label, name in enumerate(splits[0].data.class_names):
        others = [
            f"{split.name} {split_counts[label]}"
            for split, split_counts in zip(splits, counts, strict=True)
            if split_counts[label]
        ]
        detail = f"no object of class '{name}'" + (f" ({', '.join(others)})" if others else "")
        found += [
            Finding(FindingKind.EMPTY_CLASS, split.name, detail)
            for split, split_counts in zip(splits, counts, strict=True)
            if not split_counts[label]
        ]
    return found
