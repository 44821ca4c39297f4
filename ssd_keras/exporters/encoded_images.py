"""Decodes files inside a graph, those alone that its headers show to be right and bounded work."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from ssd_keras.data.images import DCT_METHOD, turn_upright
from ssd_keras.exporters import image_headers
from ssd_keras.exporters.encoded_bytes import EncodedBytes
from ssd_keras.exporters.exif import orientation

FORMATS = (
    (b"\xff\xd8\xff", image_headers.jpeg_header),
    (b"\x89PNG\r\n\x1a\n", image_headers.png_header),
    (b"RIFF", image_headers.webp_header),
    (b"BM", image_headers.bmp_header),
    (b"GIF8", image_headers.gif_header),
)
"""By signature; `decode_upright` has a branch for each, in this order."""
READS_WEBP = hasattr(tf.raw_ops, "DecodeWebP")  # from TensorFlow 2.20 on


class EncodedImage(NamedTuple):
    """An image to decode."""

    format: tf.Tensor  # int32, index in `FORMATS`; -1: it is not decoded
    orientation: tf.Tensor  # int32, 1 to 8
    data: tf.Tensor  # the file's first image


def read_encoded(data: tf.Tensor, max_pixels: int) -> EncodedImage:
    """Reads the header of a file of any content; no operator of this function fails."""
    content = EncodedBytes(data)

    def branch(read_header: Callable) -> Callable:
        return lambda: read_header(content, max_pixels)

    is_format = tf.stack([content.holds(signature, 0) for signature, _ in FORMATS])
    index = tf.where(tf.reduce_any(is_format), tf.argmax(is_format, output_type=tf.int32), -1)
    unknown = image_headers.Header(tf.constant(False), content.size, data)
    branches = [branch(read_header) for _, read_header in FORMATS]
    header = tf.switch_case(index, branches, default=lambda: unknown)
    index = tf.where(header.is_readable, index, -1)
    return EncodedImage(index, orientation(content, header.exif), header.data)


def decode_upright(image: EncodedImage, max_pixels: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the upright RGB pixels, uint8 [H, W, 3], and whether the image was decoded.

    A damaged image is an error of the operators.
    """
    data = image.data

    def decode_jpeg() -> tuple[tf.Tensor, tf.Tensor]:
        return tf.cond(
            image_headers.is_bounded_jpeg(data, max_pixels),
            lambda: _decoded(tf.io.decode_jpeg(data, channels=3, dct_method=DCT_METHOD)),
            _nothing,
        )

    def decode_webp() -> tuple[tf.Tensor, tf.Tensor]:
        if not READS_WEBP:
            return _nothing()
        # The operator takes the alpha channel off no WebP.
        return _decoded(tf.io.decode_image(data, channels=0, expand_animations=False)[..., :3])

    def decode_other() -> tuple[tf.Tensor, tf.Tensor]:
        return _decoded(tf.io.decode_image(data, channels=3, expand_animations=False))

    branches = [decode_jpeg, decode_other, decode_webp, decode_other, decode_other]
    pixels, is_decoded = tf.switch_case(image.format, branches, default=_nothing)
    return turn_upright(pixels, image.orientation), is_decoded


def _decoded(pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    pixels.set_shape([None, None, 3])
    return pixels, tf.constant(True)


def _nothing() -> tuple[tf.Tensor, tf.Tensor]:
    return tf.zeros([0, 0, 3], tf.uint8), tf.constant(False)
