"""Matches of detections with objects by VOC's rule: the base of all analysis."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ssd_keras.data.records import DetectionData
from ssd_keras.evaluation.detection_table import Detections, DetectionTable, ObjectTable, as_table
from ssd_keras.evaluation.voc import best_object_ious, voc_match

ScoreThreshold: TypeAlias = float | Sequence[float] | np.ndarray
"""One for all classes, or one for each label of the data."""


@dataclass(frozen=True, eq=False)
class Matches:
    """n detections by falling score, m objects, and how they meet."""

    data: DetectionData
    detections: DetectionTable  # n rows, by falling score
    objects: ObjectTable  # m rows, in the order of the images
    iou_threshold: float  # smallest IoU of a match
    iou: np.ndarray  # float [n], best IoU with an object of the detection's class, 0..1
    target: np.ndarray  # int [n], index of that object, -1 where the image has none
    other_iou: np.ndarray  # float [n], best IoU with an object of any other class
    other_target: np.ndarray  # int [n], index of that object, -1 where the image has none
    is_true: np.ndarray  # bool [n], the detection is the first on an object that counts
    is_ignored: np.ndarray  # bool [n], the detection lies on a difficult object or a crowd

    @property
    def is_false(self) -> np.ndarray:
        """bool [n], detections that count and match no object."""
        return ~self.is_true & ~self.is_ignored

    @property
    def num_objects(self) -> np.ndarray:
        """int [classes], objects that count."""
        labels = self.objects.labels[~self.objects.is_ignored]
        return np.bincount(labels, minlength=len(self.data.class_names))

    def is_missed(self, score_threshold: ScoreThreshold) -> np.ndarray:
        """Returns which objects count and are found by no detection from a score on, bool [m]."""
        is_missed = ~self.objects.is_ignored
        is_missed[self.target[self.is_true & self.reaches(score_threshold)]] = False
        return is_missed

    def reaches(self, score_threshold: ScoreThreshold) -> np.ndarray:
        """Returns which detections have the score of their class or more, bool [n]."""
        by_label = np.broadcast_to(
            np.asarray(score_threshold, np.float32), len(self.data.class_names)
        )
        # As the scores of models: a score of 0.7 in float32 is less than 0.7 in float64.
        with np.errstate(over="ignore"):
            return self.detections.scores.astype(np.float32) >= by_label[self.detections.labels]


def match(data: DetectionData, detections: Detections, iou_threshold: float = 0.5) -> Matches:
    """Matches detections with objects by VOC's rule."""
    table, objects = as_table(data, detections).by_score(), ObjectTable.from_data(data)
    iou, other_iou = np.zeros(len(table)), np.zeros(len(table))
    target, other_target = np.full(len(table), -1), np.full(len(table), -1)
    is_true, is_ignored = np.zeros(len(table), bool), np.zeros(len(table), bool)
    for label in range(len(data.class_names)):
        rows = np.flatnonzero(table.labels == label)
        same_class = np.flatnonzero(objects.labels == label)
        other_classes = np.flatnonzero(objects.labels != label)
        iou[rows], best = best_object_ious(table[rows], objects[same_class])
        is_true[rows], is_ignored[rows] = voc_match(
            iou[rows], best, objects.is_ignored[same_class], iou_threshold
        )
        target[rows] = np.append(same_class, -1)[best]
        other_iou[rows], best = best_object_ious(table[rows], objects[other_classes])
        other_target[rows] = np.append(other_classes, -1)[best]
    return Matches(
        data, table, objects, iou_threshold,
        iou, target, other_iou, other_target, is_true, is_ignored,
    )  # fmt: skip
