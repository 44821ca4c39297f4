"""Builds the `SSD` of a graph: backbone, heads, default boxes, preprocessing, post-processing."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ssd_keras.importers.object_detection_api.graph import RESHAPES, Graph, read_stage
from ssd_keras.importers.object_detection_api.graph_anchors import (
    Anchors,
    boxes_of_anchors,
    boxes_of_rule,
    read_anchors,
)
from ssd_keras.importers.object_detection_api.graph_backbone import GraphBackbone
from ssd_keras.importers.object_detection_api.graph_heads import Heads, Outputs, find_outputs
from ssd_keras.importers.object_detection_api.sources import UNNAMED, without_background
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

MAX_CANDIDATES = 1000
DEFAULT_LIMIT = 100  # of detections
# What stands between the image and the arithmetic of the preprocessing.
COPIES = (*RESHAPES, "Cast", "Unpack", "StridedSlice", "Pack")


def ssd_from_graph(graph: Graph, names: Sequence[str] | None) -> SSD:
    """Returns the detector of a graph that takes images and gives detections."""
    outputs = find_outputs(graph)
    heads = Heads(graph, outputs)
    image = image_tensor(graph, heads.maps[0])
    return build_detector(
        graph, outputs, heads, image, resized_size(graph), names,
        preprocessor=graph_preprocessor(graph, image), post_process=post_processing(graph),
        read_anchors=functools.partial(read_anchors, graph, outputs.boxes),
    )  # fmt: skip


def build_detector(
    graph: Graph, outputs: Outputs, heads: Heads, image: str, image_size: tuple[int, int],
    names: Sequence[str] | None, *, preprocessor: Mapping[str, Any], post_process: PostProcess,
    read_anchors: Callable[[dict[str, tuple[int, ...]]], Anchors | None],
) -> SSD:  # fmt: skip
    """Returns the detector of a graph; `read_anchors` gets the shapes of its tensors and
    returns None where it has no anchors."""
    names = named_classes(graph, names, heads.num_outputs - 1)
    network = GraphBackbone(graph, image, image_size)
    backbone = network.model(heads.maps)
    grids = [tuple(x.shape[1:3]) for x in backbone.outputs]
    num_anchors = sum(h * w * n for (h, w), n in zip(grids, heads.counts, strict=True))
    shapes = network.shapes()
    shapes |= {outputs.boxes: (1, num_anchors, 4), "image": (1, *image_size, 3)}
    anchors = read_anchors(shapes)
    if anchors is None:
        boxes = boxes_of_rule(graph, image_size, grids, heads.counts)
    else:
        boxes = boxes_of_anchors(graph, anchors, image_size, grids, heads.counts)
    model = SSD(
        backbone, boxes, [name for name in names if name not in UNNAMED], image_size,
        head=heads.head(), post_process=post_process, activation=outputs.activation,
        preprocessor=preprocessor, name="ssd",
    )  # fmt: skip
    heads.fill(model, [0, *(1 + i for i, name in enumerate(names) if name not in UNNAMED)])
    return model


def named_classes(graph: Graph, names: Sequence[str] | None, num_classes: int) -> Sequence[str]:
    """Returns the names without background; refuses another number than the model's classes."""
    if names is None:
        raise ValueError(
            f"{graph.path!r} contains no labels; pass the file of its class names (labels=...), "
            f"{num_classes} of them, one a line."
        )
    return without_background(graph.path, names, num_classes)


def image_tensor(graph: Graph, tensor: str) -> str:
    """Returns what the first convolution takes, before its padding."""
    image, seen = None, set()
    while tensor not in seen:
        seen.add(tensor)
        stage = read_stage(graph, tensor)
        if stage is not None:
            image = tensor = stage.source
            continue
        inputs = [x for x in graph.node(tensor).inputs if not graph.is_constant(x)]
        if not inputs:
            break
        tensor = graph.origin(inputs[0])
    if image is None:
        raise graph.other_network("no convolution precedes its heads")
    return graph.node(image).inputs[0] if graph.node(image).op == "Pad" else image


def _resize(graph: Graph) -> Any:
    found = [node for node in graph.nodes.values() if node.op == "ResizeBilinear"]
    if not found:
        raise graph.other_network("it does not resize images")
    return found[0]


def resized_size(graph: Graph) -> tuple[int, int]:
    """Returns height and width that images are resized to."""
    size = _resize(graph).inputs[1]
    if not graph.is_constant(size):
        raise graph.other_network(
            "it resizes images to no fixed size (put its pipeline.config beside it)"
        )
    height, width = graph.constant(size).tolist()
    return height, width


def graph_preprocessor(graph: Graph, image: str) -> dict[str, Any]:
    """Returns mean and scale from the arithmetic between the image's bytes and the network."""
    scale, offset = np.ones(3), np.zeros(3)  # network = scale * tensor + offset
    tensor, resize, seen = image, _resize(graph), set()
    while tensor not in seen:
        seen.add(tensor)
        node = graph.node(tensor, COPIES)
        found = graph.scalars(node) if len(node.inputs) == 2 else None
        if node.op in ("Mul", "RealDiv", "Sub", "Add", "AddV2") and found is not None:
            number = np.broadcast_to(found[1].reshape(-1).astype("float64"), 3)
            if node.op in ("Mul", "RealDiv"):
                scale = scale * (number if node.op == "Mul" else 1 / number)
            else:
                offset = offset + scale * (-number if node.op == "Sub" else number)
            tensor = graph.origin(found[0])
        elif node.op == "ResizeBilinear" or resize.name not in seen:
            seen.add(resize.name)
            tensor = graph.origin(resize.inputs[0])
        else:
            break
    means = tuple(round(float(x), 3) for x in -offset / scale)
    scales = tuple(float(x) for x in scale)
    return {"mean": means, "scale": scales[0] if len(set(scales)) == 1 else scales}


def post_processing(graph: Graph) -> PostProcess:
    """Returns the thresholds of the graph's NMS, which looks at boxes before they are clipped."""
    nms = [x for x in graph.nodes.values() if x.op.startswith("NonMaxSuppression")]
    if not nms:
        raise graph.other_network("it has no NMS")
    _, _, limit, *thresholds = nms[0].inputs
    iou_threshold, score_threshold = (float(graph.constant(x)) for x in thresholds[:2])
    if not graph.is_constant(limit):  # the smaller one of a constant and the number of boxes
        found = graph.scalars(graph.node(limit))
        limits = DEFAULT_LIMIT if found is None else found[1]
    else:
        limits = graph.constant(limit)
    return PostProcess(
        round(score_threshold, 9),
        round(iou_threshold, 6),
        max_candidates=MAX_CANDIDATES,
        max_detections=DEFAULT_LIMIT,
        max_detections_per_class=int(limits),
        clip_boxes="after",
    )
