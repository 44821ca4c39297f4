"""Matches default boxes to ground truths by IoU, and encodes the training targets that follow."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ssd_keras.boxes.coding import encode_boxes
from ssd_keras.boxes.default_boxes import VARIANCES
from ssd_keras.boxes.formats import Array
from ssd_keras.boxes.iou_index import IoUIndex, Pairs


def match_pairs(
    pairs: Pairs, num_ground_truths: int, num_default_boxes: int, threshold: float = 0.5
) -> tuple[tf.Tensor, tf.Tensor]:
    """Matches default boxes to ground truths as the paper does (section 2.2, "Matching").

    Each ground truth first claims its best free default box, in order of falling IoU. Then every
    other default box takes its best ground truth where the IoU reaches the threshold. Ties go to
    the lower ground truth, then to the lower default box.

    Returns the ground truth of each default box [N] and the claim of each ground truth [n], or -1.
    """
    # One int64 ranks the pairs by IoU and then by position, because the bits of positive floats
    # sort as the floats do. Of two pairs with an IoU of 0.5, the first ranks higher by one:
    #   pair 0   0x3f000000 * 2**32 - 0
    #   pair 1   0x3f000000 * 2**32 - 1
    bits = tf.cast(tf.bitcast(pairs.iou, tf.int32), tf.int64)
    rank = bits * 2**32 - tf.range(tf.size(bits, tf.int64))

    def is_best(rank: tf.Tensor, group: tf.Tensor, num_groups: int) -> tf.Tensor:
        return rank == tf.gather(tf.math.unsorted_segment_max(rank, group, num_groups), group)

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


class TargetEncoder:
    """Turns ground truth into the targets of `SSD`'s two outputs.

    Args:
        default_boxes: relative yxyx float32 [N, 4].
        variances: divisors of the box deltas. Default (0.1, 0.1, 0.2, 0.2).
        threshold: smallest IoU of further matches, in (0, 1]. Default 0.5.
        use_boundary_boxes: False leaves default boxes that cross the image border out of
            matching and loss (the ablation of the paper's table 3). Default True.

    Call arguments:
        boxes: relative yxyx float32, [n, 4] of an image or [B, n, 4] of several; n may be 0.
            Boxes of no area are ignored.
        labels: int32 [n] or [B, n], 0-based without background. Boxes with negative labels are
            ignored: pad the shorter images of a batch with -1.

    Returns of a call:
        ``{"box_deltas": float32 [N, 5], "class_logits": int32 [N]}``, with a batch axis where the
        arguments have one: the deltas followed by 1 where the default box is positive; class 0
        for background, 1 + label where positive, -1 where the loss ignores the default box.

    Raises:
        ValueError: for a threshold out of range.

    Example:

    >>> encoder = TargetEncoder(np.array([[0, 0, .5, .5], [.5, .5, 1, 1]], "float32"))
    >>> encoder(tf.constant([[0., 0., .5, .4]]), tf.constant([2]))["class_logits"].numpy()
    array([3, 0], dtype=int32)
    """

    def __init__(
        self,
        default_boxes: np.ndarray,
        variances: Sequence[float] = VARIANCES,
        threshold: float = 0.5,
        use_boundary_boxes: bool = True,
    ) -> None:
        if not 0.0 < threshold <= 1.0:
            raise ValueError(f"threshold={threshold} is out of range; pass a value in (0, 1].")
        self.default_boxes = np.asarray(default_boxes, "float32")
        self.variances = tuple(variances)
        self.threshold = threshold
        crosses = (self.default_boxes < 0).any(axis=1) | (self.default_boxes > 1).any(axis=1)
        self.is_ignored = np.logical_and(crosses, not use_boundary_boxes)
        # A box of no area overlaps nothing.
        self._index = IoUIndex(np.where(self.is_ignored[:, None], 0, self.default_boxes))

    def match(self, boxes: Array, labels: Array) -> tuple[tf.Tensor, tf.Tensor]:
        """Matches the default boxes to the objects of an image.

        Args:
            boxes: relative yxyx float32 [n, 4].
            labels: int32 [n].

        Returns:
            matched index int64 [N] into `boxes` (0 where there is none), and is positive bool [N].
        """
        usable, matched = self._match(*_as_batch(boxes, labels))
        # Index -1 (no match) gives the 0 in front, which is there even without objects.
        return tf.gather(tf.concat([[0], usable[:, 1]], axis=0), matched + 1), matched >= 0

    def _match(self, boxes: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the indices [n, 2] of usable objects, and which one each default box has, or -1.

        The default boxes of all images are in one vector [B * N].
        """
        is_usable = (labels >= 0) & tf.reduce_all(boxes[..., 2:] > boxes[..., :2], axis=-1)
        usable = tf.where(is_usable)
        num_images = labels.shape[0] or tf.shape(labels, tf.int64)[0]
        boxes = tf.gather_nd(boxes, usable)
        image = None if labels.shape[0] == 1 else usable[:, 0]
        return usable, match_with_index(self._index, boxes, self.threshold, image, num_images)[0]

    def __call__(self, boxes: Array, labels: Array) -> dict[str, tf.Tensor]:
        is_batch = len(labels.shape) > 1
        boxes, labels = _as_batch(boxes, labels)
        usable, matched = self._match(boxes, labels)
        # Only the few positive default boxes have deltas and a class.
        positive = tf.where(matched >= 0)
        objects = tf.gather(usable, tf.gather_nd(matched, positive))
        num_boxes = len(self.default_boxes)
        deltas = encode_boxes(
            tf.gather_nd(boxes, objects),
            tf.gather_nd(self.default_boxes, positive % num_boxes),
            self.variances,
            tf,
        )
        deltas = tf.concat([deltas, tf.ones_like(deltas[:, :1])], axis=-1)
        length, num_images = tf.size(matched, tf.int64), labels.shape[0] or -1
        deltas = tf.scatter_nd(positive, deltas, [length, 5])
        deltas = tf.reshape(deltas, [num_images, num_boxes, 5])
        classes = tf.scatter_nd(positive, 1 + tf.gather_nd(labels, objects), length[None])
        classes = tf.reshape(classes, [num_images, num_boxes])
        if self.is_ignored.any():
            classes = tf.where(self.is_ignored, -1, classes)
        targets = {"box_deltas": deltas, "class_logits": classes}
        return targets if is_batch else {name: value[0] for name, value in targets.items()}


def _as_batch(boxes: Array, labels: Array) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns float32 [B, n, 4] and int32 [B, n] for the ground truth of one or several images."""
    labels = tf.cast(labels, tf.int32)
    labels = labels if len(labels.shape) > 1 else labels[None]
    return tf.reshape(tf.cast(boxes, tf.float32), tf.concat([tf.shape(labels), [4]], 0)), labels
