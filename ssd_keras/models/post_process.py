"""What post-processing keeps: thresholds and counts."""

import dataclasses

import keras


@keras.saving.register_keras_serializable("ssd_keras")
@dataclasses.dataclass(frozen=True)
class PostProcess:
    """What is kept of a model's raw outputs. The defaults are the paper's (section 3).

    Args:
        score_threshold: a detection's score must be above it, 0..1. Default 0.01.
        iou_threshold: of two boxes of one class that overlap by more, the lower-scored one is
            dropped, 0..1. Default 0.45.
        max_candidates: boxes that enter suppression, best first. Default 400.
        max_detections: detections of an image over all classes. Default 200.
        clip_boxes: cut boxes at the image's border before suppression, as torchvision does.
            Default False, as the paper's implementation.
        candidates_per_class: True (default) lets `max_candidates` of each class enter, as the
            paper does; False as many of all classes together, which costs a phone less.

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

    def __post_init__(self):
        for name in ("score_threshold", "iou_threshold"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name}={getattr(self, name)} must be between 0 and 1.")
        for name in ("max_candidates", "max_detections"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be 1 or more.")

    def get_config(self) -> dict:
        """The constructor's arguments, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict) -> "PostProcess":
        """Builds the record from `get_config`'s dictionary."""
        return cls(**config)
