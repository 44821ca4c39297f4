"""Imports MobileNetV2 backbones from float or quantised `.tflite` files of classifiers."""

from collections.abc import Sequence

import keras

from ssd_keras.importers.tflite_graph import Operator, TFLiteGraph
from ssd_keras.models.backbones.mobilenet import mobilenet_v2

# Width multipliers by the channels of the first convolution and of the second block.
ALPHAS = {(16, 8): 0.35, (16, 16): 0.5, (24, 24): 0.75, (32, 24): 1.0, (40, 32): 1.3, (48, 32): 1.4}
SECOND_BLOCK = 5  # index of its projection among the convolutions
# Quantised files code -1..1 in steps of 1/128, Keras in steps of 1/127.5.
COLOR_TOLERANCE = 0.02


def import_mobilenet_v2_backbone(path: str, image_size: tuple[int, int]) -> keras.Model:
    """Reads the backbone of a MobileNetV2 classifier, with floats for quantised weights.

    Batch normalisation is folded into the convolutions, as in the file. Weights saved with
    ``backbone.save_weights("mobilenet.weights.h5")`` are `backbone_weights` of
    `ssdlite_mobilenet_v2` with ``batch_norm=False`` and the `alpha` of the file.
    """
    graph = TFLiteGraph(path, "a MobileNetV2 classifier")
    convolutions = [x for x in graph.operators if x.name.endswith("CONV_2D")]
    if len(convolutions) <= SECOND_BLOCK:
        raise graph.other_network(f"it has {len(convolutions)} convolutions")
    channels = graph.num_filters(convolutions[0]), graph.num_filters(convolutions[SECOND_BLOCK])
    if channels not in ALPHAS:
        raise graph.other_network(f"its first blocks have {channels} channels")
    backbone = mobilenet_v2(image_size, alpha=ALPHAS[channels], batch_norm=False)
    layers = [layer for layer in backbone.layers if layer.weights]
    if len(convolutions) < len(layers):
        raise graph.other_network(f"it has {len(convolutions)} convolutions")
    _check_colors(graph)
    _check_graph(graph, convolutions, layers)
    for layer, operator in zip(layers, convolutions, strict=False):
        graph.fill(layer, *graph.weights(operator))
    return backbone


def _check_colors(graph: TFLiteGraph) -> None:
    coding = graph.coding(graph.inputs[0])
    if coding is not None and (
        abs(coding.lowest + 1) > COLOR_TOLERANCE or abs(coding.highest - 1) > COLOR_TOLERANCE
    ):
        raise graph.other_network(f"its images are {coding.lowest:.3f} to {coding.highest:.3f}")


def _check_graph(
    graph: TFLiteGraph, convolutions: Sequence[Operator], layers: Sequence[keras.Layer]
) -> None:
    """Checks that each convolution takes the one before it, or a sum that ends in it."""
    block_input = None
    for index, layer in enumerate(layers):
        operator = convolutions[index]
        name = repr(graph.name(operator.outputs[0]))
        is_depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        if operator.name != ("DEPTHWISE_CONV_2D" if is_depthwise else "CONV_2D"):
            raise graph.other_network(f"{name} is made by {operator.name}")
        if operator.options.get("strideH") != layer.strides[0]:
            raise graph.other_network(f"{name} has another stride")
        source = graph.source(operator.inputs[0])
        previous = convolutions[index - 1] if index else None
        if source is not None and source.name == "ADD":
            summands = [graph.source(tensor) for tensor in source.inputs]
            if previous not in summands or block_input not in summands:
                raise graph.other_network(f"{name} adds other maps")
        elif source is not previous:
            raise graph.other_network(f"{name} takes another map")
        if layer.name.endswith("_expand"):
            block_input = source
        if graph.has_relu6(operator) == layer.name.endswith("_project"):
            raise graph.other_network(f"{name} has another activation")
