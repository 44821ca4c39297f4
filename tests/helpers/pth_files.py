"""Writes ``.pth`` files without PyTorch: the operations of their pickles, and both containers."""

import io
import struct
import zipfile
from collections.abc import Iterable, Mapping

import numpy as np

# Storage types of PyTorch by NumPy's types; bfloat16 is given as the uint16 of its bits.
KINDS = {
    "float32": "Float", "float64": "Double", "float16": "Half", "uint16": "BFloat16",
    "int64": "Long", "bool": "Bool",
}  # fmt: skip
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
STOP = b"."

# Operations of pickles


def text(value: str) -> bytes:
    content = value.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def number(value: int) -> bytes:
    if value is True or value is False:
        return b"\x88" if value else b"\x89"
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def row(*values: bytes) -> bytes:
    return b"(" + b"".join(values) + b"t"


def numbers(*values: int) -> bytes:
    return row(*map(number, values))


def name(module: str, function: str) -> bytes:
    return f"c{module}\n{function}\n".encode()


def call(module: str, function: str, *arguments: bytes) -> bytes:
    return name(module, function) + row(*arguments) + b"R"


def mapping(items: Mapping[str, bytes]) -> bytes:
    pairs = b"".join(text(key) + value for key, value in items.items())
    return call("collections", "OrderedDict") + b"(" + pairs + b"u"


def storage(kind: str, key: str, length: int, *more: bytes) -> bytes:
    words = text("storage"), name("torch", f"{kind}Storage"), text(key), text("cuda:0")
    return row(*words, number(length), *more) + b"Q"


def tensor(of: bytes, offset: int, shape: Iterable[int], strides: Iterable[int]) -> bytes:
    view = number(offset), numbers(*shape), numbers(*strides)
    hooks = call("collections", "OrderedDict")
    return call("torch._utils", "_rebuild_tensor_v2", of, *view, number(False), hooks)


# Files


def pickle_of(value: bytes) -> bytes:
    return b"\x80\x02" + value + STOP


def archive(value: bytes, storages: Mapping[str, bytes], folder="archive", **entries) -> bytes:
    """The format since PyTorch 1.6; other entries by their names in the folder."""
    content = {"data.pkl": pickle_of(value), "byteorder": b"little", "version": b"3\n"}
    content |= {f"data/{key}": data for key, data in storages.items()}
    return zipped({f"{folder}/{key}": data for key, data in (content | entries).items()})


def zipped(entries: Mapping[str, bytes], compression=zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for key, data in entries.items():
            archive.writestr(key, data)
    return file.getvalue()


def pickles(
    value: bytes, storages: Mapping[str, tuple[int, bytes]], little_endian=True, keys=None
) -> bytes:
    """The format before PyTorch 1.6; storages are pairs of a length and bytes."""
    system = mapping({"protocol_version": number(PROTOCOL), "little_endian": number(little_endian)})
    names = b"](" + b"".join(map(text, storages if keys is None else keys)) + b"e"
    start = [number(MAGIC), number(PROTOCOL), system, value, names]
    content = b"".join(map(pickle_of, start))
    return content + b"".join(struct.pack("<q", n) + data for n, data in storages.values())


def array_of(array: np.ndarray, key: str, *more: bytes) -> bytes:
    """The tensor of a whole array with a storage of its own."""
    strides = [step // array.itemsize for step in array.strides]
    of = storage(KINDS[array.dtype.name], key, array.size, *more)
    return tensor(of, 0, array.shape, strides)


def pth_file(arrays: Mapping[str, np.ndarray], is_zipped: bool = True) -> bytes:
    """A state dict, as `torch.save` writes it."""
    keyed = {str(index): (name, array) for index, (name, array) in enumerate(arrays.items())}
    more = () if is_zipped else (b"N",)  # the old format's views of storages
    value = mapping({name: array_of(array, key, *more) for key, (name, array) in keyed.items()})
    data = {key: (array.size, array.tobytes()) for key, (_, array) in keyed.items()}
    if is_zipped:
        return archive(value, {key: content for key, (_, content) in data.items()})
    return pickles(value, data)
