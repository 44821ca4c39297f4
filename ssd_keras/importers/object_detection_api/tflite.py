"""Imports SSDs of the TF Object Detection API from a `.tflite` file, MobileNetV1 by name."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from flatbuffers import flexbuffers

from ssd_keras.boxes.default_boxes import VARIANCES, DefaultBoxes
from ssd_keras.importers.object_detection_api.sources import UNNAMED, without_background
from ssd_keras.importers.object_detection_api.tflite_detector import ssd_from_tflite
from ssd_keras.importers.tflite_graph import Operator, TFLiteGraph
from ssd_keras.models.backbones.mobilenet_v1 import (
    MOBILENET_V1_CHANNELS,
    MOBILENET_V1_FEATURE_LAYERS,
    MOBILENET_V1_STRIDES,
)
from ssd_keras.models.blocks import SAME
from ssd_keras.models.builders.common import UNIT_PREPROCESSOR
from ssd_keras.models.builders.mobilenet_v1 import (
    MobileNetV1Options,
    object_detection_api_boxes,
    ssd_mobilenet_v1,
)
from ssd_keras.models.necks import ExtraLayer
from ssd_keras.models.ssd import SSD
from ssd_keras.tflite.post_process_operator import POST_PROCESS_OPERATOR, SCALES

ACTIVATIONS = {"LOGISTIC": "sigmoid", "SOFTMAX": "softmax"}
SAME_PADDING = 0
MAX_CONVOLUTIONS = 99
# Of the backbone: the first, and 13 depthwise convolutions with their pointwise ones.
NUM_BACKBONE_CONVOLUTIONS = 2 * len(MOBILENET_V1_CHANNELS) - 1


class _FeatureMap(NamedTuple):
    source: Operator | None  # the convolution that the heads take
    box_head: Operator
    class_head: Operator
    grid: tuple[int, int]  # rows and columns
    boxes_per_cell: int


def import_tflite(path: str, names: Sequence[str] | None = None) -> SSD:
    """Reads a TFLite file; `names` are those of the classes, default the file's own.

    Default boxes are those of the API's formula; the file's own, which a quantised file rounds,
    must agree with it. Classes without a name ("???") are left out.
    """
    graph = TFLiteGraph(path, "an SSD MobileNetV1 of the TF Object Detection API")
    names = graph.labels() if names is None else names
    if names is None:
        raise ValueError(
            f"{graph.path!r} contains no labels; pass the file of its class names "
            "(labels=...), one a line."
        )
    # MobileNetV1 is a chain: other networks of the API add maps.
    return (
        ssd_from_tflite(graph, names)
        if graph.find("ADD")
        else mobilenet_v1_from_graph(graph, names)
    )


def mobilenet_v1_from_graph(graph: TFLiteGraph, names: Sequence[str]) -> SSD:
    """Builds the `SSD` of a TFLite graph."""
    operator = graph.find(POST_PROCESS_OPERATOR)
    operator_options = _options(graph, operator)
    maps, activation = _feature_maps(graph, operator)
    chain = _convolution_chain(graph, maps[-1].source)
    _check_network(graph, chain, maps)
    names = _check_names(graph, maps, names)
    backbone = chain[:NUM_BACKBONE_CONVOLUTIONS]
    extra_layers = chain[NUM_BACKBONE_CONVOLUTIONS:]
    _, height, width, _ = graph.shape(graph.inputs[0])
    options = MobileNetV1Options(
        channels=[graph.num_filters(x) for x in [backbone[0], *backbone[2::2]]],
        extra_layers=[
            ExtraLayer(graph.num_filters(bottleneck), graph.num_filters(conv), padding=SAME)
            for bottleneck, conv in zip(extra_layers[::2], extra_layers[1::2], strict=True)
        ],
        default_boxes=_default_boxes(graph, operator, (height, width), maps, operator_options),
        batch_norm=False,
        preprocessor=_preprocessor(graph),
        post_process={"iou_threshold": round(operator_options.get("nms_iou_threshold", 0.6), 6)},
        activation=activation,
    )
    kept = [name for name in names if name not in UNNAMED]
    model = ssd_mobilenet_v1((height, width), kept, options)
    _fill_convolutions(graph, model, backbone, extra_layers)
    columns = [0, *(1 + label for label, name in enumerate(names) if name not in UNNAMED)]
    layers = model.head.box_layers(model), model.head.class_layers(model)
    for box_layer, class_layer, feature_map in zip(*layers, maps, strict=True):
        _fill_heads(graph, box_layer, class_layer, feature_map, columns)
    return model


def _options(graph: TFLiteGraph, operator: Operator | None) -> dict[str, Any]:
    """Returns options of the post-processing operator; none for files without it."""
    if operator is None:
        return {}
    try:
        options = flexbuffers.Loads(operator.custom_options)
        return {name: options[name] for name in (*SCALES, "nms_iou_threshold", "num_classes")}
    except Exception as error:  # a damaged buffer raises errors of any class
        raise ValueError(
            f"{graph.path!r}: the options of {POST_PROCESS_OPERATOR} cannot be read; expected "
            "those of the TF Object Detection API: download the file again."
        ) from error


def _feature_maps(graph: TFLiteGraph, operator: Operator | None) -> tuple[list[_FeatureMap], str]:
    """Returns the feature maps, finest first, and the activation of the class logits."""
    outputs = operator.inputs[:2] if operator else graph.outputs
    if len(outputs) < 2:
        raise graph.other_network(f"it ends in {len(outputs)} output")
    # Raw outputs come in any order; boxes are four numbers.
    boxes, scores = sorted(outputs[:2], key=lambda tensor: graph.shape(tensor)[-1:] != (4,))
    activation = graph.source(scores)
    if activation is None or activation.name not in ACTIVATIONS:
        raise graph.other_network(f"its scores {graph.name(scores)!r} are not a sigmoid")
    box_heads, class_heads = _heads(graph, boxes), _heads(graph, activation.inputs[0])
    if len(box_heads) != len(class_heads):
        raise graph.other_network(f"it has {len(box_heads)} box and {len(class_heads)} class heads")
    maps = []
    for box_head, class_head in zip(box_heads, class_heads, strict=True):
        _check_convolution(graph, box_head, 1, 1)
        _check_convolution(graph, class_head, 1, 1)
        source, shape = graph.source(box_head.inputs[0]), graph.shape(box_head.outputs[0])
        if graph.source(class_head.inputs[0]) is not source:
            raise graph.other_network("box and class heads take different maps")
        if len(shape) != 4 or shape[3] < 4:
            raise graph.other_network(f"a box head gives the shape {shape}")
        grid = shape[1], shape[2]
        maps.append(_FeatureMap(source, box_head, class_head, grid, shape[3] // 4))
    return maps, ACTIVATIONS[activation.name]


def _heads(graph: TFLiteGraph, tensor: int) -> list[Operator]:
    """Returns the convolutions that a tensor concatenates."""
    join = graph.source(tensor)
    if join is None or join.name != "CONCATENATION":
        raise graph.other_network(f"{graph.name(tensor)!r} joins no feature maps")
    sources = [graph.source(part) for part in join.inputs]
    heads = [head for head in sources if head is not None and head.name == "CONV_2D"]
    if len(heads) < len(sources):
        raise graph.other_network(f"{graph.name(tensor)!r} joins other operators than heads")
    return heads


def _convolution_chain(graph: TFLiteGraph, last: Operator | None) -> list[Operator]:
    """Returns all convolutions from the image to the last one."""
    chain: list[Operator] = []
    while last is not None:
        is_convolution = last.name in ("CONV_2D", "DEPTHWISE_CONV_2D")
        if not is_convolution or len(chain) > MAX_CONVOLUTIONS:
            raise graph.other_network(f"its backbone has the operator {last.name}")
        chain.insert(0, last)
        last = graph.source(last.inputs[0])
    return chain


def _check_network(graph: TFLiteGraph, chain: list[Operator], maps: Sequence[_FeatureMap]) -> None:
    """Checks for MobileNetV1, extra layers of two convolutions, and heads on the right maps."""
    length = NUM_BACKBONE_CONVOLUTIONS
    if len(chain) < length or len(chain) % 2 == 0:
        raise graph.other_network(f"its backbone has {len(chain)} convolutions in a row")
    for index, operator in enumerate(chain):
        is_depthwise = index % 2 == 1 and index < length
        is_3x3 = index == 0 or is_depthwise or (index >= length and index % 2 == 0)
        stride = MOBILENET_V1_STRIDES[(index + 1) // 2] if index < length else 2
        _check_convolution(
            graph, operator, 3 if is_3x3 else 1, stride if is_3x3 else 1, is_depthwise
        )
        if not graph.has_relu6(operator):
            raise graph.other_network(f"{graph.name(operator.outputs[0])!r} has no relu6")
    sources = [chain[2 * number] for number in MOBILENET_V1_FEATURE_LAYERS] + chain[length + 1 :: 2]
    if [id(feature_map.source) for feature_map in maps] != [id(source) for source in sources]:
        raise graph.other_network("its heads take other maps")


def _check_convolution(
    graph: TFLiteGraph,
    operator: Operator,
    kernel_size: int,
    stride: int,
    is_depthwise: bool = False,
) -> None:
    name, options = graph.name(operator.outputs[0]), operator.options
    if operator.name != ("DEPTHWISE_CONV_2D" if is_depthwise else "CONV_2D"):
        raise graph.other_network(f"{name!r} is made by {operator.name}")
    kernel = tuple(graph.shape(operator.inputs[1])[1:3])
    dilation, padding = options.get("dilationHFactor"), options.get("padding")
    is_padded = kernel_size == 1 or (padding == SAME_PADDING and dilation == 1)
    if (kernel, options.get("strideH")) != ((kernel_size,) * 2, stride) or not is_padded:
        raise graph.other_network(
            f"{name!r} has the kernel {kernel} at stride {options.get('strideH')}, dilation "
            f"{dilation}, padding {padding}; expected {kernel_size}x{kernel_size} at stride "
            f"{stride}",
        )


def _check_names(
    graph: TFLiteGraph, maps: Sequence[_FeatureMap], names: Sequence[str]
) -> Sequence[str]:
    """Returns the names without background; refuses another number than the model's classes."""
    num_outputs = {graph.num_filters(x.class_head) / x.boxes_per_cell for x in maps}
    num_classes = num_outputs.pop() - 1
    if num_outputs or num_classes != int(num_classes):
        raise graph.other_network("its class heads differ in their classes")
    return without_background(graph.path, names, int(num_classes))


