"""Reads frozen graphs, SavedModels and tf.js graph models without running them."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ssd_keras.importers.object_detection_api.graph import Graph, Node

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
LOOPS = ("While", "StatelessWhile")
MAX_CALL_DEPTH = 50
# Errors of TensorFlow and protobuf for files that are damaged.
DAMAGE = (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError)
TFJS_FLOATS = {"float32": "<f4", "float16": "<f2", "int32": "<i4", "bool": "?"}
TFJS_CODES = {"uint8": "u1", "uint16": "<u2", "float16": "<f2"}


def read_frozen_graph(path: str) -> Graph:
    """Reads a frozen GraphDef (`frozen_inference_graph.pb`)."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.framework import graph_pb2

    definition = graph_pb2.GraphDef()
    with open(path, "rb") as file:
        content = file.read()
    try:
        definition.ParseFromString(content)
        if not definition.node:
            raise DecodeError("no nodes")
        return _graph(path, definition)
    except (DecodeError, *DAMAGE) as error:
        raise ValueError(
            f"{path!r} is no frozen graph, or damaged or cut off; expected a "
            "frozen_inference_graph.pb of the TF Object Detection API."
        ) from error


def read_saved_model(folder: str) -> Graph:
    """Reads the graph of a SavedModel's signature with its variables as constants."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    path = os.path.join(folder, "saved_model.pb")
    saved_model = saved_model_pb2.SavedModel()
    try:
        with open(path, "rb") as file:
            saved_model.ParseFromString(file.read())
        graph = _graph(folder, saved_model.meta_graphs[0].graph_def)
        return _with_variables(graph, os.path.join(folder, "variables", "variables"))
    except (DecodeError, *DAMAGE, _tensorflow_error()) as error:
        raise ValueError(
            f"{folder!r} is no SavedModel, or damaged or cut off: {path!r} and variables/ do not "
            "hold a graph with its variables; export it again."
        ) from error


def read_tfjs_graph(path: str) -> Graph:
    """Reads the `model.json` of a tf.js graph model, and its weights beside it."""
    from google.protobuf import json_format
    from tensorflow.core.framework import graph_pb2

    try:
        with open(path, encoding="utf-8") as file:
            model = json.load(file)
        definition = graph_pb2.GraphDef()
        json_format.ParseDict(model["modelTopology"], definition, ignore_unknown_fields=True)
        constants: dict[str, np.ndarray] = {}
        steps: dict[str, float] = {}
        for group in model["weightsManifest"]:
            _read_weights(os.path.dirname(path), group, constants, steps)
        return _graph(path, definition, constants, steps)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path!r}: its weights {error.filename!r} do not exist; put all files of the tf.js "
            "model in one folder."
        ) from error
    except (json_format.ParseError, UnicodeDecodeError, *DAMAGE) as error:
        raise ValueError(
            f"{path!r} is no tf.js graph model, or damaged or cut off ({_line(error)}); expected "
            "model.json with its weight files."
        ) from error


def _read_weights(
    folder: str, group: Mapping[str, Any], constants: dict[str, np.ndarray], steps: dict[str, float]
) -> None:
    content = b""
    for name in group["paths"]:
        if os.path.isabs(name) or ".." in name.split("/"):
            raise ValueError(f"the weight file {name!r} lies elsewhere")
        with open(os.path.join(folder, name), "rb") as file:
            content += file.read()
    start = 0
    for weight in group["weights"]:
        coding, shape = weight.get("quantization"), weight["shape"]
        dtype = np.dtype(TFJS_CODES[coding["dtype"]] if coding else TFJS_FLOATS[weight["dtype"]])
        count = int(np.prod(shape, dtype=int))
        # Raises an error where the file ends before.
        values = np.frombuffer(content, dtype, count, start).reshape(shape)
        start += count * dtype.itemsize
        if coding and "scale" in coding:
            steps[weight["name"]] = float(coding["scale"])
            values = (values * np.float64(coding["scale"]) + coding["min"]).astype(weight["dtype"])
        constants[weight["name"]] = values
    if start != len(content):
        raise ValueError(f"the weight files have {len(content)} bytes, expected {start}")


def _graph(
    path: str,
    definition: Any,
    constants: dict[str, np.ndarray] | None = None,
    steps: dict[str, float] | None = None,
) -> Graph:
    """Returns a GraphDef with the functions that it calls in place of the calls."""
    from tensorflow import make_ndarray

    flat = _Flat({function.signature.name: function for function in definition.library.function})
    flat.add(definition.node, "", lambda tensor: tensor)
    constants = {} if constants is None else constants
    for name, node in flat.definitions.items():
        if node.op == "Const" and name not in constants:
            constants[name] = make_ndarray(node.attr["value"].tensor)
    return Graph(path, flat.nodes(), constants, steps or {}, flat.definitions)


class _Flat:
    """The nodes of a graph and of the functions that it calls, by name."""

    def __init__(self, functions: Mapping[str, Any]) -> None:
        self.definitions: dict[str, Any] = {}
        self._functions = functions
        self._inputs: dict[str, list[str]] = {}
        self._results: dict[str, str] = {}  # what a call or loop returns, in the function

    def add(
        self, nodes: Iterable[Any], prefix: str, tensor: Callable[[str], str], depth: int = 0
    ) -> None:
        """Adds nodes; `tensor` turns the names of their inputs into those of the whole graph."""
        if depth > MAX_CALL_DEPTH:
            raise ValueError("a function calls itself")
        for node in nodes:
            name = prefix + node.name
            inputs = [_first(tensor(each)) for each in node.input if not each.startswith("^")]
            self.definitions[name], self._inputs[name] = node, inputs
            if node.op in (*CALLS, *LOOPS):
                attribute = "f" if node.op in CALLS else "body"
                function = self._functions[node.attr[attribute].func.name]
                for index, result in enumerate(self._add(function, name, inputs, depth)):
                    self._results[_first(f"{name}:{index}")] = result

    def _add(self, function: Any, name: str, inputs: Sequence[str], depth: int) -> list[str]:
        arguments = [argument.name for argument in function.signature.input_arg]
        known = dict(zip(arguments, inputs, strict=True))

        def tensor(inner: str) -> str:  # "argument", or "node:name of the output:index"
            node, _, output = inner.partition(":")
            return f"{name}/{node}:{output.partition(':')[2]}" if output else known[inner]

        self.add(function.node_def, f"{name}/", tensor, depth + 1)
        return [_first(tensor(function.ret[x.name])) for x in function.signature.output_arg]

    def nodes(self) -> dict[str, Node]:
        """Returns all nodes in the common form."""
        return {
            name: Node(
                node.op, name, tuple(map(self._resolve, self._inputs[name])), _attributes(node)
            )
            for name, node in self.definitions.items()
        }

    def _resolve(self, tensor: str) -> str:
        for _ in range(MAX_CALL_DEPTH):
            if tensor not in self._results:
                break
            tensor = self._results[tensor]
        return tensor


def _first(tensor: str) -> str:
    return tensor.removesuffix(":0")


def _attributes(node: Any) -> dict[str, Any]:
    """Returns the attributes of convolutions, poolings and normalisations."""
    found: dict[str, Any] = {}
    # Asking protobuf's map for a name would add it.
    attributes = dict(node.attr)
    if "data_format" in attributes and attributes["data_format"].s == b"NCHW":
        raise ValueError(f"{node.name!r} has channels first")
    for name in ("strides", "dilations", "ksize"):
        if name in attributes and attributes[name].list.i:
            found[name] = tuple(attributes[name].list.i)[1:3]
    if "padding" in attributes:
        found["padding"] = attributes["padding"].s.decode()
        if found["padding"] == "EXPLICIT":
            amounts = tuple(attributes["explicit_paddings"].list.i)
            found["padding"] = (amounts[2:4], amounts[4:6])
    if "fused_ops" in attributes:
        found["fused_ops"] = tuple(name.decode() for name in attributes["fused_ops"].list.s)
    if "epsilon" in attributes:
        found["epsilon"] = round(float(attributes["epsilon"].f), 9)
    return found


def _with_variables(graph: Graph, prefix: str) -> Graph:
    """Adds the values of variables: the graph says which key of the checkpoint each restores."""
    from tensorflow import train

    reader = train.load_checkpoint(prefix)
    constants = dict(graph.constants)
    for node in graph.nodes.values():
        if node.op == "AssignVariableOp":
            value = graph.origin(node.inputs[1])
            restore, _, index = value.partition(":")
            if graph.nodes[restore].op == "RestoreV2":
                key = graph.constant(graph.nodes[restore].inputs[1])[int(index or 0)].decode()
                constants[graph.origin(node.inputs[0])] = reader.get_tensor(key)
    return Graph(graph.path, graph.nodes, constants, graph.steps, graph.definitions)


def _tensorflow_error() -> type[Exception]:
    from tensorflow import errors

    return errors.OpError


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
