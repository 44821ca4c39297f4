"""Renders a window of an image: chooses its visible part, resizes it once, fills the rest."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ssd_keras.data.images import JPEG_RATIOS, is_jpeg

FILL_COLOR = (123.0, 117.0, 104.0)
# Methods of `tf.image.resize`. The first averages where it reduces, the others sample points.
KERNELS = ("area", "bilinear", "nearest", "bicubic", "lanczos3")


class View(NamedTuple):
    """A window at whole pixels: a region of the image and where it goes in the result."""

    # top, left, height and width in pixels of the upright image, int32 [4]; one pixel where the
    # window shows nothing of the image
    region: tf.Tensor
    offset: tf.Tensor  # row and column of the result where the region begins, int32 [2]
    extent: tf.Tensor  # its rows and columns in the result, int32 [2]; 0 where nothing shows
    window: tf.Tensor  # of the whole result, yxyx float32 [4] in pixels of the image
    ratio: tf.Tensor  # the reduction while decoding, int32: 1, 2, 4 or 8


def make_view(
    window: tf.Tensor,
    size: tf.Tensor,
    image_size: tuple[int, int] | tf.Tensor,
    ratio: int | tf.Tensor = 1,
) -> View:
    """Moves the edges of a window (yxyx in pixels) so that its region has whole pixels."""
    # A window that the canvas fills at the top and on the left, and that cuts the image:
    #
    #      window                         result (image_size)
    #     +--------------------+         +--------------------+
    #     | canvas             |         | FILL_COLOR         |
    #     |      +-------------|----+    |      +-------------+  <- offset: its upper left corner
    #     |      | region      |    | -> |      | region,     |
    #     |      |             |    |    |      | resized     |     extent: its height and width
    #     +------|-------------+    |    +------+-------------+
    #            |            image |
    #            +------------------+
    #
    # An edge within the image moves to a whole pixel of the image, as the paper's implementation
    # crops. Where the image ends within the window, its edge moves to a whole pixel of the result.
    cells = tf.cast(image_size, tf.float32)
    start, end = window[:2], window[2:]
    step = tf.cast(ratio, tf.float32)
    length = tf.cast(size, tf.float32)
    last = tf.math.ceil(length / step)  # in squares of `ratio` pixels, as are first and stop
    first = tf.clip_by_value(tf.round(start / step), 0.0, last - 1.0)
    stop = tf.where(end < length, tf.maximum(tf.round(end / step), first + 1.0), last)
    # The two ends of the image in pixels of the result.
    ends = tf.round(tf.stack([-start, length - start]) * (cells / (end - start)))
    offset, until = tf.unstack(tf.clip_by_value(ends, 0.0, cells))
    is_visible = tf.reduce_all(until > offset)
    extent = tf.where(is_visible, until - offset, 0.0)
    cell = (stop - first) * step / extent
    top_left = first * step - offset * cell
    snapped = tf.concat([top_left, top_left + cells * cell], axis=0)
    return View(
        tf.cast(tf.concat([first, stop - first], axis=0) * step, tf.int32),
        tf.cast(offset, tf.int32),
        tf.cast(extent, tf.int32),
        tf.where(is_visible, snapped, window),
        tf.convert_to_tensor(ratio),
    )


def decoding_ratio(
    data: tf.Tensor,
    orientation: int | tf.Tensor,
    window: tf.Tensor,
    image_size: tuple[int, int] | tf.Tensor,
    kernel: tf.Tensor,
) -> tf.Tensor:
    """Returns the reduction of a JPEG while it is decoded, which averages squares of pixels."""
    # Only for the kernel that averages as well, and by half of its reduction at most: the rest of
    # the averaging is exact.
    can_reduce = is_jpeg(data) & (tf.convert_to_tensor(orientation) == 1) & (kernel == 0)
    reduction = tf.reduce_min((window[2:] - window[:2]) / tf.cast(image_size, tf.float32))
    highest = tf.where(can_reduce, 0.5 * reduction, 1.0)
    return tf.reduce_max(tf.where(tf.constant(JPEG_RATIOS, tf.float32) <= highest, JPEG_RATIOS, 1))


def render(
    pixels: tf.Tensor, view: View, kernel: tf.Tensor, num_kernels: int = len(KERNELS)
) -> tf.Tensor:
    """Resizes the pixels of a view's region to its extent, float32 [rows, columns, 3]."""
    image = _resize(pixels, tf.maximum(view.extent, 1), kernel, num_kernels)
    image.set_shape([None, None, 3])
    return image[: view.extent[0], : view.extent[1]]


def _resize(pixels: tf.Tensor, size: tf.Tensor, kernel: tf.Tensor, num_kernels: int) -> tf.Tensor:
    def by(method: str) -> tf.Tensor:
        return tf.cast(tf.image.resize(pixels, size, method), tf.float32)

    def average() -> tf.Tensor:
        # Averaging would make blocks of a side that is enlarged.
        is_reduced = tf.reduce_all(tf.shape(pixels)[:2] >= size)
        return tf.cond(is_reduced, lambda: by("area"), lambda: by("bilinear"))

    others = [lambda name=name: by(name) for name in KERNELS[1:num_kernels]]
    return tf.switch_case(kernel, [average, *others])


def place_on_canvas(
    image: tf.Tensor, offset: tf.Tensor, image_size: tuple[int, int] | tf.Tensor
) -> tf.Tensor:
    """Puts an image uint8 on a canvas of the mean colour."""
    end = offset + tf.shape(image)[:2]

    def fill() -> tf.Tensor:
        color = tf.constant(np.array(FILL_COLOR, np.uint8))
        canvas = tf.broadcast_to(color, tf.concat([image_size, [3]], axis=0))
        rows = slice(offset[0], end[0])
        band = tf.concat([canvas[rows, : offset[1]], image, canvas[rows, end[1] :]], axis=1)
        return tf.concat([canvas[: offset[0]], band, canvas[end[0] :]], axis=0)

    is_full = tf.reduce_all(tf.shape(image)[:2] == image_size)
    return tf.cond(is_full, lambda: image, fill)
