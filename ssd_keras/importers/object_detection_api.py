"""SSD MobileNetV1 of the TF Object Detection API, from its float or quantised `.tflite` file."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from flatbuffers import flexbuffers

from ssd_keras.boxes.default_boxes import VARIANCES
from ssd_keras.data.readers.label_map import read_labels
from ssd_keras.importers.tflite_graph import Operator, TFLiteGraph
from ssd_keras.importers.tflite_layers import filters, has_relu6, set_weights, weights_of
from ssd_keras.models.backbones.mobilenet_v1 import CHANNELS, SOURCES, STRIDES
from ssd_keras.models.blocks import SAME
from ssd_keras.models.builders.mobilenet_v1 import (
    PREPROCESSOR,
    SETTINGS,
    object_detection_boxes,
    ssd_mobilenet_v1,
)
from ssd_keras.models.necks import ExtraLayer
from ssd_keras.models.ssd import SSD
from ssd_keras.tflite.post_process_operator import POST_PROCESS_OPERATOR, SCALES

UNNAMED = ("???", "background", "")
ACTIVATIONS = {"LOGISTIC": "sigmoid", "SOFTMAX": "softmax"}
SAME_PADDING = 0
LENGTH = 2 * len(CHANNELS) - 1
"""Convolutions of the backbone: the first, and 13 depthwise with their pointwise ones."""


@dataclasses.dataclass(frozen=True)
class _Map:
    """The two heads of one feature map, and the convolution that they look at."""

    source: Operator | None
    box_head: Operator
    class_head: Operator


def import_object_detection_api(path: str, labels: str | None = None) -> SSD:
    """Reads a detector of the TF Object Detection API into a Keras model that can be trained on.

    Quantised weights become floats again. The default boxes are those of the API's formula, which
    must agree with the file's own: a quantised file has them rounded. Classes without a name
    ("???") are left out.
    """
    graph = TFLiteGraph(path)
    return ssd_from_graph(graph, _names(graph, labels))


def ssd_from_graph(graph: TFLiteGraph, names: Sequence[str]) -> SSD:
    """The model of a file that was read."""
    operator = graph.find(POST_PROCESS_OPERATOR)
    options = _options(graph, operator)
    maps, activation = _maps(graph, operator)
    chain = _chain(graph, maps[-1].source)
    _check_backbone(graph, chain, maps)
    _, height, width, _ = graph.shape(graph.inputs[0])
    image_size = (height, width)
    grids = [graph.shape(one.box_head.outputs[0]) for one in maps]
    counts = [grid[3] // 4 for grid in grids]
    names = _checked_names(graph, maps, counts, names)
    anchors = operator and operator.inputs[2]
    spec = _default_boxes(graph, anchors, image_size, grids, options)
    model = ssd_mobilenet_v1(
        image_size,
        [name for name in names if name not in UNNAMED],
        channels=[filters(graph, one) for one in [chain[0], *chain[2:LENGTH:2]]],
        extra_layers=[
            ExtraLayer(filters(graph, one), filters(graph, other), padding=SAME)
            for one, other in zip(chain[LENGTH::2], chain[LENGTH + 1 :: 2], strict=True)
        ],
        default_boxes=spec,
        batch_norm=False,
        preprocessor=_preprocessor(graph),
        post_process=dataclasses.replace(
            SETTINGS, iou_threshold=round(options.get("nms_iou_threshold", 0.6), 6)
        ),
        activation=activation,
    )
    _fill_convolutions(graph, model, chain)
    kept = [0, *(1 + label for label, name in enumerate(names) if name not in UNNAMED)]
    for number, (one, count) in enumerate(zip(maps, counts, strict=True), start=1):
        _fill_heads(graph, model, number, one, _cell_order(count), kept)
    return model


def _options(graph: TFLiteGraph, operator: Operator | None) -> dict[str, Any]:
    """The options of the post-processing; none where the file ends in raw outputs."""
    if operator is None:
        return {}
    try:
        options = flexbuffers.Loads(operator.custom_options)
        return {name: options[name] for name in (*SCALES, "nms_iou_threshold", "num_classes")}
    except Exception as error:  # the reader raises whatever a damaged buffer leads it to
        raise ValueError(
            f"{graph.path!r}: the options of {POST_PROCESS_OPERATOR} cannot be read; expected "
            "those of the TF Object Detection API: download the file again."
        ) from error


def _maps(graph, operator):
    """The heads, finest map first, and how their logits become scores."""
    ends = operator.inputs[:2] if operator else graph.outputs
    if len(ends) < 2:
        raise _other_network(graph, f"it ends in {len(ends)} output")
    # Raw outputs come in any order: boxes are four numbers.
    boxes, scores = sorted(ends[:2], key=lambda place: graph.shape(place)[-1:] != (4,))
    activation = graph.source(scores)
    if activation is None or activation.name not in ACTIVATIONS:
        raise _other_network(graph, f"its scores {graph.name(scores)!r} are no sigmoid")
    heads = [_heads(graph, place) for place in (boxes, activation.inputs[0])]
    if len(heads[0]) != len(heads[1]):
        raise _other_network(graph, f"it has {len(heads[0])} box and {len(heads[1])} class heads")
    maps = [
        _Map(graph.source(box_head.inputs[0]), box_head, class_head)
        for box_head, class_head in zip(*heads, strict=True)
    ]
    for one in maps:
        _check_convolution(graph, one.box_head, 1, 1)
        _check_convolution(graph, one.class_head, 1, 1)
        if graph.source(one.class_head.inputs[0]) is not one.source:
            raise _other_network(graph, "box and class heads look at different maps")
    return maps, ACTIVATIONS[activation.name]


def _heads(graph, place):
    joined = graph.source(place)
    if joined is None or joined.name != "CONCATENATION":
        raise _other_network(graph, f"{graph.name(place)!r} joins no feature maps")
    heads = [graph.source(part) for part in joined.inputs]
    if any(head is None or head.name != "CONV_2D" for head in heads):
        raise _other_network(graph, f"{graph.name(place)!r} joins what no convolutions give")
    return heads


def _chain(graph, last):
    """All convolutions from the image to the last one, each with its activation."""
    chain = []
    while last is not None:
        if last.name not in ("CONV_2D", "DEPTHWISE_CONV_2D") or len(chain) > 99:
            raise _other_network(graph, f"its backbone has the operator {last.name}")
        chain.insert(0, last)
        last = graph.source(last.inputs[0])
    return chain


def _check_backbone(graph, chain, maps):
    """MobileNetV1, pairs of extra layers, and heads where they belong."""
    if len(chain) < LENGTH or len(chain) % 2 == 0:
        raise _other_network(graph, f"its backbone has {len(chain)} convolutions in a row")
    for index, operator in enumerate(chain):
        is_depthwise = index % 2 == 1 and index < LENGTH
        number = (index + 1) // 2
        is_strided = index == 0 or is_depthwise or (index >= LENGTH and index % 2 == 0)
        stride = STRIDES[number] if index < LENGTH else 2
        _check_convolution(
            graph, operator, 3 if is_strided else 1, stride if is_strided else 1, is_depthwise
        )
        if not has_relu6(graph, operator):
            raise _other_network(graph, f"{graph.name(operator.outputs[0])!r} has no relu6")
    expected = [chain[2 * number] for number in SOURCES] + chain[LENGTH + 1 :: 2]
    if [id(one.source) for one in maps] != [id(one) for one in expected]:
        raise _other_network(graph, "its heads look at other maps")


def _check_convolution(graph, operator, kernel_size, stride, is_depthwise=False):
    name, options = graph.name(operator.outputs[0]), operator.options
    if operator.name != ("DEPTHWISE_CONV_2D" if is_depthwise else "CONV_2D"):
        raise _other_network(graph, f"{name!r} is made by {operator.name}")
    found = tuple(graph.shape(operator.inputs[1])[1:3]), options.get("strideH")
    dilation, padding = options.get("dilationHFactor"), options.get("padding")
    is_padded = kernel_size == 1 or (padding == SAME_PADDING and dilation == 1)
    if found != ((kernel_size,) * 2, stride) or not is_padded:
        raise _other_network(
            graph,
            f"{name!r} has the kernel {found[0]} at stride {found[1]}, dilation {dilation}, "
            f"padding {padding}, where {kernel_size}x{kernel_size} at stride {stride} belongs",
        )


def _checked_names(graph, maps, counts, names):
    """The names, as many as there are classes."""
    columns = {filters(graph, one.class_head) / n for one, n in zip(maps, counts, strict=True)}
    num_classes = columns.pop() - 1
    if columns or num_classes != int(num_classes):
        raise _other_network(graph, "its class heads differ in their classes")
    if len(names) == num_classes + 1 and names[0] in UNNAMED:
        names = names[1:]
    if len(names) != num_classes:
        raise ValueError(
            f"the labels have {len(names)} names but {graph.path!r} has {int(num_classes)} "
            "classes; pass the labels that belong to it."
        )
    return names


def _default_boxes(graph, anchors, image_size, grids, options):
    """The formula's default boxes, where they are the file's own."""
    counts = [grid[3] // 4 for grid in grids]
    variances = [round(1 / options[name], 6) for name in SCALES] if options else VARIANCES
    if anchors is None:
        return object_detection_boxes(image_size, counts, variances=variances)
    values = graph.constant(anchors)
    cells = [grid[1] * grid[2] for grid in grids]
    if values.shape != (np.dot(cells, counts), 4):
        raise _other_network(graph, f"its anchors have the shape {values.shape}")
    # Each is centre, height and width. The sizes of a configuration are whole hundredths.
    side = np.sqrt(values[:, 2] * values[:, 3] * np.prod(image_size)) / min(image_size)
    scales = (round(float(side[place]), 2) for place in (counts[0] % 2, -counts[-1], 0))
    spec = object_detection_boxes(image_size, counts, *scales, variances=variances)
    boxes = spec.boxes(image_size, [grid[1:3] for grid in grids])
    formula = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)
    parts = np.split(values, np.cumsum(np.multiply(cells, counts))[:-1])
    own = [
        part.reshape(-1, count, 4)[:, _cell_order(count)].reshape(-1, 4)
        for part, count in zip(parts, counts, strict=True)
    ]
    difference = np.abs(np.concatenate(own) - formula).max()
    coding = graph.coding(anchors)
    # The API's configurations have 0.3333 for a third.
    if difference > 1e-3 + (coding[0] / 2 if coding else 0.0):
        raise _other_network(graph, f"its anchors are {difference:.4f} beside the formula's")
    return spec


def _cell_order(count):
    """Where the boxes of a cell stand in the file: its second square comes last.

    A map with an odd number of boxes has one square alone.
    """
    if count % 2:
        return list(range(count))
    return [0, count - 1, *range(1, count - 1)]


def _preprocessor(graph):
    """Mean and scale as the bytes of a quantised input are coded."""
    coding = graph.coding(graph.inputs[0])
    if coding is None:
        return PREPROCESSOR
    return {"mean": (coding[1],) * 3, "scale": coding[0]}


def _fill_convolutions(graph, model, chain):
    names = ["conv0"]
    for number in range(1, len(CHANNELS)):
        names += [f"conv{number}_depthwise", f"conv{number}_pointwise"]
    for name, operator in zip(names, chain, strict=False):
        set_weights(graph, model.backbone.get_layer(name), *weights_of(graph, operator))
    for index, operator in enumerate(chain[LENGTH:]):
        layer = model.get_layer(f"extra{index // 2 + 1}_{index % 2 + 1}")
        set_weights(graph, layer, *weights_of(graph, operator))


def _fill_heads(graph, model, number, one, order, kept):
    for name, operator, numbers, columns in (
        ("box_head", one.box_head, 4, range(4)),
        ("class_head", one.class_head, None, kept),
    ):
        kernel, bias = weights_of(graph, operator)
        numbers = numbers or len(bias) // len(order)
        places = np.array([[box * numbers + column for column in columns] for box in order]).ravel()
        set_weights(graph, model.get_layer(f"{name}{number}"), kernel[..., places], bias[places])


def _names(graph, path):
    names = graph.labels() if path is None else read_labels(path)
    if names is None:
        raise ValueError(
            f"{graph.path!r} has no labels inside; pass the file with its class names "
            "(labels=...), one a line."
        )
    return names


def _other_network(graph: TFLiteGraph, what: str) -> ValueError:
    return ValueError(
        f"{graph.path!r} holds another network: {what}; expected an SSD MobileNetV1 of the TF "
        "Object Detection API."
    )
