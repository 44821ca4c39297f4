"""Decoding and suppression of one image in operators that every TFLite runtime has.

The same detections as `ssd_keras.models.post_process_tensorflow.detections_from_outputs`, which needs an operator
that TFLite lacks: here boxes are moved apart by class before one suppression of all, so that
boxes of different classes never overlap.
"""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ssd_keras.models.post_process_tensorflow import class_scores
from ssd_keras.boxes.coding import decode_corners
from ssd_keras.models.post_process import PostProcess

# Relative boxes reach little over 0..1: at this distance those of two classes do not meet.
CLASS_DISTANCE = 4.0


def builtin_detections(
    box_deltas: tf.Tensor,
    class_logits: tf.Tensor,
    default_boxes: np.ndarray,
    post_process: PostProcess,
    variances: Sequence[float],
    activation: str = "softmax",
) -> dict[str, tf.Tensor]:
    """Detections of one image, exact class by class."""
    num_classes = class_logits.shape[-1] - 1
    choose = _candidates_of_each_class if post_process.candidates_per_class else _candidates_of_all
    scores = class_scores(class_logits, activation)[0]
    scores, index, classes = choose(scores, post_process.max_candidates)
    candidates = (tf.gather(values, index) for values in (box_deltas[0], default_boxes))
    boxes = tf.concat(decode_corners(*candidates, variances, tf), axis=1)
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
    unused = [[0, post_process.max_detections - num_kept]]
    found = {
        "boxes": tf.where(is_used[:, None], tf.gather(boxes, kept), 0.0),
        "classes": tf.cast(tf.where(is_used, tf.gather(classes, kept), 0), tf.float32),
        "scores": tf.where(is_used, tf.gather(scores, kept), 0.0),
    }
    if unused[0][1]:
        found = {
            name: tf.pad(value, unused + [[0, 0]] * (len(value.shape) - 1))
            for name, value in found.items()
        }
    found = {name: value[None] for name, value in found.items()}
    return {**found, "count": tf.cast(count, tf.float32)[None]}


def _candidates_of_each_class(scores, max_candidates):
    """The best of each class in one list, class 0 first: scores [k], default boxes, classes."""
    num_boxes, num_classes = scores.shape[0], scores.shape[1] - 1
    count = min(max_candidates, num_boxes)
    best, index = tf.math.top_k(tf.transpose(scores[:, 1:]), count)
    classes = np.repeat(np.arange(num_classes, dtype="int32"), count)
    return tf.reshape(best, [-1]), tf.reshape(index, [-1]), tf.constant(classes)


def _candidates_of_all(scores, max_candidates):
    """The best of all classes: scores [k] falling, default boxes int32 [k], classes int32 [k]."""
    num_boxes, num_columns = scores.shape
    # Background is set below every score: to cut its column off would cost a phone more.
    columns = np.full(num_columns, 1.0, "float32")
    columns[0] = 0.0
    count = min(max_candidates, num_boxes * (num_columns - 1))
    best, index = tf.math.top_k(tf.reshape(scores * columns, [-1]), count)
    # A candidate that is background after all has no class, and no score above any threshold.
    classes = tf.maximum(index % num_columns - 1, 0)
    return best, index // num_columns, classes


def _just_above(iou_threshold):
    """TFLite drops boxes from the threshold on, Keras only above it: from 0 on would be all.

    Beyond 1 TFLite repeats its first box, so at a threshold of 1 equal boxes do go.
    """
    above = np.nextafter(np.float32(iou_threshold), np.float32(2))
    return np.clip(above, np.finfo("float32").tiny, np.float32(1))


def class_offsets(num_classes: int) -> np.ndarray:
    """Where each class' boxes are moved to, far enough for no two classes to meet.

    A square of classes keeps the numbers small, and so the digits of the coordinates that are
    added to them.
    """
    columns = math.ceil(math.sqrt(num_classes))
    row, column = np.divmod(np.arange(num_classes), columns)
    return np.stack([row, column, row, column], axis=1).astype("float32") * CLASS_DISTANCE