def _default_boxes(
    graph: TFLiteGraph,
    operator: Operator | None,
    image_size: tuple[int, int],
    maps: Sequence[_FeatureMap],
    options: Mapping[str, Any],
) -> DefaultBoxes:
    """Returns the default boxes of the formula, and checks them against the file's."""
    counts = [feature_map.boxes_per_cell for feature_map in maps]
    variances = [round(1 / options[name], 6) for name in SCALES] if options else VARIANCES
    if operator is None:
        return object_detection_api_boxes(image_size, counts, variances=variances)
    anchors = graph.constant(operator.inputs[2])  # centres, heights and widths
    grids = [feature_map.grid for feature_map in maps]
    ends = np.cumsum(np.prod(grids, axis=1) * counts)
    if anchors.shape != (ends[-1], 4):
        raise graph.other_network(f"its anchors have the shape {anchors.shape}")
    # The sizes in a configuration are whole hundredths.
    sides = np.sqrt(anchors[:, 2] * anchors[:, 3] * np.prod(image_size)) / min(image_size)
    indices = (counts[0] % 2, -counts[-1], 0)
    smallest, largest, first_square = (round(float(sides[index]), 2) for index in indices)
    spec = object_detection_api_boxes(
        image_size, counts, smallest, largest, first_square, variances
    )
    low, high = np.split(spec.boxes(image_size, grids), 2, axis=1)
    formula = np.concatenate([(low + high) / 2, high - low], axis=1)
    reordered = [
        part.reshape(-1, count, 4)[:, _cell_order(count)].reshape(-1, 4)
        for part, count in zip(np.split(anchors, ends[:-1]), counts, strict=True)
    ]
    difference = np.abs(np.concatenate(reordered) - formula).max()
    coding = graph.coding(operator.inputs[2])
    # The API's configurations have 0.3333 for a third.
    if difference > 1e-3 + (coding.step / 2 if coding else 0.0):
        raise graph.other_network(f"its anchors differ from the formula's by {difference:.4f}")
    return spec


