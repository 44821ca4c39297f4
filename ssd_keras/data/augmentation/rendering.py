"""From a window of an encoded image to pixels: decoded in part, resized once, on its canvas."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ssd_keras.data.images import RATIOS, decode_region, is_jpeg

FILL_COLOR = (123.0, 117.0, 104.0)
KERNELS = ("area", "bilinear", "nearest", "bicubic", "lanczos3")
"""Methods of resizing. The first averages where it reduces, the others look at single places."""


class View(NamedTuple):
    """A window at whole pixels: which part of an image becomes which part of the result."""

    # top, left, height, width of the visible part in pixels of the upright image, int32 [4].
    # One pixel is named where nothing shows.
    region: tf.Tensor
    place: tf.Tensor  # row and column of the result where that part begins, int32 [2]
    # rows and columns of the result that it takes, int32 [2]; 0 where nothing shows
    shown: tf.Tensor
    window: tf.Tensor  # yxyx float32 [4] in pixels of the image, of the whole result
    ratio: tf.Tensor  # by how much the image is reduced while it is decoded, int32: 1, 2, 4 or 8


def make_view(
    window: tf.Tensor, size: tf.Tensor, image_size: tuple[int, int], ratio: int | tf.Tensor = 1
) -> View:
    """Moves a window's edges so that what shows begins and ends at whole pixels.

    Where the window ends within the image, at whole pixels of the image, as the paper's
    implementation crops; where the image ends within the window, at whole pixels of the result.
    """
    cells = tf.constant(image_size, tf.float32)
    start, end = window[:2], window[2:]
    step = tf.cast(ratio, tf.float32)
    length = tf.cast(size, tf.float32)
    last = tf.math.ceil(length / step)  # of squares of `ratio` pixels
    first = tf.clip_by_value(tf.round(start / step), 0.0, last - 1.0)
    stop = tf.where(end < length, tf.maximum(tf.round(end / step), first + 1.0), last)
    # Where the image's own two ends lie in the result.
    ends = tf.round(tf.stack([-start, length - start]) * (cells / (end - start)))
    place, until = tf.unstack(tf.clip_by_value(ends, 0.0, cells))
    is_any = tf.reduce_all(until > place)
    shown = tf.where(is_any, until - place, 0.0)
    cell = (stop - first) * step / shown
    top_left = first * step - place * cell
    snapped = tf.concat([top_left, top_left + cells * cell], axis=0)
    return View(
        tf.cast(tf.concat([first, stop - first], axis=0) * step, tf.int32),
        tf.cast(place, tf.int32),
        tf.cast(shown, tf.int32),
        tf.where(is_any, snapped, window),
        tf.convert_to_tensor(ratio),
    )


def decoding_ratio(
    data: tf.Tensor,
    orientation: int | tf.Tensor,
    window: tf.Tensor,
    image_size: tuple[int, int],
    kernel: tf.Tensor,
) -> tf.Tensor:
    """By how much a JPEG may be reduced in decoding, which averages squares of pixels.

    Only before the kernel that averages too, and half of what it would reduce by: what it has to
    average is the smaller half then.
    """
    can_reduce = is_jpeg(data) & (tf.convert_to_tensor(orientation) == 1) & (kernel == 0)
    reduction = tf.reduce_min((window[2:] - window[:2]) / tf.constant(image_size, tf.float32))
    most = tf.where(can_reduce, 0.5 * reduction, 1.0)
    return tf.reduce_max(tf.where(tf.constant(RATIOS, tf.float32) <= most, RATIOS, 1))


def render(
    data: tf.Tensor,
    orientation: int | tf.Tensor,
    size: tf.Tensor,
    view: View,
    kernel: tf.Tensor,
    num_kernels: int = len(KERNELS),
) -> tf.Tensor:
    """Decodes what shows of an image and resizes it once."""
    pixels = decode_region(data, orientation, size, view.region, view.ratio)
    image = _resize(pixels, tf.maximum(view.shown, 1), kernel, num_kernels)
    image.set_shape([None, None, 3])
    return image[: view.shown[0], : view.shown[1]]


def _resize(pixels, size, kernel, num_kernels):
    """By the kernel of that index, float32."""

    def by(method):
        return tf.cast(tf.image.resize(pixels, size, method), tf.float32)

    def average():
        # Of a side that is enlarged, averaging would make blocks.
        is_reduced = tf.reduce_all(tf.shape(pixels)[:2] >= size)
        return tf.cond(is_reduced, lambda: by("area"), lambda: by("bilinear"))

    others = [lambda name=name: by(name) for name in KERNELS[1:num_kernels]]
    return tf.switch_case(kernel, [average, *others])


def on_canvas(image: tf.Tensor, place: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """Puts the part that shows on a canvas of the mean colour."""
    canvas = tf.constant(np.full((*image_size, 3), FILL_COLOR, np.uint8))
    end = place + tf.shape(image)[:2]

    def filled():
        rows = slice(place[0], end[0])
        band = tf.concat([canvas[rows, : place[1]], image, canvas[rows, end[1] :]], axis=1)
        return tf.concat([canvas[: place[0]], band, canvas[end[0] :]], axis=0)

    is_full = tf.reduce_all(tf.shape(image)[:2] == tf.constant(image_size))
    image = tf.cond(is_full, lambda: image, filled)
    image.set_shape([*image_size, 3])
    return image
