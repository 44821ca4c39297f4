"""The paper's augmentation, geometry first (section 2.2, "Data augmentation", and 3.6).

The paper distorts colours, zooms out, crops, resizes and mirrors, in that order and each on all
pixels. Here the resulting window is chosen from the boxes and the image's size alone; then only
its visible part is decoded, resized once, and distorted in colour at the small size. Boxes,
windows and probabilities are those of the plain sequence, windows to half a pixel.
Steps that users add run before, on the decoded image, or after, on the model's input.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ssd_keras.boxes.iou import pairwise_iou
from ssd_keras.data.augmentation.apply_steps import Scene, apply_steps
from ssd_keras.data.augmentation.augmentation import Augmentation
from ssd_keras.data.augmentation.colors import distort_colors
from ssd_keras.data.augmentation.rendering import (
    KERNELS,
    View,
    decoding_ratio,
    make_view,
    place_on_canvas,
    render,
)
from ssd_keras.data.images import crop_region, decode_image, decode_region, to_uint8

# Of the paper's six cropping samplers; the last accepts any window (the paper: an IoU of at most
# 1.0). The seventh sampler keeps the whole image.
MIN_IOUS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.0)
NUM_TRIALS = 50


class Geometry(NamedTuple):
    """The part of an image that becomes the input, and how it is mirrored."""

    # Relative yxyx float32 [4] in the image; beyond 0..1 the canvas shows.
    window: tf.Tensor
    flip: tf.Tensor  # bool
    flip_vertical: tf.Tensor


def augment(
    data: tf.Tensor,
    orientation: int | tf.Tensor,
    size: tf.Tensor,
    boxes: tf.Tensor,
    labels: tf.Tensor,
    image_size: tuple[int, int],
    seed: tf.Tensor,
    augmentation: Augmentation,
) -> Scene:
    """Returns the augmented image uint8 [H, W, 3], boxes [n, 4] and labels of an encoded image.

    `size` is the annotated (upright) height and width, `boxes` are relative yxyx.
    """
    window_seed, color_seed, kernel_seed = tf.unstack(split(seed, 3))
    whole = None  # the decoded image, where steps see it first
    if augmentation.before:
        whole, boxes, labels = apply_first_steps(
            data, orientation, boxes, labels, seed, augmentation
        )
        size = tf.shape(whole)[:2]
    geometry = choose_geometry(boxes, window_seed, augmentation)
    sides = tf.tile(tf.cast(size, tf.float32), [2])
    image, view = render_window(
        data if whole is None else whole,
        orientation,
        size,
        geometry.window * sides,
        image_size,
        choose_kernel(kernel_seed, augmentation),
        color_seed,
        augmentation,
    )
    geometry = geometry._replace(window=view.window / sides)
    boxes, labels = move_boxes(boxes, labels, geometry, augmentation.min_visible)
    image = mirror(place_on_canvas(image, view.offset, image_size), geometry)
    image.set_shape([*image_size, 3])
    return apply_last_steps(image, boxes, labels, image_size, seed, augmentation)


def apply_first_steps(
    data: tf.Tensor,
    orientation: int | tf.Tensor,
    boxes: tf.Tensor,
    labels: tf.Tensor,
    seed: tf.Tensor,
    augmentation: Augmentation,
) -> Scene:
    """Decodes an image, and applies the steps that see it as a whole."""
    image = decode_image(data, orientation)
    return apply_steps(augmentation.before, image, boxes, labels, fold_in(seed, 0))


def apply_last_steps(
    image: tf.Tensor,
    boxes: tf.Tensor,
    labels: tf.Tensor,
    image_size: tuple[int, int],
    seed: tf.Tensor,
    augmentation: Augmentation,
) -> Scene:
    """Applies the steps on the model's input, uint8."""
    if augmentation.after:
        image, boxes, labels = apply_steps(
            augmentation.after, image, boxes, labels, fold_in(seed, 1), image_size
        )
        image = to_uint8(image)
    return image, boxes, labels


