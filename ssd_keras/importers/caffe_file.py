"""Caffe's ``.caffemodel`` files as NumPy arrays."""

import dataclasses
import math
import os
from collections.abc import Mapping

import numpy as np
from google.protobuf.message import DecodeError

from ssd_keras.boxes.default_boxes import VARIANCES
from ssd_keras.importers.caffe_schema import NetParameter

LARGEST_FILE = 2**31 - 1
"""Bytes that a protobuf message can have."""


@dataclasses.dataclass(frozen=True)
class PriorBox:
    """What one of Caffe's PriorBox layers says of the default boxes of a map."""

    min_sizes: tuple[float, ...]  # side of the square box in pixels; one in all published files
    # the size whose geometric mean with `min_sizes` is the second square
    max_sizes: tuple[float, ...]
    aspect_ratios: tuple[float, ...]  # width by height, without 1
    flip: bool = True  # whether reciprocals are added
    clip: bool = False  # whether boxes are cut at the image's border
    variances: tuple[float, ...] = VARIANCES  # of centre x, centre y, width, height
    # distance of cells in pixels, vertical and horizontal; 0 for image / map
    step: tuple[float, float] = (0.0, 0.0)
    offset: float = 0.5  # centre within the cell


@dataclasses.dataclass(frozen=True)
class CaffeNetwork:
    """The weights of a ``.caffemodel`` file."""

    path: str  # the file, for messages
    # the blobs of each layer that has any, float32, kernels [out, in, height, width]
    arrays: Mapping[str, tuple[np.ndarray, ...]]
    # of each PriorBox layer
    prior_boxes: Mapping[str, PriorBox] = dataclasses.field(default_factory=dict)


def read_caffemodel(path: str) -> CaffeNetwork:
    """Reads the weights of a ``.caffemodel`` file, of Caffe's present format or the one before."""
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path!r} does not exist; pass the path of a .caffemodel file.")
    if os.path.getsize(path) > LARGEST_FILE:
        raise ValueError(f"{path!r} is larger than 2 GiB, which no .caffemodel can be; pass one.")
    with open(path, "rb") as file:
        data = file.read()
    message = NetParameter()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise ValueError(_not_caffe(path, data)) from error
    arrays = {
        _name(layer): tuple(
            _array(blob, f"{path!r}: array {index} of layer {_name(layer)!r}")
            for index, blob in enumerate(layer.blobs)
        )
        for layer in [*message.layers, *message.layer]
        if layer.blobs
    }
    if not arrays:
        raise ValueError(_not_caffe(path, data))
    prior_boxes = {
        _name(layer): _prior_box(layer.prior_box_param)
        for layer in message.layer
        if layer.HasField("prior_box_param")
    }
    return CaffeNetwork(path, arrays, prior_boxes)


def _name(layer):
    return layer.name.decode("utf-8", errors="replace")


def _not_caffe(path, data):
    """One line that says what the file is instead."""
    start = data[:1000].lstrip().lower()
    if not data:
        what = "is empty"
    elif start.startswith(b"<"):
        what = "is a web page"
    elif start.startswith(b"version https://git-lfs"):
        what = "is a Git LFS pointer, not the file that it stands for"
    elif start.startswith((b"name:", b"layer", b"input:", b"input_", b"#")):
        what = "is the text that describes a network (prototxt), without weights"
    else:
        what = "is truncated or no Caffe network"
    return f"{path!r} {what}; expected a whole .caffemodel file: download it again."


def _array(blob, what):
    """A blob as float32 array; `what` names it in messages."""
    dimensions = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else dimensions
    wide = not blob.data and bool(blob.double_data)
    data, size = (blob.double_data, 8) if wide else (blob.data, 4)
    if len(data) != size * math.prod(shape) or min(shape, default=0) < 0:
        raise ValueError(
            f"{what} has {len(data) / size:g} numbers, expected {math.prod(shape)} for its shape "
            f"{shape}; the file is damaged: download it again."
        )
    values = np.frombuffer(data, "<f8" if wide else "<f4").astype("float32", copy=False)
    if not np.isfinite(values).all():
        raise ValueError(
            f"{what} holds infinity or NaN, expected finite weights; take the snapshot of an "
            "earlier iteration."
        )
    return values.reshape(shape or (1,))


def _prior_box(parameter):
    # The shortest text of a float32 is the number that its author wrote: 35.84, not 35.84000015.
    def exact(values):
        return tuple(float(str(np.float32(value))) for value in values)

    ratios = dict.fromkeys(exact(parameter.aspect_ratio))  # Caffe drops repeated ones too
    steps = (parameter.step_h, parameter.step_w)
    return PriorBox(
        exact(parameter.min_size),
        exact(parameter.max_size),
        tuple(ratio for ratio in ratios if ratio != 1),
        parameter.flip,
        parameter.clip,
        exact(parameter.variance),
        exact(steps if any(steps) else (parameter.step, parameter.step)),
        *exact([parameter.offset]),
    )
