"""Detects JPEGs whose pixel data end early; decoders fill up the rest without an error."""

import io
import sys
from typing import NamedTuple

import numpy as np
from PIL import Image

from ssd_keras.core.image_ends import END_OF_IMAGE, MARKER
from ssd_keras.core.images import open_image

FRAMES = range(0xC0, 0xD0)
NOT_FRAMES = (0xC4, 0xC8, 0xCC)  # Huffman tables, reserved, arithmetic conditioning
SUPPORTED_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended sequential, progressive
START_OF_SCAN = 0xDA
FILLER = bytes(range(1, 251))
BLOCK_SIDE = 8
# The last row of blocks and the one that its colours reach may be missing: some cameras leave out
# the last bits, which are not visible.
TOLERATED_ROWS = 17


class PixelData(NamedTuple):
    """The byte at which a JPEG's pixel data end, and whether they come in several scans."""

    end: int
    has_several_scans: bool


def missing_row_share(data: bytes, image: Image.Image) -> float:
    """Returns the share of a JPEG's rows (0..1) whose pixel data are missing or incomplete.

    A file that was cut and then closed with an end marker decodes to its last row: grey, or in a
    progressive file blurred, where data are missing. Bytes inserted before the end marker reveal
    it: a decoder that has all its pixels skips them; one that still waits for some decodes them.
    """
    pixels = find_pixel_data(data)
    if pixels is None or not (pixels.has_several_scans or _ends_flat(image)):
        return 0.0
    filled = data[: pixels.end] + FILLER + data[pixels.end :]
    other, _ = open_image(io.BytesIO(filled), sys.maxsize)
    differs = (np.asarray(image) != np.asarray(other)).reshape(image.height, -1)
    rows = np.flatnonzero(differs.any(axis=1))
    missing = image.height - int(rows[0]) if len(rows) else 0
    return missing / image.height if missing > TOLERATED_ROWS else 0.0


def find_pixel_data(data: bytes) -> PixelData | None:
    """Returns None without an end marker, and for frames that are not Huffman-coded."""
    position, num_scans, frame = 2, 0, 0
    while match := MARKER.search(data, position):
        marker, position = match[1][0], match.end()
        if marker == END_OF_IMAGE:
            is_supported = num_scans and frame in SUPPORTED_FRAMES
            end = len(data[: match.start()].rstrip(b"\xff"))  # without fill bytes
            return PixelData(end, num_scans > 1) if is_supported else None
        if marker in FRAMES and marker not in NOT_FRAMES:
            frame = marker
        num_scans += marker == START_OF_SCAN
        position += int.from_bytes(data[position : position + 2], "big")
    return None


def _ends_flat(image: Image.Image) -> bool:
    """Returns whether the last block has a single colour, as a block without data has."""
    width, height = image.size
    box = (max(0, width - BLOCK_SIDE), max(0, height - BLOCK_SIDE), width, height)
    block = np.asarray(image.crop(box))
    return bool((block == block[-1, -1]).all())
