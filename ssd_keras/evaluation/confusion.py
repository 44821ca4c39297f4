"""Which classes are taken for which, and for background."""

import numpy as np

from ssd_keras.evaluation.matches import Matches
from ssd_keras.evaluation.voc import best_object_ious


def confusion_matrix(matches: Matches, score_threshold: float = 0.5) -> np.ndarray:
    """Counts detections from a score on by their class and that of the object below them.

    True detections are on the diagonal. Of the others, by falling score, each takes the object
    that it overlaps most among those not yet taken, of any class, if by the IoU of a match.
    What remains of the detections lies on background: also second boxes on an object, and boxes
    too far off. What remains of the objects is missed. Detections of difficult objects and crowds
    are left out, whatever their class.
    """
    num_classes = len(matches.data.class_names)
    matrix = np.zeros((num_classes + 1, num_classes + 1), int)
    is_shown = matches.rows["score"] >= score_threshold
    is_free = np.ones(len(matches.objects), bool)
    is_free[matches.target[is_shown & matches.is_true]] = False
    labels, truth = matches.rows["label"], matches.objects["label"]
    np.add.at(matrix, (labels[is_shown & matches.is_true],) * 2, 1)
    # By falling score, one at a time: each sees what the earlier ones have left.
    for index in np.flatnonzero(is_shown & matches.is_false):
        free = _free_objects(matches, is_free, matches.rows["image"][index])
        (iou,), (best,) = best_object_ious(matches.rows[index : index + 1], matches.objects[free])
        if iou < matches.iou_threshold:
            matrix[num_classes, labels[index]] += 1
        elif not matches.is_ignored_object[free[best]]:
            is_free[free[best]] = False
            matrix[truth[free[best]], labels[index]] += 1
    missed = truth[is_free & ~matches.is_ignored_object]
    matrix[:, num_classes] += np.bincount(missed, minlength=num_classes + 1)
    return matrix


def _free_objects(matches: Matches, is_free: np.ndarray, image: int) -> np.ndarray:
    """Indices of the objects of one image that are not taken."""
    first, last = np.searchsorted(matches.objects["image"], [image, image + 1])
    return first + np.flatnonzero(is_free[first:last])
