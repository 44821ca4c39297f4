"""The custom operator TFLite_Detection_PostProcess: decodes boxes, then NMS across classes."""

from collections.abc import Mapping, Sequence

import numpy as np
from flatbuffers import flexbuffers

from ssd_keras.tflite import flatbuffer
from ssd_keras.tflite.flatbuffer import schema

POST_PROCESS_OPERATOR = "TFLite_Detection_PostProcess"
SCALES = ("y_scale", "x_scale", "h_scale", "w_scale")
"""Options that hold the reciprocals of the variances."""


def add_post_process_operator(
    model: schema.ModelT,
    box_deltas: int,
    class_scores: int,
    default_boxes: np.ndarray,
    variances: Sequence[float],
    options: Mapping[str, float],
    outputs: Sequence[str],
) -> dict[str, int]:
    """Appends the operator; returns the indices of boxes, classes, scores and their number.

    The inputs are tensor indices of box deltas [1, N, 4] and of scores [1, N, 1 + classes],
    background first. The other options are max_detections, num_classes, nms_score_threshold and
    nms_iou_threshold.
    """
    low, high = np.split(default_boxes, 2, axis=1)
    anchors = np.concatenate([(low + high) / 2, high - low], axis=1)
    all_options = {
        "max_classes_per_detection": 1,
        "use_regular_nms": False,
        **options,
        **{name: float(1 / value) for name, value in zip(SCALES, variances, strict=True)},
    }
    inputs = [box_deltas, class_scores, flatbuffer.add_constant(model, "default_boxes", anchors)]
    count = int(options["max_detections"])
    shapes = dict(zip(outputs, ([1, count, 4], [1, count], [1, count], [1]), strict=True))
    flatbuffer.add_custom_operator(
        model, POST_PROCESS_OPERATOR, flexbuffers.Dumps(all_options), inputs, shapes
    )
    return dict(zip(outputs, model.subgraphs[0].outputs, strict=True))
