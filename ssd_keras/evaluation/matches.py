"""Which detection found which object: what all of the analysis starts from."""

from dataclasses import dataclass

import numpy as np

from ssd_keras.data.records import DetectionData
from ssd_keras.evaluation.detection_table import Detections, detection_rows, object_rows
from ssd_keras.evaluation.voc import best_object_ious, voc_match


@dataclass(frozen=True, eq=False)
class Matches:
    """Detections by falling score beside the objects that they found or came near to."""

    data: DetectionData  # the annotated images
    rows: np.ndarray  # detections, `ssd_keras.evaluation.detection_table.ROW` [n], by falling score
    objects: np.ndarray  # all annotated objects, `ROW` [m], in the order of the images
    iou: np.ndarray  # float [n], best overlap with an object of the detection's class, 0..1
    target: np.ndarray  # int [n], index of that object, -1 where the image has none
    other_iou: np.ndarray  # float [n], best overlap with an object of any other class
    other_target: np.ndarray  # int [n], index of that object, -1 where the image has none
    is_true: np.ndarray  # bool [n], the detection is the first on an object that counts
    is_ignored: np.ndarray  # bool [n], it lies on an object that is difficult or a crowd
    iou_threshold: float  # least IoU of a match

    @property
    def is_false(self) -> np.ndarray:
        """bool [n], detections that count and found nothing."""
        return ~self.is_true & ~self.is_ignored

    @property
    def is_ignored_object(self) -> np.ndarray:
        """bool [m], objects that need not be found."""
        return self.objects["is_difficult"] | self.objects["is_crowd"]

    @property
    def num_objects(self) -> np.ndarray:
        """int [classes], objects that count."""
        labels = self.objects["label"][~self.is_ignored_object]
        return np.bincount(labels, minlength=len(self.data.class_names))


def match(data: DetectionData, detections: Detections, iou_threshold: float = 0.5) -> Matches:
    """Matches detections with objects by VOC's rule."""
    rows, objects = detection_rows(data, detections), object_rows(data)
    rows = rows[np.argsort(-rows["score"], kind="stable")]
    is_ignored_object = objects["is_difficult"] | objects["is_crowd"]
    iou, other_iou = np.zeros(len(rows)), np.zeros(len(rows))
    target, other_target = np.full(len(rows), -1), np.full(len(rows), -1)
    is_true, is_ignored = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    for label in range(len(data.class_names)):
        own = np.flatnonzero(rows["label"] == label)
        truth = np.flatnonzero(objects["label"] == label)
        others = np.flatnonzero(objects["label"] != label)
        iou[own], best = best_object_ious(rows[own], objects[truth])
        is_true[own], is_ignored[own] = voc_match(
            iou[own], best, is_ignored_object[truth], iou_threshold
        )
        target[own] = np.append(truth, -1)[best]
        other_iou[own], best = best_object_ious(rows[own], objects[others])
        other_target[own] = np.append(others, -1)[best]
    return Matches(
        data,
        rows,
        objects,
        iou,
        target,
        other_iou,
        other_target,
        is_true,
        is_ignored,
        iou_threshold,
    )
