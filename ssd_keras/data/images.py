"""Decodes, turns and resizes images as tensors, inside graphs."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from ssd_keras.data.records import Example

# TensorFlow's default is a fast approximation, one grey level off on average and up to 20; this
# method gives the pixels of Pillow and OpenCV, for 5 to 20 % more time.
DCT_METHOD = "INTEGER_ACCURATE"

JPEG_RATIOS = (1, 2, 4, 8)  # possible reductions of a JPEG while it is decoded


def is_jpeg(data: tf.Tensor) -> tf.Tensor:
    """Whether encoded bytes begin as a JPEG does."""
    return tf.strings.substr(data, 0, 3) == b"\xff\xd8\xff"


def decode_image(data: tf.Tensor, orientation: int | tf.Tensor = 1) -> tf.Tensor:
    """Decodes an image of any colour model to RGB uint8 [H, W, 3] and turns it upright."""
    image = tf.cond(
        is_jpeg(data),
        lambda: tf.io.decode_jpeg(data, channels=3, dct_method=DCT_METHOD),
        lambda: tf.io.decode_image(data, channels=3, expand_animations=False),
    )
    image.set_shape([None, None, 3])
    return turn_upright(image, orientation)


def turn_upright(image: tf.Tensor, orientation: int | tf.Tensor) -> tf.Tensor:
    """Turns stored pixels as their EXIF orientation, 1 to 8, says."""
    orientation = tf.convert_to_tensor(orientation)
    is_transposed = orientation >= 5
    # After a transpose, the mirrorings that remain are those of the upright image's axes.
    from_right = (orientation == 2) | (orientation == 3) | (orientation == 6) | (orientation == 7)
    from_below = (orientation == 3) | (orientation == 4) | (orientation == 7) | (orientation == 8)

    def turn() -> tf.Tensor:
        turned = tf.cond(is_transposed, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        turned = tf.cond(from_right, lambda: tf.reverse(turned, [1]), lambda: turned)
        return tf.cond(from_below, lambda: tf.reverse(turned, [0]), lambda: turned)

    return tf.cond(orientation == 1, lambda: image, turn)


def decode_region(
    data: tf.Tensor,
    orientation: int | tf.Tensor,
    size: tf.Tensor,
    region: tf.Tensor,
    ratio: int | tf.Tensor = 1,
) -> tf.Tensor:
    """Decodes a region (top, left, height, width) of the upright image of this size.

    A JPEG is decoded in that region alone, and reduced by the ratio.
    """
    # If the file no longer has the annotated size, a decoder would fail; a slice does not.
    can_crop = is_jpeg(data) & (tf.convert_to_tensor(orientation) == 1)
    is_part = tf.reduce_any(region[2:] < size)
    ratio = tf.convert_to_tensor(ratio)
    first, count = region[:2] // ratio, (region[2:] + ratio - 1) // ratio

    def crop_while_decoding(reduction: int) -> Callable[[], tf.Tensor]:
        crop = tf.concat([first, count], axis=0)
        return lambda: tf.io.decode_and_crop_jpeg(
            data, crop, channels=3, ratio=reduction, dct_method=DCT_METHOD
        )

    def decode_whole() -> tf.Tensor:
        return crop_region(decode_image(data, orientation), region)

    reduction = 1 + tf.argmax(
        tf.cast(tf.constant(JPEG_RATIOS) - ratio == 0, tf.int32), output_type=tf.int32
    )
    image = tf.switch_case(
        tf.where(can_crop & (is_part | (ratio > 1)), reduction, 0),
        [decode_whole, *map(crop_while_decoding, JPEG_RATIOS)],
    )
    image.set_shape([None, None, 3])
    return image


def crop_region(image: tf.Tensor, region: tf.Tensor) -> tf.Tensor:
    """Returns a region (top, left, height, width) of an image."""
    return image[region[0] : region[0] + region[2], region[1] : region[1] + region[3]]


def resize_image(image: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """Resizes without keeping the aspect, bilinear at half-pixel centres (paper: WARP, LINEAR)."""
    return tf.image.resize(image, image_size, method="bilinear", antialias=False)


def to_uint8(image: tf.Tensor) -> tf.Tensor:
    """Rounds grey levels to uint8, those out of range to 0 or 255."""
    # One pass over the pixels; clipping, rounding and casting would be four.
    levels, _, _ = tf.raw_ops.QuantizeV2(
        input=image, min_range=0.0, max_range=255.0, T=tf.quint8, mode="MIN_COMBINED"
    )
    return tf.bitcast(levels, tf.uint8)


def decode_example(example: Example) -> np.ndarray:
    """Returns the upright pixels of an example, RGB uint8 [H, W, 3]."""
    return decode_image(example.read(), example.orientation).numpy()
