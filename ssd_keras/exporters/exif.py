"""The EXIF orientation of a JPEG, read inside a graph: servers have no hook for it."""

from collections.abc import Callable

import tensorflow as tf

# Cameras write EXIF first; the search ends after these bytes and segments, far more than cameras
# write and few enough for no file to keep a server busy.
MAX_BYTES = 1 << 17
MAX_SEGMENTS = 512
MAX_ENTRIES, ENTRY_SIZE = 512, 12
APP1, START_OF_SCAN, FILL = 0xE1, 0xDA, 0xFF
EXIF_MARK = tuple(b"Exif\0\0")
LITTLE_ENDIAN = ord("I")
ORIENTATION_TAG = 0x0112

ByteAt = Callable[[tf.Tensor], tf.Tensor]
"""Returns the bytes at positions, 0 beyond the end."""


def exif_orientation(data: tf.Tensor) -> tf.Tensor:
    """Returns the EXIF orientation of an encoded image, 1..8; 1 where it has none."""
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(data, 0, MAX_BYTES), tf.uint8), tf.int32)
    size = tf.size(head)
    head = tf.concat([head, [0]], axis=0)

    def byte_at(position: tf.Tensor) -> tf.Tensor:
        return tf.gather(head, tf.clip_by_value(position, 0, size))

    start = _exif_start(byte_at, size)
    return tf.cond(start < size, lambda: _orientation(byte_at, start), lambda: tf.constant(1))


def _exif_start(byte_at: ByteAt, size: tf.Tensor) -> tf.Tensor:
    """Returns the position behind the EXIF mark, or `size` or more where there is none."""

    def is_exif(position: tf.Tensor) -> tf.Tensor:
        mark = byte_at(position + 4 + tf.range(len(EXIF_MARK)))
        return (byte_at(position + 1) == APP1) & tf.reduce_all(mark == tf.constant(EXIF_MARK))

    def goes_on(position: tf.Tensor) -> tf.Tensor:
        is_segment = (byte_at(position) == 0xFF) & (byte_at(position + 1) != START_OF_SCAN)
        return (position < size) & is_segment & ~is_exif(position)

    def next_segment(position: tf.Tensor) -> tuple[tf.Tensor]:
        end = position + 2 + byte_at(position + 2) * 256 + byte_at(position + 3)
        # Any number of fill bytes may stand before a marker.
        return (tf.where(byte_at(position + 1) == FILL, position + 1, end),)

    start = [tf.constant(2)]
    (position,) = tf.while_loop(goes_on, next_segment, start, maximum_iterations=MAX_SEGMENTS)
    return tf.where(is_exif(position), position + 4 + len(EXIF_MARK), size)


def _orientation(byte_at: ByteAt, start: tf.Tensor) -> tf.Tensor:
    """Reads the orientation from the first directory of a TIFF header, in either byte order."""
    is_little = byte_at(start) == LITTLE_ENDIAN

    def number(position: tf.Tensor, num_bytes: int) -> tf.Tensor:
        value = tf.zeros_like(position)
        for offset in range(num_bytes):
            shift = tf.where(is_little, offset, num_bytes - 1 - offset) * 8
            value += tf.bitwise.left_shift(byte_at(position + offset), shift)
        return value

    directory = start + number(start + 4, 4)
    count = tf.minimum(number(directory, 2), MAX_ENTRIES)
    entries = directory + 2 + ENTRY_SIZE * tf.range(count)
    is_orientation = number(entries, 2) == ORIENTATION_TAG
    value = tf.reduce_max(tf.where(is_orientation, number(entries + 8, 2), 1))
    return tf.where((count > 0) & (value >= 1) & (value <= 8), value, 1)
