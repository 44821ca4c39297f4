"""Whether JPEG and PNG files are whole: both have an end mark, behind which anything may follow."""

import io
import re
from typing import BinaryIO

JPEG_END, PNG_END = b"\xff\xd9", b"\0\0\0\0IEND\xaeB`\x82"
TAIL_SIZE = 4096
BLOCK_SIZE = 1 << 20
PNG_SIGNATURE_SIZE, CHUNK_HEADER, CHECKSUM = 8, 8, 4
# A marker within pixel data is neither 0xFF 0x00 (an escaped byte 0xFF) nor a restart (D0 to D7).
# Any number of bytes 0xFF may stand before it.
MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
END_OF_IMAGE, START_OF_IMAGE = 0xD9, 0xD8


def has_jpeg_end(file: BinaryIO, scan: int) -> bool:
    """Whether a JPEG whose first scan begins at this byte ends with its end mark.

    Videos of motion photos and further images may follow it, of any size.
    """
    tail = _read_tail(file)
    end = tail.rstrip(b"\0")  # cameras and tools pad files with zeros
    is_behind_scan = _size(file) - len(tail) + len(end) - len(JPEG_END) >= scan
    return (end.endswith(JPEG_END) and is_behind_scan) or _next_end(file, scan)


def has_png_end(file: BinaryIO) -> bool:
    """Whether the chunks of a PNG reach its end chunk, which anything may follow."""
    if _read_tail(file).endswith(PNG_END):
        return True
    position, size = PNG_SIGNATURE_SIZE, _size(file)
    while position < size:
        file.seek(position)
        header = file.read(CHUNK_HEADER)
        position += CHUNK_HEADER + int.from_bytes(header[:4], "big") + CHECKSUM
        if header[4:] == b"IEND":
            return position <= size
    return False


def _next_end(file: BinaryIO, position: int) -> bool:
    """Whether pixel data from a byte on, and the segments between scans, reach the end mark."""
    start, block = position, b""
    while True:
        match = MARKER.search(block, max(position - start, 0))
        if match is None:
            # The last byte may begin a marker; a segment may end beyond the block.
            start = max(position, start + len(block) - 1)
            file.seek(start)
            block = file.read(BLOCK_SIZE)
            if len(block) < 2:
                return False
            continue
        if match[1][0] == END_OF_IMAGE:
            return True
        if match[1][0] == START_OF_IMAGE:
            return False  # the next image begins where this one still goes on
        position = start + match.end()
        file.seek(position)
        position += int.from_bytes(file.read(2), "big")


def _read_tail(file: BinaryIO) -> bytes:
    file.seek(max(_size(file) - TAIL_SIZE, 0))
    return file.read(TAIL_SIZE)


def _size(file: BinaryIO) -> int:
    return file.seek(0, io.SEEK_END)
