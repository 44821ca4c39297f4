"""Runs augmentation steps one after the other, and checks what each returns."""

from collections.abc import Sequence

import tensorflow as tf

from ssd_keras.data.augmentation.registry import Step, step_name

Scene = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
"""Image float32 [H, W, 3] in 0..255, boxes [n, 4] in relative yxyx, labels [n]."""


def apply_steps(
    steps: Sequence[Step],
    image: tf.Tensor,
    boxes: tf.Tensor,
    labels: tf.Tensor,
    seed: tf.Tensor,
    image_size: tuple[int, int] | None = None,
) -> Scene:
    """Returns image, boxes and labels after all steps, which must keep `image_size` if given."""
    scene = tf.cast(image, tf.float32), boxes, labels
    for index, step in enumerate(steps):
        # A step's draws depend on its place: one more at the end changes none of the others.
        step_seed = tf.random.experimental.stateless_fold_in(seed, tf.constant(index, tf.int64))
        result = step(*scene, step_seed)
        scene = _clip(*_check(step_name(step), result, labels.dtype, image_size))
    return scene


def _check(
    name: str, result: object, label_dtype: tf.DType, image_size: tuple[int, int] | None
) -> Scene:
    """Returns what a step returned, or raises an error that names the step."""
    specs = {
        "image": tf.TensorSpec([*(image_size or (None, None)), 3], tf.float32),
        "boxes": tf.TensorSpec([None, 4], tf.float32),
        "labels": tf.TensorSpec([None], label_dtype),
    }
    expected = "expected " + ", ".join(
        f"{what} {spec.dtype.name} {spec.shape}" for what, spec in specs.items()
    )
    if image_size:
        expected += "; a step that changes the size of the image belongs in `before`"
    found = f"augmentation step {name!r} returned"
    if not isinstance(result, tuple) or len(result) != 3:
        raise ValueError(f"{found} {type(result).__name__}; {expected}.")
    scene = [tf.convert_to_tensor(value) for value in result]
    for value, (what, spec) in zip(scene, specs.items(), strict=True):
        if value.dtype != spec.dtype or not value.shape.is_compatible_with(spec.shape):
            raise ValueError(f"{found} {what} {value.dtype.name} {value.shape}; {expected}.")
    image, boxes, labels = scene
    if not boxes.shape[:1].is_compatible_with(labels.shape[:1]):
        raise ValueError(f"{found} {len(boxes)} boxes and {len(labels)} labels; {expected}.")
    return _check_in_graph((image, boxes, labels), found, expected, image_size)


def _check_in_graph(
    scene: Scene, found: str, expected: str, image_size: tuple[int, int] | None
) -> Scene:
    """Checks sizes that only the running graph knows."""
    ranks = (3, 2, 1)
    image, boxes, labels = (
        tf.ensure_shape(value, [None] * rank) for value, rank in zip(scene, ranks, strict=True)
    )
    sizes = [tf.shape(image), tf.shape(boxes), tf.shape(labels)]
    is_right = (tf.size(image) > 0) & (sizes[1][0] == sizes[2][0])
    if image_size:
        is_right &= tf.reduce_all(sizes[0][:2] == tf.constant(image_size))
    right = tf.debugging.Assert(is_right, [f"{found} shapes", *sizes, f"{expected}."])
    with tf.control_dependencies([right]):
        image, boxes, labels = map(tf.identity, (image, boxes, labels))
    image.set_shape([*(image_size or (None, None)), 3])
    boxes.set_shape([None, 4])
    return image, boxes, labels


def _clip(image: tf.Tensor, boxes: tf.Tensor, labels: tf.Tensor) -> Scene:
    """Clips boxes to the image; drops those without area, and their labels."""
    boxes = tf.clip_by_value(boxes, 0.0, 1.0)
    has_area = tf.reduce_all(boxes[:, 2:] > boxes[:, :2], axis=1)
    return image, tf.boolean_mask(boxes, has_area), tf.boolean_mask(labels, has_area)
