"""The orientation of an encoded image, of EXIF or XMP, read inside a graph."""

from collections.abc import Callable

import tensorflow as tf

from ssd_keras.exporters.encoded_bytes import EncodedBytes

# Far more than cameras write, and few enough for no file to keep a server busy.
MAX_SEGMENTS = 512
MAX_ENTRIES, ENTRY_SIZE = 512, 12
MARK = b"Exif\0\0"
LITTLE_ENDIAN = ord("I")
ORIENTATION_TAG = 0x0112
XMP_NAME = b"tiff:Orientation"
LONG = 4  # the type of a number of 4 bytes; the usual one has 2
APP1, START_OF_SCAN, FILL = 0xE1, 0xDA, 0xFF
WEBP_HAS_EXIF = 0x08

OfHead = Callable[[tf.Tensor], tf.Tensor]


def jpeg_exif(content: EncodedBytes) -> tf.Tensor:
    """Returns the position of a JPEG's EXIF data, in its segment APP1."""

    def is_exif(head: tf.Tensor) -> tf.Tensor:
        return (head[1] == APP1) & tf.reduce_all(head[4:] == list(MARK))

    def goes_on(head: tf.Tensor) -> tf.Tensor:
        return (head[0] == 0xFF) & (head[1] != START_OF_SCAN)

    def length(head: tf.Tensor) -> tf.Tensor:
        # Any number of fill bytes may stand before a marker.
        return tf.where(head[1] == FILL, 1, 2 + head[2] * 256 + head[3])

    return 4 + _find(content, 2, 4 + len(MARK), is_exif, goes_on, length)


def png_exif(content: EncodedBytes) -> tf.Tensor:
    """Returns the position of a PNG's EXIF data, in its chunk eXIf before the pixels."""

    def is_exif(head: tf.Tensor) -> tf.Tensor:
        return tf.reduce_all(head[4:] == list(b"eXIf"))

    def goes_on(head: tf.Tensor) -> tf.Tensor:
        return tf.reduce_any(head[4:] != list(b"IDAT"))

    def length(head: tf.Tensor) -> tf.Tensor:
        return 12 + tf.reduce_sum(head[:4] * [1 << 24, 1 << 16, 1 << 8, 1])

    return 8 + _find(content, 8, 8, is_exif, goes_on, length)


def webp_exif(content: EncodedBytes) -> tf.Tensor:
    """Returns the position of a WebP's EXIF data, in its chunk EXIF, which ends the file."""
    has_exif = content.holds(b"VP8X", 12) & (content.number(20, 1, True) & WEBP_HAS_EXIF > 0)

    def is_exif(head: tf.Tensor) -> tf.Tensor:
        return tf.reduce_all(head[:4] == list(b"EXIF"))

    def goes_on(head: tf.Tensor) -> tf.Tensor:
        return has_exif

    def length(head: tf.Tensor) -> tf.Tensor:
        num_bytes = tf.reduce_sum(head[4:] * [1, 1 << 8, 1 << 16, 1 << 24])
        return 8 + num_bytes + num_bytes % 2

    return 8 + _find(content, 12, 8, is_exif, goes_on, length)


def _find(
    content: EncodedBytes,
    start: int,
    head_size: int,
    is_wanted: OfHead,
    goes_on: OfHead,
    length: OfHead,
) -> tf.Tensor:
    """Returns the position of the wanted segment, or the size where there is none.

    Its functions take the first bytes of a segment.
    """

    def is_between(position: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
        return (position < content.size) & goes_on(first) & ~is_wanted(first)

    def following(position: tf.Tensor, first: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        position += length(first)
        return position, content.some(position, head_size)

    position, first = tf.while_loop(
        is_between,
        following,
        [tf.constant(start), content.some(start, head_size)],
        maximum_iterations=MAX_SEGMENTS,
    )
    return tf.where(is_wanted(first), position, content.size)


def orientation(content: EncodedBytes, start: tf.Tensor) -> tf.Tensor:
    """Returns the orientation, 1 to 8: of the EXIF data at a position, else of XMP, else 1."""
    # A JPEG's data begin with a mark, those of a PNG should not, those of a WebP may.
    start += tf.where(content.holds(MARK, start), len(MARK), 0)
    value = tf.cond(start < content.size, lambda: _entry(content, start), lambda: tf.constant(0))
    value = tf.cond(value > 0, lambda: value, lambda: _xmp_orientation(content))
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _entry(content: EncodedBytes, start: tf.Tensor) -> tf.Tensor:
    """Reads the orientation from the first directory of a TIFF header; 0 where there is none."""
    is_little = content.at(start) == LITTLE_ENDIAN
    directory = start + content.number(start + 4, 4, is_little)
    count = tf.minimum(content.number(directory, 2, is_little), MAX_ENTRIES)
    entries = directory + 2 + ENTRY_SIZE * tf.range(count)
    is_orientation = content.number(entries, 2, is_little) == ORIENTATION_TAG
    # The low bytes of a long number, which stand behind the high ones or before them.
    is_behind = (content.number(entries + 2, 2, is_little) == LONG) & ~is_little
    values = content.number(entries + tf.where(is_behind, 10, 8), 2, is_little)
    return tf.reduce_max(tf.concat([tf.where(is_orientation, values, 0), [0]], axis=0))


def _xmp_orientation(content: EncodedBytes) -> tf.Tensor:
    """Reads the orientation in XMP, an attribute or an element; another number without any."""
    before = tf.raw_ops.StringSplitV2(input=[content.data], sep=XMP_NAME, maxsplit=1).values
    start = tf.strings.length(before[0]) + len(XMP_NAME)
    is_element = content.holds(b">", start)
    digit = content.at(start + tf.where(is_element, 1, 2)) - ord("0")
    return tf.where(is_element | content.holds(b'="', start), digit, 0)
