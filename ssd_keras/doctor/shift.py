"""Detects an off-by-one shift of all boxes from those that touch the image border."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssd_keras.data.records import DetectionData
from ssd_keras.data.splits import Split
from ssd_keras.doctor.findings import Finding, FindingKind

MIN_BORDER_BOXES = 5
CERTAIN_SHARE = 0.9  # of the boxes at the border: then all boxes can be moved
# Objects that the border cuts pile up at it; a box lies at any other pixel by chance.
STRIP = 9  # pixels
MIN_PILE = 3.0  # times the mean number of boxes at a pixel of the strip
EDGES = (("left and top", "0"), ("right and bottom", "the edge"))

Offsets = tuple[Counter[int], Counter[int]]  # of left and top edges, of right and bottom edges


class EdgeShift(NamedTuple):
    """Offset of most boxes at two borders in pixels; None where few boxes lie there."""

    offset: int | None
    agreeing: int  # boxes of this offset
    total: int

    @property
    def is_certain(self) -> bool:
        return self.agreeing >= CERTAIN_SHARE * self.total

    @property
    def is_possible(self) -> bool:
        """Whether no more boxes disagree than a box by chance, or a tenth."""
        return self.total - self.agreeing <= max(1, (1 - CERTAIN_SHARE) * self.total)


class BoxShift(NamedTuple):
    """Shift in pixels of the left and top edges (`begin`) and of the right and bottom (`end`)."""

    begin: int
    end: int
    is_certain: bool  # nearly all boxes at the border agree
    splits: tuple[str, ...]  # that were judged together
    messages: tuple[str, ...]


def border_offsets(data: DetectionData) -> Offsets:
    """Counts the offsets of boxes from the left and top border, and from the right and bottom.

    Boxes farther than `STRIP` pixels from a border do not count.
    """
    begins: Counter[int] = Counter()
    ends: Counter[int] = Counter()
    for example in data.examples:
        low = example.boxes[:, :2]
        high = low + example.boxes[:, 2:] - np.array([example.width, example.height], np.float64)
        for counter, offsets in ((begins, low), (ends, high)):
            rounded = np.round(offsets).astype(int)
            counter.update(rounded[np.abs(rounded) <= STRIP].tolist())
    return begins, ends


def find_shifts(splits: Sequence[Split]) -> list[BoxShift]:
    """Returns the shift of each split's boxes, 0 where few lie at the border or they disagree.

    VOC files that count pixels from 0 begin at -1; COCO files with VOC's numbers begin at 1. One
    tool wrote all splits of a source, so they are judged together: moved all or none. Where one of
    them says otherwise, each is judged alone.
    """
    found: dict[int, BoxShift] = {}
    for source in dict.fromkeys(split.source for split in splits):
        rows = [row for row, split in enumerate(splits) if split.source == source]
        shifts = _shifts_of_source([splits[row] for row in rows])
        found |= zip(rows, shifts, strict=True)
    return [found[row] for row in range(len(splits))]


def shift_findings(splits: Sequence[Split]) -> list[Finding]:
    """Returns what `find_shifts` finds, with the remedy."""
    return [
        Finding(
            FindingKind.SHIFTED if shift.is_certain else FindingKind.PERHAPS_SHIFTED,
            ", ".join(shift.splits),
            message,
        )
        for shift in dict.fromkeys(find_shifts(splits))
        for message in shift.messages
    ]


def _shifts_of_source(splits: Sequence[Split]) -> list[BoxShift]:
    names = [split.name for split in splits]
    offsets = [border_offsets(split.data) for split in splits]
    alone = [[_edge_shift(counter) for counter in each] for each in offsets]
    together = [_edge_shift(sum(each, Counter())) for each in zip(*offsets, strict=True)]
    pairs = [pair for edges in alone for pair in zip(edges, together, strict=True)]
    if all(each.offset in (None, united.offset) for each, united in pairs):
        is_possible = all(each.is_possible for each, _ in pairs if each.offset)
        return [_box_shift(names, together, is_possible)] * len(splits)
    told = ", ".join(f"{name} {_signs(edges)}" for name, edges in zip(names, alone, strict=True))
    remark = f"; the splits differ ({told}), so each is judged alone"
    return [
        _box_shift([name], edges, True, remark) for name, edges in zip(names, alone, strict=True)
    ]


def _edge_shift(offsets: Counter[int]) -> EdgeShift:
    at_border = Counter({pixel: offsets[pixel] for pixel in (-1, 0, 1)})
    total = at_border.total()
    if total < MIN_BORDER_BOXES:
        return EdgeShift(None, 0, total)
    offset, count = at_border.most_common(1)[0]
    by_chance = (offsets.total() - total) / (STRIP - 1)
    is_pile = 2 * count > total and count > MIN_PILE * by_chance
    return EdgeShift(offset if is_pile else 0, count, total)


def _box_shift(
    names: Sequence[str], edges: Sequence[EdgeShift], is_possible: bool, remark: str = ""
) -> BoxShift:
    is_certain = is_possible and all(edge.is_certain for edge in edges if edge.offset)
    messages = tuple(
        f"{edge.agreeing} of {edge.total} boxes at the {where} edges are {edge.offset:+d} pixel "
        f"from {border}{remark}"
        for edge, (where, border) in zip(edges, EDGES, strict=True)
        if edge.offset
    )
    begin, end = (edge.offset or 0 for edge in edges)
    return BoxShift(begin, end, is_certain, tuple(names), messages)


def _signs(edges: Sequence[EdgeShift]) -> str:
    """Returns the offsets of both pairs of edges, such as "-1/0"; "?" where few boxes lie there."""
    return "/".join("?" if edge.offset is None else f"{edge.offset:+d}" for edge in edges)
