"""Images as tensors: decoding, turning upright, resizing. Everything runs inside graphs."""

import numpy as np
import tensorflow as tf

from ssd_keras.data.records import Example

# TensorFlow's own default is a fast approximation, one grey level off on average and up to 20;
# this one gives the pixels of Pillow and OpenCV, for 5 to 20 % more time.
DCT_METHOD = "INTEGER_ACCURATE"

RATIOS = (1, 2, 4, 8)
"""By how much a JPEG can be reduced while it is decoded."""


def is_jpeg(data: tf.Tensor) -> tf.Tensor:
    """Whether encoded bytes begin as a JPEG does."""
    return tf.strings.substr(data, 0, 3) == b"\xff\xd8\xff"


def decode_image(data: tf.Tensor, orientation: int | tf.Tensor = 1) -> tf.Tensor:
    """Decodes an image, whatever its colours, and turns it upright."""
    image = tf.cond(
        is_jpeg(data),
        lambda: tf.io.decode_jpeg(data, channels=3, dct_method=DCT_METHOD),
        lambda: tf.io.decode_image(data, channels=3, expand_animations=False),
    )
    image.set_shape([None, None, 3])
    return turn_upright(image, orientation)


def turn_upright(image: tf.Tensor, orientation: int | tf.Tensor) -> tf.Tensor:
    """Undoes an EXIF orientation."""
    orientation = tf.convert_to_tensor(orientation)
    swapped = orientation >= 5
    # After a transpose, the mirrorings that remain are those of the upright image's axes.
    from_right = (orientation == 2) | (orientation == 3) | (orientation == 6) | (orientation == 7)
    from_below = (orientation == 3) | (orientation == 4) | (orientation == 7) | (orientation == 8)

    def turn():
        turned = tf.cond(swapped, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
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
    """Decodes no more of an image than a region of it, where its format allows."""
    # A header may disagree with its annotation by then; a decoder would fail, a slice does not.
    can_crop = is_jpeg(data) & (tf.convert_to_tensor(orientation) == 1)
    is_part = tf.reduce_any(region[2:] < size)
    ratio = tf.convert_to_tensor(ratio)
    first, count = region[:2] // ratio, (region[2:] + ratio - 1) // ratio

    def crop_while_decoding(reduction):
        crop = tf.concat([first, count], axis=0)
        return lambda: tf.io.decode_and_crop_jpeg(
            data, crop, channels=3, ratio=reduction, dct_method=DCT_METHOD
        )

    def decode_whole():
        image = decode_image(data, orientation)
        return image[region[0] : region[0] + region[2], region[1] : region[1] + region[3]]

    reduction = 1 + tf.argmax(
        tf.cast(tf.constant(RATIOS) - ratio == 0, tf.int32), output_type=tf.int32
    )
    image = tf.switch_case(
        tf.where(can_crop & (is_part | (ratio > 1)), reduction, 0),
        [decode_whole, *map(crop_while_decoding, RATIOS)],
    )
    image.set_shape([None, None, 3])
    return image


def resize_image(image: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """Resizes without keeping the aspect, bilinear at half-pixel centres (paper: WARP, LINEAR)."""
    return tf.image.resize(image, image_size, method="bilinear", antialias=False)


def to_bytes(image: tf.Tensor) -> tf.Tensor:
    """Rounds to whole grey levels, those out of range to the nearest."""
    # One pass over the pixels where clipping, rounding and casting are four.
    levels, _, _ = tf.raw_ops.QuantizeV2(
        input=image, min_range=0.0, max_range=255.0, T=tf.quint8, mode="MIN_COMBINED"
    )
    return tf.bitcast(levels, tf.uint8)


def decode_example(example: Example) -> np.ndarray:
    """The image of an example, as it was annotated."""
    return decode_image(example.read(), example.orientation).numpy()
