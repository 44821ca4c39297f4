"""JPEGs whose pixels end too early, which decoders fill up without a word."""

import io
import re
from typing import NamedTuple

import numpy as np
from PIL import Image

MARK = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
"""What is neither a byte of the pixels (0xFF is written as 0xFF 0x00) nor a restart among them."""
SEQUENTIAL_FRAMES, PROGRESSIVE_FRAME = (0xC0, 0xC1), 0xC2
START_OF_SCAN, END = 0xDA, 0xD9
FILLER = bytes(range(1, 251))
CORNER = 8
"""Pixels of a block."""
MOST_LOST = 17
"""Rows that do not count, the last row of blocks and the one that its colours reach: some cameras
leave away the last bits, which nobody sees."""


class Pixels(NamedTuple):
    """The byte at which a JPEG's pixels end, and whether they come in several scans."""

    end: int
    has_scans: bool


def missing_share(data: bytes, image: Image.Image) -> float:
    """The share of a JPEG's rows for which it has no data, or not all.

    A file that was cut and then closed with an end mark decodes to its last row: grey, or in a
    progressive file blurred, where data lack. Bytes put in before the end mark tell. A decoder that
    has all its pixels passes over them; one that still waits for some takes them for pixels.
    """
    pixels = find_pixels(data)
    if pixels is None or not (pixels.has_scans or _ends_flat(image)):
        return 0.0
    filled = data[: pixels.end] + FILLER + data[pixels.end :]
    with Image.open(io.BytesIO(filled)) as other:
        differs = (np.asarray(image) != np.asarray(other)).reshape(image.height, -1)
    rows = np.flatnonzero(differs.any(axis=1))
    lost = image.height - int(rows[0]) if len(rows) else 0
    return lost / image.height if lost > MOST_LOST else 0.0


def find_pixels(data: bytes) -> Pixels | None:
    """Where a JPEG's pixels end."""
    place, scans, frame = 2, 0, 0
    while match := MARK.search(data, place):
        mark, place = match[1][0], match.end()
        if mark == END:
            is_known = scans and frame in (*SEQUENTIAL_FRAMES, PROGRESSIVE_FRAME)
            return Pixels(match.start(), scans > 1) if is_known else None
        if 0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC):
            frame = mark
        scans += mark == START_OF_SCAN
        place += int.from_bytes(data[place : place + 2], "big")
    return None


def _ends_flat(image: Image.Image) -> bool:
    """Whether the last block is of one colour, as one without data is."""
    width, height = image.size
    box = (max(0, width - CORNER), max(0, height - CORNER), width, height)
    corner = np.asarray(image.crop(box))
    return bool((corner == corner[-1, -1]).all())
