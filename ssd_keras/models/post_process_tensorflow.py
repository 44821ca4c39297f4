"""Post-processing in TensorFlow: scores, decoded boxes, TensorFlow's combined NMS."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from ssd_keras.boxes.coding import decode_boxes
from ssd_keras.boxes.default_boxes import VARIANCES
from ssd_keras.boxes.formats import Array
from ssd_keras.losses.classification import check_activation
from ssd_keras.models.post_process import PostProcess


def class_scores(class_logits: Array, activation: str = "softmax") -> tf.Tensor:
    """Turns logits [..., 1 + classes] into scores, background included."""
    check_activation(activation)
    function = tf.nn.softmax if activation == "softmax" else tf.nn.sigmoid
    return function(class_logits)


def detections_from_outputs(
    outputs: Mapping[str, Array],
    default_boxes: Array,
    post_process: PostProcess | None = None,
    variances: Sequence[float] = VARIANCES,
    activation: str = "softmax",
) -> dict[str, tf.Tensor]:
    """Turns raw outputs into boxes [B, K, 4], scores [B, K], labels [B, K], num_detections [B].

    K is `max_detections`; unused slots are zero.
    """
    scores = class_scores(tf.cast(outputs["class_logits"], tf.float32), activation)[..., 1:]
    boxes = decode_boxes(tf.cast(outputs["box_deltas"], tf.float32), default_boxes, variances, tf)
    return nms(boxes, scores, post_process or PostProcess())


def nms(boxes: tf.Tensor, scores: tf.Tensor, post_process: PostProcess) -> dict[str, tf.Tensor]:
    """Applies NMS class by class to boxes [B, N, 4] and scores [B, N, classes]."""
    if post_process.clip_boxes:
        boxes = tf.clip_by_value(boxes, 0.0, 1.0)
    choose = _candidates_of_each_class if post_process.candidates_per_class else _candidates_of_all
    kept = tf.image.combined_non_max_suppression(
        *choose(boxes, scores, post_process.max_candidates),
        max_output_size_per_class=post_process.max_candidates,
        max_total_size=post_process.max_detections,
        iou_threshold=post_process.iou_threshold,
        score_threshold=post_process.score_threshold,
        clip_boxes=False,
    )
    return {
        "boxes": kept.nmsed_boxes,
        "scores": kept.nmsed_scores,
        "labels": tf.cast(kept.nmsed_classes, tf.int32),
        "num_detections": kept.valid_detections,
    }


def _candidates_of_each_class(
    boxes: tf.Tensor, scores: tf.Tensor, max_candidates: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns boxes [B, k, classes, 4] and scores [B, k, classes] of one list a class."""
    count = tf.minimum(max_candidates, tf.shape(scores)[1])
    scores, index = tf.math.top_k(tf.transpose(scores, [0, 2, 1]), count)
    candidates = tf.gather(boxes, index, batch_dims=1)
    return tf.transpose(candidates, [0, 2, 1, 3]), tf.transpose(scores, [0, 2, 1])


def _candidates_of_all(
    boxes: tf.Tensor, scores: tf.Tensor, max_candidates: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns one list of boxes [B, k, 1, 4] and their scores [B, k, classes].

    Each box has a score in one class and 0 in the others.
    """
    num_classes = tf.shape(scores)[2]
    flat = tf.reshape(scores, [tf.shape(scores)[0], -1])
    best, index = tf.math.top_k(flat, tf.minimum(max_candidates, tf.shape(flat)[1]))
    candidates = tf.gather(boxes, index // num_classes, batch_dims=1)
    scores = best[..., None] * tf.one_hot(index % num_classes, num_classes)
    return candidates[:, :, None], scores
