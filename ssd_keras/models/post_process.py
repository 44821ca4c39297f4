"""Post-processing: decode boxes, compute scores, per-class NMS."""

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from ssd_keras.boxes.coding import decode_boxes
from ssd_keras.boxes.default_boxes import VARIANCES
from ssd_keras.boxes.formats import Array
from ssd_keras.losses.classification import check_activation


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


def class_scores(class_logits: Array, activation: str = "softmax") -> tf.Tensor:
    """The one place that knows how logits become scores."""
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
    """Decodes raw outputs and suppresses overlapping boxes class by class."""
    scores = class_scores(tf.cast(outputs["class_logits"], tf.float32), activation)[..., 1:]
    boxes = decode_boxes(tf.cast(outputs["box_deltas"], tf.float32), default_boxes, variances)
    return suppressed(boxes, scores, post_process or PostProcess())


def suppressed(
    boxes: tf.Tensor, scores: tf.Tensor, post_process: PostProcess
) -> dict[str, tf.Tensor]:
    """Suppresses overlapping boxes class by class."""
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


def _candidates_of_each_class(boxes, scores, max_candidates):
    """A list of boxes and scores for each class: [B, k, classes, 4], [B, k, classes]."""
    count = tf.minimum(max_candidates, tf.shape(scores)[1])
    scores, index = tf.math.top_k(tf.transpose(scores, [0, 2, 1]), count)
    candidates = tf.gather(boxes, index, batch_dims=1)
    return tf.transpose(candidates, [0, 2, 1, 3]), tf.transpose(scores, [0, 2, 1])


def _candidates_of_all(boxes, scores, max_candidates):
    """One list of boxes, [B, k, 1, 4], and scores [B, k, classes], 0 in all classes but its own."""
    num_classes = tf.shape(scores)[2]
    flat = tf.reshape(scores, [tf.shape(scores)[0], -1])
    best, index = tf.math.top_k(flat, tf.minimum(max_candidates, tf.shape(flat)[1]))
    candidates = tf.gather(boxes, index // num_classes, batch_dims=1)
    scores = best[..., None] * tf.one_hot(index % num_classes, num_classes)
    return candidates[:, :, None], scores
