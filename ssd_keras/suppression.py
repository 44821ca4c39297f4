"""Decoding and suppression in `keras.ops`: compiled with the network on any backend.

The same detections as `ssd_keras.detections`, whose operator TensorFlow alone has. Every class of
every picture is suppressed at once, so that an accelerator need not wait for a list to be walked.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from ssd_keras.default_boxes import VARIANCES
from ssd_keras.settings import DetectionSettings, check_score_activation


@keras.saving.register_keras_serializable("ssd_keras")
class Detections(keras.layers.Layer):
    """A model's raw outputs become detections, inside its graph.

    Args:
        default_boxes: relative yxyx [N, 4].
        settings: `DetectionSettings`. Default: the paper's.
        variances: factors of the box deltas. Default (0.1, 0.1, 0.2, 0.2).
        score_activation: "softmax" (default) or "sigmoid".

    Call arguments:
        outputs: "box_deltas" [B, N, 4] and "class_logits" [B, N, 1 + classes].

    Returns of a call:
        "boxes" relative yxyx float32 [B, K, 4], "scores" float32 [B, K] falling, "labels"
        int32 [B, K], "num_detections" int32 [B]; K is `settings.max_detections`, unused places
        are zero.

    Example:

    >>> layer = Detections([[0., 0., .5, .5], [0., 0., .5, .45]])
    >>> found = layer({"box_deltas": ops.zeros((1, 2, 4)),
    ...                "class_logits": ops.array([[[0., 3.], [0., 2.]]])})
    >>> int(found["num_detections"][0])  # one suppressed
    1
    """

    def __init__(
        self,
        default_boxes,
        settings=None,
        variances=VARIANCES,
        score_activation="softmax",
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        check_score_activation(score_activation)
        self.default_boxes = [[float(edge) for edge in box] for box in default_boxes]
        self.settings = settings or DetectionSettings()
        self.variances = tuple(variances)
        self.score_activation = score_activation

    def call(self, outputs):
        logits = ops.cast(outputs["class_logits"], "float32")
        activation = ops.softmax if self.score_activation == "softmax" else ops.sigmoid
        deltas = ops.cast(outputs["box_deltas"], "float32")
        boxes = decoded(deltas, ops.array(self.default_boxes, "float32"), self.variances)
        return suppressed(boxes, activation(logits)[..., 1:], self.settings)

    def get_config(self):
        return {
            **super().get_config(),
            "default_boxes": self.default_boxes,
            "settings": keras.saving.serialize_keras_object(self.settings),
            "variances": list(self.variances),
            "score_activation": self.score_activation,
        }

    @classmethod
    def from_config(cls, config):
        settings = keras.saving.deserialize_keras_object(config["settings"])
        return cls(**{**config, "settings": settings})


def with_detections(model: Any, settings: DetectionSettings | None = None) -> keras.Model:
    """An SSD and what becomes of its raw outputs, in one graph.

    Args:
        model: `SSD`.
        settings: `DetectionSettings`. Default: the model's own.

    Returns:
        a model with the SSD's inputs (and its weights) that gives what `Detections` gives.

    Example:

    >>> from ssd_keras import from_preset
    >>> detecting = with_detections(from_preset("ssd192_small_shapes", ["cat"], width=4))
    >>> images = ops.zeros((1, 192, 192, 3))
    >>> sorted(detecting.predict_on_batch(images))
    ['boxes', 'labels', 'num_detections', 'scores']
    """
    layer = Detections(
        model.default_boxes,
        settings or model.detection_settings,
        model.default_box_spec.variances,
        model.score_activation,
    )
    return keras.Model(model.inputs, layer(model.output))


def decoded(box_deltas: Any, default_boxes: Any, variances: Sequence[float]) -> Any:
    """Boxes from box deltas; see `ssd_keras.boxes.decode_boxes`.

    Args:
        box_deltas: float32 [B, N, 4], yxhw.
        default_boxes: relative yxyx float32 [N, 4].
        variances: factors of the box deltas.

    Returns:
        relative yxyx float32 [B, N, 4].
    """
    low, high = default_boxes[:, :2], default_boxes[:, 2:]
    size = high - low
    factors = ops.array(variances, "float32")
    center = (low + high) / 2 + box_deltas[..., :2] * factors[:2] * size
    half = ops.exp(box_deltas[..., 2:] * factors[2:]) * (size / 2)
    return ops.concatenate([center - half, center + half], axis=-1)


def suppressed(boxes: Any, scores: Any, settings: DetectionSettings) -> Mapping[str, Any]:
    """Suppresses overlapping boxes class by class, all lists side by side.

    Args:
        boxes: relative yxyx float32 [B, N, 4].
        scores: float32 [B, N, classes], without background.
        settings: thresholds and counts.

    Returns:
        as of a call of `Detections`.
    """
    if settings.clip_boxes:
        boxes = ops.clip(boxes, 0.0, 1.0)
    choose = _candidates_of_each_class if settings.candidates_per_class else _candidates_of_all
    scores, index, labels = choose(scores, settings.max_candidates)
    num_lists, length = scores.shape[1:]
    flat = ops.reshape(index, (-1, num_lists * length, 1))
    candidates = ops.reshape(ops.take_along_axis(boxes, flat, axis=1), (-1, num_lists, length, 4))
    clash = overlaps(candidates, settings.iou_threshold)
    clash &= ops.expand_dims(labels, -1) == ops.expand_dims(labels, -2)
    kept = greedy(clash, scores > settings.score_threshold)
    return _best(candidates, scores, labels, kept, settings.max_detections)


def overlaps(boxes: Any, iou_threshold: float) -> Any:
    """Which boxes of a list overlap by more than the threshold.

    Args:
        boxes: yxyx float32 [..., k, 4].
        iou_threshold: 0..1.

    Returns:
        bool [..., k, k].
    """
    ymin, xmin, ymax, xmax = (boxes[..., edge] for edge in range(4))

    def common(low, high):
        highest_low = ops.maximum(ops.expand_dims(low, -1), ops.expand_dims(low, -2))
        lowest_high = ops.minimum(ops.expand_dims(high, -1), ops.expand_dims(high, -2))
        return ops.maximum(lowest_high - highest_low, 0.0)

    area = (ymax - ymin) * (xmax - xmin)
    intersection = common(ymin, ymax) * common(xmin, xmax)
    union = ops.expand_dims(area, -1) + ops.expand_dims(area, -2) - intersection
    # A box of no area overlaps nothing.
    return (intersection > 0.0) & (intersection > iou_threshold * union)


def greedy(clash: Any, is_candidate: Any) -> Any:
    """Greedy suppression of lists that are sorted by falling score.

    A box stays unless a better one that stays clashes with it. That rule is applied to all boxes
    at once and again, until nothing changes. The first box of a list is right after one round,
    and each round makes at least the next one right for good, so it ends at the only answer;
    after a handful of rounds in practice, as many as boxes suppress each other in a chain.

    Args:
        clash: bool [..., k, k], symmetric.
        is_candidate: bool [..., k].

    Returns:
        bool [..., k].

    Example:

    >>> clash = ops.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], "bool")
    >>> [bool(x) for x in greedy(clash, ops.array([True, True, True]))]  # 1 cannot suppress 2
    [True, False, True]
    """
    place = ops.arange(is_candidate.shape[-1])
    is_better = ops.expand_dims(place, -1) > ops.expand_dims(place, -2)
    clash &= is_better

    def stays(kept):
        return is_candidate & ~ops.any(clash & ops.expand_dims(kept, -2), axis=-1)

    kept, _ = ops.while_loop(
        lambda kept, before: ops.any(kept != before),
        lambda kept, before: (stays(kept), kept),
        (stays(is_candidate), is_candidate),
    )
    return kept


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


def _best(boxes, scores, labels, kept, max_detections):
    """The best of all lists, in places that are zero where there are no more."""
    num_places = kept.shape[1] * kept.shape[2]
    scores = ops.reshape(ops.where(kept, scores, 0.0), (-1, num_places))
    count = min(max_detections, num_places)
    best, index = ops.top_k(scores, count)
    labels = ops.take_along_axis(ops.reshape(labels, (-1, num_places)), index, axis=1)
    boxes = ops.reshape(boxes, (-1, num_places, 4))
    boxes = ops.take_along_axis(boxes, ops.expand_dims(index, -1), axis=1)
    is_used = best > 0.0
    unused = ((0, 0), (0, max_detections - count))
    return {
        "boxes": ops.pad(ops.where(is_used[..., None], boxes, 0.0), (*unused, (0, 0))),
        "scores": ops.pad(best, unused),
        "labels": ops.cast(ops.pad(ops.where(is_used, labels, 0), unused), "int32"),
        "num_detections": ops.sum(ops.cast(is_used, "int32"), axis=1),
    }
