"""Matches default boxes to ground truths by IoU, in TensorFlow."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ssd_keras.boxes.iou import paired_iou
from ssd_keras.boxes.iou_index import IoUIndex, Pairs


def rank_of(pairs: Pairs) -> tf.Tensor:
    """Returns the rank of each pair: higher for a higher IoU, then for the earlier pair."""
    # The bits of positive floats sort as the floats do. Of two pairs with an IoU of 0.5, the first
    # ranks higher by one:
    #   pair 0   0x3f000000 * 2**32 - 0
    #   pair 1   0x3f000000 * 2**32 - 1
    bits = tf.cast(tf.bitcast(pairs.iou, tf.int32), tf.int64)
    return bits * 2**32 - tf.range(tf.size(bits, tf.int64))


def is_best(rank: tf.Tensor, group: tf.Tensor, num_groups: int | tf.Tensor) -> tf.Tensor:
    """Returns which pairs have the highest rank of their group."""
    return rank == tf.gather(tf.math.unsorted_segment_max(rank, group, num_groups), group)


def match_pairs(
    pairs: Pairs,
    num_ground_truths: int | tf.Tensor,
    num_default_boxes: int | tf.Tensor,
    threshold: float = 0.5,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Matches default boxes to ground truths as the paper does (section 2.2, "Matching").

    Each ground truth first claims its best free default box, in order of falling IoU. Then every
    other default box takes its best ground truth where the IoU reaches the threshold. Ties go to
    the lower ground truth, then to the lower default box.

    Returns the ground truth of each default box [N] and the claim of each ground truth [n], or -1.
    """
    rank = rank_of(pairs)

    def settle_best_pairs(*state: tf.Tensor) -> tuple[tf.Tensor, ...]:
        rank, ground_truth, default_box, matched, claimed = state
        # A pair that is the best one left for both its members is claimed whenever its turn
        # comes: no pair with either of them ranks higher. So all such pairs are settled at once.
        #           box 0  box 1  box 2
        #   truth 0  0.9*   0.8     -      round 1: 0.9 and 0.6 are best in their row and column
        #   truth 1  0.7    0.5     -      round 2: 0.5 is what truth 1 has left
        #   truth 2   -     0.4    0.6*
        is_settled = is_best(rank, ground_truth, num_ground_truths)
        is_settled &= is_best(rank, default_box, num_default_boxes)
        index = tf.where(is_settled)
        new_truth, new_box = tf.gather_nd(ground_truth, index), tf.gather_nd(default_box, index)
        matched = tf.tensor_scatter_nd_update(matched, new_box[:, None], new_truth)
        claimed = tf.tensor_scatter_nd_update(claimed, new_truth[:, None], new_box)
        is_left = (tf.gather(claimed, ground_truth) < 0) & (tf.gather(matched, default_box) < 0)
        left = tf.where(is_left)[:, 0]
        columns = (tf.gather(column, left) for column in (rank, ground_truth, default_box))
        return *columns, matched, claimed

    unmatched = (-tf.ones([count], tf.int64) for count in (num_default_boxes, num_ground_truths))
    *_, matched, claimed = tf.while_loop(
        lambda rank, *_: tf.size(rank) > 0,
        settle_best_pairs,
        (rank, pairs.ground_truth, pairs.default_box, *unmatched),
        shape_invariants=(tf.TensorShape([None]),) * 5,
    )
    takes = is_best(rank, pairs.default_box, num_default_boxes) & (pairs.iou >= threshold)
    index = tf.where(takes & (tf.gather(matched, pairs.default_box) < 0))
    matched = tf.tensor_scatter_nd_update(
        matched, tf.gather(pairs.default_box, index), tf.gather_nd(pairs.ground_truth, index)
    )
    return matched, claimed


def match_with_index(
    index: IoUIndex,
    boxes: tf.Tensor,
    threshold: float = 0.5,
    image: tf.Tensor | None = None,
    num_images: int | tf.Tensor = 1,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns `match_pairs` of all pairs, but computes only those that matter.

    Boxes [n, 4] of several images are matched at once: `image` [n] says which image each box is
    in, and the default boxes count through all images.
    """
    num_ground_truths, num_default_boxes = tf.shape(boxes)[0], len(index.default_boxes)

    def match(is_short: tf.Tensor, is_whole: tf.Tensor, *_: tf.Tensor) -> tuple[tf.Tensor, ...]:
        is_whole |= is_short
        pairs, is_complete = index.pairs(boxes, threshold, is_whole)
        if image is not None:
            first = num_default_boxes * tf.gather(image, pairs.ground_truth)
            pairs = pairs._replace(default_box=first + pairs.default_box)
        numbers = num_ground_truths, num_images * num_default_boxes
        matched, claimed = match_pairs(pairs, *numbers, threshold)
        # If others claim all default boxes of a ground truth's pairs, as in a crowd, it is matched
        # again with all its pairs. The pairs left out rank behind the others.
        return (claimed < 0) & ~is_complete, is_whole, matched, claimed

    none = tf.zeros([num_ground_truths], tf.bool)
    *_, matched, claimed = tf.while_loop(
        lambda is_short, *_: tf.reduce_any(is_short), match, match(none, none)
    )
    return matched, claimed


def is_usable(boxes: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns which boxes [..., 4] are objects: neither padding nor without area."""
    return (labels >= 0) & tf.reduce_all(boxes[..., 2:] > boxes[..., :2], axis=-1)


class Objects(NamedTuple):
    """The usable objects of a batch, one after the other."""

    boxes: tf.Tensor  # float32 [P, 4]
    labels: tf.Tensor  # int32 [P]
    image: tf.Tensor  # int64 [P], which image each object is in
    num_images: int | tf.Tensor

    @classmethod
    def of(cls, ground_truth: Mapping[str, tf.Tensor]) -> "Objects":
        """Returns those of boxes [B, n, 4] and labels [B, n]."""
        boxes, labels = ground_truth["boxes"], ground_truth["labels"]
        index = tf.where(is_usable(boxes, labels))
        num_images = labels.shape[0] or tf.shape(labels, tf.int64)[0]
        return cls(tf.gather_nd(boxes, index), tf.gather_nd(labels, index), index[:, 0], num_images)

    def targets(self, matched: tf.Tensor, default_boxes: np.ndarray) -> dict[str, tf.Tensor]:
        """Returns an assigner's targets, the quality being the IoU.

        `matched` [B * N] is the object of each default box of each image, or -1.
        """
        positive = tf.where(matched >= 0)
        index = tf.gather_nd(matched, positive)
        boxes = tf.gather(self.boxes, index)
        num_boxes = len(default_boxes)
        quality = paired_iou(boxes, tf.gather_nd(default_boxes, positive % num_boxes), tf)

        # Only the few positive default boxes have values.
        def dense(values: tf.Tensor) -> tf.Tensor:
            shape = tf.concat([tf.shape(matched), tf.shape(values)[1:]], axis=0)
            values = tf.scatter_nd(tf.cast(positive, tf.int32), values, shape)
            return tf.reshape(values, [self.num_images, num_boxes, *values.shape[1:]])

        labels = dense(1 + tf.gather(self.labels, index)) - 1
        return {"boxes": dense(boxes), "labels": labels, "quality": dense(quality)}
