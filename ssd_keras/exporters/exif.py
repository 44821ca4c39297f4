"""The EXIF orientation of a JPEG, read inside a graph: no server has a hook for it."""

import tensorflow as tf

# Cameras write EXIF first; what follows behind so many bytes is not looked for.
HEAD_SIZE = 1 << 17
# Far more than cameras write, and few enough for no file to keep a server busy.
MOST_SEGMENTS = 512
APP1, START_OF_SCAN, FILL = 0xE1, 0xDA, 0xFF
EXIF_MARK = tuple(b"Exif\0\0")
LITTLE_ENDIAN = ord("I")
ORIENTATION_TAG = 0x0112
MOST_ENTRIES, ENTRY_SIZE = 512, 12


def exif_orientation(data: tf.Tensor) -> tf.Tensor:
    """How an image's stored pixels must be turned."""
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(data, 0, HEAD_SIZE), tf.uint8), tf.int32)
    size = tf.size(head)
    head = tf.concat([head, [0]], axis=0)

    def byte(place):
        # What lies behind the end reads as 0.
        return tf.gather(head, tf.clip_by_value(place, 0, size))

    start = _exif_start(byte, size)
    return tf.cond(start < size, lambda: _orientation(byte, start), lambda: tf.constant(1))


def _exif_start(byte, size):
    """Where the EXIF data begin behind their mark, or a place behind the end."""

    def is_exif(place):
        mark = byte(place + 4 + tf.range(len(EXIF_MARK)))
        return (byte(place + 1) == APP1) & tf.reduce_all(mark == tf.constant(EXIF_MARK))

    def goes_on(place):
        is_segment = (byte(place) == 0xFF) & (byte(place + 1) != START_OF_SCAN)
        return (place < size) & is_segment & ~is_exif(place)

    def next_segment(place):
        behind = place + 2 + byte(place + 2) * 256 + byte(place + 3)
        # Any number of bytes may fill the room before a marker.
        return (tf.where(byte(place + 1) == FILL, place + 1, behind),)

    start = [tf.constant(2)]
    (place,) = tf.while_loop(goes_on, next_segment, start, maximum_iterations=MOST_SEGMENTS)
    return tf.where(is_exif(place), place + 4 + len(EXIF_MARK), size)


def _orientation(byte, start):
    """The entry of the first directory, which TIFF lays out in either order of bytes."""
    is_little = byte(start) == LITTLE_ENDIAN

    def number(place, num_bytes):
        value = tf.zeros_like(place)
        for offset in range(num_bytes):
            shift = tf.where(is_little, offset, num_bytes - 1 - offset) * 8
            value += tf.bitwise.left_shift(byte(place + offset), shift)
        return value

    directory = start + number(start + 4, 4)
    count = tf.minimum(number(directory, 2), MOST_ENTRIES)
    entries = directory + 2 + ENTRY_SIZE * tf.range(count)
    is_orientation = number(entries, 2) == ORIENTATION_TAG
    value = tf.reduce_max(tf.where(is_orientation, number(entries + 8, 2), 1))
    return tf.where((count > 0) & (value >= 1) & (value <= 8), value, 1)
