"""Thresholds and limits of post-processing."""

import dataclasses

import keras

from ssd_keras.core.config_record import ConfigRecord


@keras.saving.register_keras_serializable("ssd_keras")
@dataclasses.dataclass(frozen=True)
class PostProcess(ConfigRecord):
    """Thresholds and limits for turning raw outputs into detections.

    The defaults are the paper's (section 3).

    Args:
        score_threshold: detections have a score above it, 0..1. Default 0.01.
        iou_threshold: of two boxes of one class with an IoU above it, NMS drops the one with the
            lower score, 0..1. Default 0.45.
        max_candidates: number of boxes that enter NMS, best first. Default 400.
        max_detections: number of detections of an image over all classes. Default 200.
        clip_boxes: clip boxes to the image before NMS, as torchvision does. Default False, as in
            the paper's implementation.
        candidates_per_class: `max_candidates` counts for each class (True, default, as in the
            paper) or for all classes together (False, faster on phones).

    Raises:
        ValueError: for a value out of range.

    Example:

    >>> PostProcess(max_detections=100).score_threshold
    0.01
    """

    score_threshold: float = 0.01
    iou_threshold: float = 0.45
    max_candidates: int = 400
    max_detections: int = 200
    clip_boxes: bool = False
    candidates_per_class: bool = True

    def __post_init__(self) -> None:
        for name in ("score_threshold", "iou_threshold"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name}={getattr(self, name)} must be between 0 and 1.")
        for name in ("max_candidates", "max_detections"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be 1 or more.")