def render_window(
    image: tf.Tensor | bytes,
    orientation: int | tf.Tensor,
    size: tf.Tensor,
    window: tf.Tensor,
    image_size: tuple[int, int] | tf.Tensor,
    kernel: tf.Tensor,
    color_seed: tf.Tensor,
    augmentation: Augmentation,
) -> tuple[tf.Tensor, View]:
    """Returns what a window (yxyx in pixels) shows of an image, uint8, and where it goes.

    The image is encoded, or the decoded and upright one. Colours are distorted.
    """
    image = tf.convert_to_tensor(image)
    if image.dtype == tf.string:
        ratio = decoding_ratio(image, orientation, window, image_size, kernel)
        view = make_view(window, size, image_size, ratio)
        pixels = decode_region(image, orientation, size, view.region, ratio)
    else:
        view = make_view(window, size, image_size)
        pixels = crop_region(image, view.region)
    rendered = render(pixels, view, kernel, num_kernels(augmentation))
    if augmentation.photometric:
        rendered = distort_colors(rendered, color_seed, augmentation.color_space)
    return to_uint8(rendered), view


def choose_geometry(boxes: tf.Tensor, seed: tf.Tensor, augmentation: Augmentation) -> Geometry:
    """Draws zoom-out, jitter, crop and mirroring of an image."""
    zoom_seed, crop_seed, flip_seed = tf.unstack(split(seed, 3))
    canvas = tf.constant([0.0, 0.0, 1.0, 1.0])
    if augmentation.zoom_out:
        canvas = choose_canvas(
            zoom_seed, augmentation.zoom_out_probability, augmentation.zoom_out_max
        )
    if augmentation.scale_jitter is not None or augmentation.aspect_jitter > 1:
        scale_seed, place_seed = tf.unstack(split(fold_in(seed, 0), 2))
        sides = 1.0 / choose_scale(scale_seed, augmentation.scale_jitter or (1, 1), augmentation)
        # A window larger than the image holds all of it, a smaller one lies within it.
        top_left = tf.random.stateless_uniform([2], place_seed) * (1.0 - sides)
        canvas = from_relative(tf.concat([top_left, top_left + sides], axis=0), canvas)
    window = canvas
    if augmentation.crop:
        crop = choose_crop(_relative_to(boxes, canvas), crop_seed)
        window = from_relative(crop, canvas)
    flips = tf.random.stateless_uniform([2], flip_seed) < 0.5
    return Geometry(window, flips[0] & augmentation.flip, flips[1] & augmentation.flip_vertical)


def choose_scale(
    seed: tf.Tensor, scales: tuple[float, float], augmentation: Augmentation
) -> tf.Tensor:
    """Draws the factors of height and width, float32 [2], between `scales` and of another ratio."""
    draws = tf.random.stateless_uniform([2], seed)
    low, high = np.log(scales)
    # The height is divided by the root of the ratio's factor, the width multiplied by it.
    root = (draws[1] - 0.5) * np.log(augmentation.aspect_jitter)
    return tf.exp(low + draws[0] * (high - low) + root * tf.constant([-1.0, 1.0]))


def choose_canvas(seed: tf.Tensor, probability: float = 0.5, largest: float = 4.0) -> tf.Tensor:
    """Draws the zoom-out: the canvas around the image, relative yxyx [4]."""
    draws = tf.random.stateless_uniform([4], seed)
    ratio = tf.where(draws[0] < probability, 1.0 + draws[1] * (largest - 1.0), 1.0)
    top_left = -draws[2:] * (ratio - 1.0)
    return tf.concat([top_left, top_left + ratio], axis=0)


