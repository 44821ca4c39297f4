"""Headers of encoded images, read inside a graph: whether and how a server decodes a file.

It does so only where the header shows that this takes bounded work and gives the pixels that
image viewers show.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from ssd_keras.exporters.encoded_bytes import EncodedBytes
from ssd_keras.exporters.exif import jpeg_exif, png_exif, webp_exif

# A progressive JPEG has about 10 scans, and its thumbnails have some. A scan of a few bytes makes
# a decoder pass over all pixels.
MAX_SCANS = 32  # of an image with `max_pixels`; smaller ones may have more
SCAN_MARK = b"\xff\xda"
SCAN_ENDS = [bytes([0, 6 + 2 * number, number]) for number in (1, 2, 3, 4)]
ADOBE_MARK = b"\xff\xee\0\x0eAdobe"
MAX_TEXTS = 32  # in a PNG: a decoder takes 30 ms for a compressed text of 8 kB
TEXT_MARKS = (b"zTXt", b"iTXt")
MAX_GIF_BLOCKS = 1 << 15  # of up to 255 bytes, in the first image and before it
GIF_EXTENSION, GIF_IMAGE, GIF_END = 0x21, 0x2C, b";"
BMP_UNCOMPRESSED, BMP_MASKS = 0, 3
MASKS = bytes.fromhex("0000ff00 00ff0000 ff000000")  # blue, green, red, as TensorFlow expects
WEBP_ANIMATION = 0x02


class Header(NamedTuple):
    """What is known of an encoded image before it is decoded."""

    is_readable: tf.Tensor  # bool
    exif: tf.Tensor  # position of EXIF data; beyond the end where there are none
    data: tf.Tensor  # the file's first image


def jpeg_header(content: EncodedBytes, max_pixels: int) -> Header:
    """Reads a JPEG, all but what `is_bounded_jpeg` says."""
    return Header(tf.constant(True), jpeg_exif(content), content.data)


def is_bounded_jpeg(data: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Whether decoding a JPEG is bounded work and right; a damaged one is an error."""
    height, width, channels = tf.unstack(tf.io.extract_jpeg_shape(data, tf.int64))
    num_scans = _count(data, SCAN_MARK, SCAN_ENDS)
    is_bounded = height * width * num_scans <= MAX_SCANS * max_pixels
    # TensorFlow takes all inks for inverted, as Adobe writes them.
    has_colors = (channels < 4) | (_count(data, ADOBE_MARK) > 0)
    return _has_pixels(width, height, max_pixels) & is_bounded & has_colors


def png_header(content: EncodedBytes, max_pixels: int) -> Header:
    """Reads a PNG."""
    width, height = content.number(16, 4, False), content.number(20, 4, False)
    num_texts = sum(_count(content.data, mark) for mark in TEXT_MARKS)
    is_bounded = content.holds(b"IHDR", 12) & (num_texts <= MAX_TEXTS)
    is_readable = is_bounded & _has_pixels(width, height, max_pixels)
    return Header(is_readable, png_exif(content), content.data)


