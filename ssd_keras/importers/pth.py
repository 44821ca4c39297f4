"""Reads PyTorch's ``.pth`` files as NumPy arrays: without PyTorch, without running their code."""

import math
import os
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from ssd_keras.core.text import words_of
from ssd_keras.importers.pth_container import Read, open_container
from ssd_keras.importers.pth_pickle import BFLOAT16, Damaged, Refused, Storage, Tensor

# Of a ZIP archive, and of a pickle as PyTorch wrote it before 1.6.
FIRST_BYTES = (b"PK", b"\x80")
FLOATS = ("f2", "f4", "f8", BFLOAT16)
# Tensors take at most this many times the bytes of the file; of half precision, two.
MAX_GROWTH = 4
# What zipfile, pickletools, struct and the records raise for bytes that make no sense.
DAMAGE = (
    Damaged, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, TypeError,
    LookupError, EOFError, OverflowError, struct.error, OSError,
)  # fmt: skip


def read_pth(path: str) -> dict[str, np.ndarray]:
    """Returns the floating-point arrays of a state dict by name, as float32."""
    path = os.fspath(path)
    _check_start(path)
    try:
        with open_container(path) as (content, read):
            tensors = _float_tensors(content)
            _check_memory(tensors, os.path.getsize(path))
            arrays = _arrays(tensors, read)
    except Refused as error:
        raise ValueError(f"{path!r} {error}") from error
    except DAMAGE as error:
        raise ValueError(
            f"{path!r} is damaged or not a .pth file ({words_of(error)}); expected a state dict "
            "that torch.save wrote: download it again and compare its size and checksum."
        ) from error
    if not arrays:
        raise ValueError(
            f"{path!r} holds a {type(content).__name__} without weights; pass a state dict: "
            "torch.save(model.state_dict(), path)."
        )
    return arrays


def _check_start(path: str) -> None:
    """Refuses files of other kinds."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path!r} does not exist; pass the path of a .pth file.")
    with open(path, "rb") as file:
        start = file.read(64)
    if start[8:10] == b'{"':
        raise ValueError(
            f"{path!r} is a safetensors file; expected a .pth file: with PyTorch, "
            "torch.save(safetensors.torch.load_file(path), other_path)."
        )
    if start.lstrip()[:1] == b"<":
        raise ValueError(
            f"{path!r} is a web page, not weights; expected a .pth file: download it again."
        )
    if not start.startswith(FIRST_BYTES):
        raise ValueError(
            f"{path!r} is not a .pth file (it begins with {start[:8]!r}); expected a state dict "
            "that torch.save wrote."
        )


def _float_tensors(content: Any) -> dict[str, Tensor]:
    """Returns the tensors of floating point of a state dict, or of the one in a checkpoint."""
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        return {}
    return {
        str(name): value
        for name, value in content.items()
        if isinstance(value, Tensor) and value.storage.dtype in FLOATS
    }


def _check_memory(tensors: Mapping[str, Tensor], size: int) -> None:
    """Refuses tensors that repeat the numbers of the file many times."""
    needed = 4 * sum(math.prod(tensor.shape) for tensor in tensors.values())
    if needed > MAX_GROWTH * size:
        raise Refused(
            f"is refused: its {size} bytes would become tensors of {needed:.3g}; expected tensors "
            "that do not overlap: clone them before torch.save."
        )


def _arrays(tensors: Mapping[str, Tensor], read: Read) -> dict[str, np.ndarray]:
    """Reads each storage once; tensors of float32 are views of it."""
    storages: dict[Storage, np.ndarray] = {}
    arrays = {}
    for name, tensor in tensors.items():
        storage = tensor.storage
        if storage not in storages:
            storages[storage] = read(storage)
        arrays[name] = _array(tensor, storages[storage])
    return arrays


def _array(tensor: Tensor, numbers: np.ndarray) -> np.ndarray:
    """Returns a tensor as float32, read-only because others may share its numbers."""
    step = numbers.itemsize
    view = np.lib.stride_tricks.as_strided(
        numbers[tensor.offset :],
        tensor.shape,
        [stride * step for stride in tensor.strides],
        writeable=False,
    )
    if tensor.storage.dtype == BFLOAT16:  # the upper half of a float32
        view = np.asarray(view.astype(np.uint32) << 16).view(np.float32)
    array = view.astype(np.float32, copy=False)
    array.flags.writeable = False
    return array
