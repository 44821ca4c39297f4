"""The part of a graph from the image to the feature maps, as a Keras model with its weights."""

from collections.abc import Sequence

import keras
from keras import layers

from ssd_keras.importers.object_detection_api.graph import (
    ACTIVATIONS,
    ADDITIONS,
    RESHAPES,
    Graph,
    Node,
    Stage,
    read_stage,
)
from ssd_keras.models.blocks import ConvStyle
from ssd_keras.models.layers import BatchNormalization
from ssd_keras.models.necks import enlarge

# How graphs write the enlargement of an FPN: cells are repeated by stacking or tiling.
REPETITIONS = ("Pack", "Tile", "BroadcastTo", "ResizeNearestNeighbor")
HEIGHT_AND_WIDTH = [1, 2]


class GraphBackbone:
    """Turns tensors of a graph into tensors of Keras layers, numbered in their order."""

    def __init__(self, graph: Graph, image: str, image_size: tuple[int, int]) -> None:
        self._graph = graph
        self._image = keras.Input((*image_size, 3))
        self._tensors = {graph.origin(image): self._image}
        self._repeated: dict[str, keras.KerasTensor] = {}
        self._counts: dict[str, int] = {}

    def model(self, maps: Sequence[str]) -> keras.Model:
        """Returns the network that computes the maps, finest first."""
        try:
            outputs = [self._tensor(name) for name in maps]
        except RecursionError as error:
            raise self._graph.other_network("its nodes form a circle") from error
        return keras.Model(self._image, outputs, name="backbone")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shapes [1, height, width, channels] of the graph's tensors."""
        return {name: (1, *x.shape[1:]) for name, x in self._tensors.items()}

    def _tensor(self, name: str) -> keras.KerasTensor:
        name = self._graph.origin(name)
        if name not in self._tensors:
            stage = read_stage(self._graph, name)
            node = self._graph.nodes[name.partition(":")[0]]
            try:
                x = self._stage(stage) if stage else self._operator(node)
            except (ValueError, TypeError) as error:
                if str(error).startswith(repr(self._graph.path)):
                    raise
                raise self._graph.other_network(
                    f"{name!r} does not fit its input ({' '.join(str(error).split())[:150]})"
                ) from error
            self._tensors[name] = x
        return self._tensors[name]

    def _name(self, kind: str) -> str:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return f"{kind}{self._counts[kind]}"

    def _stage(self, stage: Stage) -> keras.KerasTensor:
        x = self._tensor(stage.source)
        name = self._name("depthwise" if stage.is_depthwise else "conv")
        padding, strides = stage.attributes["padding"], stage.attributes["strides"]
        if not isinstance(padding, str):
            x, padding = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x), "valid"
        options = {
            "kernel_size": stage.kernel_size,
            "strides": strides,
            "padding": padding.lower(),
            "dilation_rate": stage.attributes.get("dilations", (1, 1)),
            "use_bias": stage.bias is not None,
            "name": name,
        }
        if stage.is_depthwise:
            layer = layers.DepthwiseConv2D(depth_multiplier=stage.kernel.shape[3], **options)
        else:
            groups = x.shape[-1] // stage.kernel.shape[2]
            layer = layers.Conv2D(stage.num_filters, groups=groups, **options)
        x = layer(x)
        layer.set_weights([stage.kernel] if stage.bias is None else [stage.kernel, stage.bias])
        if stage.batch_norm is not None:
            momentum = ConvStyle.momentum
            norm = BatchNormalization(epsilon=stage.epsilon, momentum=momentum, name=f"{name}_bn")
            x = norm(x)
            norm.set_weights(stage.batch_norm)
        return self._activated(x, stage.activation, name)

    def _activated(
        self, x: keras.KerasTensor, activation: str | None, name: str
    ) -> keras.KerasTensor:
        if activation is None:
            return x
        return layers.Activation(activation, name=f"{name}_{activation}")(x)

    def _operator(self, node: Node) -> keras.KerasTensor:
        graph, op = self._graph, node.op
        if op in ACTIVATIONS or op in ("HardSwish", "Sigmoid"):
            activation = {**ACTIVATIONS, "HardSwish": "hard_swish", "Sigmoid": "sigmoid"}[op]
            return self._activated(self._tensor(node.inputs[0]), activation, self._name("act"))
        if op in (*ADDITIONS, "Mul", "Sub", "RealDiv"):
            return self._arithmetic(node)
        if op == "ConcatV2" and int(graph.constant(node.inputs[-1])) in (3, -1):
            parts = [self._tensor(each) for each in node.inputs[:-1]]
            return layers.Concatenate(name=self._name("join"))(parts)
        if op in ("MaxPool", "AvgPool"):
            pooling = layers.MaxPooling2D if op == "MaxPool" else layers.AveragePooling2D
            size, strides = node.attributes["ksize"], node.attributes["strides"]
            padding = node.attributes["padding"].lower()
            name = self._name("pool")
            return pooling(size, strides, padding, name=name)(self._tensor(node.inputs[0]))
        if op == "Pad":
            amounts = graph.constant(node.inputs[1])[1:3].tolist()
            x = self._tensor(node.inputs[0])
            return layers.ZeroPadding2D(amounts, name=self._name("pad"))(x)
        if op == "Mean" and graph.constant(node.inputs[1]).tolist() == HEIGHT_AND_WIDTH:
            x = self._tensor(node.inputs[0])
            return layers.GlobalAveragePooling2D(keepdims=True, name=self._name("mean"))(x)
        raise graph.other_network(f"its network has the operator {op} ({node.name!r})")

    def _arithmetic(self, node: Node) -> keras.KerasTensor:
        """Sums and products, of two tensors or of one and a number."""
        scalars = self._graph.scalars(node)
        kind = {"Mul": "mul", "RealDiv": "div", "Sub": "sub"}.get(node.op, "add")
        if scalars is not None:
            number = scalars[1].reshape(-1)
            if number.size != 1 or (node.op in ("Sub", "RealDiv") and scalars[0] != node.inputs[0]):
                raise self._graph.other_network(f"{node.name!r} has a constant of many numbers")
            scale, offset = {
                "mul": (number[0], 0.0), "div": (1 / number[0], 0.0), "sub": (1.0, -number[0]),
            }.get(kind, (1.0, number[0]))  # fmt: skip
            x = layers.Rescaling(float(scale), float(offset), name=self._name("rescaling"))(
                self._tensor(scalars[0])
            )
        else:
            inputs = [self._tensor(self._unrepeated(each)) for each in node.inputs[:2]]
            if kind == "add":
                sizes = [x.shape[1:3] for x in inputs]
                largest = max(sizes)
                inputs = [
                    x if x.shape[1:3] == largest else enlarge(x, largest, self._name("up"))
                    for x in inputs
                ]
            merge = {"add": layers.Add, "mul": layers.Multiply, "sub": layers.Subtract}[kind]
            x = merge(name=self._name(kind))(inputs)
        for fused in node.attributes.get("fused_ops", ()):
            x = self._activated(x, ACTIVATIONS[fused], self._name("act"))
        return x

    def _unrepeated(self, tensor: str) -> str:
        """Returns the feature map whose cells a tensor repeats, or the tensor itself."""
        name = self._graph.origin(tensor)
        found, is_repeated = name, False
        while name not in self._tensors:
            node = self._graph.node(name)
            source = node.inputs[0] if node.op in (*REPETITIONS, *RESHAPES) else None
            if node.op == "Pack" and len({self._graph.origin(x) for x in node.inputs}) > 1:
                source = None
            if node.op == "Mul" and (ones := self._graph.scalars(node)) is not None:
                source = ones[0] if ones[1].ndim > 4 and (ones[1] == 1).all() else None
            if source is None:
                break
            is_repeated = is_repeated or node.op not in RESHAPES
            name = self._graph.origin(source)
        return name if is_repeated else found
