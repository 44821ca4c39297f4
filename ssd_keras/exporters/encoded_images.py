"""Decodes files inside a graph, those alone that its headers show to be right and bounded work."""

from collections.abc import Callable

import tensorflow as tf

from ssd_keras.data.images import DCT_METHOD, turn_upright
from ssd_keras.exporters import image_headers
from ssd_keras.exporters.encoded_bytes import EncodedBytes
from ssd_keras.exporters.exif import orientation


def read_upright(data: tf.Tensor, max_pixels: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the upright RGB pixels of a file, uint8 [H, W, 3], and whether it was decoded.

    A damaged file is an error of the operators.
    """
    content = EncodedBytes(data)
    formats = (
        (b"\xff\xd8\xff", image_headers.jpeg_header, _decode_jpeg),
        (b"\x89PNG\r\n\x1a\n", image_headers.png_header, _decode_png),
        (b"RIFF", image_headers.webp_header, _decode_webp),
        (b"BM", image_headers.bmp_header, _decode),
        (b"GIF8", image_headers.gif_header, _decode),
    )

    def branch(read_header: Callable, decode: Callable) -> Callable:
        return lambda: _decode_readable(read_header(content, max_pixels), decode)

    is_format = tf.stack([content.holds(signature, 0) for signature, _, _ in formats])
    index = tf.where(tf.reduce_any(is_format), tf.argmax(is_format, output_type=tf.int32), -1)
    branches = [branch(read_header, decode) for _, read_header, decode in formats]
    image, exif, is_decoded = tf.switch_case(index, branches, default=_nothing)
    return turn_upright(image, orientation(content, exif)), is_decoded


def _decode_readable(
    header: image_headers.Header, decode: Callable[[tf.Tensor], tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the stored pixels, the position of EXIF data, and whether it was decoded."""

    def read() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        image = decode(header.data)
        image.set_shape([None, None, 3])
        return image, header.exif, tf.constant(True)

    return tf.cond(header.is_readable, read, _nothing)


def _nothing() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    return tf.zeros([0, 0, 3], tf.uint8), tf.int32.max, tf.constant(False)


def _decode_jpeg(data: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_jpeg(data, channels=3, dct_method=DCT_METHOD)


def _decode_png(data: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_png(data, channels=3)


def _decode_webp(data: tf.Tensor) -> tf.Tensor:
    # The operator takes the alpha channel off no WebP.
    return tf.io.decode_image(data, channels=0, expand_animations=False)[..., :3]


def _decode(data: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_image(data, channels=3, expand_animations=False)
