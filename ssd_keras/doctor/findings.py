"""Findings: what is wrong with the boxes and classes of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from itertools import compress

import numpy as np

from ssd_keras.boxes.formats import convert_boxes
from ssd_keras.boxes.iou import pairwise_iou
from ssd_keras.core.text import short_list
from ssd_keras.data.problems import LOSSES, ProblemKind, Scope
from ssd_keras.data.records import DetectionData, Example
from ssd_keras.data.splits import Split
from ssd_keras.doctor.statistics import label_counts

SAME_OBJECT_IOU = 0.9  # of boxes of one class: one object, annotated twice
DISPUTED_IOU = 0.98  # of boxes of two classes
MIN_IMAGES = 20  # fewer images of one object each say little
MAX_NAMES = 5  # of classes that a line lists


class Harm(IntEnum):
    """What a finding leads to, the worst first: the order of reports."""

    NO_TRAINING = 0
    FALSE_SCORES = 1
    LOST_DATA = 2
    WRONG_DATA = 3
    WEAK_RESULTS = 4
    OTHER_TOOLS = 5  # this library copes, others may not
    NOTE = 6


NOTED_HARM = {
    ProblemKind.BELOW_ONE_PIXEL: Harm.WRONG_DATA,
    ProblemKind.SIMILAR_NAMES: Harm.WEAK_RESULTS,
    ProblemKind.BAD_SIZE: Harm.OTHER_TOOLS,
}


class FindingKind(Enum):
    """Kinds of findings beside `ProblemKind`: title, harm, remedy; "{}" stands for words of it."""

    title: str
    harm: Harm
    remedy: str

    NO_OBJECT = (
        "splits without any object",
        Harm.NO_TRAINING,
        "nothing can be learned or measured there; check where the annotations lie",
    )
    LEAK = (
        "groups of duplicates across {} ({} images)",
        Harm.FALSE_SCORES,
        "--fix drops them from the split named first",
    )
    NEAR_LEAK = (
        "groups of near-duplicates across {} ({} images)",
        Harm.FALSE_SCORES,
        "`ssd-keras data split` keeps them in one split",
    )
    SHIFTED = (
        "boxes shifted by one",
        Harm.WRONG_DATA,
        "the files count pixels from another number than their format does; --fix moves these "
        "edges of all boxes, or convert the data again",
    )
    PERHAPS_SHIFTED = (
        "boxes perhaps shifted by one",
        Harm.WRONG_DATA,
        "some files may count pixels from another number than the format does; find them and "
        "convert them again (--fix moves no box, because the others are right)",
    )
    DARK = (
        "16-bit images that are nearly black",
        Harm.WRONG_DATA,
        "scale the levels of all images by the sensor's range",
    )
    SEE_THROUGH = (
        "images with see-through pixels",
        Harm.WRONG_DATA,
        "viewers show what is behind them, training sees their hidden colour; save the images "
        "without transparency",
    )
    DISPUTED = ("disputed objects", Harm.WRONG_DATA, "one of the two classes is wrong")
    REPEATED = ("objects annotated twice", Harm.WRONG_DATA, "--fix drops the second")
    SMALL_OBJECTS = (
        "splits of many small objects",
        Harm.WEAK_RESULTS,
        "choose a model of a larger input; --recipe or --preset measures its default boxes",
    )
    DUPLICATE = ("groups of duplicates ({} images)", Harm.WEAK_RESULTS, "--fix keeps the first")
    FEW_OBJECTS = (
        "validation splits with fewer than 10 objects of a class",
        Harm.WEAK_RESULTS,
        "their AP is not reliable",
    )
    DIFFERENT = (
        "differences between splits",
        Harm.WEAK_RESULTS,
        "unless they are meant, divide all images again with `ssd-keras data split`",
    )
    SIMILAR_NAMES = (
        "class names that may be misspelt",
        Harm.WEAK_RESULTS,
        "unite them with `rename` in data.toml",
    )
    NEAR_DUPLICATE = ("groups of near-duplicates ({} images)", Harm.WEAK_RESULTS, "")
    EMPTY_CLASS = ("classes without objects", Harm.WEAK_RESULTS, "")
    MISNAMED = (
        "images with the extension of another format",
        Harm.OTHER_TOOLS,
        "other programs may refuse them; --fix corrects the names",
    )
    ONE_OBJECT = ("splits of one object in each image", Harm.NOTE, "")

    def __init__(self, title: str, harm: Harm, remedy: str) -> None:
        self.title, self.harm, self.remedy = title, harm, remedy


@dataclass(frozen=True)
class Finding:
    """Something wrong in a data set, found by a reader or by comparison."""

    kind: ProblemKind | FindingKind
    location: str  # the file, image or split, and the object in it
    detail: str
    words: tuple[str, ...] = ()  # of the title of the kind
    action: str = ""  # what a reader did about it
    group: str = ""  # what findings of one kind that belong in one line share

    def __str__(self) -> str:
        return f"{self.location}: {self.detail}"

    @property
    def title(self) -> str:
        """Heading under which reports group findings, such as "boxes of no area"."""
        return self.kind.title.format(*self.words)

    @property
    def order(self) -> tuple[int, int]:
        """The place of the kind in reports: what harms most comes first."""
        if isinstance(self.kind, FindingKind):
            return self.kind.harm, list(FindingKind).index(self.kind)
        is_note = self.action and self.action not in LOSSES
        harm = NOTED_HARM.get(self.kind, Harm.NOTE) if is_note else Harm.LOST_DATA
        return harm, list(Scope).index(self.kind.scope)


def reader_findings(data: DetectionData) -> list[Finding]:
    """Returns what the readers have dropped, clipped or changed."""
    return [
        Finding(
            problem.kind,
            problem.location,
            problem.sentence,
            action=problem.action,
            group=problem.group,
        )
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


def no_object_findings(splits: Sequence[Split]) -> list[Finding]:
    """Returns the splits in which no image has an object."""
    return [
        Finding(
            FindingKind.NO_OBJECT, split.name, f"none of {len(split.data)} images has an object"
        )
        for split in splits
        if not label_counts(split.data).any()
    ]


def one_object_findings(splits: Sequence[Split]) -> list[Finding]:
    """Returns the splits whose images all have exactly one object."""
    return [
        Finding(FindingKind.ONE_OBJECT, split.name, f"all of its {len(split.data)} images")
        for split in splits
        if len(split.data) >= MIN_IMAGES
        and all(len(example.labels) == 1 for example in split.data.examples)
    ]


def class_findings(splits: Sequence[Split]) -> list[Finding]:
    """Returns the splits that lack objects of some classes, and who has them."""
    names = splits[0].data.class_names
    counts = np.array([label_counts(split.data) for split in splits])
    found = []
    for split, is_empty in zip(splits, counts == 0, strict=True):
        if not is_empty.any() or is_empty.all():  # a split of no object at all is another kind
            continue
        detail = f"{is_empty.sum()} of {len(names)} classes have no object"
        if len(splits) == 1:
            detail += f": {_classes(names, is_empty)}"
        for other, other_counts in zip(splits, counts, strict=True):
            if (is_elsewhere := is_empty & (other_counts > 0)).any():
                listed = _classes(names, is_elsewhere)
                detail += f", {is_elsewhere.sum()} of them are in {other.name} ({listed})"
        found.append(Finding(FindingKind.EMPTY_CLASS, split.name, detail))
    return found


def _classes(names: Sequence[str], is_listed: np.ndarray) -> str:
    return short_list(list(compress(names, is_listed)), MAX_NAMES)