def webp_header(content: EncodedBytes, max_pixels: int) -> Header:
    """Reads a WebP: lossy, lossless, or with alpha, metadata or both, but no animation."""
    lossy, lossless = (content.number(position, 4, True) for position in (26, 21))
    extended = [1 + content.number(position, 3, True) for position in (24, 27)]
    kinds = (
        (b"VP8 ", [lossy & 0x3FFF, lossy // 65536 & 0x3FFF]),
        (b"VP8L", [1 + (lossless & 0x3FFF), 1 + (lossless // 16384 & 0x3FFF)]),
        (b"VP8X", extended),
    )
    size = sum(tf.where(content.holds(kind, 12), sides, 0) for kind, sides in kinds)
    is_animation = content.holds(b"VP8X", 12) & (content.number(20, 1, True) & WEBP_ANIMATION > 0)
    is_still = content.holds(b"WEBP", 8) & ~is_animation
    is_readable = _has_pixels(size[0], size[1], max_pixels) & is_still
    return Header(is_readable, webp_exif(content), content.data)


def bmp_header(content: EncodedBytes, max_pixels: int) -> Header:
    """Reads a BMP of 24 or 32 bits, or of 8 bits in grey; TensorFlow ignores other palettes."""
    header_size, width, height, compression, num_colors = (
        content.number(position, 4, True) for position in (14, 18, 22, 30, 46)
    )
    bits = content.number(28, 2, True)
    levels = tf.range(256)[:, None]
    palette = content.at(14 + header_size + 4 * levels + tf.range(3))
    is_grey = (bits == 8) & (num_colors % 256 == 0) & tf.reduce_all(palette == levels)
    is_usual = (bits == 24) | is_grey | (bits == 32)
    has_masks = (compression == BMP_MASKS) & (bits == 32) & content.holds(MASKS, 54)
    is_plain = is_usual & (compression == BMP_UNCOMPRESSED)
    # A header of 12 bytes, of OS/2, has other fields.
    is_readable = (header_size >= 40) & (is_plain | has_masks)
    return Header(
        is_readable & _has_pixels(width, tf.abs(height), max_pixels), content.size, content.data
    )


def gif_header(content: EncodedBytes, max_pixels: int) -> Header:
    """Reads a GIF whose first image fills it."""
    width, height = content.number(6, 2, True), content.number(8, 2, True)
    start = 13 + _table_size(content, 10)
    image = _skip_gif_blocks(content, start, False)
    edges = content.number(image + 1 + 2 * tf.range(4), 2, True)  # left, top, width, height
    fills = tf.reduce_all(edges == tf.stack([0, 0, width, height]))
    end = _skip_gif_blocks(content, image + 11 + _table_size(content, image + 9), True)
    is_whole = (content.at(image) == GIF_IMAGE) & (end <= content.size)
    # A decoder would read all images, each of which may claim any size. Extensions may call a
    # colour transparent, which TensorFlow makes black.
    first = tf.cond(
        is_whole,
        lambda: tf.strings.join(
            [
                tf.strings.substr(content.data, 0, start),
                tf.strings.substr(content.data, image, end - image),
                GIF_END,
            ]
        ),
        lambda: content.data,
    )
    is_readable = fills & is_whole & _has_pixels(width, height, max_pixels)
    return Header(is_readable, content.size, first)


def _table_size(content: EncodedBytes, position: tf.Tensor | int) -> tf.Tensor:
    """Returns the bytes of a GIF's colour table by the flags at a position."""
    flags = content.number(position, 1, True)
    return tf.where(flags & 0x80 > 0, 3 * tf.bitwise.left_shift(2, flags & 7), 0)


def _skip_gif_blocks(content: EncodedBytes, start: tf.Tensor, is_data: bool) -> tf.Tensor:
    """Returns the position behind a chain of data blocks, if there is one, and extensions.

    Beyond the end of the file where they reach there or are too many.
    """

    def goes_on(position: tf.Tensor, is_data: tf.Tensor) -> tf.Tensor:
        is_extension = content.at(position) == GIF_EXTENSION
        return (position < content.size) & (is_data | is_extension)

    def following(position: tf.Tensor, is_data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        length = content.at(position)  # 0 ends a chain
        return position + tf.where(is_data, 1 + length, 2), ~is_data | (length > 0)

    position, is_inside = tf.while_loop(
        goes_on, following, [start, tf.constant(is_data)], maximum_iterations=MAX_GIF_BLOCKS
    )
    return tf.where(is_inside, content.size + 1, position)


def _has_pixels(width: tf.Tensor, height: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Whether an image has 1 to `max_pixels` pixels."""
    width, height = tf.cast(width, tf.int64), tf.cast(height, tf.int64)
    return (width > 0) & (height > 0) & (width * height <= max_pixels)


def _count(data: tf.Tensor, mark: bytes, ends: Sequence[bytes] = (b"",)) -> tf.Tensor:
    """Counts the places of a mark that one of the ends, all of one length, follows."""
    parts = tf.raw_ops.StringSplitV2(input=[data], sep=mark, maxsplit=-1).values[1:]
    heads = tf.strings.substr(parts, 0, len(ends[0]))
    is_mark = tf.reduce_any(heads[:, None] == tf.constant(ends), axis=1)
    return tf.math.count_nonzero(is_mark)
