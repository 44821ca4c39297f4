"""Matching ground truth to default boxes, and the training targets that follow."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ssd_keras.boxes.coding import encode_boxes
from ssd_keras.boxes.default_boxes import VARIANCES
from ssd_keras.boxes.formats import Array
from ssd_keras.boxes.iou_index import IoUIndex, Pairs, all_pairs


def match_pairs(
    pairs: Pairs, num_truths: int, num_default_boxes: int, threshold: float = 0.5
) -> tuple[tf.Tensor, tf.Tensor]:
    """Matches default boxes to ground truths as the paper does (section 2.2, "Matching").

    First each ground truth gets a default box of its own, whatever their overlap: greedy over all
    pairs, best first. Then every other default box takes its best ground truth where the overlap
    reaches the threshold. Ties go to the lower ground truth, then to the lower default box.
    """
    # One whole number that sorts by overlap, then by place; the bits of floats above 0 sort alike.
    bits = tf.cast(tf.bitcast(pairs.overlap, tf.int32), tf.int64)
    rank = bits * 2**32 - tf.range(tf.size(bits, tf.int64))

    def is_best(rank, group, number):
        return rank == tf.gather(tf.math.unsorted_segment_max(rank, group, number), group)

    def settle_round(rank, truth, default_box, owner, owned):
        """Settles every pair that is the best one left for both, as one by one would too."""
        is_settled = is_best(rank, truth, num_truths)
        is_settled &= is_best(rank, default_box, num_default_boxes)
        place = tf.where(is_settled)
        new_truth, new_box = tf.gather_nd(truth, place), tf.gather_nd(default_box, place)
        owner = tf.tensor_scatter_nd_update(owner, new_box[:, None], new_truth)
        owned = tf.tensor_scatter_nd_update(owned, new_truth[:, None], new_box)
        is_left = (tf.gather(owned, truth) < 0) & (tf.gather(owner, default_box) < 0)
        left = tf.where(is_left)[:, 0]
        return *(tf.gather(one, left) for one in (rank, truth, default_box)), owner, owned

    shape = tf.TensorShape([None])
    *_, owner, owned = tf.while_loop(
        lambda rank, *_: tf.size(rank) > 0,
        settle_round,
        (
            rank,
            pairs.truth,
            pairs.default_box,
            -tf.ones([num_default_boxes], tf.int64),
            -tf.ones([num_truths], tf.int64),
        ),
        shape_invariants=(shape,) * 5,
    )
    is_next = is_best(rank, pairs.default_box, num_default_boxes) & (pairs.overlap >= threshold)
    place = tf.where(is_next & (tf.gather(owner, pairs.default_box) < 0))
    owner = tf.tensor_scatter_nd_update(
        owner, tf.gather(pairs.default_box, place), tf.gather_nd(pairs.truth, place)
    )
    return owner, owned


def match_near(
    index: IoUIndex,
    boxes: tf.Tensor,
    threshold: float = 0.5,
    image: tf.Tensor | None = None,
    num_images: int | tf.Tensor = 1,
) -> tuple[tf.Tensor, tf.Tensor]:
    """`match_pairs` of all pairs, with a look at the near ones alone; of many images at once."""
    num_truths, num_default_boxes = tf.shape(boxes)[0], len(index.default_boxes)

    def match(is_short, is_whole, *_):
        """With a look at all pairs of the ground truths that came short, now and before."""
        is_whole |= is_short
        pairs, is_complete = index.pairs(boxes, threshold, is_whole)
        if image is not None:
            first = num_default_boxes * tf.gather(image, pairs.truth)
            pairs = pairs._replace(default_box=first + pairs.default_box)
        owner, owned = match_pairs(pairs, num_truths, num_images * num_default_boxes, threshold)
        # What was left out of a ground truth's pairs comes behind all of them: it matters where
        # others own all of these, in a crowd at one place.
        return (owned < 0) & ~is_complete, is_whole, owner, owned

    none = tf.zeros([num_truths], tf.bool)
    *_, owner, owned = tf.while_loop(
        lambda is_short, *_: tf.reduce_any(is_short), match, match(none, none)
    )
    return owner, owned


def match_boxes(iou: Array, threshold: float = 0.5) -> tuple[tf.Tensor, tf.Tensor]:
    """`match_pairs` of a full matrix."""
    iou = tf.convert_to_tensor(iou)
    num_truths, num_default_boxes = tf.unstack(tf.shape(iou))
    owner, _ = match_pairs(all_pairs(iou), num_truths, num_default_boxes, threshold)
    return tf.maximum(owner, 0), owner >= 0


class TargetEncoder:
    """Turns ground truth into the targets of `SSD`'s two outputs.

    Args:
        default_boxes: relative yxyx float32 [N, 4].
        variances: divisors of the box deltas. Default (0.1, 0.1, 0.2, 0.2).
        threshold: overlap from which further default boxes match. Default 0.5.
        use_boundary_boxes: False leaves default boxes that cross the image's border out of
            matching and loss (the ablation of the paper's table 3). Default True.

    Call arguments:
        boxes: relative yxyx float32, [n, 4] of an image or [B, n, 4] of several; n may be 0.
            Boxes of no area are passed over.
        labels: int32 [n] or [B, n], 0-based without background; negative labels are passed over:
            fill up the shorter images with -1.

    Returns of a call:
        ``{"box_deltas": float32 [N, 5], "class_logits": int32 [N]}``, or with a batch axis: the
        deltas followed by 1 where the default box is positive; class 0 for background, 1 + label
        where positive, -1 where the loss must look away.

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
        """The matching alone, for images of it.

        Args:
            boxes: relative yxyx float32 [n, 4].
            labels: int32 [n].

        Returns:
            matched index int64 [N] into `boxes` (0 where there is none), and is positive bool [N].
        """
        place, owner = self._match(*_as_batch(boxes, labels))
        # Of -1 the first, which stands before all of them: there may be none.
        return tf.gather(tf.concat([[0], place[:, 1]], axis=0), owner + 1), owner >= 0

    def _match(self, boxes, labels):
        """Where the usable ground truths stand, and which of them each default box has, or -1."""
        usable = (labels >= 0) & tf.reduce_all(boxes[..., 2:] > boxes[..., :2], axis=-1)
        place = tf.where(usable)
        num_images = labels.shape[0] or tf.shape(labels, tf.int64)[0]
        boxes = tf.gather_nd(boxes, place)
        image = None if labels.shape[0] == 1 else place[:, 0]
        return place, match_near(self._index, boxes, self.threshold, image, num_images)[0]

    def __call__(self, boxes: Array, labels: Array) -> dict[str, tf.Tensor]:
        is_batch = len(labels.shape) > 1
        boxes, labels = _as_batch(boxes, labels)
        truth, owner = self._match(boxes, labels)
        # Only the few positive ones have deltas and a class.
        place = tf.where(owner >= 0)
        truth = tf.gather(truth, tf.gather_nd(owner, place))
        num_boxes = len(self.default_boxes)
        deltas = encode_boxes(
            tf.gather_nd(boxes, truth),
            tf.gather_nd(self.default_boxes, place % num_boxes),
            self.variances,
        )
        deltas = tf.concat([deltas, tf.ones_like(deltas[:, :1])], axis=-1)
        length, num_images = tf.size(owner, tf.int64), labels.shape[0] or -1
        deltas = tf.scatter_nd(place, deltas, [length, 5])
        deltas = tf.reshape(deltas, [num_images, num_boxes, 5])
        classes = tf.scatter_nd(place, 1 + tf.gather_nd(labels, truth), length[None])
        classes = tf.reshape(classes, [num_images, num_boxes])
        if self.is_ignored.any():
            classes = tf.where(self.is_ignored, -1, classes)
        targets = {"box_deltas": deltas, "class_logits": classes}
        return targets if is_batch else {name: value[0] for name, value in targets.items()}


def _as_batch(boxes, labels):
    """Float32 [B, n, 4] and int32 [B, n] of one image's or several images' ground truth."""
    labels = tf.cast(labels, tf.int32)
    labels = labels if len(labels.shape) > 1 else labels[None]
    return tf.reshape(tf.cast(boxes, tf.float32), tf.concat([tf.shape(labels), [4]], 0)), labels
