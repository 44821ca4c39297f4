"""Metrics of detections, and what a detector gets wrong.

The analysis follows VOC's rule as `voc_metrics` does, so that its numbers add up to the mAP
("voc12"): a detection looks only at the object of its image and class with the highest IoU, and
is true from IoU 0.5 on, once an object. Difficult objects and COCO's crowds need not be found,
and detections on them count neither as true nor as false.
"""

from ssd_keras.evaluation.coco import coco_metrics
from ssd_keras.evaluation.detection_table import read_detections
from ssd_keras.evaluation.metrics import detection_metrics, metrics_table
from ssd_keras.evaluation.voc import average_precision, voc_metrics

__all__ = [
    "average_precision",
    "coco_metrics",
    "detection_metrics",
    "metrics_table",
    "read_detections",
    "voc_metrics",
]
