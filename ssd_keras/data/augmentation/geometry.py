"""The paper's augmentation, geometry first (section 2.2, "Data augmentation", and 3.6).

The paper distorts colours, zooms out, crops, resizes and mirrors, in that order and each on all
pixels. Here the window that results is chosen from the boxes and the image's size alone; then
only its visible part is decoded, resized once, and distorted in colour on the small result.
The boxes, windows and probabilities are those of the plain sequence, the windows to half a pixel.
"""

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from ssd_keras.boxes.iou import pairwise_iou
from ssd_keras.data.augmentation.colors import COLOR_SPACES, distort_colors
from ssd_keras.data.augmentation.rendering import (
    KERNELS,
    decoding_ratio,
    make_view,
    on_canvas,
    render,
)
from ssd_keras.data.images import to_bytes

MIN_IOUS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.0)
"""Least overlap of the paper's six cropping samplers; the last takes any (its limit is at most
1.0). The seventh sampler keeps the whole image."""

NUM_TRIALS = 50


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Which augmentations are applied. The defaults are the paper's, with zoom-out.

    Args:
        photometric: distort brightness, contrast, saturation, hue, each with probability 0.5.
        color_space: "matrix" (default) turns saturation and hue into one 3x3 matrix about the
            grey axis; "hsv" computes them in HSV as the paper's implementation does, slower.
        zoom_out: place the image on a larger canvas of the mean colour.
        zoom_out_probability: of an image to be zoomed out, 0..1. Default 0.5.
        zoom_out_max: largest side of the canvas in image sides, at least 1. Default 4.
        crop: the seven crop samplers.
        flip: mirror left and right with probability 0.5.
        flip_vertical: mirror top and bottom with probability 0.5, for images that have no
            upside, such as those of a microscope. Default False.
        random_resize: draw the kernel of resizing for each image (linear, area, nearest, cubic,
            Lanczos), as the paper's implementation does. Default False: linear and area, which
            are those that users' own resizing resembles, with equal chances.

    Example:

    >>> Augmentation(zoom_out=False).crop
    True
    """

    photometric: bool = True
    color_space: str = "matrix"
    zoom_out: bool = True
    zoom_out_probability: float = 0.5
    zoom_out_max: float = 4.0
    crop: bool = True
    flip: bool = True
    flip_vertical: bool = False
    random_resize: bool = False

    @property
    def num_kernels(self) -> int:
        """How many of `KERNELS` are drawn from."""
        return len(KERNELS) if self.random_resize else 2

    def __post_init__(self):
        if self.color_space not in COLOR_SPACES:
            raise ValueError(
                f"color_space={self.color_space!r} is unknown; choose 'matrix' or 'hsv'."
            )
        if self.zoom_out_max < 1 or not 0 <= self.zoom_out_probability <= 1:
            raise ValueError(
                f"zoom_out_max={self.zoom_out_max} must be 1 or more, and "
                f"zoom_out_probability={self.zoom_out_probability} between 0 and 1."
            )


class Geometry(NamedTuple):
    """What part of an image becomes the input, and how it is mirrored.

    `window` is relative yxyx float32 [4] in the image; it may reach outside 0..1, where the
    canvas shows.
    """

    window: tf.Tensor
    flip: tf.Tensor
    flip_vertical: tf.Tensor


def augment(
    data: tf.Tensor,
    orientation: int | tf.Tensor,
    size: tf.Tensor,
    boxes: tf.Tensor,
    labels: tf.Tensor,
    image_size: tuple[int, int],
    seed: tf.Tensor,
    options: Augmentation,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Augments one encoded image."""
    window_seed, color_seed, kernel_seed = tf.unstack(_split(seed, 3))
    geometry = choose_geometry(boxes, window_seed, options)
    kernel = choose_kernel(kernel_seed, options)
    sides = tf.tile(tf.cast(size, tf.float32), [2])
    window = geometry.window * sides
    ratio = decoding_ratio(data, orientation, window, image_size, kernel)
    view = make_view(window, size, image_size, ratio)
    geometry = geometry._replace(window=view.window / sides)
    boxes, labels = move_boxes(boxes, labels, geometry)
    image = render(data, orientation, size, view, kernel, options.num_kernels)
    if options.photometric:
        image = distort_colors(image, color_seed, options.color_space)
    image = on_canvas(to_bytes(image), view.place, image_size)
    return mirror(image, geometry), boxes, labels


def choose_geometry(boxes: tf.Tensor, seed: tf.Tensor, options: Augmentation) -> Geometry:
    """Draws zoom-out, crop and mirroring for one image."""
    zoom_seed, crop_seed, flip_seed = tf.unstack(_split(seed, 3))
    canvas = tf.constant([0.0, 0.0, 1.0, 1.0])
    if options.zoom_out:
        canvas = choose_canvas(zoom_seed, options.zoom_out_probability, options.zoom_out_max)
    window = canvas
    if options.crop:
        crop = choose_crop(_relative_to(boxes, canvas), crop_seed)
        window = _from_relative(crop, canvas)
    flips = tf.random.stateless_uniform([2], flip_seed) < 0.5
    return Geometry(window, flips[0] & options.flip, flips[1] & options.flip_vertical)


