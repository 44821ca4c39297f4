"""Reads convolutions of a TFLite graph as weights of Keras layers."""

import keras
import numpy as np

from ssd_keras.importers.tflite_graph import Operator, TFLiteGraph

NO_ACTIVATION, RELU6 = 0, 3


def num_filters(graph: TFLiteGraph, operator: Operator) -> int:
    """Returns the output channels of a convolution, or the multiplier of a depthwise one."""
    return graph.shape(operator.inputs[1])[0]


def has_relu6(graph: TFLiteGraph, operator: Operator) -> bool:
    """Returns whether the outputs of a convolution are limited to 0..6."""
    # Quantised files may leave the activation to the limits of the bytes.
    fused = operator.options.get("fusedActivationFunction")
    coding = graph.coding(operator.outputs[0])
    if fused != NO_ACTIVATION or coding is None:
        return fused == RELU6
    return coding.lowest >= -coding.step and coding.highest <= 6 + coding.step


def weights_of(graph: TFLiteGraph, operator: Operator) -> tuple[np.ndarray, np.ndarray]:
    """Returns kernel and bias of a convolution with Keras' axes; zeros if it has no bias."""
    kernel = graph.constant(operator.inputs[1]).transpose((1, 2, 3, 0))
    is_depthwise = operator.name == "DEPTHWISE_CONV_2D"
    if len(operator.inputs) < 3 or operator.inputs[2] < 0:
        return kernel, np.zeros(kernel.shape[2 if is_depthwise else 3], "float32")
    return kernel, graph.constant(operator.inputs[2])


def set_weights(
    graph: TFLiteGraph, layer: keras.layers.Layer, kernel: np.ndarray, bias: np.ndarray
) -> None:
    """Sets kernel and bias of a layer."""
    expected = [tuple(weight.shape) for weight in layer.weights]
    if [kernel.shape, bias.shape] != expected:
        raise ValueError(
            f"{graph.path!r}: the weights for {layer.name!r} have the shapes {kernel.shape} and "
            f"{bias.shape}, expected {expected[0]} and {expected[1]}; the file is damaged or "
            "holds another network: download it again."
        )
    layer.set_weights([kernel, bias])
