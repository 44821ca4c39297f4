"""MobileNetV2 backbones from a classifier's float or quantised `.tflite` file."""

import keras

from ssd_keras.importers.tflite_graph import Operator, TFLiteGraph
from ssd_keras.importers.tflite_layers import filters, has_relu6, set_weights, weights_of
from ssd_keras.models.backbones.mobilenet import mobilenet_v2

ALPHAS = {(16, 8): 0.35, (16, 16): 0.5, (24, 24): 0.75, (32, 24): 1.0, (40, 32): 1.3, (48, 32): 1.4}
"""Width multipliers by the channels of the first convolution and of the second block."""
SECOND_BLOCK = 5  # place of its projection among the convolutions
COLOR_TOLERANCE = 0.02
"""Quantised files code -1..1 as 128ths of their bytes, Keras' own as 127.5ths."""


def import_mobilenet_backbone(path: str, image_size: tuple[int, int]) -> keras.Model:
    """Reads the backbone of a MobileNetV2 that was trained to classify.

    Quantised weights become floats again. Batch normalisation is folded into the convolutions, as
    it is in the file: saved with ``backbone.save_weights("mobilenet.weights.h5")``, it is
    `backbone_weights` of `ssdlite_mobilenet_v2` together with ``batch_norm=False`` and the `alpha`
    of the file.
    """
    graph = TFLiteGraph(path)
    convolutions = [one for one in graph.operators if one.name.endswith("CONV_2D")]
    if len(convolutions) <= SECOND_BLOCK:
        raise _other_network(graph, f"it has {len(convolutions)} convolutions")
    channels = filters(graph, convolutions[0]), filters(graph, convolutions[SECOND_BLOCK])
    if channels not in ALPHAS:
        raise _other_network(graph, f"its first blocks have {channels} channels")
    backbone = mobilenet_v2(image_size, alpha=ALPHAS[channels], batch_norm=False)
    layers = [layer for layer in backbone.layers if layer.weights]
    if len(convolutions) < len(layers):
        raise _other_network(graph, f"it has {len(convolutions)} convolutions")
    _check_colors(graph)
    _check_wiring(graph, convolutions, layers)
    for layer, operator in zip(layers, convolutions, strict=False):
        set_weights(graph, layer, *weights_of(graph, operator))
    return backbone


def _check_colors(graph):
    coding = graph.coding(graph.inputs[0])
    if coding is not None:
        lowest, highest = coding[2:]
        if abs(lowest + 1) > COLOR_TOLERANCE or abs(highest - 1) > COLOR_TOLERANCE:
            raise _other_network(graph, f"its images are {lowest:.3f} to {highest:.3f}")


def _check_wiring(graph, convolutions, layers):
    """Each convolution looks at the one before it, or at a sum that ends in it."""
    block_input = None
    for index, layer in enumerate(layers):
        operator = convolutions[index]
        is_depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        if operator.name != ("DEPTHWISE_CONV_2D" if is_depthwise else "CONV_2D"):
            raise _other_network(graph, f"{_name(graph, operator)} is made by {operator.name}")
        if operator.options.get("strideH") != layer.strides[0]:
            raise _other_network(graph, f"{_name(graph, operator)} has another stride")
        source = graph.source(operator.inputs[0])
        previous = convolutions[index - 1] if index else None
        if source is not None and source.name == "ADD":
            ends = [graph.source(place) for place in source.inputs]
            if previous not in ends or block_input not in ends:
                raise _other_network(graph, f"{_name(graph, operator)} adds other maps")
        elif source is not previous:
            raise _other_network(graph, f"{_name(graph, operator)} looks at another map")
        if layer.name.endswith("_expand"):
            block_input = source
        is_linear = layer.name.endswith("_project")
        if has_relu6(graph, operator) == is_linear:
            raise _other_network(graph, f"{_name(graph, operator)} has another activation")


def _name(graph: TFLiteGraph, operator: Operator) -> str:
    return repr(graph.name(operator.outputs[0]))


def _other_network(graph: TFLiteGraph, what: str) -> ValueError:
    return ValueError(
        f"{graph.path!r} holds another network: {what}; expected a MobileNetV2 that classifies."
    )
