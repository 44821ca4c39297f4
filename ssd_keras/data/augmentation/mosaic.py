"""Mosaic and mixup of groups of eight images of the stream, of which each is decoded once.

Mosaic: Bochkovskiy et al., arXiv 2004.10934, section 3.3; mixup: Zhang et al., arXiv 1710.09412.
A mosaic needs four images. Each image of a group is decoded once and makes four views, a part of
four mosaics: it is cut where they are, so its views fill an input, and the images of a group then
exchange views. All draws are functions of the seed and the position in the stream.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from ssd_keras.data.augmentation.apply_steps import Scene
from ssd_keras.data.augmentation.augmentation import Augmentation
from ssd_keras.data.augmentation.geometry import (
    Geometry,
    apply_first_steps,
    choose_kernel,
    choose_scale,
    fold_in,
    from_relative,
    mirror,
    move_boxes,
    render_window,
    split,
)
from ssd_keras.data.augmentation.rendering import place_on_canvas
from ssd_keras.data.images import crop_region, to_uint8

GROUP = 8  # images
# Mosaic m has in its quadrant k the image m + OFFSETS[k] of the group, modulo 8. Of these offsets,
# two mosaics share one or two images, and an input and its partner in mixup share one.
OFFSETS = (0, 1, 3, 7)
PARTNER = 5
CENTERS = (0.25, 0.75)  # of a mosaic, as shares of the sides
SCALES = (0.5, 1.0)  # of the images, without scale_jitter
BETA = 8.0  # both parameters of the distribution of mixup's weight


class GroupDraws(NamedTuple):
    """What a group draws: whether its inputs are mosaics, and the point where these are cut."""

    is_mosaic: tf.Tensor
    center: tf.Tensor  # row and column, int32 [2]


def choose_group(
    seed: tf.Tensor, is_strong: tf.Tensor, image_size: tuple[int, int], probability: float
) -> GroupDraws:
    """Draws what a group has in common, of the seed of its first image."""
    draws = tf.random.stateless_uniform([3], fold_in(seed, 2))
    low, high = CENTERS
    center = (low + (high - low) * draws[1:]) * tf.constant(image_size, tf.float32)
    return GroupDraws(is_strong & (draws[0] < probability), tf.cast(tf.round(center), tf.int32))


def quadrants(center: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
    """Returns the quadrants about a point, yxyx in pixels, int32 [4, 4], in order of rows."""
    (y, x), (height, width) = tf.unstack(center), image_size
    rows = ((0, 0, y, x), (0, x, y, width), (y, 0, height, x), (y, x, height, width))
    return tf.stack([tf.stack(row) for row in rows])


def render_quadrants(
    data: tf.Tensor,
    orientation: int | tf.Tensor,
    size: tf.Tensor,
    boxes: tf.Tensor,
    labels: tf.Tensor,
    image_size: tuple[int, int],
    seed: tf.Tensor,
    augmentation: Augmentation,
    center: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns four views of an image in the quadrants about a point, and the objects of each.

    The views are one image uint8 [H, W, 3]. Boxes [n, 4] are relative to it; with their labels
    come the numbers of their quadrants.
    """
    seeds = tf.unstack(split(fold_in(seed, 3), 5))
    scale_seed, place_seed, kernel_seed, flip_seed, color_seed = seeds
    if augmentation.before:
        data, boxes, labels = apply_first_steps(
            data, orientation, boxes, labels, seed, augmentation
        )
        size = tf.shape(data)[:2]
    scale = choose_scale(scale_seed, augmentation.scale_jitter or SCALES, augmentation)
    scaled = tf.maximum(tf.cast(tf.round(scale * tf.constant(image_size, tf.float32)), tf.int32), 1)
    kernel = choose_kernel(kernel_seed, augmentation)
    whole = tf.cast(tf.concat([[0, 0], size], axis=0), tf.float32)
    pixels, _ = render_window(
        data, orientation, size, whole, scaled, kernel, color_seed, augmentation
    )
    corners = quadrants(center, image_size)
    cells = corners[:, 2:] - corners[:, :2]
    # Where the image begins in each quadrant: before it if the image is larger, else within it.
    free = tf.cast(cells - scaled, tf.float32)
    offsets = tf.cast(tf.round(tf.random.stateless_uniform([4, 2], place_seed) * free), tf.int32)
    windows = tf.concat([-offsets, cells - offsets], axis=1) / tf.tile(scaled, [2])
    parts = corners / (image_size * 2)
    flips = tf.random.stateless_uniform([4, 2], flip_seed) < 0.5
    flips &= tf.constant([augmentation.flip, augmentation.flip_vertical])
    images, objects = [], []
    for k in range(4):
        geometry = Geometry(tf.cast(windows[k], tf.float32), flips[k, 0], flips[k, 1])
        first, stop = tf.maximum(-offsets[k], 0), tf.minimum(cells[k] - offsets[k], scaled)
        visible = crop_region(pixels, tf.concat([first, stop - first], axis=0))
        placed = place_on_canvas(visible, tf.maximum(offsets[k], 0), cells[k])
        images.append(mirror(placed, geometry))
        kept, names = move_boxes(boxes, labels, geometry, augmentation.min_visible)
        part = tf.cast(parts[k], tf.float32)
        objects.append((from_relative(kept, part), names, tf.fill(tf.shape(names), k)))
    image = join_quadrants(images, axis=0)
    image.set_shape([*image_size, 3])
    return (image, *(tf.concat(values, axis=0) for values in zip(*objects, strict=True)))


