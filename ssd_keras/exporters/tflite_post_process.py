"""Post-processing of one image in operators that every TFLite runtime has.

It gives the same detections as `ssd_keras.models.post_process_tensorflow`, whose NMS operator
TFLite lacks: boxes are moved apart by class, so that one NMS over all of them works class by
class.
"""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ssd_keras.boxes.coding import decode_corners
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.post_process_tensorflow import class_scores

# Relative boxes reach little beyond 0..1: at this distance boxes of two classes do not meet.
CLASS_DISTANCE = 4.0


def builtin_detections(
    box_deltas: tf.Tensor,
    class_logits: tf.Tensor,
    default_boxes: np.ndarray,
    post_process: PostProcess,
    variances: Sequence[float],
    activation: str = "softmax",
) -> list[tf.Tensor]:
    """Returns boxes [1, K, 4], classes [1, K], scores [1, K] and their number [1], all float32.

    K is `max_detections`; unused slots are zero.
    """
    num_classes = class_logits.shape[-1] - 1
    choose = _candidates_of_each_class if post_process.candidates_per_class else _candidates_of_all
    scores = class_scores(class_logits, activation)[0]
    scores, index, classes = choose(scores, post_process.max_candidates)
    deltas, anchors = tf.gather(box_deltas[0], index), tf.gather(default_boxes, index)
    boxes = tf.concat(decode_corners(deltas, anchors, variances, tf), axis=1)
    if post_process.clip_boxes:
        boxes = tf.clip_by_value(boxes, 0.0, 1.0)
    num_kept = min(post_process.max_detections, scores.shape[0])
    kept, _, count = tf.raw_ops.NonMaxSuppressionV5(
        boxes=boxes + tf.gather(class_offsets(num_classes), classes),
        scores=scores,
        max_output_size=num_kept,
        iou_threshold=_just_above(post_process.iou_threshold),
        score_threshold=post_process.score_threshold,
        soft_nms_sigma=0.0,
        pad_to_max_output_size=True,
    )
    is_used = tf.range(num_kept) < count
    detections = [
        tf.where(is_used[:, None], tf.gather(boxes, kept), 0.0),
        tf.cast(tf.where(is_used, tf.gather(classes, kept), 0), tf.float32),
        tf.where(is_used, tf.gather(scores, kept), 0.0),
    ]
    if num_unused := post_process.max_detections - num_kept:
        detections = [
            tf.pad(value, [[0, num_unused]] + [[0, 0]] * (len(value.shape) - 1))
            for value in detections
        ]
    return [value[None] for value in (*detections, tf.cast(count, tf.float32))]


def _candidates_of_each_class(
    scores: tf.Tensor, max_candidates: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the best of each class, class 0 first: scores, default boxes, classes, each [k]."""
    num_boxes, num_classes = scores.shape[0], scores.shape[1] - 1
    count = min(max_candidates, num_boxes)
    best, index = tf.math.top_k(tf.transpose(scores[:, 1:]), count)
    # A broadcast at run time: as a constant, classes and their offsets would fill 20 bytes each.
    classes = tf.broadcast_to(tf.range(num_classes)[:, None], [num_classes, count])
    return tf.reshape(best, [-1]), tf.reshape(index, [-1]), tf.reshape(classes, [-1])


def _candidates_of_all(
    scores: tf.Tensor, max_candidates: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the best of all classes: falling scores, default boxes, classes, each [k]."""
    num_boxes, num_columns = scores.shape
    # Background falls below every other score; cutting its column off would cost a phone more.
    columns = np.full(num_columns, 1.0, "float32")
    columns[0] = 0.0
    count = min(max_candidates, num_boxes * (num_columns - 1))
    best, index = tf.math.top_k(tf.reshape(scores * columns, [-1]), count)
    # A candidate that is background has no class, and no score above any threshold.
    classes = tf.maximum(index % num_columns - 1, 0)
    return best, index // num_columns, classes


def _just_above(iou_threshold: float) -> np.float32:
    """Returns the threshold at which TFLite drops the boxes that Keras drops.

    Keras drops boxes above the threshold, TFLite also those at it: at 0, all boxes.
    """
    above = np.nextafter(np.float32(iou_threshold), np.float32(2))
    # Above 1 TFLite repeats its first box, so at a threshold of 1 it drops equal boxes.
    return np.clip(above, np.finfo("float32").tiny, np.float32(1))


def class_offsets(num_classes: int) -> np.ndarray:
    """Returns the offset [ymin, xmin, ymax, xmax] of each class' boxes, [classes, 4]."""
    # Classes stand on a square grid: offsets stay small, so coordinates keep their digits. Four
    # classes, each with its boxes in a unit square:
    #
    #             x = 0..1     x = 4..5
    #   y = 0..1  class 0      class 1
    #   y = 4..5  class 2      class 3
    columns = math.ceil(math.sqrt(num_classes))
    row, column = np.divmod(np.arange(num_classes), columns)
    return np.stack([row, column, row, column], axis=1).astype("float32") * CLASS_DISTANCE
