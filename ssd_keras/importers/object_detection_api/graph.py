"""The common form of all graphs: nodes with inputs by name, constants as arrays."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

# Operators that hand on the values of their first input, in the same or another shape.
IDENTITIES = ("Identity", "ReadVariableOp", "StopGradient", "Enter", "Snapshot", "PreventGradient")
RESHAPES = ("Reshape", "Squeeze", "ExpandDims")
ACTIVATIONS = {"Relu6": "relu6", "Relu": "relu"}
CONVOLUTIONS = ("Conv2D", "_FusedConv2D", "FusedConv2D")
DEPTHWISE_CONVOLUTIONS = ("DepthwiseConv2dNative", "FusedDepthwiseConv2dNative")
BATCH_NORMS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
ADDITIONS = ("Add", "AddV2", "BiasAdd")


class Node(NamedTuple):
    """An operator; an input is the name of a node, or "name:1" for its second output."""

    op: str
    name: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """Nodes and constants of a file.

    `steps` are the quantisation steps of constants that the file rounds, `definitions` the
    protobuf messages of the nodes, where there are any.
    """

    path: str
    nodes: Mapping[str, Node]
    constants: Mapping[str, np.ndarray]
    steps: Mapping[str, float] = dataclasses.field(default_factory=dict)
    definitions: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def node(self, tensor: str, skip: Sequence[str] = ()) -> Node:
        """Returns what computes a tensor; identities and the operators of `skip` are skipped."""
        return self.nodes[self.origin(tensor, skip).partition(":")[0]]

    def origin(self, tensor: str, skip: Sequence[str] = ()) -> str:
        """Returns the tensor that a tensor is a copy of."""
        for _ in range(len(self.nodes)):
            node = self.nodes.get(tensor.partition(":")[0])
            if node is None or node.op not in (*IDENTITIES, *skip):
                break
            tensor = node.inputs[0]
        if tensor.partition(":")[0] not in self.nodes:
            raise self.other_network(f"it has no {tensor!r}")
        return tensor

    def is_constant(self, tensor: str) -> bool:
        """Returns whether a tensor is stored in the file."""
        return self.origin(tensor) in self.constants

    def constant(self, tensor: str) -> np.ndarray:
        """Returns the values of a constant; floats are float32 and finite."""
        name = self.origin(tensor)
        if name not in self.constants:
            raise self.other_network(f"{name!r} is not a constant")
        values = np.asarray(self.constants[name])
        if values.dtype.kind != "f":
            return values
        if not np.isfinite(values).all():
            raise ValueError(f"{self.path!r}: {name!r} holds infinity or NaN.")
        return values.astype("float32")

    def scalars(self, node: Node) -> tuple[str, np.ndarray] | None:
        """Returns the variable input and the constant one of an operator with both, or None."""
        for variable, constant in (node.inputs[:2], node.inputs[1::-1]):
            if self.is_constant(constant) and not self.is_constant(variable):
                return variable, self.constant(constant)
        return None

    def consumers(self) -> dict[str, list[Node]]:
        """Returns for each tensor the nodes that take it, or a copy of it."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes.values():
            if node.op not in IDENTITIES:
                for tensor in node.inputs:
                    if tensor.partition(":")[0] in self.nodes:
                        found.setdefault(self.origin(tensor), []).append(node)
        return found

    def other_network(self, difference: str) -> ValueError:
        """Returns the error for a graph that holds another network than expected."""
        return ValueError(
            f"{self.path!r} holds another network: {difference}; expected an SSD of the TF Object "
            "Detection API."
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
    """A convolution with its bias, batch normalisation and activation."""

    source: str
    kernel: np.ndarray  # [height, width, inputs, outputs or multiplier]
    is_depthwise: bool
    attributes: Mapping[str, Any]  # strides, dilations, padding (SAME, VALID or pairs)
    bias: np.ndarray | None
    batch_norm: tuple[np.ndarray, ...] | None  # gamma, beta, mean, variance
    epsilon: float
    activation: str | None

    @property
    def kernel_size(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return self.kernel.shape[0], self.kernel.shape[1]

    @property
    def num_filters(self) -> int:
        """Output channels."""
        return (
            self.kernel.shape[2] * self.kernel.shape[3]
            if self.is_depthwise
            else self.kernel.shape[3]
        )


def read_stage(graph: Graph, tensor: str) -> Stage | None:
    """Returns the convolution that ends in a tensor, or None for another operator."""
    node = graph.node(tensor)
    activation, batch_norm, epsilon, bias = None, None, 1e-3, None
    if node.op in ACTIVATIONS:
        activation, node = ACTIVATIONS[node.op], graph.node(node.inputs[0])
    if node.op in BATCH_NORMS:
        if not all(map(graph.is_constant, node.inputs[1:5])):
            raise graph.other_network(f"{node.name!r} has no stored statistics (a training graph)")
        gamma, beta, mean, variance = map(graph.constant, node.inputs[1:5])
        batch_norm, epsilon = (gamma, beta, mean, variance), node.attributes["epsilon"]
        node = graph.node(node.inputs[0])
    if node.op in ADDITIONS and len(node.inputs) == 2:
        found = graph.scalars(node)
        if found is not None and graph.node(found[0]).op in (
            *CONVOLUTIONS,
            *DEPTHWISE_CONVOLUTIONS,
        ):
            bias, node = found[1].reshape(-1), graph.node(found[0])
    if node.op not in (*CONVOLUTIONS, *DEPTHWISE_CONVOLUTIONS):
        return None
    fused = node.attributes.get("fused_ops", ())
    if len(node.inputs) > 2:
        bias = graph.constant(node.inputs[2])
    for name in fused:
        if name not in ("BiasAdd", *ACTIVATIONS):
            raise graph.other_network(f"{node.name!r} has the fused operator {name}")
        activation = ACTIVATIONS.get(name, activation)
    kernel = graph.constant(node.inputs[1])
    is_depthwise = node.op in DEPTHWISE_CONVOLUTIONS
    stage = Stage(
        graph.origin(node.inputs[0]), kernel, is_depthwise, node.attributes, bias, batch_norm,
        epsilon, activation,
    )  # fmt: skip
    per_channel = [bias] if bias is not None else []
    if kernel.ndim != 4 or any(
        x.shape != (stage.num_filters,) for x in (*per_channel, *(batch_norm or ()))
    ):
        raise graph.other_network(f"the weights of {node.name!r} do not fit each other")
    return stage
