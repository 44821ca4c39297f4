"""TFLite files as arrays: operators in a chain, constants as floats whatever they are coded in."""

import dataclasses
import io
import os
import struct
import zipfile
from typing import Any

import numpy as np

from ssd_keras.tflite.flatbuffer import IDENTIFIER, operator_name, read_model, schema

DTYPES = {
    schema.TensorType.FLOAT32: "<f4",
    schema.TensorType.FLOAT16: "<f2",
    schema.TensorType.INT32: "<i4",
    schema.TensorType.INT64: "<i8",
    schema.TensorType.UINT8: "u1",
    schema.TensorType.INT8: "i1",
}
# What changes the form of values or their coding, not the values.
PASSING = ("RESHAPE", "SQUEEZE", "DEQUANTIZE", "QUANTIZE")
DAMAGE = (struct.error, IndexError, KeyError, TypeError, AttributeError, ValueError, OverflowError)
LABELS_LIMIT = 1_000_000


@dataclasses.dataclass(frozen=True)
class Operator:
    """One step of the graph."""

    name: str  # as the schema spells it, or a custom operator's own
    inputs: tuple[int, ...]  # places of its tensors; -1 for none
    outputs: tuple[int, ...]  # places of its results
    options: dict[str, Any]  # its options by name, without a custom operator's
    custom_options: bytes  # a custom operator's, as bytes


class TFLiteGraph:
    """The graph of a TFLite file, which is read and never run."""

    def __init__(self, path: str):
        self.path = os.fspath(path)
        if not os.path.isfile(path):
            raise FileNotFoundError(f"{path!r} does not exist; pass the path of a .tflite file.")
        with open(path, "rb") as file:
            self._content = file.read()
        if self._content[4:8] != IDENTIFIER:
            raise ValueError(
                f"{path!r} is no TFLite file (it begins with {self._content[:16]!r}); expected a "
                ".tflite model: download it again."
            )
        try:
            model = read_model(self._content)
            self._tensors, self._buffers = model.subgraphs[0].tensors, model.buffers
            graph = model.subgraphs[0]
            self.inputs, self.outputs = tuple(graph.inputs), tuple(graph.outputs)
            self.operators = [_operator(model, one) for one in graph.operators]
            self._producers = {
                place: one for one in self.operators for place in _checked(one, self._tensors)
            }
        except DAMAGE as error:
            raise ValueError(f"{path!r} is damaged or cut off; download it again.") from error

    def name(self, place: int) -> str:
        """A tensor's name."""
        return (self._tensors[place].name or b"").decode(errors="replace")

    def shape(self, place: int) -> tuple[int, ...]:
        """A tensor's shape."""
        shape = self._tensors[place].shape
        return () if shape is None else tuple(int(size) for size in shape)

    def source(self, place: int) -> Operator | None:
        """The operator that computes a tensor, past those that only pass it on; None: an input."""
        producer = self._producers.get(place)
        while producer is not None and producer.name in PASSING:
            producer = self._producers.get(producer.inputs[0])
        return producer

    def find(self, name: str) -> Operator | None:
        """The first operator of that name."""
        return next((one for one in self.operators if one.name == name), None)

    def coding(self, place: int) -> tuple[float, float, float, float] | None:
        """How a tensor of bytes is coded."""
        limits = {schema.TensorType.UINT8: 0, schema.TensorType.INT8: -128}
        lowest = limits.get(self._tensors[place].type)
        scale, zero = self._scale_and_zero(place)
        if lowest is None or len(scale) != 1:
            return None
        step, offset = float(scale[0]), float(zero[0] - lowest)
        return step, offset, -offset * step, (255 - offset) * step

    def constant(self, place: int) -> np.ndarray:
        """A constant tensor's values."""
        producer = self._producers.get(place)
        if producer is not None and producer.name == "DEQUANTIZE":  # weights in half precision
            return self.constant(producer.inputs[0])
        tensor, shape = self._tensors[place], self.shape(place)
        data = self._buffers[tensor.buffer].data if tensor.buffer < len(self._buffers) else None
        if producer is not None or data is None or tensor.type not in DTYPES:
            raise ValueError(
                f"{self.path!r}: {self.name(place)!r} holds no constant numbers; expected weights."
            )
        dtype = np.dtype(DTYPES[tensor.type])
        if len(data) != np.prod(shape, dtype=int) * dtype.itemsize:
            raise ValueError(
                f"{self.path!r}: {self.name(place)!r} has {len(data)} bytes for the shape "
                f"{shape} of {dtype.name}; the file is damaged or cut off: download it again."
            )
        values = data.view(dtype).reshape(shape).astype("float64")
        scale, zero = self._scale_and_zero(place)
        if len(scale):
            axis = [1] * len(shape)
            if len(scale) > 1:
                axis[tensor.quantization.quantizedDimension] = len(scale)
            values = (values - zero.reshape(axis)) * scale.reshape(axis)
        if not np.isfinite(values).all():
            raise ValueError(f"{self.path!r}: {self.name(place)!r} has values that are no numbers.")
        return values.astype("float32")

    def labels(self) -> list[str] | None:
        """The lines of the one text file that was appended to the model, or None."""
        try:
            with zipfile.ZipFile(io.BytesIO(self._content)) as archive:
                texts = [one for one in archive.infolist() if one.filename.endswith(".txt")]
                if len(texts) != 1 or texts[0].file_size > LABELS_LIMIT:
                    return None
                lines = archive.read(texts[0]).decode().rstrip().split("\n")
                return [line.strip() for line in lines]
        except (zipfile.BadZipFile, UnicodeDecodeError):
            return None

    def _scale_and_zero(self, place):
        quantization = self._tensors[place].quantization
        if quantization is None or quantization.scale is None:
            return np.zeros(0), np.zeros(0)
        scale = np.asarray(quantization.scale, "float64")
        zero = quantization.zeroPoint
        return scale, np.zeros(len(scale)) if zero is None else np.asarray(zero, "float64")


def _operator(model, packed):
    options = packed.builtinOptions
    custom_options = packed.customOptions
    return Operator(
        operator_name(model, packed),
        tuple(int(place) for place in packed.inputs),
        tuple(int(place) for place in packed.outputs),
        {} if options is None else vars(options),
        b"" if custom_options is None else bytes(custom_options),
    )


def _checked(operator, tensors):
    """The places of an operator's results, which like those of its inputs must exist."""
    for place in (*operator.inputs, *operator.outputs):
        if not -1 <= place < len(tensors):
            raise ValueError(f"tensor {place} of {len(tensors)}")
    return operator.outputs
