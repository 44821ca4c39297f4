"""Writes a fixed copy of a data set; the data set itself stays as it is."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ssd_keras.boxes.formats import convert_boxes
from ssd_keras.data.problems import DROPPED, ProblemKind, Scope
from ssd_keras.data.records import Example
from ssd_keras.data.splits import Split
from ssd_keras.doctor.data_report import DataReport
from ssd_keras.doctor.findings import FindingKind, repeated_boxes
from ssd_keras.doctor.shift import BoxShift, find_shifts

JUDGED_BY_A_PERSON = (
    FindingKind.DISPUTED,
    FindingKind.NEAR_DUPLICATE,
    FindingKind.NEAR_LEAK,
    FindingKind.PERHAPS_SHIFTED,
)

MENDED_BY_READERS = (ProblemKind.BAD_SIZE, ProblemKind.OTHER_FORMAT)  # without a loss


def fixed_copy(report: DataReport) -> tuple[list[Split], list[str]]:
    """Returns the splits without what is certainly wrong, and the number of each change.

    Leaves out broken images, exact copies of images and objects annotated twice; clips boxes to
    their image; moves boxes that are certainly a pixel off. Near-duplicates and disputed objects
    stay, because a person must judge them. Writers give files the extension of their format, and
    annotations the size of the image.
    """
    problems = [problem for split in report.splits for problem in split.data.problems]
    counts: Counter[str] = Counter(
        f"{problem.kind.title} {problem.action}"
        for problem in sorted(problems, key=lambda problem: not problem.is_loss)
        if problem.is_loss or problem.kind in MENDED_BY_READERS
    )
    seen: set[bytes] = set()
    splits: list[Split] = []
    # From the last split to the first: of copies in two splits, the one in the later split stays,
    # so that validation data, which are named last, keep their images.
    shifts = find_shifts(report.splits)
    for split, fingerprints, shift in reversed(
        list(zip(report.splits, report.fingerprints, shifts, strict=True))
    ):
        examples = []
        for example, fingerprint in zip(split.data.examples, fingerprints, strict=True):
            if fingerprint.error:
                counts["broken images dropped"] += 1
            elif fingerprint.checksum in seen:
                counts["copies of images dropped"] += 1
            else:
                seen.add(fingerprint.checksum)
                examples.append(_fix_boxes(example, shift, counts))
        data = replace(split.data, examples=tuple(examples), problems=())
        splits.append(split._replace(data=data))
    misnamed = (each.kind is FindingKind.MISNAMED for each in report.findings)
    counts["files given the extension of their format"] += sum(misnamed)
    return splits[::-1], [f"{change}: {count}" for change, count in counts.items() if count]


def remaining_issues(report: DataReport, copies: Sequence[Split]) -> list[str]:
    """Returns what the user should know about a fixed copy."""
    unlabelled = sum(
        problem.action == DROPPED and problem.kind.scope == Scope.OBJECT
        for split in report.splits
        for problem in split.data.problems
    )
    empty = sum(not len(example.labels) for split in copies for example in split.data.examples)
    lines = []
    if unlabelled:
        lines.append(
            f"boxes dropped: {unlabelled}; their objects are still in the images, without a "
            "label: annotate them again where it matters"
        )
    if empty:
        lines.append(f"images without objects: {empty}, kept as background")
    counts = Counter(each.title for each in report.findings if each.kind in JUDGED_BY_A_PERSON)
    if counts:
        titles = ", ".join(f"{title}: {count}" for title, count in counts.items())
        lines.append(f"left unchanged, for you to judge: {titles}")
    return lines


def _fix_boxes(example: Example, shift: BoxShift, counts: Counter[str]) -> Example:
    kept = np.ones(len(example.labels), bool)
    kept[list(repeated_boxes(example))] = False
    counts["repeated objects dropped"] += int((~kept).sum())
    edges = convert_boxes(example.boxes, "xywh", "xyxy")
    if shift.is_certain and (shift.begin or shift.end):
        counts["boxes moved by a pixel"] += int(kept.sum())
        edges -= (shift.begin, shift.begin, shift.end, shift.end)
    inside = np.clip(edges, 0, [example.width, example.height] * 2)
    is_clipped = (np.abs(inside - edges) > 1e-9).any(axis=1)
    counts["boxes clipped to the image"] += int(is_clipped[kept].sum())
    boxes = convert_boxes(inside, "xyxy", "xywh")
    # A box that would leave the image or lose its area stays as it is.
    is_changed = (np.abs(boxes - example.boxes) > 1e-9).any(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    boxes = np.where(is_changed[:, None], boxes, example.boxes)
    is_box_area = np.isclose(example.areas, np.prod(example.boxes[:, 2:], axis=1))
    areas = np.where(is_box_area & is_changed, np.prod(boxes[:, 2:], axis=1), example.areas)
    return replace(
        example,
        boxes=boxes[kept],
        areas=areas[kept],
        labels=example.labels[kept],
        is_difficult=example.is_difficult[kept],
        is_crowd=example.is_crowd[kept],
        annotated=None,
    )
