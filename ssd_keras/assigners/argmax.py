"""Argmax assigner: each default box takes its best object, as in other SSDs of the field."""

import dataclasses
from collections.abc import Mapping

from ssd_keras.assigners.assigner import Assigner, DefaultBoxArray
from ssd_keras.assigners.max_iou import indexed
from ssd_keras.boxes.formats import Array
from ssd_keras.core.parts import register_part


@register_part("assigner", "argmax")
@dataclasses.dataclass(frozen=True)
class ArgmaxAssigner(Assigner):
    """Assigns each default box its best object, by two thresholds, then each object its best box.

    The rule of the TensorFlow Object Detection API (`argmax_matcher.py`), of torchvision's SSD
    (0.5, 0.5, forced) and of RetinaNet (0.5, 0.4). A default box is positive where the IoU with its
    best object reaches `matched_threshold`, background below `unmatched_threshold`, and ignored
    by the losses between the two. With `force_match` the best default box of each object is
    positive for it, at any IoU; where several objects have the same best one, the first
    keeps it, as in the API (in torchvision the last), and the others may go without, unlike
    `MaxIoUAssigner`'s. Of equal IoUs the first object and the first default box win. An object
    that overlaps no default box stays without. The quality is the IoU.

    Args:
        matched_threshold: smallest IoU of a positive, in (0, 1]. Default 0.5.
        unmatched_threshold: default boxes below this IoU are background, in (0,
            `matched_threshold`]. Default 0.5.
        force_match: the best default box of each object is positive. Default True.

    Raises:
        ValueError: for thresholds out of range.

    Example:

    >>> import numpy as np
    >>> boxes = np.array([[0, 0, 1, 0.5], [0, 0.5, 1, 0.9], [0, 0, 1, 1]], "float32")
    >>> objects = np.array([[[0, 0, 1, 0.45]]], "float32")  # IoUs .9, 0 and .45
    >>> ground_truth = {"boxes": objects, "labels": np.array([[2]], "int32")}
    >>> assigner = ArgmaxAssigner(unmatched_threshold=0.4)
    >>> assigner.assign(ground_truth, boxes)["labels"].numpy()
    array([[ 2, -1, -2]], dtype=int32)
    """

    matched_threshold: float = 0.5
    unmatched_threshold: float = 0.5
    force_match: bool = True

    def __post_init__(self) -> None:
        if not 0.0 < self.unmatched_threshold <= self.matched_threshold <= 1.0:
            raise ValueError(
                f"unmatched_threshold={self.unmatched_threshold} and matched_threshold="
                f"{self.matched_threshold} are out of range; pass values in (0, 1], the first at "
                "most the second."
            )

    def assign(
        self,
        ground_truth: Mapping[str, Array],
        default_boxes: DefaultBoxArray,
        predictions: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]:
        import tensorflow as tf

        from ssd_keras.boxes.matching import Objects, is_best, rank_of

        array, _, index = indexed(default_boxes)
        objects, num_boxes = Objects.of(ground_truth), len(array)
        num_objects, total = tf.shape(objects.boxes)[0], objects.num_images * num_boxes
        # The pairs hold all from the lower threshold on, and the best of each object.
        pairs, _ = index.pairs(objects.boxes, self.unmatched_threshold)
        owner, rank = pairs.ground_truth, rank_of(pairs)
        default_box = pairs.default_box + num_boxes * tf.gather(objects.image, owner)

        def take(matched: tf.Tensor, is_pair: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
            rows = tf.where(is_pair)
            taken, values = tf.gather(default_box, rows), tf.gather_nd(values, rows)
            return tf.tensor_scatter_nd_update(matched, taken, values)

        is_near = is_best(rank, default_box, total) & (pairs.iou >= self.unmatched_threshold)
        values = tf.where(pairs.iou >= self.matched_threshold, owner, -2)
        matched = take(-tf.ones([total], tf.int64), is_near, values)
        if self.force_match:
            is_forced = is_best(rank, owner, num_objects)
            order = tf.where(is_forced, -owner, tf.int64.min)  # the first object ranks highest
            matched = take(matched, is_forced & is_best(order, default_box, total), owner)
        targets = objects.targets(matched, array)
        is_ignored = tf.reshape(matched, tf.shape(targets["labels"])) == -2
        return {**targets, "labels": tf.where(is_ignored, -2, targets["labels"])}
