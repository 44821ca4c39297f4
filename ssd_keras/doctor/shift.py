"""Detects an off-by-one shift of all boxes from those that touch the image border."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from ssd_keras.data.records import DetectionData
from ssd_keras.data.splits import Split
from ssd_keras.doctor.findings import Finding

LEAST_EDGE_BOXES = 5
"""So many boxes at the edges are needed to tell that all are shifted."""


CERTAIN_SHARE = 0.9
"""Where so many of them agree, all boxes of the split can be moved."""


class Shift(NamedTuple):
    """By how many pixels a split's boxes begin and end beside the true place.

    `is_certain` says whether nearly all boxes at the edges agree, so that the others can be moved
    with them; `told` has what was seen.
    """

    begin: int
    end: int
    is_certain: bool
    told: list[str]


def edge_counts(data: DetectionData) -> tuple[Counter, Counter]:
    """Where boxes begin that touch the left or top edge, and where those at the others end."""
    begins: Counter = Counter()
    ends: Counter = Counter()
    for example in data.examples:
        sides = np.array([example.width, example.height], np.float64)
        low = example.boxes[:, :2]
        high = low + example.boxes[:, 2:] - sides
        for counter, values in ((begins, low), (ends, high)):
            near = np.round(values[np.abs(values) < 1.5]).astype(int)
            counter.update(near.tolist())
    return begins, ends


def find_shift(data: DetectionData) -> Shift:
    """Whether the boxes as a whole are a pixel off, told by those at the edges.

    VOC files that count pixels from 0 begin at -1; COCO files that took over VOC's numbers begin
    at 1.
    """
    offsets, told, is_certain = [], [], True
    for counter, where, zero in zip(
        edge_counts(data), ("left and top", "right and bottom"), ("0", "the edge"), strict=True
    ):
        total = sum(counter.values())
        offset, count = counter.most_common(1)[0] if counter else (0, 0)
        if total < LEAST_EDGE_BOXES or 2 * count <= total:
            offset = 0
        offsets.append(offset)
        if offset:
            is_certain &= count >= CERTAIN_SHARE * total
            told.append(
                f"{count} of {total} boxes at the {where} edges are {offset:+d} pixel from {zero}"
            )
    return Shift(offsets[0], offsets[1], is_certain, told)


def shift_findings(split: Split) -> list[Finding]:
    """What `find_shift` says of a split, with what to do about it."""
    shift = find_shift(split.data)
    kind, remedy = (
        "boxes shifted by one",
        (
            "pixels were counted from another number than the format's; --fix moves these edges of "
            "all boxes, or convert the data anew"
        ),
    )
    if not shift.is_certain:
        kind, remedy = (
            "boxes perhaps shifted by one",
            (
                "some files may count pixels from another number than the format; find and convert "
                "them anew (--fix moves none, for the others are right)"
            ),
        )
    return [Finding(kind, split.name, f"{what}; {remedy}") for what in shift.told]