def _cell_order(count: int) -> list[int]:
    """Returns the indices of a cell's boxes in the file, in this package's order.

    In the file the second square comes last. A map with an odd number of boxes has one square.
    """
    if count % 2:
        return list(range(count))
    return [0, count - 1, *range(1, count - 1)]


def _preprocessor(graph: TFLiteGraph) -> dict[str, Any]:
    """Returns mean and scale from the coding of a quantised input."""
    coding = graph.coding(graph.inputs[0])
    if coding is None:
        return UNIT_PREPROCESSOR
    return {"mean": (coding.zero_byte,) * 3, "scale": coding.step}


def _fill_convolutions(
    graph: TFLiteGraph, model: SSD, backbone: Sequence[Operator], extra_layers: Sequence[Operator]
) -> None:
    names = ["conv0"]
    for number in range(1, len(MOBILENET_V1_CHANNELS)):
        names += [f"conv{number}_depthwise", f"conv{number}_pointwise"]
    for name, operator in zip(names, backbone, strict=True):
        graph.fill(model.backbone.get_layer(name), *graph.weights(operator))
    for index, operator in enumerate(extra_layers):
        layer = model.get_layer(f"extra{index // 2 + 1}_{index % 2 + 1}")
        graph.fill(layer, *graph.weights(operator))


def _fill_heads(
    graph: TFLiteGraph,
    box_layer: keras.Layer,
    class_layer: keras.Layer,
    feature_map: _FeatureMap,
    columns: Sequence[int],
) -> None:
    """Fills the heads of a feature map; `columns` are the outputs of the named classes."""
    order = _cell_order(feature_map.boxes_per_cell)
    kernel, bias = graph.weights(feature_map.box_head)
    filters = [4 * box + coordinate for box in order for coordinate in range(4)]
    graph.fill(box_layer, kernel[..., filters], bias[filters])
    kernel, bias = graph.weights(feature_map.class_head)
    filters = [len(bias) // len(order) * box + column for box in order for column in columns]
    graph.fill(class_layer, kernel[..., filters], bias[filters])
