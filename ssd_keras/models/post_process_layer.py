"""Post-processing in `keras.ops`, compiled with the network on any backend.

The detections of `post_process_tensorflow`. The lists of all classes go through NMS at once, so
that an accelerator does not wait for one list after another.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from ssd_keras.boxes.default_boxes import VARIANCES
from ssd_keras.boxes.nms import exceeds_iou, greedy_nms, top_detections
from ssd_keras.losses.classification import check_activation
from ssd_keras.models.post_process import PostProcess


@keras.saving.register_keras_serializable("ssd_keras")
class PostProcessLayer(keras.layers.Layer):
    """Turns a model's raw outputs into detections, inside its graph."""

    def __init__(
        self,
        default_boxes: Sequence[Sequence[float]],
        post_process: PostProcess | None = None,
        variances: Sequence[float] = VARIANCES,
        activation: str = "softmax",
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        check_activation(activation)
        self.default_boxes = [[float(edge) for edge in box] for box in default_boxes]
        self.post_process = post_process or PostProcess()
        self.variances = tuple(variances)
        self.activation = activation

    def call(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        logits = ops.cast(outputs["class_logits"], "float32")
        function = ops.softmax if self.activation == "softmax" else ops.sigmoid
        deltas = ops.cast(outputs["box_deltas"], "float32")
        boxes = decode(deltas, ops.array(self.default_boxes, "float32"), self.variances)
        return parallel_nms(boxes, function(logits)[..., 1:], self.post_process)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "default_boxes": self.default_boxes,
            "post_process": keras.saving.serialize_keras_object(self.post_process),
            "variances": list(self.variances),
            "activation": self.activation,
        }

    @classmethod
    def from_config(cls, config: dict) -> "PostProcessLayer":
        post_process = keras.saving.deserialize_keras_object(config["post_process"])
        return cls(**{**config, "post_process": post_process})


def with_post_process(model: Any, post_process: PostProcess | None = None) -> keras.Model:
    """Returns an `SSD` and its post-processing as one model that gives detections."""
    layer = PostProcessLayer(
        model.default_box_array,
        post_process or model.post_process,
        model.default_boxes.variances,
        model.activation,
    )
    return keras.Model(model.inputs, layer(model.output))


def decode(box_deltas: Any, default_boxes: Any, variances: Sequence[float]) -> Any:
    """Decodes box deltas [B, N, 4] as `ssd_keras.boxes.coding.decode_boxes` does."""
    low, high = default_boxes[:, :2], default_boxes[:, 2:]
    size = high - low
    factors = ops.array(variances, "float32")
    center = (low + high) / 2 + box_deltas[..., :2] * factors[:2] * size
    half = ops.exp(box_deltas[..., 2:] * factors[2:]) * (size / 2)
    return ops.concatenate([center - half, center + half], axis=-1)


def parallel_nms(boxes: Any, scores: Any, post_process: PostProcess) -> dict[str, Any]:
    """Applies NMS to boxes [B, N, 4] and scores [B, N, classes], all classes side by side."""
    if post_process.clip_boxes:
        boxes = ops.clip(boxes, 0.0, 1.0)
    choose = _candidates_of_each_class if post_process.candidates_per_class else _candidates_of_all
    scores, index, labels = choose(scores, post_process.max_candidates)
    num_lists, length = scores.shape[1:]
    flat_index = ops.reshape(index, (-1, num_lists * length, 1))
    candidates = ops.take_along_axis(boxes, flat_index, axis=1)
    candidates = ops.reshape(candidates, (-1, num_lists, length, 4))
    in_conflict = exceeds_iou(candidates, post_process.iou_threshold)
    in_conflict &= labels[..., :, None] == labels[..., None, :]
    is_kept = greedy_nms(in_conflict, scores > post_process.score_threshold)
    return top_detections(candidates, scores, labels, is_kept, post_process.max_detections)


def _candidates_of_each_class(scores: Any, max_candidates: int) -> tuple[Any, Any, Any]:
    """Returns scores, default boxes and labels of one list a class, each [B, classes, k]."""
    num_boxes, num_classes = scores.shape[1:]
    by_class = ops.transpose(scores, (0, 2, 1))
    best, index = ops.top_k(by_class, min(max_candidates, num_boxes))
    labels = ops.arange(num_classes, dtype="int32")[None, :, None] + ops.zeros_like(index)
    return best, index, labels


def _candidates_of_all(scores: Any, max_candidates: int) -> tuple[Any, Any, Any]:
    """Returns scores, default boxes and labels of one list of all classes, each [B, 1, k]."""
    num_boxes, num_classes = scores.shape[1:]
    flat = ops.reshape(scores, (-1, 1, num_boxes * num_classes))
    best, index = ops.top_k(flat, min(max_candidates, num_boxes * num_classes))
    return best, index // num_classes, index % num_classes
