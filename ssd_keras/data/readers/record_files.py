"""Reads TFRecord files and `tf.train.Example` messages without TensorFlow, which takes seconds."""

import os
import struct
from collections.abc import Iterator

from google.protobuf.message import DecodeError
from google_crc32c import value as crc32c

from ssd_keras.core.protobuf import Schema, message_class
from ssd_keras.data.problems import BadDataError, ProblemKind

# A record: its length (8 bytes) and the length's checksum (4), the content, its checksum (4).
RECORD_HEADER, RECORD_FOOTER = 12, 4
MASK_DELTA = 0xA282EAD8  # TFRecords store checksums turned and shifted by this
GZIP_MARK = b"\x1f\x8b"
ZLIB_MARK = 0x78
# A map is a list of its entries on the wire. Keys are bytes: files may hold any.
EXAMPLE: Schema = {
    "Example": (("features", 1, "Features", False),),
    "Features": (("feature", 1, "Entry", True),),
    "Entry": (("key", 1, "bytes", False), ("value", 2, "Feature", False)),
    "Feature": (
        ("bytes_list", 1, "BytesList", False),
        ("float_list", 2, "FloatList", False),
        ("int64_list", 3, "Int64List", False),
    ),
    "BytesList": (("value", 1, "bytes", True),),
    "FloatList": (("value", 1, "float", True),),
    "Int64List": (("value", 1, "int64", True),),
}
ExampleMessage = message_class("ssd_keras_example", EXAMPLE, "Example")


class Features:
    """The features of a `tf.train.Example` by name."""

    def __init__(self, record: bytes) -> None:
        try:
            entries = ExampleMessage.FromString(record).features.feature
        except DecodeError as error:
            raise BadDataError(ProblemKind.BAD_RECORD, "another content") from error
        self._features = {entry.key: entry.value for entry in entries}

    def bytes(self, name: str) -> list[bytes]:
        """Returns the byte strings of a feature, none where it is absent."""
        feature = self._features.get(name.encode())
        return [] if feature is None else list(feature.bytes_list.value)

    def texts(self, name: str) -> list[str]:
        """Returns the texts of a feature; bytes that are not UTF-8 are replaced."""
        return [text.decode("utf-8", "replace") for text in self.bytes(name)]

    def numbers(self, name: str) -> list[float]:
        """Returns the numbers of a feature; tools disagree on whether they are whole."""
        feature = self._features.get(name.encode())
        if feature is None:
            return []
        return list(feature.float_list.value) or list(feature.int64_list.value)


def iterate_records(path: str) -> Iterator[tuple[int, bytes]]:
    """Yields offset and content of each record of a TFRecord file, with verified checksums."""
    offset, size = 0, os.path.getsize(path)
    with open(path, "rb") as file:
        number = 0
        while offset < size:
            head = file.read(RECORD_HEADER)
            length = _length(head)
            if number == 0:
                _check_compression(head, is_record=length is not None)
            end = offset + RECORD_HEADER + (length or 0) + RECORD_FOOTER
            content = b"" if length is None or end > size else file.read(length)
            if not content and length != 0 or not _is_intact(content, file.read(RECORD_FOOTER)):
                detail = f"damaged after record {number} (byte {offset})"
                raise BadDataError(ProblemKind.DAMAGED_FILE, detail)
            yield offset + RECORD_HEADER, content
            offset, number = end, number + 1


def record_offsets(path: str) -> list[int]:
    """Returns where the records of a TFRecord file begin, without reading their contents."""
    offsets, offset, size = [], 0, os.path.getsize(path)
    with open(path, "rb") as file:
        while len(head := file.read(RECORD_HEADER)) == RECORD_HEADER:
            (length,) = struct.unpack("<Q", head[:8])
            end = offset + RECORD_HEADER + length + RECORD_FOOTER
            if end > size:
                break
            offsets.append(offset)
            offset = end
            file.seek(offset)
    return offsets


def record_starts(path: str) -> list[int]:
    """Returns where records begin, of a damaged file also where it does not go on.

    Contents are not read; `read_record` says what is wrong with them.
    """
    starts, start, size = [], 0, os.path.getsize(path)
    with open(path, "rb") as file:
        while start < size:
            starts.append(start)
            file.seek(start)
            length = _length(file.read(RECORD_HEADER))
            if length is None:
                break
            start += RECORD_HEADER + length + RECORD_FOOTER
    return starts


def read_record(path: str, start: int) -> bytes:
    """Returns the content of the record that begins at a byte, with verified checksums."""
    with open(path, "rb") as file:
        file.seek(start)
        head = file.read(RECORD_HEADER)
        length = _length(head)
        if start == 0:
            _check_compression(head, is_record=length is not None)
        content = file.read(min(length or 0, os.path.getsize(path)))
        if length is None or not _is_intact(content, file.read(RECORD_FOOTER)):
            raise BadDataError(ProblemKind.DAMAGED_FILE, f"damaged from byte {start} on")
    return content


def _length(head: bytes) -> int | None:
    """Returns the length that the head of a record has, or None where it is damaged."""
    if len(head) < RECORD_HEADER or not _is_intact(head[:8], head[8:]):
        return None
    return int(struct.unpack("<Q", head[:8])[0])


def _is_intact(content: bytes, checksum: bytes) -> bool:
    crc = crc32c(content)
    turned = (crc >> 15 | crc << 17) + MASK_DELTA & 0xFFFFFFFF
    return checksum == struct.pack("<I", turned)


def _check_compression(head: bytes, is_record: bool) -> None:
    if is_record:
        return
    if head.startswith(GZIP_MARK):
        detail = "compressed with gzip (decompress it with gunzip)"
        raise BadDataError(ProblemKind.DAMAGED_FILE, detail)
    # The first two bytes of zlib's format are a multiple of 31.
    if head[:1] == bytes([ZLIB_MARK]) and int.from_bytes(head[:2], "big") % 31 == 0:
        detail = "compressed with zlib (write it again without compression_type)"
        raise BadDataError(ProblemKind.DAMAGED_FILE, detail)
