"""Caffe's ``.caffemodel`` files as NumPy arrays."""

import dataclasses
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from ssd_keras.boxes.default_boxes import VARIANCES
from ssd_keras.importers.caffe_schema import NetParameter

MAX_FILE_BYTES = 2**31 - 1  # of a protobuf message


@dataclasses.dataclass(frozen=True)
class PriorBox:
    """Parameters of one of Caffe's PriorBox layers: the default boxes of a feature map."""

    min_sizes: tuple[float, ...]  # sides of square boxes in pixels; one in all published files
    # The second square box has the geometric mean of min and max size.
    max_sizes: tuple[float, ...]
    aspect_ratios: tuple[float, ...]  # width / height, without 1
    flip: bool = True  # adds reciprocals of the aspect ratios
    clip: bool = False  # clips boxes to the image
    variances: tuple[float, ...] = VARIANCES  # of centre x, centre y, width, height
    # Distance of cells in pixels, vertical and horizontal; 0 means image / map.
    step: tuple[float, float] = (0.0, 0.0)
    offset: float = 0.5  # of the centre within the cell


@dataclasses.dataclass(frozen=True)
class CaffeNetwork:
    """The weights of a ``.caffemodel`` file."""

    path: str  # for messages
    # float32 blobs by layer; kernels are [out, in, height, width]
    arrays: Mapping[str, tuple[np.ndarray, ...]]
    prior_boxes: Mapping[str, PriorBox] = dataclasses.field(default_factory=dict)


def read_caffemodel(path: str) -> CaffeNetwork:
    """Reads the weights of a ``.caffemodel`` file, in Caffe's current or its older format."""
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path!r} does not exist; pass the path of a .caffemodel file.")
    if os.path.getsize(path) > MAX_FILE_BYTES:
        raise ValueError(
            f"{path!r} is larger than 2 GiB, the limit of .caffemodel files; pass such a file."
        )
    with open(path, "rb") as file:
        data = file.read()
    message = NetParameter()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise ValueError(_describe_other_file(path, data)) from error
    arrays = {
        _name(layer): tuple(
            _array(blob, f"{path!r}: array {index} of layer {_name(layer)!r}")
            for index, blob in enumerate(layer.blobs)
        )
        for layer in [*message.layers, *message.layer]
        if layer.blobs
    }
    if not arrays:
        raise ValueError(_describe_other_file(path, data))
    prior_boxes = {
        _name(layer): _prior_box(layer.prior_box_param)
        for layer in message.layer
        if layer.HasField("prior_box_param")
    }
    return CaffeNetwork(path, arrays, prior_boxes)


def _name(layer: Any) -> str:
    return layer.name.decode("utf-8", errors="replace")


def _describe_other_file(path: str, data: bytes) -> str:
    """Returns the message for a file that is not a Caffe network."""
    start = data[:1000].lstrip().lower()
    if not data:
        fault = "is empty"
    elif start.startswith(b"<"):
        fault = "is a web page"
    elif start.startswith(b"version https://git-lfs"):
        fault = "is a Git LFS pointer, not the file itself"
    elif start.startswith((b"name:", b"layer", b"input:", b"input_", b"#")):
        fault = "is a text that describes a network (prototxt), without weights"
    else:
        fault = "is truncated or not a Caffe network"
    return f"{path!r} {fault}; expected a complete .caffemodel file: download it again."


def _array(blob: Any, location: str) -> np.ndarray:
    """Returns a blob as a float32 array; `location` names it in messages."""
    dimensions = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else dimensions
    is_double = not blob.data and bool(blob.double_data)
    data, size = (blob.double_data, 8) if is_double else (blob.data, 4)
    if len(data) != size * math.prod(shape) or min(shape, default=0) < 0:
        raise ValueError(
            f"{location} has {len(data) / size:g} numbers, expected {math.prod(shape)} for its "
            f"shape {shape}; the file is damaged: download it again."
        )
    values = np.frombuffer(data, "<f8" if is_double else "<f4").astype("float32", copy=False)
    if not np.isfinite(values).all():
        raise ValueError(
            f"{location} holds infinity or NaN, expected finite weights; take the snapshot of an "
            "earlier iteration."
        )
    return values.reshape(shape or (1,))


def _prior_box(parameter: Any) -> PriorBox:
    # The shortest text of a float32 is the number in its source: 35.84, not 35.84000015.
    def exact(values: Iterable[float]) -> tuple[float, ...]:
        return tuple(float(str(np.float32(value))) for value in values)

    ratios = dict.fromkeys(exact(parameter.aspect_ratio))  # Caffe drops repeated ones
    steps = (parameter.step_h, parameter.step_w)
    vertical, horizontal = exact(steps if any(steps) else (parameter.step, parameter.step))
    return PriorBox(
        exact(parameter.min_size),
        exact(parameter.max_size),
        tuple(ratio for ratio in ratios if ratio != 1),
        parameter.flip,
        parameter.clip,
        exact(parameter.variance),
        (vertical, horizontal),
        *exact([parameter.offset]),
    )
