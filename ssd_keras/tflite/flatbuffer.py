"""TFLite files as objects: read, join two graphs, name and order the tensors, write."""

import collections
import re
import struct
from collections.abc import Mapping, Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

IDENTIFIER = b"TFL3"
BUFFER_ALIGNMENT = 16
SIGNATURE = b"serving_default"
BUILTIN_NAMES = {
    code: name
    for name, code in vars(schema.BuiltinOperator).items()
    if re.fullmatch("[A-Z0-9_]+", name)
}


class AlignedBuffer(schema.BufferT):
    """Weights at addresses that vector instructions want: the generated code forgets the
    alignment that the schema demands."""

    def __init__(self, data: bytes | np.ndarray | None = None):
        super().__init__()
        self.data = None if data is None else np.frombuffer(bytes(data), np.uint8)

    def Pack(self, builder):
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


def read_model(data: bytes) -> schema.ModelT:
    """Reads a TFLite file."""
    if data[4:8] != IDENTIFIER:
        raise ValueError("this is no TFLite file; expected one that `ssd-keras export` wrote.")
    try:
        model = schema.ModelT.InitFromPackedBuf(data, 0)
    except (struct.error, IndexError, ValueError) as error:
        raise ValueError("the TFLite file is damaged or cut off; export it again.") from error
    if len(model.subgraphs) != 1:
        raise ValueError(f"the TFLite file has {len(model.subgraphs)} subgraphs; expected one.")
    model.buffers = [AlignedBuffer(buffer.data) for buffer in model.buffers]
    return model


def write_model(model: schema.ModelT) -> bytes:
    """The bytes of a TFLite file."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def tensor_index(model: schema.ModelT, name: str) -> int:
    """Where a tensor stands."""
    names = [tensor.name.decode() for tensor in model.subgraphs[0].tensors]
    if name not in names:
        raise ValueError(f"the TFLite graph has no tensor {name!r}; it has {', '.join(names)}.")
    return names.index(name)


def join_models(first: schema.ModelT, second: schema.ModelT, links: Mapping[str, str]) -> None:
    """Lets a second graph go on where a first one ends; the first becomes the whole."""
    graph, added = first.subgraphs[0], second.subgraphs[0]
    code_offset, buffer_offset = len(first.operatorCodes), len(first.buffers)
    first.operatorCodes += second.operatorCodes
    first.buffers += second.buffers
    linked = {tensor_index(second, name): tensor_index(first, links[name]) for name in links}
    places = []
    for index, tensor in enumerate(added.tensors):
        if index in linked:
            places.append(linked[index])
        else:
            tensor.buffer += buffer_offset
            places.append(len(graph.tensors))
            graph.tensors.append(tensor)
    for operator in added.operators:
        operator.opcodeIndex += code_offset
        _move_tensors(operator, places)
        graph.operators.append(operator)
    graph.outputs = [places[index] for index in added.outputs]


def add_custom_operator(
    model: schema.ModelT,
    name: str,
    options: bytes,
    inputs: Sequence[int],
    outputs: Mapping[str, Sequence[int]],
) -> None:
    """Appends an operator that the runtime knows by name; its results become the outputs."""
    graph = model.subgraphs[0]
    model.operatorCodes.append(
        schema.OperatorCodeT(
            deprecatedBuiltinCode=schema.BuiltinOperator.CUSTOM,
            builtinCode=schema.BuiltinOperator.CUSTOM,
            customCode=name.encode(),
        )
    )
    start = len(graph.tensors)
    for output, shape in outputs.items():
        graph.tensors.append(schema.TensorT(name=output.encode(), shape=list(shape)))
    graph.outputs = list(range(start, len(graph.tensors)))
    graph.operators.append(
        schema.OperatorT(
            opcodeIndex=len(model.operatorCodes) - 1,
            inputs=list(inputs),
            outputs=list(graph.outputs),
            customOptions=np.frombuffer(options, np.uint8),
        )
    )


def add_constant(model: schema.ModelT, name: str, values: np.ndarray) -> int:
    """Adds a constant float32 tensor."""
    graph = model.subgraphs[0]
    model.buffers.append(AlignedBuffer(np.ascontiguousarray(values, "<f4").tobytes()))
    graph.tensors.append(
        schema.TensorT(name=name.encode(), shape=list(values.shape), buffer=len(model.buffers) - 1)
    )
    return len(graph.tensors) - 1


def set_interface(model: schema.ModelT, input_name: str, outputs: Mapping[str, int]) -> None:
    """Names the input and the outputs, and puts the outputs last, in their order.

    Runtimes find outputs by position, by tensor index or by name: here all three agree.
    """
    graph = model.subgraphs[0]
    for name, index in {input_name: graph.inputs[0], **outputs}.items():
        graph.tensors[index].name = name.encode()
    chosen = list(outputs.values())
    order = [index for index in range(len(graph.tensors)) if index not in chosen] + chosen
    places = np.argsort(order).tolist()
    graph.tensors = [graph.tensors[index] for index in order]
    for operator in graph.operators:
        _move_tensors(operator, places)
    graph.inputs = [places[index] for index in graph.inputs]
    graph.outputs = [places[index] for index in chosen]
    model.signatureDefs = [
        schema.SignatureDefT(
            inputs=[schema.TensorMapT(input_name.encode(), graph.inputs[0])],
            outputs=[
                schema.TensorMapT(name.encode(), index)
                for name, index in zip(outputs, graph.outputs, strict=True)
            ],
            signatureKey=SIGNATURE,
            subgraphIndex=0,
        )
    ]


def add_metadata(model: schema.ModelT, name: str, content: bytes) -> None:
    """Attaches named bytes."""
    model.buffers.append(AlignedBuffer(content))
    model.metadata = model.metadata or []
    model.metadata.append(schema.MetadataT(name.encode(), len(model.buffers) - 1))


def operator_name(model: schema.ModelT, operator: schema.OperatorT) -> str:
    """What an operator is called."""
    code = model.operatorCodes[operator.opcodeIndex]
    # Old readers find small codes in the deprecated byte, new ones take the larger.
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    is_custom = number == schema.BuiltinOperator.CUSTOM
    return code.customCode.decode() if is_custom else BUILTIN_NAMES[number]


def operator_counts(model: schema.ModelT) -> dict[str, int]:
    """How often each operator occurs."""
    names = (operator_name(model, operator) for operator in model.subgraphs[0].operators)
    return dict(collections.Counter(names).most_common())


def _move_tensors(operator, places):
    """Rewrites an operator's tensor indices; -1 means none."""
    for side in ("inputs", "outputs"):
        indices = getattr(operator, side)
        setattr(operator, side, [places[index] if index >= 0 else -1 for index in indices])
