"""Confusion matrix: which classes are detected as which, or as background."""

import numpy as np

from ssd_keras.evaluation.matches import Matches, ScoreThreshold
from ssd_keras.evaluation.voc import best_object_ious


def confusion_matrix(matches: Matches, score_threshold: ScoreThreshold = 0.5) -> np.ndarray:
    """Returns counts of (object class, detected class), int [classes + 1, classes + 1].

    The last row is background, the last column is missed objects. True detections are on the
    diagonal. Each other detection, by falling score, takes the free object of any class with the
    highest IoU, if that reaches the IoU of a match; else it lies on background, as do second
    boxes on an object and boxes too far off. Detections of difficult objects and crowds do not
    count, of any class.
    """
    num_classes = len(matches.data.class_names)
    matrix = np.zeros((num_classes + 1, num_classes + 1), int)
    detections, objects = matches.detections, matches.objects
    is_kept = matches.reaches(score_threshold)
    is_free = np.ones(len(objects), bool)
    is_free[matches.target[is_kept & matches.is_true]] = False
    np.add.at(matrix, (detections.labels[is_kept & matches.is_true],) * 2, 1)
    # By falling score, one at a time: each sees what the earlier ones have left.
    for index in np.flatnonzero(is_kept & matches.is_false):
        first, last = np.searchsorted(objects.image_index, detections.image_index[index] + [0, 1])
        free = first + np.flatnonzero(is_free[first:last])
        (iou,), (best,) = best_object_ious(detections[index : index + 1], objects[free])
        label = detections.labels[index]
        if iou < matches.iou_threshold:
            matrix[num_classes, label] += 1
        elif not objects.is_ignored[free[best]]:
            is_free[free[best]] = False
            matrix[objects.labels[free[best]], label] += 1
    missed = objects.labels[is_free & ~objects.is_ignored]
    matrix[:, num_classes] += np.bincount(missed, minlength=num_classes + 1)
    return matrix
