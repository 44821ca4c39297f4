"""Builds the `SSD` of a TFLite file, with or without its post-processing operator."""

from collections.abc import Sequence
from typing import Any

from flatbuffers import flexbuffers

from ssd_keras.importers.object_detection_api.graph import RESHAPES, Graph
from ssd_keras.importers.object_detection_api.graph_anchors import Anchors
from ssd_keras.importers.object_detection_api.graph_detector import (
    MAX_CANDIDATES,
    build_detector,
    image_tensor,
)
from ssd_keras.importers.object_detection_api.graph_heads import SCORES, Heads, Outputs
from ssd_keras.importers.object_detection_api.tflite_nodes import graph_of_tflite
from ssd_keras.importers.tflite_graph import TFLiteGraph
from ssd_keras.models.builders.common import UNIT_PREPROCESSOR
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD
from ssd_keras.tflite.post_process_operator import POST_PROCESS_OPERATOR, SCALES

# Of ResNets; MobileNets' images are in -1..1.
MEAN_PREPROCESSOR = {"mean": (123.68, 116.779, 103.939)}
OPTIONS = (*SCALES, "nms_iou_threshold", "nms_score_threshold", "max_detections")


def ssd_from_tflite(file: TFLiteGraph, names: Sequence[str]) -> SSD:
    """Returns the detector of a TFLite file, with floats for quantised weights."""
    graph = graph_of_tflite(file)
    operator = file.find(POST_PROCESS_OPERATOR)
    options = post_processing_options(file, operator.custom_options) if operator else {}
    outputs = _outputs(file, graph, operator.inputs[:2] if operator else file.outputs)
    heads = Heads(graph, outputs)
    image = image_tensor(graph, heads.maps[0])
    height, width = file.shape(file.inputs[0])[1:3]

    def read_anchors(_: object) -> Anchors | None:
        if operator is None:
            return None
        coding = file.coding(operator.inputs[2])
        variances = [round(1 / options[name], 6) for name in SCALES]
        values = file.constant(operator.inputs[2])
        return Anchors(values, variances, coding.step if coding else 0.0)

    return build_detector(
        graph, outputs, heads, image, (height, width), names,
        preprocessor=tflite_preprocessor(file, graph), read_anchors=read_anchors,
        post_process=_post_process(options),
    )  # fmt: skip


def post_processing_options(file: TFLiteGraph, content: bytes) -> dict[str, Any]:
    """Reads the options of the post-processing operator."""
    try:
        options = flexbuffers.Loads(content)
        known = {name: float(options[name]) for name in OPTIONS}
        optional = ("use_regular_nms", "detections_per_class")
        return known | {name: options[name] for name in optional if name in options}
    except Exception as error:  # a damaged buffer raises errors of any class
        raise ValueError(
            f"{file.path!r}: the options of {POST_PROCESS_OPERATOR} cannot be read; expected "
            "those of the TF Object Detection API: download the file again."
        ) from error


def tflite_preprocessor(file: TFLiteGraph, graph: Graph) -> dict[str, Any]:
    """Returns mean and scale from the coding of bytes, or for floats those of the family."""
    coding = file.coding(file.inputs[0])
    if coding is not None:
        return {"mean": (coding.zero_byte,) * 3, "scale": coding.step}
    is_resnet = any(node.op == "MaxPool" for node in graph.nodes.values())
    return MEAN_PREPROCESSOR if is_resnet else UNIT_PREPROCESSOR


def _outputs(file: TFLiteGraph, graph: Graph, tensors: Sequence[int]) -> Outputs:
    if len(tensors) < 2:
        raise graph.other_network(f"it ends in {len(tensors)} output")
    # Raw outputs come in any order; boxes are four numbers.
    boxes, scores = sorted(tensors[:2], key=lambda tensor: file.shape(tensor)[-1:] != (4,))
    activation = graph.node(str(scores), RESHAPES)
    if activation.op not in SCORES:
        raise graph.other_network(f"its scores {file.name(scores)!r} are not a sigmoid or softmax")
    return Outputs(str(boxes), activation.inputs[0], SCORES[activation.op])


def _post_process(options: dict[str, Any]) -> PostProcess:
    """Returns the API's thresholds, or those of the operator, which suppresses over all classes."""
    if not options:
        return PostProcess(0.01, 0.6, max_candidates=100, max_detections=100)
    is_by_class = bool(options.get("use_regular_nms"))
    return PostProcess(
        round(options["nms_score_threshold"], 9), round(options["nms_iou_threshold"], 6),
        max_candidates=MAX_CANDIDATES, max_detections=int(options["max_detections"]),
        max_detections_per_class=int(options["detections_per_class"]) if is_by_class else None,
        class_agnostic=not is_by_class,
    )  # fmt: skip
