"""TFLite files as objects: reads and writes them, joins two graphs, names and orders tensors."""

import collections
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np

from ssd_keras.core.extras import import_extra

try:
    from ai_edge_litert import schema_py_generated as schema
except ImportError:
    try:
        from tensorflow.lite.python import schema_py_generated as schema
    except ImportError:
        import_extra("ai_edge_litert", "tflite", "reading and writing TFLite files")

IDENTIFIER = b"TFL3"
BUFFER_ALIGNMENT = 16
SIGNATURE = b"serving_default"
BUILTIN_NAMES = {
    code: name
    for name, code in vars(schema.BuiltinOperator).items()
    if re.fullmatch("[A-Z0-9_]+", name)
}
DTYPE_NAMES = {
    code: name.lower() for name, code in vars(schema.TensorType).items() if name.isupper()
}
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
End = tuple[str, str, tuple[int, ...]]
"""Name, type and shape of an input or output."""


class AlignedBuffer(schema.BufferT):
    """A buffer whose bytes begin at a multiple of 16, as the schema demands.

    The generated code ignores that alignment.
    """

    def __init__(self, data: bytes | np.ndarray | None = None) -> None:
        super().__init__()
        self.data = None if data is None else np.frombuffer(bytes(data), np.uint8)

    def Pack(self, builder: flatbuffers.Builder) -> int:
        vector = None
        if self.data is not None:
            count = len(self.data)
            builder.StartVector(1, count, BUFFER_ALIGNMENT)
            builder.head -= count
            builder.Bytes[builder.head : builder.head + count] = self.data.tobytes()
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)


def make(kind: type, **fields: Any) -> Any:
    """Returns an object of the schema; its classes take arguments in newer versions only."""
    made = kind()
    for name, value in fields.items():
        if not hasattr(made, name):
            raise AttributeError(f"{kind.__name__} has no field {name}.")
        setattr(made, name, value)
    return made


def read_model(data: bytes) -> schema.ModelT:
    """Reads a TFLite file with one graph."""
    if data[4:8] != IDENTIFIER:
        raise ValueError("this is not a TFLite file; expected one that `ssd-keras export` wrote.")
    try:
        model = schema.ModelT.InitFromPackedBuf(data, 0)
    except (struct.error, IndexError, ValueError) as error:
        raise ValueError("the TFLite file is damaged or cut off; export it again.") from error
    if len(model.subgraphs) != 1:
        raise ValueError(f"the TFLite file has {len(model.subgraphs)} subgraphs; expected one.")
    model.buffers = [AlignedBuffer(buffer.data) for buffer in model.buffers]
    return model


