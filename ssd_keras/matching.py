"""Matching ground truth to default boxes, and the training targets that follow."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ssd_keras.boxes import VARIANCES, Array, encode_boxes, pairwise_iou

SMALLEST_OVERLAP = 1e-6
"""A ground truth that overlaps no default box by more than this stays unmatched."""


def match_bipartite(iou: Array) -> tf.Tensor:
    """Gives every ground truth a default box of its own: greedy over all pairs, best first.

    Each round settles every pair that is the best one left for both of its sides, which is
    what taking the pairs one by one from the best would settle too; two or three rounds do.
    Ties go to the lower ground truth, then to the lower default box.

    Args:
        iou: float32 [n, N], ground truths by default boxes; n of at least 1.

    Returns:
        int32 [n]: the default box of each ground truth, -1 where none overlaps it.

    Example:

    >>> match_bipartite(tf.constant([[.9, .8], [.85, .1]])).numpy()
    array([0, 1], dtype=int32)
    """
    iou = tf.convert_to_tensor(iou)
    num_columns = tf.shape(iou)[1]

    def settle_round(scores, rows, owned):
        column = tf.argmax(scores, axis=1, output_type=tf.int32)
        rivals = tf.gather(scores, column, axis=1)
        overlaps = tf.linalg.diag_part(rivals) > SMALLEST_OVERLAP
        best = tf.argmax(rivals, axis=0, output_type=tf.int32)
        wins = overlaps & (best == tf.range(tf.shape(rows)[0]))
        taken = tf.boolean_mask(column, wins)
        owned = tf.tensor_scatter_nd_update(owned, tf.boolean_mask(rows, wins)[:, None], taken)
        # Most are settled in the first round: the next looks at the few rows that are left.
        left = overlaps & ~wins
        is_free = tf.tensor_scatter_nd_update(
            tf.ones([num_columns], tf.bool), taken[:, None], tf.zeros_like(taken, tf.bool)
        )
        scores = tf.where(is_free, tf.boolean_mask(scores, left), -1.0)
        return scores, tf.boolean_mask(rows, left), owned

    rows = tf.range(tf.shape(iou)[0])
    _, _, owned = tf.while_loop(
        lambda scores, rows, owned: tf.size(rows) > 0,
        settle_round,
        (iou, rows, -tf.ones_like(rows)),
        shape_invariants=(tf.TensorShape([None, None]), tf.TensorShape([None]), rows.shape),
    )
    return owned


def match_boxes(iou: Array, threshold: float = 0.5) -> tuple[tf.Tensor, tf.Tensor]:
    """Matches default boxes to ground truth as the paper does (section 2.2, "Matching").

    First each ground truth gets the default box of its own (`match_bipartite`), whatever their
    overlap; then every other default box takes its best ground truth where the overlap reaches
    the threshold.

    Args:
        iou: float32 [n, N], ground truths by default boxes; n of at least 1.
        threshold: smallest overlap of the second step, 0..1. Default 0.5.

    Returns:
        matched index int32 [N], the ground truth of each default box (0 where it has none), and
        is positive bool [N], true where it has one.

    Example:

    >>> index, positive = match_boxes(tf.constant([[.6, .2, .1], [.7, .3, .0]]))
    >>> index.numpy(), positive.numpy()
    (array([1, 0, 0], dtype=int32), array([ True,  True, False]))
    """
    iou = tf.convert_to_tensor(iou)
    matched_index = tf.zeros(tf.shape(iou)[1:], tf.int32)
    is_positive = tf.reduce_max(iou, axis=0) >= threshold
    # Which ground truth is the best matters for the few that are positive alone.
    positive = tf.where(is_positive)
    best = tf.argmax(tf.gather(iou, positive[:, 0], axis=1), axis=0, output_type=tf.int32)
    matched_index = tf.tensor_scatter_nd_update(matched_index, positive, best)
    owned = match_bipartite(iou)
    owners = tf.where(owned >= 0)
    place = tf.gather_nd(owned, owners)[:, None]
    matched_index = tf.tensor_scatter_nd_update(
        matched_index, place, tf.cast(owners[:, 0], tf.int32)
    )
    is_positive = tf.tensor_scatter_nd_update(
        is_positive, place, tf.ones_like(owners[:, 0], tf.bool)
    )
    return matched_index, is_positive


class TargetEncoder:
    """Turns one picture's ground truth into the targets of `SSD`'s two outputs.

    Args:
        default_boxes: relative yxyx float32 [N, 4].
        variances: divisors of the box deltas. Default (0.1, 0.1, 0.2, 0.2).
        threshold: overlap from which further default boxes match. Default 0.5.
        use_boundary_boxes: False leaves default boxes that cross the picture's border out of
            matching and loss (the ablation of the paper's table 3). Default True.

    Call arguments:
        boxes: relative yxyx float32 [n, 4], n may be 0. Boxes of no area are passed over.
        labels: int32 [n], 0-based without background; negative labels are passed over.

    Returns of a call:
        ``{"box_deltas": float32 [N, 5], "class_logits": int32 [N]}``: the deltas followed by 1
        where the default box is positive; class 0 for background, 1 + label where positive, -1
        where the loss must look away.

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
        self.is_ignored = crosses & (not use_boundary_boxes)

    def match(self, boxes: Array, labels: Array) -> tuple[tf.Tensor, tf.Tensor]:
        """The matching alone, for pictures of it.

        Args:
            boxes: relative yxyx float32 [n, 4].
            labels: int32 [n].

        Returns:
            matched index int32 [N] into `boxes`, and is positive bool [N].
        """
        boxes = tf.reshape(tf.cast(boxes, tf.float32), [-1, 4])
        usable = (labels >= 0) & tf.reduce_all(boxes[:, 2:] > boxes[:, :2], axis=-1)
        # A box of no area overlaps nothing. One more stands for "no ground truth", so that n = 0
        # needs no other path.
        boxes = tf.pad(tf.where(usable[:, None], boxes, 0.0), [[0, 1], [0, 0]])
        iou = pairwise_iou(boxes, self.default_boxes)
        if self.is_ignored.any():
            iou = tf.where(self.is_ignored, 0.0, iou)
        return match_boxes(iou, self.threshold)

    def __call__(self, boxes: Array, labels: Array) -> dict[str, tf.Tensor]:
        boxes = tf.reshape(tf.cast(boxes, tf.float32), [-1, 4])
        matched_index, is_positive = self.match(boxes, labels)
        # Only the few positive ones have deltas and a class.
        place = tf.where(is_positive)
        owner = tf.gather_nd(matched_index, place)
        deltas = encode_boxes(
            tf.gather(boxes, owner), tf.gather_nd(self.default_boxes, place), self.variances
        )
        deltas = tf.concat([deltas, tf.ones_like(deltas[:, :1])], axis=-1)
        num_boxes = tf.constant(len(self.default_boxes), tf.int64)
        classes = tf.scatter_nd(place, tf.gather(tf.cast(labels, tf.int32), owner) + 1, [num_boxes])
        if self.is_ignored.any():
            classes = tf.where(self.is_ignored, -1, classes)
        return {
            "box_deltas": tf.scatter_nd(place, deltas, [num_boxes, 5]),
            "class_logits": classes,
        }
