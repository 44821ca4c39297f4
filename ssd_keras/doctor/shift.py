"""Detects an off-by-one shift of all boxes from those that touch the image border."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from ssd_keras.data.records import DetectionData
from ssd_keras.data.splits import Split
from ssd_keras.doctor.findings import Finding, FindingKind

MIN_BORDER_BOXES = 5
CERTAIN_SHARE = 0.9  # of the boxes at the border: then all boxes of the split can be moved


class BoxShift(NamedTuple):
    """Shift in pixels of the left and top edges (`begin`) and of the right and bottom (`end`)."""

    begin: int
    end: int
    is_certain: bool  # nearly all boxes at the border agree
    messages: list[str]


def border_offsets(data: DetectionData) -> tuple[Counter[int], Counter[int]]:
    """Counts the offsets of boxes from the left and top border, and from the right and bottom."""
    begins: Counter[int] = Counter()
    ends: Counter[int] = Counter()
    for example in data.examples:
        low = example.boxes[:, :2]
        high = low + example.boxes[:, 2:] - np.array([example.width, example.height], np.float64)
        for counter, offsets in ((begins, low), (ends, high)):
            counter.update(np.round(offsets[np.abs(offsets) < 1.5]).astype(int).tolist())
    return begins, ends


def find_shift(data: DetectionData) -> BoxShift:
    """Returns the offset of most boxes at the border, 0 where there are few or they disagree.

    VOC files that count pixels from 0 begin at -1; COCO files with VOC's numbers begin at 1.
    """
    shifts, messages, is_certain = [], [], True
    sides = (("left and top", "0"), ("right and bottom", "the edge"))
    for counter, (where, border) in zip(border_offsets(data), sides, strict=True):
        total = counter.total()
        shift, count = counter.most_common(1)[0] if counter else (0, 0)
        if total < MIN_BORDER_BOXES or 2 * count <= total:
            shift = 0
        shifts.append(shift)
        if shift:
            is_certain &= count >= CERTAIN_SHARE * total
            messages.append(
                f"{count} of {total} boxes at the {where} edges are {shift:+d} pixel from {border}"
            )
    return BoxShift(shifts[0], shifts[1], is_certain, messages)


def shift_findings(split: Split) -> list[Finding]:
    """Returns what `find_shift` finds in a split, with the remedy."""
    shift = find_shift(split.data)
    if shift.is_certain:
        kind = FindingKind.SHIFTED
        remedy = (
            "the file counts pixels from another number than its format does; --fix moves these "
            "edges of all boxes, or convert the data again"
        )
    else:
        kind = FindingKind.PERHAPS_SHIFTED
        remedy = (
            "some files may count pixels from another number than the format does; find them and "
            "convert them again (--fix moves no box, because the others are right)"
        )
    return [Finding(kind, split.name, f"{message}; {remedy}") for message in shift.messages]
