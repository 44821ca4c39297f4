"""A cleaned copy of a data set; the data set itself is never touched."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ssd_keras.data.problems import LEFT_OUT, Scope
from ssd_keras.data.records import DetectionData, Example
from ssd_keras.data.splits import Split
from ssd_keras.doctor.data_report import Examination
from ssd_keras.doctor.findings import FindingKind, repeated_boxes
from ssd_keras.doctor.shift import Shift, find_shift

FOR_A_PERSON = (
    FindingKind.DISPUTED,
    FindingKind.LOOK_ALIKE,
    FindingKind.NEARLY_SHARED,
    FindingKind.PERHAPS_SHIFTED,
)


def cleaned(examination: Examination) -> tuple[list[Split], list[str]]:
    """Takes out what is certainly wrong and leaves what a person must judge.

    Readers have left out boxes that cannot be used. Here go: images that cannot be decoded to
    their last row, exact copies of images (of those in two splits, the copy in the later split
    stays, so that a validation set named last keeps its images), objects annotated twice, and
    what boxes have outside their image. Boxes that are certainly a pixel off are moved. Images
    that only look alike and disputed objects stay.
    """
    counts: Counter[str] = Counter()
    seen: set[bytes] = set()
    found: list[Split] = []
    for split, prints in zip(
        reversed(examination.splits), reversed(examination.prints), strict=True
    ):
        counts["boxes and images left out or clipped by the reader"] += len(split.data.problems)
        shift = find_shift(split.data)
        examples = []
        for example, own in zip(split.data.examples, prints, strict=True):
            if own.broken:
                counts["broken images left out"] += 1
            elif own.content in seen:
                counts["copies of images left out"] += 1
            else:
                seen.add(own.content)
                examples.append(_clean_boxes(example, shift, counts))
        found.append(Split(split.name, _with_examples(split.data, examples)))
    return found[::-1], [f"{kind}: {count}" for kind, count in counts.items() if count]


def describe_kept(examination: Examination, copies: Sequence[Split]) -> list[str]:
    """What a cleaned copy still has that its user should know of."""
    problems = [problem for split in examination.splits for problem in split.data.problems]
    unlabelled = sum(
        problem.action == LEFT_OUT and problem.kind.scope == Scope.OBJECT
        for problem in problems
    )
    empty = sum(not len(x.labels) for split in copies for x in split.data.examples)
    lines = []
    if unlabelled:
        lines.append(
            f"boxes left out: {unlabelled}; what they showed is still in the images, without a "
            "label: label it anew where it matters"
        )
    if empty:
        lines.append(f"images without objects: {empty}, kept, to learn the background from")
    counts = Counter(f.title for f in examination.findings if f.kind in FOR_A_PERSON)
    if counts:
        told = ", ".join(f"{title} {count}" for title, count in counts.items())
        lines.append(f"left as they are, for you to judge: {told}")
    return lines


def _clean_boxes(example: Example, shift: Shift, counts: Counter[str]) -> Example:
    kept = np.ones(len(example.labels), bool)
    kept[list(repeated_boxes(example))] = False
    counts["repeated objects left out"] += int((~kept).sum())
    low, high = example.boxes[:, :2], example.boxes[:, :2] + example.boxes[:, 2:]
    if shift.is_certain and (shift.begin or shift.end):
        counts["boxes moved by a pixel"] += int(kept.sum())
        low, high = low - shift.begin, high - shift.end
    sides = np.array([example.width, example.height], np.float64)
    inside = np.clip(low, 0, sides), np.clip(high, 0, sides)
    is_cut = np.abs(np.concatenate(inside, axis=1) - np.concatenate([low, high], axis=1)) > 1e-9
    counts["boxes cut at the image's edge"] += int(is_cut.any(axis=1)[kept].sum())
    boxes = np.concatenate([inside[0], inside[1] - inside[0]], axis=1)
    # What moved away whole, or to nothing, stays as it was: so few pixels are no mistake to mend.
    is_changed = (np.abs(boxes - example.boxes) > 1e-9).any(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    boxes = np.where(is_changed[:, None], boxes, example.boxes)
    own_area = np.isclose(example.areas, np.prod(example.boxes[:, 2:], axis=1))
    areas = np.where(own_area & is_changed, np.prod(boxes[:, 2:], axis=1), example.areas)
    fields: dict[str, Any] = {"labels": example.labels, "boxes": boxes, "areas": areas}
    fields |= {"is_difficult": example.is_difficult, "is_crowd": example.is_crowd}
    return replace(example, **{name: values[kept] for name, values in fields.items()})


def _with_examples(data: DetectionData, examples: list[Example]) -> DetectionData:
    return replace(data, examples=tuple(examples), problems=())
