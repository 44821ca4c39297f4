"""Reads TFLite files: operators, constants as floats, convolutions as weights of Keras layers."""

import dataclasses
import io
import os
import struct
import zipfile
from typing import Any, NamedTuple

import keras
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
# Operators that change the shape or coding of values, not the values.
PASS_THROUGH = ("RESHAPE", "SQUEEZE", "DEQUANTIZE", "QUANTIZE")
DAMAGE_ERRORS = (
    struct.error,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    ValueError,
    OverflowError,
)
MAX_LABEL_BYTES = 1_000_000
NO_ACTIVATION, RELU6 = 0, 3


@dataclasses.dataclass(frozen=True)
class Operator:
    """An operator of the graph; tensors are given by index."""

    name: str  # the schema's or a custom operator's
    inputs: tuple[int, ...]  # -1 for none
    outputs: tuple[int, ...]
    options: dict[str, Any]  # of built-in operators
    custom_options: bytes


class Coding(NamedTuple):
    """Linear coding of numbers as bytes 0..255."""

    step: float  # difference of two neighbouring bytes
    zero_byte: float  # byte of the number 0
    lowest: float
    highest: float


class TFLiteGraph:
    """The graph of a TFLite file; tensors are named by their index.

    `expected` names the network that messages expect.
    """

    def __init__(self, path: str, expected: str = "") -> None:
        self.path, self.expected = os.fspath(path), expected
        if not os.path.isfile(path):
            raise FileNotFoundError(f"{path!r} does not exist; pass the path of a .tflite file.")
        with open(path, "rb") as file:
            self._content = file.read()
        if self._content[4:8] != IDENTIFIER:
            raise ValueError(
                f"{path!r} is not a TFLite file (it begins with {self._content[:16]!r}); expected "
                "a .tflite model: download it again."
            )
        try:
            model = read_model(self._content)
            graph = model.subgraphs[0]
            self._tensors, self._buffers = graph.tensors, model.buffers
            self.inputs, self.outputs = tuple(graph.inputs), tuple(graph.outputs)
            self.operators = [_operator(model, packed) for packed in graph.operators]
            self._producers: dict[int, Operator] = {}
            for operator in self.operators:
                _check_tensors(operator, len(self._tensors))
                self._producers |= dict.fromkeys(operator.outputs, operator)
        except DAMAGE_ERRORS as error:
            raise ValueError(f"{path!r} is damaged or cut off; download it again.") from error

    def name(self, index: int) -> str:
        """Returns a tensor's name."""
        return (self._tensors[index].name or b"").decode(errors="replace")

    def shape(self, index: int) -> tuple[int, ...]:
        """Returns a tensor's shape."""
        shape = self._tensors[index].shape
        return () if shape is None else tuple(int(size) for size in shape)

    def source(self, index: int) -> Operator | None:
        """Returns the operator that computes a tensor, or None for an input.

        Operators that change only shape or coding are skipped.
        """
        producer = self._producers.get(index)
        while producer is not None and producer.name in PASS_THROUGH:
            producer = self._producers.get(producer.inputs[0])
        return producer

    def find(self, name: str) -> Operator | None:
        """Returns the first operator of that name, or None."""
        return next((operator for operator in self.operators if operator.name == name), None)

    def coding(self, index: int) -> Coding | None:
        """Returns the coding of a tensor of bytes, or None for other tensors."""
        limits = {schema.TensorType.UINT8: 0, schema.TensorType.INT8: -128}
        lowest_code = limits.get(self._tensors[index].type)
        scale, zero = self._scale_and_zero(index)
        if lowest_code is None or len(scale) != 1:
            return None
        step, offset = float(scale[0]), float(zero[0] - lowest_code)
        return Coding(step, offset, -offset * step, (255 - offset) * step)

    def constant(self, index: int) -> np.ndarray:
        """Returns the values of a constant tensor as float32."""
        producer = self._producers.get(index)
        if producer is not None and producer.name == "DEQUANTIZE":  # weights in half precision
            return self.constant(producer.inputs[0])
        tensor, shape = self._tensors[index], self.shape(index)
        data = self._buffers[tensor.buffer].data if tensor.buffer < len(self._buffers) else None
        if producer is not None or data is None or tensor.type not in DTYPES:
            raise ValueError(
                f"{self.path!r}: {self.name(index)!r} is not a constant; expected weights."
            )
        dtype = np.dtype(DTYPES[tensor.type])
        if len(data) != np.prod(shape, dtype=int) * dtype.itemsize:
            raise ValueError(
                f"{self.path!r}: {self.name(index)!r} has {len(data)} bytes for the shape "
                f"{shape} of {dtype.name}; the file is damaged or cut off: download it again."
            )
        values = data.view(dtype).reshape(shape).astype("float64")
        scale, zero = self._scale_and_zero(index)
        if len(scale):
            axis = [1] * len(shape)
            if len(scale) > 1:
                axis[tensor.quantization.quantizedDimension] = len(scale)
            values = (values - zero.reshape(axis)) * scale.reshape(axis)
        if not np.isfinite(values).all():
            raise ValueError(f"{self.path!r}: {self.name(index)!r} holds infinity or NaN.")
        return values.astype("float32")

    def labels(self) -> list[str] | None:
        """Returns the lines of the one text file appended to the model, or None."""
        try:
            with zipfile.ZipFile(io.BytesIO(self._content)) as archive:
                texts = [info for info in archive.infolist() if info.filename.endswith(".txt")]
                if len(texts) != 1 or texts[0].file_size > MAX_LABEL_BYTES:
                    return None
                lines = archive.read(texts[0]).decode().rstrip().split("\n")
                return [line.strip() for line in lines]
        except (zipfile.BadZipFile, UnicodeDecodeError):
            return None

    def num_filters(self, convolution: Operator) -> int:
        """Returns the output channels of a convolution, or the multiplier of a depthwise one."""
        return self.shape(convolution.inputs[1])[0]

    def has_relu6(self, convolution: Operator) -> bool:
        """Returns whether the outputs of a convolution are limited to 0..6."""
        # Quantised files may leave the activation to the limits of the bytes.
        fused = convolution.options.get("fusedActivationFunction")
        coding = self.coding(convolution.outputs[0])
        if fused != NO_ACTIVATION or coding is None:
            return fused == RELU6
        return coding.lowest >= -coding.step and coding.highest <= 6 + coding.step

    def weights(self, convolution: Operator) -> tuple[np.ndarray, np.ndarray]:
        """Returns kernel and bias of a convolution with Keras' axes; zeros if it has no bias."""
        kernel = self.constant(convolution.inputs[1]).transpose((1, 2, 3, 0))
        if len(convolution.inputs) > 2 and convolution.inputs[2] >= 0:
            return kernel, self.constant(convolution.inputs[2])
        is_depthwise = convolution.name == "DEPTHWISE_CONV_2D"
        return kernel, np.zeros(kernel.shape[2 if is_depthwise else 3], "float32")

    def fill(self, layer: keras.Layer, kernel: np.ndarray, bias: np.ndarray) -> None:
        """Sets kernel and bias of a layer."""
        expected = [tuple(weight.shape) for weight in layer.weights]
        if [kernel.shape, bias.shape] != expected:
            raise ValueError(
                f"{self.path!r}: the weights for {layer.name!r} have the shapes {kernel.shape} and "
                f"{bias.shape}, expected {expected[0]} and {expected[1]}; the file is damaged or "
                "holds another network: download it again."
            )
        layer.set_weights([kernel, bias])

    def other_network(self, difference: str) -> ValueError:
        """Returns the error for a file that holds another network than expected."""
        return ValueError(
            f"{self.path!r} holds another network: {difference}; expected {self.expected}."
        )

    def _scale_and_zero(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        quantization = self._tensors[index].quantization
        if quantization is None or quantization.scale is None:
            return np.zeros(0), np.zeros(0)
        scale = np.asarray(quantization.scale, "float64")
        zero = quantization.zeroPoint
        return scale, np.zeros(len(scale)) if zero is None else np.asarray(zero, "float64")


def _operator(model: Any, packed: Any) -> Operator:
    options = packed.builtinOptions
    custom_options = packed.customOptions
    return Operator(
        operator_name(model, packed),
        tuple(map(int, packed.inputs)),
        tuple(map(int, packed.outputs)),
        {} if options is None else vars(options),
        b"" if custom_options is None else bytes(custom_options),
    )


def _check_tensors(operator: Operator, num_tensors: int) -> None:
    for index in (*operator.inputs, *operator.outputs):
        if not -1 <= index < num_tensors:
            raise ValueError(f"tensor {index} of {num_tensors}")
