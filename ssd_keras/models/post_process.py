"""Post-processing: a model's raw outputs to detections."""

import copy
import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, cast

import keras
import numpy as np
from keras import ops

from ssd_keras.boxes import nms
from ssd_keras.boxes.coding import decode_boxes
from ssd_keras.boxes.formats import Array
from ssd_keras.core.config_record import ConfigRecord, as_tuples
from ssd_keras.core.records import check_whole_numbers

CLIP_CHOICES = ("none", "before", "after")


class OutputCoding(NamedTuple):
    """What the outputs of a model mean."""

    default_boxes: np.ndarray  # relative yxyx [N, 4]
    variances: tuple[float, float, float, float]
    activation: str


@keras.saving.register_keras_serializable("ssd_keras")
@dataclasses.dataclass(frozen=True)
class PostProcess(ConfigRecord):
    """Turns raw outputs into detections: scores, candidates, decoded boxes, NMS.

    A model owns one that is bound to its default boxes, variances and activation:
    ``model.post_process(outputs)`` gives its detections, and ``model.post_process =
    PostProcess(...)`` changes the thresholds. Two records are equal if their thresholds are. The
    defaults are the paper's (section 3).

    Args:
        score_threshold: detections have a score above it, 0..1; or, as a tuple by label, detections
            have the score of their class or more. Default 0.01.
        iou_threshold: of two boxes of one class with an IoU above it, NMS drops the one with the
            lower score, 0..1. Default 0.45.
        max_candidates: number of boxes that enter NMS, best first. Default 400.
        max_detections: number of detections of an image over all classes. Default 200.
        max_detections_per_class: number of detections of an image in one class. Default None, no
            limit.
        candidates_per_class: `max_candidates` counts for each class (True, default, as in the
            paper) or for all classes together (False, faster on phones).
        class_agnostic: each box is a candidate of its best class alone, and NMS compares boxes
            of all classes. `max_candidates` then counts for all. Default False.
        clip_boxes: clip boxes to the image "before" NMS as torchvision does, "after" it, or not:
            "none" (default), as in the paper's implementation.

    Call arguments:
        outputs: dictionary with "box_deltas" [B, N, 4] and "class_logits" [B, N, 1 + classes].
        kernel: function of `ssd_keras.boxes.nms`. Default None: `combined` on TensorFlow,
            `parallel` on other backends.

    Returns of a call:
        dictionary with "boxes" relative yxyx float32 [B, K, 4], "scores" float32 [B, K] falling,
        "labels" int32 [B, K] and "num_detections" int32 [B], for K `max_detections`. Unused slots
        are zero.

    Raises:
        ValueError: for a value out of range, or a call of a record that belongs to no model.

    Example:

    >>> from ssd_keras import from_preset
    >>> model = from_preset("ssd192_small_shapes", image_size=(64, 64))
    >>> model.post_process = PostProcess(max_detections=7, clip_boxes="after")
    >>> found = model.post_process(model(np.zeros((2, 64, 64, 3), "uint8")))
    >>> ops.shape(found["boxes"]), ops.shape(found["labels"])
    ((2, 7, 4), (2, 7))
    """

    score_threshold: float | tuple[float, ...] = 0.01
    iou_threshold: float = 0.45
    max_candidates: int = 400
    max_detections: int = 200
    max_detections_per_class: int | None = None
    candidates_per_class: bool = True
    class_agnostic: bool = False
    clip_boxes: str = "none"

    # No field: a record is equal to another by its thresholds, and says nothing else in a file.
    _coding: ClassVar[OutputCoding | None] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "score_threshold", as_tuples(self.score_threshold))
        for name in ("score_threshold", "iou_threshold"):
            values = np.atleast_1d(getattr(self, name))
            if not len(values) or not ((values >= 0.0) & (values <= 1.0)).all():
                raise ValueError(f"{name}={getattr(self, name)} must be between 0 and 1.")
        check_whole_numbers(self, ("max_candidates", "max_detections"))
        if self.max_detections_per_class is not None:
            check_whole_numbers(self, ("max_detections_per_class",))
        if self.clip_boxes not in CLIP_CHOICES:
            raise ValueError(
                f"clip_boxes={self.clip_boxes!r} is unknown; choose one of "
                f"{', '.join(CLIP_CHOICES)}."
            )

    def bound_to(self, model: Any) -> "PostProcess":
        """Returns these thresholds bound to a model's default boxes, variances and activation.

        Args:
            model: `SSD`.

        Returns:
            `PostProcess` that can be called with the model's outputs.
        """
        bound = copy.copy(self)
        coding = OutputCoding(
            model.default_box_array, model.default_boxes.variances, model.activation
        )
        object.__setattr__(bound, "_coding", coding)
        return bound

    @property
    def coding(self) -> OutputCoding:
        """Default boxes, variances and activation of the model that owns this record."""
        if self._coding is None:
            raise ValueError(
                "this PostProcess belongs to no model, so its default boxes are unknown; set "
                "model.post_process to it, then call model.post_process."
            )
        return self._coding

    def __call__(self, outputs: Mapping[str, Array], kernel: nms.Kernel | None = None) -> dict:
        return self.detections(outputs["box_deltas"], self.scores(outputs["class_logits"]), kernel)

    def detections(
        self, box_deltas: Array, scores: Array, kernel: nms.Kernel | None = None
    ) -> dict[str, Array]:
        """Returns the detections of box deltas and scores; a call does so of logits.

        Args:
            box_deltas: [B, N, 4].
            scores: float32 [B, N, classes].
            kernel: as in a call. Default None.

        Returns:
            as a call.
        """
        if kernel is None:
            kernel = nms.combined if keras.backend.backend() == "tensorflow" else nms.parallel
        num_boxes, num_classes = scores.shape[1:]
        scores, index, labels = self.candidates(scores)
        scores = self._from_class_thresholds(scores, labels, num_classes)
        # Lists of classes share boxes. A TFLite file would hold more constants to decode all.
        if math.prod(index.shape[1:]) > num_boxes / 2 and kernel is not nms.builtin:
            boxes = nms.gather_rows(self.decode(box_deltas), index)
        else:
            boxes = self.decode(box_deltas, index)
        if self.clip_boxes == "before":
            boxes = ops.clip(boxes, 0.0, 1.0)
        found = kernel(boxes, scores, labels, num_classes, self._kernel_thresholds())
        if self.clip_boxes == "after":
            found["boxes"] = ops.clip(found["boxes"], 0.0, 1.0)
        return found

    def scores(self, class_logits: Array) -> Array:
        """Returns the scores of logits, in float32.

        Args:
            class_logits: [..., 1 + classes], background first.

        Returns:
            float32 [..., classes], 0..1.
        """
        return class_scores(class_logits, self.coding.activation)[..., 1:]

    @property
    def class_thresholds(self) -> np.ndarray | None:
        """float32 [classes], where there is a score threshold for each class."""
        is_by_class = isinstance(self.score_threshold, tuple)
        return np.array(self.score_threshold, "float32") if is_by_class else None

    def _from_class_thresholds(self, scores: Array, labels: Array, num_classes: int) -> Array:
        """Returns candidates' scores with 0 for those below their class's threshold."""
        smallest = self.class_thresholds
        if smallest is None:
            return scores
        if len(smallest) != num_classes:
            raise ValueError(
                f"score_threshold has {len(smallest)} numbers; expected one for each of "
                f"{num_classes} classes, or a single number."
            )
        # Numbers of each list, where it is that of a class: not of each candidate.
        is_list_of_class = scores.shape[1] == num_classes
        smallest = smallest[:, None] if is_list_of_class else ops.take(smallest, labels, axis=0)
        return ops.where(scores >= smallest, scores, 0.0)

    def _kernel_thresholds(self) -> nms.Thresholds:
        """Returns the thresholds with one for all scores, as the kernels read them."""
        if self.class_thresholds is None:
            return cast(nms.Thresholds, self)
        return cast(nms.Thresholds, dataclasses.replace(self, score_threshold=0.0))

    def candidates(self, scores: Array) -> tuple[Array, Array, Array]:
        """Returns the boxes that enter NMS, in lists by falling score.

        There is a list for each class; or one of all classes without `candidates_per_class`, or
        with `class_agnostic`, where each box has its best class.

        Args:
            scores: [B, N, classes].

        Returns:
            scores, indices of default boxes, and labels, each [B, lists, k].
        """
        if self.class_agnostic:
            return _of_best_classes(scores, self.max_candidates)
        choose = _of_each_class if self.candidates_per_class else _of_all_classes
        return choose(scores, self.max_candidates)

    def decode(self, box_deltas: Array, index: Array | None = None) -> Array:
        """Decodes the deltas of all default boxes, or of chosen ones alone.

        Args:
            box_deltas: [B, N, 4].
            index: indices of default boxes, [B, ...]. Default None: all, in order.

        Returns:
            relative yxyx boxes, float32 [B, N, 4] or [B, ..., 4].
        """
        deltas, (default_boxes, variances, _) = ops.cast(box_deltas, "float32"), self.coding
        if index is None:
            return decode_boxes(deltas, default_boxes, variances, ops)
        deltas = nms.gather_rows(deltas, index)
        return decode_boxes(deltas, ops.take(default_boxes, index, axis=0), variances, ops)


