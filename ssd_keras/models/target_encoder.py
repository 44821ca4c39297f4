"""Turns ground truth into what a model trains on, in TensorFlow."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from ssd_keras.assigners.assigner import Assigner, DefaultBoxArray, box_array
from ssd_keras.boxes.coding import encode_boxes
from ssd_keras.boxes.default_boxes import VARIANCES
from ssd_keras.boxes.formats import Array
from ssd_keras.boxes.iou import edges, giou
from ssd_keras.boxes.matching import is_usable
from ssd_keras.core.text import short_list


class TargetEncoder:
    """Turns ground truth into the targets of `SSD`, in `tf.data` or for single images.

    Args:
        assigner: `Assigner`, such as `MaxIoUAssigner()`.
        default_boxes: `DefaultBoxGrid`, such as `model.default_box_grid`; or relative yxyx float32
            [N, 4] where these suffice for the assigner.
        variances: divisors of the box deltas. Default (0.1, 0.1, 0.2, 0.2).
        with_quality: the targets hold the assigner's quality too, for losses that use it. Default
            False.
        class_names: names of the labels, which `training_dataset` compares with those of its data.
            Default none: labels are not checked here.

    Call arguments:
        boxes: relative yxyx float32, [n, 4] of an image or [B, n, 4] of several; n may be 0.
            Boxes of no area are ignored.
        labels: int32 [n] or [B, n], 0-based without background. Boxes with negative labels are
            ignored: pad the shorter images of a batch with -1.

    Returns of a call:
        with a batch axis where the arguments have one, "box_deltas" float32 [N, 5]: the deltas
        followed by 1 where the default box is positive; "class_logits" int32 [N]: 0 for
        background, 1 + label where positive, -1 where the loss ignores the default box; with
        `with_quality` also "quality" float32 [N], see `Assigner.assign`. For an assigner that
        needs predictions instead "boxes" float32 [n, 4], "labels" int32 [n] and "candidates"
        int32 [n, K]: of each object the default boxes of the highest GIoU, best first.

    Raises:
        ValueError: for a label beyond the classes; inside a graph the error is TensorFlow's.

    Example:

    >>> from ssd_keras import MaxIoUAssigner
    >>> boxes = tf.constant([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]])
    >>> encoder = TargetEncoder(MaxIoUAssigner(), boxes)
    >>> encoder(tf.constant([[0, 0, 0.5, 0.4]]), tf.constant([2]))["class_logits"].numpy()
    array([3, 0], dtype=int32)
    """

    def __init__(
        self,
        assigner: Assigner,
        default_boxes: DefaultBoxArray,
        variances: Sequence[float] = VARIANCES,
        with_quality: bool = False,
        class_names: Sequence[str] = (),
    ) -> None:
        self.assigner: Any = assigner
        self.default_boxes = default_boxes
        self.variances = tuple(variances)
        self.with_quality = with_quality
        self.class_names = tuple(class_names)
        self._boxes = box_array(default_boxes)

    @property
    def needs_predictions(self) -> bool:
        """Whether the ground truth goes on to the training step, where the assigner is called."""
        return self.assigner.needs_predictions

    def __call__(self, boxes: Array, labels: Array) -> dict[str, tf.Tensor]:
        labels = self._checked(tf.cast(labels, tf.int32))
        is_batch = len(labels.shape) > 1
        labels = labels if is_batch else labels[None]
        boxes = tf.reshape(tf.cast(boxes, tf.float32), tf.concat([tf.shape(labels), [4]], 0))
        truth = {"boxes": boxes, "labels": labels}
        targets = self._with_candidates(truth) if self.needs_predictions else self._encode(truth)
        return targets if is_batch else {name: value[0] for name, value in targets.items()}

    def _checked(self, labels: tf.Tensor) -> tf.Tensor:
        """Refuses labels beyond the classes, such as those that count from 1."""
        if not self.class_names:
            return labels
        message = (
            f"a label is {len(self.class_names)} or more, but the model has "
            f"{len(self.class_names)} classes ({short_list(self.class_names)}): labels count from "
            "0, without background."
        )
        is_known = tf.reduce_all(labels < len(self.class_names))
        if tf.executing_eagerly():
            if not is_known:
                raise ValueError(message)
            return labels
        with tf.control_dependencies([tf.debugging.Assert(is_known, [message])]):
            return tf.identity(labels)

    def _encode(self, ground_truth: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        targets = self.assigner.assign(ground_truth, self.default_boxes)
        labels = targets["labels"]
        # Only the few positive default boxes have deltas.
        positive = tf.where(labels >= 0)
        deltas = encode_boxes(
            tf.gather_nd(targets["boxes"], positive),
            tf.gather(self._boxes, positive[:, 1]),
            self.variances,
            tf,
        )
        deltas = tf.concat([deltas, tf.ones_like(deltas[:, :1])], axis=-1)
        deltas = tf.scatter_nd(positive, deltas, tf.concat([tf.shape(labels, tf.int64), [5]], 0))
        encoded = {
            "box_deltas": tf.ensure_shape(deltas, [labels.shape[0], len(self._boxes), 5]),
            "class_logits": labels + 1,
        }
        return encoded | ({"quality": targets["quality"]} if self.with_quality else {})

    def _with_candidates(self, ground_truth: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        count = min(self.assigner.max_candidates, len(self._boxes))

        def candidates(boxes_and_labels: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            boxes, labels = boxes_and_labels
            rows = tf.where(is_usable(boxes, labels))
            objects = [edge[:, None] for edge in edges(tf.gather_nd(boxes, rows))]
            best = tf.math.top_k(giou(objects, edges(self._boxes), tf), count).indices
            return tf.tensor_scatter_nd_update(
                -tf.ones([tf.size(labels), count], tf.int32), rows, best
            )

        # One image after the other: a matrix of objects and default boxes of a batch is large.
        found = tf.map_fn(
            candidates,
            (ground_truth["boxes"], ground_truth["labels"]),
            fn_output_signature=tf.TensorSpec([ground_truth["labels"].shape[1], count], tf.int32),
        )
        return {**ground_truth, "candidates": found}
