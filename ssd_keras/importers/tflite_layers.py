"""Convolutions of a TFLite graph as the weights of Keras layers."""

import keras
import numpy as np

from ssd_keras.importers.tflite_graph import Operator, TFLiteGraph

NO_ACTIVATION, RELU6 = 0, 3


def filters(graph: TFLiteGraph, operator: Operator) -> int:
    """How many channels a convolution gives (a depthwise one: its multiplier)."""
    return graph.shape(operator.inputs[1])[0]


def has_relu6(graph: TFLiteGraph, operator: Operator) -> bool:
    """Whether a convolution's values end at 0 and 6.

    Quantised files may leave the activation to the limits of the bytes.
    """
    fused = operator.options.get("fusedActivationFunction")
    coding = graph.coding(operator.outputs[0])
    is_limited = coding is not None and coding[2] >= -coding[0] and coding[3] <= 6 + coding[0]
    return fused == RELU6 or (fused == NO_ACTIVATION and is_limited)


def weights_of(graph: TFLiteGraph, operator: Operator) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a convolution in Keras' order of axes; zeros where it has no bias."""
    kernel = graph.constant(operator.inputs[1])
    is_depthwise = operator.name == "DEPTHWISE_CONV_2D"
    kernel = kernel.transpose((1, 2, 3, 0))
    if len(operator.inputs) < 3 or operator.inputs[2] < 0:
        return kernel, np.zeros(kernel.shape[2 if is_depthwise else 3], "float32")
    return kernel, graph.constant(operator.inputs[2])


def set_weights(
    graph: TFLiteGraph, layer: keras.layers.Layer, kernel: np.ndarray, bias: np.ndarray
) -> None:
    """Fills a layer."""
    expected = [tuple(weight.shape) for weight in layer.weights]
    if [kernel.shape, bias.shape] != expected:
        raise ValueError(
            f"{graph.path!r}: the weights for {layer.name!r} have the shapes {kernel.shape} and "
            f"{bias.shape}, expected {expected[0]} and {expected[1]}; the file is damaged or "
            "holds another network: download it again."
        )
    layer.set_weights([kernel, bias])
