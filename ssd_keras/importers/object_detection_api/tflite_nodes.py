"""A TFLite file in the common form of graphs."""

from typing import Any

import numpy as np

from ssd_keras.importers.object_detection_api.graph import Graph, Node
from ssd_keras.importers.tflite_graph import Operator, TFLiteGraph

OPS = {
    "CONV_2D": "Conv2D",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2dNative",
    "ADD": "AddV2",
    "MUL": "Mul",
    "SUB": "Sub",
    "CONCATENATION": "ConcatV2",
    "PACK": "Pack",
    "RESHAPE": "Reshape",
    "SQUEEZE": "Squeeze",
    "EXPAND_DIMS": "ExpandDims",
    "BROADCAST_TO": "BroadcastTo",
    "TILE": "Tile",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighbor",
    "MAX_POOL_2D": "MaxPool",
    "PAD": "Pad",
    "MEAN": "Mean",
    "LOGISTIC": "Sigmoid",
    "SOFTMAX": "Softmax",
    "RELU": "Relu",
    "RELU6": "Relu6",
    "HARD_SWISH": "HardSwish",
    "QUANTIZE": "Identity",
    "DEQUANTIZE": "Identity",
}
FUSED = {0: None, 1: "Relu", 3: "Relu6"}
PADDINGS = {0: "SAME", 1: "VALID"}


def graph_of_tflite(file: TFLiteGraph) -> Graph:
    """Returns the operators of a file; tensors are named by their number."""
    nodes = {str(index): Node("Placeholder", str(index), (), {}) for index in file.inputs}
    produced = {tensor for operator in file.operators for tensor in operator.outputs}
    constants: dict[str, np.ndarray] = {}
    steps: dict[str, float] = {}
    for operator in file.operators:
        inputs = [index for index in operator.inputs if index >= 0]
        for index in inputs:
            if index not in produced and index not in file.inputs and str(index) not in nodes:
                nodes[str(index)] = Node("Const", str(index), (), {})
                constants[str(index)] = file.constant(index)
                coding = file.coding(index)
                if coding is not None:
                    steps[str(index)] = coding.step
        if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            kernel = f"kernel of {operator.outputs[0]}"
            nodes[kernel] = Node("Const", kernel, (), {})
            values = file.constant(operator.inputs[1]).transpose((1, 2, 3, 0))
            if operator.name == "DEPTHWISE_CONV_2D":
                values = values.reshape(*values.shape[:2], file.shape(inputs[0])[-1], -1)
            constants[kernel] = values
            names = (str(inputs[0]), kernel, *map(str, inputs[2:]))
        else:
            names = tuple(map(str, inputs))
        name = str(operator.outputs[0])
        op = OPS.get(operator.name, operator.name)
        nodes[name] = Node(op, name, names, _attributes(file, operator))
        # The other outputs are asked for by nobody but the post-processing's reader.
        for index, tensor in enumerate(operator.outputs[1:], start=1):
            nodes[str(tensor)] = Node("Identity", str(tensor), (f"{name}:{index}",), {})
    return Graph(file.path, nodes, constants, steps)


def _attributes(file: TFLiteGraph, operator: Operator) -> dict[str, Any]:
    options = operator.options
    found: dict[str, Any] = {}
    if "strideH" in options:
        found["strides"] = options["strideH"], options["strideW"]
        found["padding"] = PADDINGS[options["padding"]]
    if "dilationHFactor" in options:
        found["dilations"] = options["dilationHFactor"], options["dilationWFactor"]
    if "filterHeight" in options:
        found["ksize"] = options["filterHeight"], options["filterWidth"]
    if "fusedActivationFunction" in options:
        is_convolution = operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D")
        code = options["fusedActivationFunction"]
        fused = FUSED.get(code, f"activation {code}")
        if is_convolution and fused is None and file.has_relu6(operator):
            fused = "Relu6"
        found["fused_ops"] = (fused,) if fused else ()
    return found