def write_model(model: schema.ModelT) -> bytes:
    """Returns the bytes of a TFLite file."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def tensor_index(model: schema.ModelT, name: str) -> int:
    """Returns the index of a tensor by its name."""
    names = [tensor.name.decode() for tensor in model.subgraphs[0].tensors]
    if name not in names:
        raise ValueError(f"the TFLite graph has no tensor {name!r}; it has {', '.join(names)}.")
    return names.index(name)


def inputs(model: schema.ModelT) -> list[End]:
    """Returns the inputs of a model."""
    return _ends(model, model.subgraphs[0].inputs)


def outputs(model: schema.ModelT) -> list[End]:
    """Returns the outputs of a model."""
    return _ends(model, model.subgraphs[0].outputs)


def _ends(model: schema.ModelT, indices: Sequence[int]) -> list[End]:
    tensors = (model.subgraphs[0].tensors[index] for index in indices)
    return [(x.name.decode(), DTYPE_NAMES[x.type], tuple(map(int, x.shape))) for x in tensors]


def network_types(model: schema.ModelT) -> str:
    """Returns the types of images and weights of most convolutions, in words."""
    graph = model.subgraphs[0]
    pairs: collections.Counter[tuple[str, str]] = collections.Counter()
    for operator in graph.operators:
        if operator_name(model, operator) in CONVOLUTIONS:
            types = [DTYPE_NAMES[graph.tensors[index].type] for index in operator.inputs[:2]]
            pairs[types[0], types[1]] += 1
    if not pairs:
        return "no convolutions"
    ((numbers, weights), _) = pairs.most_common(1)[0]
    # Half-precision weights are stored so, and become float32 when the file is loaded.
    if any(DTYPE_NAMES[tensor.type] == "float16" for tensor in graph.tensors):
        weights = "float16"
    return f"{numbers}, weights {weights}"


def join_models(first: schema.ModelT, second: schema.ModelT, links: Mapping[str, str]) -> None:
    """Appends the second model's graph to the first one's.

    `links` maps names of the second's inputs to names of the first's tensors.
    """
    # Linked inputs become the first's tensors, all other tensors move behind these:
    #
    #     first    0 images  1 kernel  2 deltas  3 logits
    #     second                       0 deltas  1 logits  2 anchors  3 boxes
    #     joined   0 images  1 kernel  2 deltas  3 logits  4 anchors  5 boxes
    #
    # Here new_index is [2, 3, 4, 5]. Operators and outputs name tensors by index; tensors name
    # buffers and operators name operator codes, which move by the first's number of these.
    graph, added = first.subgraphs[0], second.subgraphs[0]
    num_codes, num_buffers = len(first.operatorCodes), len(first.buffers)
    first.operatorCodes += second.operatorCodes
    first.buffers += second.buffers
    linked = {tensor_index(second, name): tensor_index(first, links[name]) for name in links}
    new_index = []
    for index, tensor in enumerate(added.tensors):
        if index in linked:
            new_index.append(linked[index])
        else:
            tensor.buffer += num_buffers
            new_index.append(len(graph.tensors))
            graph.tensors.append(tensor)
    for operator in added.operators:
        operator.opcodeIndex += num_codes
        _renumber_tensors(operator, new_index)
        graph.operators.append(operator)
    graph.outputs = [new_index[index] for index in added.outputs]


def add_custom_operator(
    model: schema.ModelT,
    name: str,
    options: bytes,
    inputs: Sequence[int],
    outputs: Mapping[str, Sequence[int]],
) -> None:
    """Appends an operator that the runtime knows by name; the graph then ends in its outputs.

    `outputs` maps names to shapes.
    """
    graph = model.subgraphs[0]
    model.operatorCodes.append(
        make(
            schema.OperatorCodeT,
            deprecatedBuiltinCode=schema.BuiltinOperator.CUSTOM,
            builtinCode=schema.BuiltinOperator.CUSTOM,
            customCode=name.encode(),
        )
    )
    start = len(graph.tensors)
    for output, shape in outputs.items():
        graph.tensors.append(make(schema.TensorT, name=output.encode(), shape=list(shape)))
    graph.outputs = list(range(start, len(graph.tensors)))
    graph.operators.append(
        make(
            schema.OperatorT,
            opcodeIndex=len(model.operatorCodes) - 1,
            inputs=list(inputs),
            outputs=list(graph.outputs),
            customOptions=np.frombuffer(options, np.uint8),
        )
    )


def add_constant(model: schema.ModelT, name: str, values: np.ndarray) -> int:
    """Adds a constant float32 tensor and returns its index."""
    graph = model.subgraphs[0]
    model.buffers.append(AlignedBuffer(np.ascontiguousarray(values, "<f4").tobytes()))
    graph.tensors.append(
        make(
            schema.TensorT,
            name=name.encode(),
            shape=list(values.shape),
            buffer=len(model.buffers) - 1,
        )
    )
    return len(graph.tensors) - 1


def set_interface(model: schema.ModelT, input_name: str, outputs: Mapping[str, int]) -> None:
    """Names the input and the outputs (tensor indices by name), and moves the outputs to the end.

    Runtimes find outputs by position, by tensor index or by name: the three agree afterwards.
    """
    graph = model.subgraphs[0]
    for name, index in {input_name: graph.inputs[0], **outputs}.items():
        graph.tensors[index].name = name.encode()
    last = list(outputs.values())
    order = [index for index in range(len(graph.tensors)) if index not in last] + last
    new_index = np.argsort(order).tolist()
    graph.tensors = [graph.tensors[index] for index in order]
    for operator in graph.operators:
        _renumber_tensors(operator, new_index)
    graph.inputs = [new_index[index] for index in graph.inputs]
    graph.outputs = [new_index[index] for index in last]
    model.signatureDefs = [
        make(
            schema.SignatureDefT,
            inputs=[_named_tensor(input_name, graph.inputs[0])],
            outputs=[
                _named_tensor(name, index)
                for name, index in zip(outputs, graph.outputs, strict=True)
            ],
            signatureKey=SIGNATURE,
            subgraphIndex=0,
        )
    ]


def _named_tensor(name: str, index: int) -> schema.TensorMapT:
    return make(schema.TensorMapT, name=name.encode(), tensorIndex=index)


def add_metadata(model: schema.ModelT, name: str, content: bytes) -> None:
    """Attaches named bytes to a model."""
    model.buffers.append(AlignedBuffer(content))
    model.metadata = model.metadata or []
    model.metadata.append(make(schema.MetadataT, name=name.encode(), buffer=len(model.buffers) - 1))


def operator_name(model: schema.ModelT, operator: schema.OperatorT) -> str:
    """Returns an operator's name: the schema's, or a custom operator's own."""
    code = model.operatorCodes[operator.opcodeIndex]
    # Old files have small codes in the deprecated byte alone; the schema says to take the larger.
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    is_custom = number == schema.BuiltinOperator.CUSTOM
    return code.customCode.decode() if is_custom else BUILTIN_NAMES[number]


def operator_counts(model: schema.ModelT) -> dict[str, int]:
    """Returns the number of occurrences of each operator, most frequent first."""
    names = (operator_name(model, operator) for operator in model.subgraphs[0].operators)
    return dict(collections.Counter(names).most_common())


def _renumber_tensors(operator: schema.OperatorT, new_index: Sequence[int]) -> None:
    for side in ("inputs", "outputs"):
        indices = getattr(operator, side)
        # -1 stands for an input that is left out.
        setattr(operator, side, [new_index[index] if index >= 0 else -1 for index in indices])
