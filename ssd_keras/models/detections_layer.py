"""A Keras layer that turns raw outputs into detections, on any backend."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from ssd_keras.boxes.default_boxes import VARIANCES
from ssd_keras.boxes.nms import _best, greedy, overlaps
from ssd_keras.losses.classification import check_activation
from ssd_keras.models.post_process import PostProcess


@keras.saving.register_keras_serializable("ssd_keras")
class Detections(keras.layers.Layer):
    """A model's raw outputs become detections, inside its graph."""

    def __init__(
        self,
        default_boxes,
        post_process=None,
        variances=VARIANCES,
        activation="softmax",
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        check_activation(activation)
        self.default_boxes = [[float(edge) for edge in box] for box in default_boxes]
        self.post_process = post_process or PostProcess()
        self.variances = tuple(variances)
        self.activation = activation

    def call(self, outputs):
        logits = ops.cast(outputs["class_logits"], "float32")
        function = ops.softmax if self.activation == "softmax" else ops.sigmoid
        deltas = ops.cast(outputs["box_deltas"], "float32")
        boxes = decoded(deltas, ops.array(self.default_boxes, "float32"), self.variances)
        return suppressed(boxes, function(logits)[..., 1:], self.post_process)

    def get_config(self):
        return {
            **super().get_config(),
            "default_boxes": self.default_boxes,
            "post_process": keras.saving.serialize_keras_object(self.post_process),
            "variances": list(self.variances),
            "activation": self.activation,
        }

    @classmethod
    def from_config(cls, config):
        post_process = keras.saving.deserialize_keras_object(config["post_process"])
        return cls(**{**config, "post_process": post_process})


def with_detections(model: Any, post_process: PostProcess | None = None) -> keras.Model:
    """An SSD and what becomes of its raw outputs, in one graph."""
    layer = Detections(
        model.default_box_array,
        post_process or model.post_process,
        model.default_boxes.variances,
        model.activation,
    )
    return keras.Model(model.inputs, layer(model.output))


def decoded(box_deltas: Any, default_boxes: Any, variances: Sequence[float]) -> Any:
    """Boxes from box deltas; see `ssd_keras.boxes.coding.decode_boxes`."""
    low, high = default_boxes[:, :2], default_boxes[:, 2:]
    size = high - low
    factors = ops.array(variances, "float32")
    center = (low + high) / 2 + box_deltas[..., :2] * factors[:2] * size
    half = ops.exp(box_deltas[..., 2:] * factors[2:]) * (size / 2)
    return ops.concatenate([center - half, center + half], axis=-1)


def suppressed(boxes: Any, scores: Any, post_process: PostProcess) -> Mapping[str, Any]:
    """Suppresses overlapping boxes class by class, all lists side by side."""
    if post_process.clip_boxes:
        boxes = ops.clip(boxes, 0.0, 1.0)
    choose = _candidates_of_each_class if post_process.candidates_per_class else _candidates_of_all
    scores, index, labels = choose(scores, post_process.max_candidates)
    num_lists, length = scores.shape[1:]
    flat = ops.reshape(index, (-1, num_lists * length, 1))
    candidates = ops.reshape(ops.take_along_axis(boxes, flat, axis=1), (-1, num_lists, length, 4))
    clash = overlaps(candidates, post_process.iou_threshold)
    clash &= ops.expand_dims(labels, -1) == ops.expand_dims(labels, -2)
    kept = greedy(clash, scores > post_process.score_threshold)
    return _best(candidates, scores, labels, kept, post_process.max_detections)


def _candidates_of_each_class(scores, max_candidates):
    """A list for each class: scores [B, classes, k], default boxes and labels [B, classes, k]."""
    num_boxes, num_classes = scores.shape[1:]
    by_class = ops.transpose(scores, (0, 2, 1))
    best, index = ops.top_k(by_class, min(max_candidates, num_boxes))
    labels = ops.arange(num_classes, dtype="int32")[None, :, None] + ops.zeros_like(index)
    return best, index, labels


def _candidates_of_all(scores, max_candidates):
    """One list of all classes: scores, default boxes and labels, each [B, 1, k]."""
    num_boxes, num_classes = scores.shape[1:]
    flat = ops.reshape(scores, (-1, 1, num_boxes * num_classes))
    best, index = ops.top_k(flat, min(max_candidates, num_boxes * num_classes))
    return best, index // num_classes, index % num_classes
