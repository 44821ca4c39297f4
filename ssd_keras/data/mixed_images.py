"""The stream of augmented images in which one may hold parts of several: mosaic and mixup."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from ssd_keras.data.augmentation.augmentation import Augmentation
from ssd_keras.data.augmentation.geometry import apply_last_steps, augment
from ssd_keras.data.augmentation.mosaic import (
    GROUP,
    GroupDraws,
    choose_group,
    exchange_quadrants,
    mix_up,
    render_quadrants,
)
from ssd_keras.data.parallel_map import map_in_parallel

Tensors = dict[str, tf.Tensor]


def mixed_examples(
    runs: tf.data.Dataset,
    source: Callable[[tf.Tensor], Tensors],
    seed_of: Callable[[tf.Tensor], tf.Tensor],
    image_size: tuple[int, int],
    augmentation: Augmentation,
    strong_until: int,
) -> tf.data.Dataset:
    """Returns the examples at positions of the stream, of which groups of eight share images.

    `runs` are vectors of consecutive positions, `source` gives what `augment` takes of the image at
    a position, `seed_of` its seed alone. From the position `strong_until` on, the stream is that
    without mosaic and mixup.
    """

    def load(position: tf.Tensor, is_wanted: tf.Tensor) -> Tensors:
        first = position // GROUP * GROUP
        example = {
            "position": position,
            "is_wanted": is_wanted,
            "is_strong": first + GROUP <= strong_until,
            "seed": seed_of(position),
        }
        group = choose_group(seed_of(first), example["is_strong"], image_size, augmentation.mosaic)
        return example | _views(source(position), group, image_size, augmentation)

    loaded = map_in_parallel(runs.flat_map(_members), load)
    padding = {name: spec.dtype.as_numpy_dtype() for name, spec in loaded.element_spec.items()}
    groups = loaded.padded_batch(
        GROUP, padding_values=padding | {"labels": np.int32(-1)}, drop_remainder=True
    )
    mixed = map_in_parallel(groups, lambda group: _mix(group, augmentation)).unbatch()
    return map_in_parallel(mixed, lambda example: _finish(example, image_size, augmentation))


def _views(
    image: Tensors, group: GroupDraws, image_size: tuple[int, int], augmentation: Augmentation
) -> Tensors:
    """Returns four views of an image for four mosaics, or the augmented image."""

    def plain() -> tuple[tf.Tensor, ...]:
        alone = dataclasses.replace(augmentation, after=())
        scene = augment(**image, image_size=image_size, augmentation=alone)
        return *scene, tf.zeros_like(scene[2])

    pixels, boxes, labels, quadrant = tf.cond(
        group.is_mosaic,
        lambda: render_quadrants(
            **image, image_size=image_size, augmentation=augmentation, center=group.center
        ),
        plain,
    )
    views = {"image": pixels, "boxes": boxes, "labels": labels, "quadrant": quadrant}
    return views | {"is_mosaic": group.is_mosaic, "center": group.center}


def _mix(group: Tensors, augmentation: Augmentation) -> Tensors:
    """Makes mosaics of the views of a group, blends some, and keeps what is wanted."""
    scene = group["image"], group["boxes"], group["labels"]
    if augmentation.mosaic:
        scene = tf.cond(
            group["is_mosaic"][0],
            lambda: exchange_quadrants(*scene, group["quadrant"], group["center"][0]),
            lambda: scene,
        )
    if augmentation.mixup:
        probability = tf.where(group["is_strong"][0], augmentation.mixup, 0.0)
        scene = mix_up(*scene, group["seed"][0], probability)
    kept = dict(zip(("image", "boxes", "labels"), scene, strict=True))
    kept |= {name: group[name] for name in ("position", "seed")}
    return {name: tf.boolean_mask(values, group["is_wanted"]) for name, values in kept.items()}


def _finish(example: Tensors, image_size: tuple[int, int], augmentation: Augmentation) -> Tensors:
    """Takes the padding away, and applies the steps on the model's input."""
    is_object = example["labels"] >= 0
    image, boxes, labels = apply_last_steps(
        example["image"],
        tf.boolean_mask(example["boxes"], is_object),
        tf.boolean_mask(example["labels"], is_object),
        image_size,
        example["seed"],
        augmentation,
    )
    return {"image": image, "boxes": boxes, "labels": labels, "position": example["position"]}


def _members(run: tf.Tensor) -> tf.data.Dataset:
    """Returns the positions of all groups that a run touches, and whether the run has them."""
    start = run[0] // GROUP * GROUP
    end = -(-(run[-1] + 1) // GROUP) * GROUP
    positions = tf.data.Dataset.range(start, end)
    return positions.map(lambda position: (position, (position >= run[0]) & (position <= run[-1])))