def choose_canvas(seed: tf.Tensor, probability: float = 0.5, largest: float = 4.0) -> tf.Tensor:
    """Draws the zoom-out: where the canvas lies around the image."""
    draws = tf.random.stateless_uniform([4], seed)
    ratio = tf.where(draws[0] < probability, 1.0 + draws[1] * (largest - 1.0), 1.0)
    top_left = -draws[2:] * (ratio - 1.0)
    return tf.concat([top_left, top_left + ratio], axis=0)


def choose_crop(boxes: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws a crop: each sampler tries up to 50 windows, one of the successes is drawn."""
    trial_seed, choice_seed = tf.unstack(_split(seed, 2))
    windows = _draw_windows(trial_seed, len(MIN_IOUS) * NUM_TRIALS)
    # One ground truth that meets the limit is enough; the padding keeps n = 0 in range.
    overlap = tf.reduce_max(tf.pad(pairwise_iou(boxes, windows, tf), [[0, 1], [0, 0]]), axis=0)
    overlap = tf.reshape(overlap, [len(MIN_IOUS), NUM_TRIALS])
    succeeds = (overlap >= tf.constant(MIN_IOUS)[:, None]) & (tf.shape(boxes)[0] > 0)
    first = tf.argmax(succeeds, axis=1)
    windows = tf.reshape(windows, [len(MIN_IOUS), NUM_TRIALS, 4])
    found = tf.boolean_mask(
        tf.gather(windows, first, batch_dims=1), tf.reduce_any(succeeds, axis=1)
    )
    candidates = tf.concat([[[0.0, 0.0, 1.0, 1.0]], found], axis=0)
    choice = tf.random.stateless_uniform(
        [], choice_seed, maxval=tf.shape(candidates)[0], dtype=tf.int32
    )
    return candidates[choice]


def _draw_windows(seed: tf.Tensor, count: int) -> tf.Tensor:
    """Windows of scale 0.3 to 1 and aspect ratio 1/2 to 2, [count, 4] relative yxyx."""
    draws = tf.random.stateless_uniform([4, count], seed)
    scale = 0.3 + 0.7 * draws[0]
    # The aspect is limited so that neither side exceeds the image.
    lowest, highest = tf.maximum(0.5, scale**2), tf.minimum(2.0, scale**-2)
    aspect = lowest + (highest - lowest) * draws[1]
    height, width = scale / tf.sqrt(aspect), scale * tf.sqrt(aspect)
    top, left = draws[2] * (1.0 - height), draws[3] * (1.0 - width)
    return tf.stack([top, left, top + height, left + width], axis=-1)


def mirror(image: tf.Tensor, geometry: Geometry) -> tf.Tensor:
    """Mirrors an image as the geometry says."""
    for axis, mirrored in ((1, geometry.flip), (0, geometry.flip_vertical)):
        image = tf.cond(mirrored, lambda x=image, a=axis: tf.reverse(x, [a]), lambda x=image: x)
    return image


def move_boxes(
    boxes: tf.Tensor, labels: tf.Tensor, geometry: Geometry
) -> tuple[tf.Tensor, tf.Tensor]:
    """Expresses boxes in the window; those whose centre lies outside are dropped."""
    boxes = _relative_to(boxes, geometry.window)
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    keep = tf.reduce_all((center >= 0.0) & (center <= 1.0), axis=-1)
    ymin, xmin, ymax, xmax = tf.unstack(
        tf.clip_by_value(tf.boolean_mask(boxes, keep), 0.0, 1.0), axis=-1
    )
    flip, flip_vertical = geometry.flip, geometry.flip_vertical
    xmin, xmax = tf.where(flip, 1.0 - xmax, xmin), tf.where(flip, 1.0 - xmin, xmax)
    ymin, ymax = (
        tf.where(flip_vertical, 1.0 - ymax, ymin),
        tf.where(flip_vertical, 1.0 - ymin, ymax),
    )
    return tf.stack([ymin, xmin, ymax, xmax], axis=-1), tf.boolean_mask(labels, keep)


def choose_kernel(seed: tf.Tensor, options: Augmentation) -> tf.Tensor:
    """Draws how the image is resized."""
    return tf.random.stateless_uniform([], seed, maxval=options.num_kernels, dtype=tf.int32)


def _relative_to(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Boxes of the image, expressed in a window of it."""
    size = window[2:] - window[:2]
    return (boxes - tf.tile(window[:2], [2])) / tf.tile(size, [2])


def _from_relative(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """The inverse of `_relative_to`."""
    return boxes * tf.tile(window[2:] - window[:2], [2]) + tf.tile(window[:2], [2])


def _split(seed: tf.Tensor, count: int) -> tf.Tensor:
    return tf.random.experimental.stateless_split(seed, count)
