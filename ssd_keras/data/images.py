"""Images as tensors: decoding, turning upright, resizing. Everything runs inside graphs."""

import numpy as np
import tensorflow as tf

from ssd_keras.data.image_files import read_image_header
from ssd_keras.data.records import Example

# TensorFlow's own default is a fast approximation, one grey level off on average and up to 20;
# this one gives the pixels of Pillow and OpenCV, for 5 to 20 % more time.
DCT_METHOD = "INTEGER_ACCURATE"

RATIOS = (1, 2, 4, 8)
"""By how much a JPEG can be reduced while it is decoded."""


def is_jpeg(data: tf.Tensor) -> tf.Tensor:
    """Whether encoded bytes begin as a JPEG does.

    Args:
        data: scalar string.

    Returns:
        scalar bool.
    """
    return tf.strings.substr(data, 0, 3) == b"\xff\xd8\xff"


def decode_image(data: tf.Tensor, orientation: int | tf.Tensor = 1) -> tf.Tensor:
    """Decodes an image, whatever its colours, and turns it upright.

    Args:
        data: JPEG, PNG, BMP or GIF bytes, scalar string. Grey, CMYK and 16-bit images too, but
            no BMP with a palette of colours, whose indices TensorFlow takes for grey. Of a GIF,
            the first image.
        orientation: EXIF orientation 1..8, scalar int. Default 1, as it is.

    Returns:
        RGB uint8 [H, W, 3].
    """
    image = tf.cond(
        is_jpeg(data),
        lambda: tf.io.decode_jpeg(data, channels=3, dct_method=DCT_METHOD),
        lambda: tf.io.decode_image(data, channels=3, expand_animations=False),
    )
    image.set_shape([None, None, 3])
    return turn_upright(image, orientation)


def turn_upright(image: tf.Tensor, orientation: int | tf.Tensor) -> tf.Tensor:
    """Undoes an EXIF orientation.

    Args:
        image: [H, W, C] as stored.
        orientation: 1..8 of the EXIF standard, scalar int.

    Returns:
        [H, W, C] or, for 5 to 8, [W, H, C].

    Example:

    >>> turn_upright(tf.constant([[[1], [2]]]), 6).numpy()[:, :, 0]
    array([[1],
           [2]], dtype=int32)
    """
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
    """Decodes no more of an image than a region of it, where its format allows.

    Args:
        data: encoded bytes, scalar string.
        orientation: EXIF orientation 1..8, scalar int.
        size: height and width of the upright image, int32 [2].
        region: top, left, height, width in pixels of the upright image, int32 [4]; top and left
            are multiples of the ratio.
        ratio: 1 (default), 2, 4 or 8; above 1, which needs a JPEG of orientation 1, each pixel of
            the result stands for a square of so many pixels, about their mean.

    Returns:
        RGB uint8 [region height, region width, 3], both divided by the ratio and rounded up.
    """
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
    """Resizes without keeping the aspect, bilinear at half-pixel centres (paper: WARP, LINEAR).

    Args:
        image: [H, W, 3] or [B, H, W, 3], uint8 or float.
        image_size: height and width wanted, in pixels.

    Returns:
        float32 of that size, 0..255.
    """
    return tf.image.resize(image, image_size, method="bilinear", antialias=False)


def to_bytes(image: tf.Tensor) -> tf.Tensor:
    """Rounds to whole grey levels, those out of range to the nearest.

    Args:
        image: float32 of any shape.

    Returns:
        uint8 of the same shape.

    Example:

    >>> to_bytes(tf.constant([-7.0, 0.4, 0.6, 254.7, 300.0])).numpy()
    array([  0,   0,   1, 255, 255], dtype=uint8)
    """
    # One pass over the pixels where clipping, rounding and casting are four.
    levels, _, _ = tf.raw_ops.QuantizeV2(
        input=image, min_range=0.0, max_range=255.0, T=tf.quint8, mode="MIN_COMBINED"
    )
    return tf.bitcast(levels, tf.uint8)


def decode_example(example: Example) -> np.ndarray:
    """The image of an example, as it was annotated.

    Args:
        example: one record of a data set.

    Returns:
        RGB uint8 [H, W, 3], upright.
    """
    return decode_image(example.read(), example.orientation).numpy()


def read_image(path: str) -> np.ndarray:
    """Reads an image file upright.

    Args:
        path: JPEG, PNG, BMP or GIF.

    Returns:
        RGB uint8 [H, W, 3].

    Raises:
        ValueError: when it is no image or is damaged, naming the file.
    """
    try:
        orientation = read_image_header(path).orientation
        return decode_image(tf.io.read_file(path), orientation).numpy()
    except (ValueError, OSError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{path}: cannot be read as an image ({reason})") from error