def choose_crop(boxes: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws a crop [4]: each sampler tries up to 50 windows, one of the successes is drawn."""
    trial_seed, choice_seed = tf.unstack(split(seed, 2))
    windows = _draw_windows(trial_seed, len(MIN_IOUS) * NUM_TRIALS)
    # One ground truth that meets the limit is enough; the padding keeps n = 0 in range.
    iou = tf.reduce_max(tf.pad(pairwise_iou(boxes, windows, tf), [[0, 1], [0, 0]]), axis=0)
    iou = tf.reshape(iou, [len(MIN_IOUS), NUM_TRIALS])
    succeeds = (iou >= tf.constant(MIN_IOUS)[:, None]) & (tf.shape(boxes)[0] > 0)
    first = tf.argmax(succeeds, axis=1)
    windows = tf.reshape(windows, [len(MIN_IOUS), NUM_TRIALS, 4])
    successes = tf.boolean_mask(
        tf.gather(windows, first, batch_dims=1), tf.reduce_any(succeeds, axis=1)
    )
    candidates = tf.concat([[[0.0, 0.0, 1.0, 1.0]], successes], axis=0)
    choice = tf.random.stateless_uniform(
        [], choice_seed, maxval=tf.shape(candidates)[0], dtype=tf.int32
    )
    return candidates[choice]


def _draw_windows(seed: tf.Tensor, count: int) -> tf.Tensor:
    """Draws windows of scale 0.3 to 1 and aspect ratio 1/2 to 2, relative yxyx [count, 4]."""
    draws = tf.random.stateless_uniform([4, count], seed)
    scale = 0.3 + 0.7 * draws[0]
    # The limits keep both sides within the image.
    lowest, highest = tf.maximum(0.5, scale**2), tf.minimum(2.0, scale**-2)
    aspect = lowest + (highest - lowest) * draws[1]
    height, width = scale / tf.sqrt(aspect), scale * tf.sqrt(aspect)
    top, left = draws[2] * (1.0 - height), draws[3] * (1.0 - width)
    return tf.stack([top, left, top + height, left + width], axis=-1)


def mirror(image: tf.Tensor, geometry: Geometry) -> tf.Tensor:
    """Mirrors an image as the geometry says."""
    axes = tf.where(tf.stack([geometry.flip_vertical, geometry.flip]))[:, 0]
    return tf.reverse(image, axes)


def move_boxes(
    boxes: tf.Tensor, labels: tf.Tensor, geometry: Geometry, min_visible: float | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns boxes relative to the window.

    Those whose centre lies outside are dropped, or those of which less than `min_visible` shows.
    """
    boxes = _relative_to(boxes, geometry.window)
    clipped = tf.clip_by_value(boxes, 0.0, 1.0)
    if min_visible is None:
        center = (boxes[:, :2] + boxes[:, 2:]) / 2
        is_kept = tf.reduce_all((center >= 0.0) & (center <= 1.0), axis=-1)
    else:
        visible = _areas(clipped)
        is_kept = (visible > 0.0) & (visible >= min_visible * _areas(boxes))
    ymin, xmin, ymax, xmax = tf.unstack(tf.boolean_mask(clipped, is_kept), axis=-1)
    flip, flip_vertical = geometry.flip, geometry.flip_vertical
    xmin, xmax = tf.where(flip, 1.0 - xmax, xmin), tf.where(flip, 1.0 - xmin, xmax)
    ymin, ymax = (
        tf.where(flip_vertical, 1.0 - ymax, ymin),
        tf.where(flip_vertical, 1.0 - ymin, ymax),
    )
    return tf.stack([ymin, xmin, ymax, xmax], axis=-1), tf.boolean_mask(labels, is_kept)


def num_kernels(augmentation: Augmentation) -> int:
    """Returns how many of `KERNELS` an augmentation draws from."""
    return len(KERNELS) if augmentation.random_resize else 2


def choose_kernel(seed: tf.Tensor, augmentation: Augmentation) -> tf.Tensor:
    """Draws the index of a resizing kernel of `KERNELS`."""
    return tf.random.stateless_uniform([], seed, maxval=num_kernels(augmentation), dtype=tf.int32)


def _areas(boxes: tf.Tensor) -> tf.Tensor:
    return tf.reduce_prod(boxes[:, 2:] - boxes[:, :2], axis=1)


def _relative_to(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Returns boxes of the image relative to a window of it."""
    size = window[2:] - window[:2]
    return (boxes - tf.tile(window[:2], [2])) / tf.tile(size, [2])


def from_relative(boxes: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """The inverse of `_relative_to`."""
    return boxes * tf.tile(window[2:] - window[:2], [2]) + tf.tile(window[:2], [2])


def split(seed: tf.Tensor, count: int) -> tf.Tensor:
    return tf.random.experimental.stateless_split(seed, count)


def fold_in(seed: tf.Tensor, number: int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(seed, tf.constant(number, tf.int64))