class DetectionModel(keras.Model):
    """An `SSD` and its post-processing as one compiled program: images in, detections out."""

    def __init__(self, network: Any, post_process: PostProcess | None = None) -> None:
        super().__init__(dtype="float32", autocast=False)
        self.network = network
        self.post_process = (post_process or network.post_process).bound_to(network)
        self.built = True

    def call(self, images: Array) -> dict[str, Array]:
        # XLA, which Keras uses on accelerators, has no operator of TensorFlow's NMS.
        kernel = nms.parallel if self.jit_compile else None
        return self.post_process(self.network(images, training=False), kernel)


def class_scores(class_logits: Array, activation: str) -> Array:
    """Turns logits [..., 1 + classes] into float32 scores, background included."""
    function = ops.softmax if activation == "softmax" else ops.sigmoid
    return function(ops.cast(class_logits, "float32"))


def _of_each_class(scores: Array, max_candidates: int) -> tuple[Array, Array, Array]:
    num_boxes, num_classes = scores.shape[1:]
    best, index = ops.top_k(ops.transpose(scores, (0, 2, 1)), min(max_candidates, num_boxes))
    # A broadcast at run time: as a constant of a TFLite file, labels would fill 4 bytes each.
    labels = ops.broadcast_to(ops.arange(num_classes, dtype="int32")[:, None], ops.shape(index))
    return best, index, labels


def _of_all_classes(scores: Array, max_candidates: int) -> tuple[Array, Array, Array]:
    num_boxes, num_classes = scores.shape[1:]
    flat = ops.reshape(scores, (-1, 1, num_boxes * num_classes))
    best, index = ops.top_k(flat, min(max_candidates, num_boxes * num_classes))
    return best, index // num_classes, index % num_classes


def _of_best_classes(scores: Array, max_candidates: int) -> tuple[Array, Array, Array]:
    num_boxes = scores.shape[1]
    best_of_box = ops.expand_dims(ops.max(scores, axis=2), 1)
    best, index = ops.top_k(best_of_box, min(max_candidates, num_boxes))
    # Not `argmax`: Keras makes it of operators that TFLite lacks.
    _, labels = ops.top_k(nms.gather_rows(scores, index), 1)
    return best, index, ops.squeeze(labels, -1)
