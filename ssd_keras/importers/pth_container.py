"""The two containers that `torch.save` writes: a ZIP archive, and a row of pickles before 1.6."""

import contextlib
import io
import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Literal

import numpy as np

from ssd_keras.importers.pth_pickle import BFLOAT16, Damaged, Refused, Storage, interpret

MAX_DIRECTORY = 1 << 22  # bytes of a ZIP archive's list of entries
MAX_PICKLE = 1 << 24  # bytes
BLOCK = 1 << 20
# The first pickles of the old format.
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
LENGTH = struct.Struct("<q")  # before the numbers of a storage

ByteOrder = Literal["<", ">"]
Read = Callable[[Storage], np.ndarray]


class _Archive(io.BufferedReader):
    """A ZIP archive's file; a list of entries that is too long is not read."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY:
            raise Damaged("its ZIP archive has too many entries")
        return super().read(size)


@contextlib.contextmanager
def open_container(path: str) -> Iterator[tuple[Any, Read]]:
    """Yields the content of a ``.pth`` file, and a function that reads a storage of it once."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        if file.peek(2).startswith(b"PK"):
            with _Archive(io.FileIO(path)) as bounded, zipfile.ZipFile(bounded) as archive:
                yield _open_archive(archive, size)
        else:
            yield _open_pickles(file, size)


def storage_dtype(storage: Storage, byte_order: ByteOrder = "<") -> np.dtype:
    """Returns the type of a storage's numbers in the file; bfloat16 is read as uint16."""
    name = "u2" if storage.dtype == BFLOAT16 else storage.dtype
    return np.dtype(name).newbyteorder(byte_order)


def _open_archive(archive: zipfile.ZipFile, size: int) -> tuple[Any, Read]:
    entries = {info.filename: info for info in archive.infolist()}
    folder = _folder(entries)
    _check_entries(archive.infolist(), size)
    byte_order = _byte_order(archive, entries.get(f"{folder}/byteorder"))
    pickle = entries[f"{folder}/data.pkl"]
    if pickle.file_size > MAX_PICKLE:
        raise Damaged(f"its pickle has more than {MAX_PICKLE} bytes")
    content, _ = interpret(io.BytesIO(archive.read(pickle)))

    def read(storage: Storage) -> np.ndarray:
        entry = entries.get(f"{folder}/data/{storage.key}")
        array_bytes = storage.length * storage_dtype(storage).itemsize
        if entry is None or entry.file_size != array_bytes:
            raise Damaged("the numbers of a storage are missing, or not as many as its length")
        with archive.open(entry) as file:
            return _numbers(file, storage, byte_order)

    return content, read


def _check_entries(entries: Sequence[zipfile.ZipInfo], size: int) -> None:
    """Refuses entries that are more than the file's bytes."""
    if len({entry.filename for entry in entries}) < len(entries):
        raise Damaged("its ZIP archive has two entries of one name")
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries):
        raise Damaged("its ZIP archive is compressed or encrypted, which torch.save does not do")
    if sum(entry.file_size for entry in entries) > size:
        raise Damaged("its ZIP archive unpacks to more bytes than it has")


def _folder(entries: Mapping[str, zipfile.ZipInfo]) -> str:
    """Returns the folder of all entries, which has any name."""
    folders = [name.removesuffix("/data.pkl") for name in entries if name.endswith("/data.pkl")]
    for folder in folders:
        program = (f"{folder}/constants.pkl", f"{folder}/code/")
        if any(name.startswith(program) for name in entries):
            raise Refused(
                "is a TorchScript archive, which is a program; expected a state dict: "
                "torch.save(torch.jit.load(path).state_dict(), other_path)."
            )
    if len(folders) != 1:
        raise Damaged("a ZIP archive without one data.pkl")
    return folders[0]


def _byte_order(archive: zipfile.ZipFile, entry: zipfile.ZipInfo | None) -> ByteOrder:
    orders: Mapping[bytes, ByteOrder] = {b"little": "<", b"big": ">"}
    if entry is None:  # as PyTorch before 2.1 wrote it
        return "<"
    with archive.open(entry) as file:
        content = file.read(10)
    if content not in orders:
        raise Damaged("its byte order is neither little nor big")
    return orders[content]


def _open_pickles(file: BinaryIO, size: int) -> tuple[Any, Read]:
    # Positions in the copy are those in the file.
    head = io.BytesIO(file.read(min(size, MAX_PICKLE)))
    if interpret(head)[0] != MAGIC or interpret(head)[0] != PROTOCOL:
        raise Damaged("a pickle that torch.save did not write")
    system, _ = interpret(head)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise Refused(
            "is of PyTorch's old format and a machine of the byte order big, which is not read; "
            "expected little: load it with PyTorch and save it again."
        )
    content, storages = interpret(head)
    keys, _ = interpret(head)
    positions = _positions(file, head.tell(), keys, storages, size)

    def read(storage: Storage) -> np.ndarray:
        if storage.key not in positions:
            raise Damaged("the numbers of a storage are missing")
        file.seek(positions[storage.key])
        return _numbers(file, storage, "<")

    return content, read


def _positions(
    file: BinaryIO, start: int, keys: Any, storages: Mapping[str, Storage], size: int
) -> Mapping[str, int]:
    """Returns where the numbers of each storage begin."""
    if not isinstance(keys, list) or set(map(type, keys)) - {str} or set(keys) != storages.keys():
        raise Damaged("its list of storages is not that of its tensors")
    positions = {}
    for key in keys:
        file.seek(start)
        (length,) = LENGTH.unpack(file.read(LENGTH.size))
        positions[key] = start + LENGTH.size
        start = positions[key] + length * storage_dtype(storages[key]).itemsize
        if length != storages[key].length or start > size:
            raise Damaged("the numbers of a storage are not as many as its length")
    return positions


def _numbers(file: Any, storage: Storage, byte_order: ByteOrder) -> np.ndarray:
    """Reads the numbers of a storage in blocks, so that memory holds them once."""
    array = np.empty(storage.length, storage_dtype(storage, byte_order))
    view, position = array.view(np.uint8).data, 0
    while position < len(view):
        block = file.read(min(BLOCK, len(view) - position))
        if not block:
            raise Damaged("the file ends within the numbers of a storage")
        view[position : position + len(block)] = block
        position += len(block)
    return array