def join_quadrants(images: Sequence[tf.Tensor], axis: int) -> tf.Tensor:
    """Puts four images [..., h, w, 3] together; `axis` is that of the rows."""
    rows = [tf.concat(images[start : start + 2], axis=axis + 1) for start in (0, 2)]
    return tf.concat(rows, axis=axis)


def exchange_quadrants(
    images: tf.Tensor,
    boxes: tf.Tensor,
    labels: tf.Tensor,
    quadrant: tf.Tensor,
    center: tf.Tensor,
) -> Scene:
    """Makes mosaics of the views of a group: images [8, H, W, 3], objects [8, n] padded with -1.

    Each image gives its quadrants away, with their objects.
    """
    y, x = tf.unstack(center)
    pieces = (images[:, :y, :x], images[:, :y, x:], images[:, y:, :x], images[:, y:, x:])
    orders = [[(m + offset) % GROUP for m in range(GROUP)] for offset in OFFSETS]
    moved = [tf.gather(piece, order) for piece, order in zip(pieces, orders, strict=True)]
    mosaics = join_quadrants(moved, axis=1)
    mosaics.set_shape(images.shape)
    is_in = [quadrant == k for k in range(4)]
    labels = [tf.where(is_in[k], labels, -1) for k in range(4)]
    return (
        mosaics,
        tf.concat([tf.gather(boxes, order) for order in orders], axis=1),
        tf.concat([tf.gather(labels[k], orders[k]) for k in range(4)], axis=1),
    )


def mix_up(
    images: tf.Tensor,
    boxes: tf.Tensor,
    labels: tf.Tensor,
    seed: tf.Tensor,
    probability: float | tf.Tensor,
) -> Scene:
    """Blends some images of a group [8, H, W, 3] with their partners, whose objects they get."""
    choice_seed, weight_seed = tf.unstack(split(fold_in(seed, 4), 2))
    is_mixed = tf.random.stateless_uniform([GROUP], choice_seed) < probability
    amounts = tf.random.stateless_gamma([2, GROUP], weight_seed, alpha=BETA)
    weights = amounts[0] / (amounts[0] + amounts[1])
    partner = [(m + PARTNER) % GROUP for m in range(GROUP)]

    def blend(values: tuple[tf.Tensor, ...]) -> tf.Tensor:
        ours, theirs = (tf.cast(image, tf.float32) for image in values[:2])
        weight, is_blended = values[2:]
        return tf.cond(
            is_blended, lambda: to_uint8(theirs + weight * (ours - theirs)), lambda: values[0]
        )

    # One after the other: the float32 values of a whole group do not fit into a cache.
    blended = tf.map_fn(
        blend,
        (images, tf.gather(images, partner), weights, is_mixed),
        fn_output_signature=tf.TensorSpec(images.shape[1:], tf.uint8),
        parallel_iterations=1,
    )
    others = tf.where(is_mixed[:, None], tf.gather(labels, partner), -1)
    return (
        blended,
        tf.concat([boxes, tf.gather(boxes, partner)], axis=1),
        tf.concat([labels, others], axis=1),
    )
