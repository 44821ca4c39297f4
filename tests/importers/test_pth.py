"""The reader of ``.pth`` files: both formats, what is refused, files that do harm."""

import re
import struct
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pth_files as pth
import pytest

from ssd_keras.importers.pth import read_pth
from ssd_keras.importers.pth_pickle import MAX_OPERATIONS

EIGHT = np.arange(8, dtype="float32")
MAX_BYTES, MAX_SECONDS = 20e6, 20  # of an attack; seen: 11 MB, 2 s


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def read(tmp_path, data: bytes) -> dict[str, np.ndarray]:
    return read_pth(write(tmp_path / "a.pth", data))


def eight(offset, shape, strides, key="0") -> bytes:
    """A view of the storage of EIGHT."""
    return pth.tensor(pth.storage("Float", key, 8), offset, shape, strides)


def zip_of(**values: bytes) -> bytes:
    """An archive of the tensors, whose storage "0" is EIGHT."""
    return pth.archive(pth.mapping(values), {"0": EIGHT.tobytes()})


# What is read


@pytest.mark.parametrize("is_zipped", [True, False])
def test_numbers_of_all_types(tmp_path, is_zipped):
    arrays = {
        "weight": np.float32([[1.5, -2, 3], [0.25, 8, 1e-40]]),
        "half": np.float16([0.1, -65504]),
        "double": np.float64([[1 / 3]]),
        # sign 0, exponent 127, fraction 1 / 2: 1.5; sign 1, exponent 128, fraction 1 / 128
        "bfloat16": np.uint16([0b0_01111111_1000000, 0b1_10000000_0000001]),
        "scalar": np.float32(7),
        "empty": np.zeros((0, 3), "float32"),
        "num_batches_tracked": np.int64(7),
        "mask": np.array([True]),
    }
    found = read(tmp_path, pth.pth_file(arrays, is_zipped))
    assert list(found) == ["weight", "half", "double", "bfloat16", "scalar", "empty"]
    assert {array.dtype.name for array in found.values()} == {"float32"}
    np.testing.assert_array_equal(found["weight"], arrays["weight"])
    np.testing.assert_array_equal(found["half"], np.float32([0.0999755859375, -65504]))
    np.testing.assert_array_equal(found["double"], [[np.float32(1 / 3)]])
    np.testing.assert_array_equal(found["bfloat16"], [1.5, -2 * (1 + 1 / 128)])
    assert found["scalar"].shape == () and found["scalar"] == 7
    assert found["empty"].shape == (0, 3)


def test_views_share_a_storage(tmp_path):
    columns = eight(1, [2, 3], [1, 2])  # element i + 2 * j of what begins at 1
    again = pth.call("torch._utils", "_rebuild_parameter", eight(0, [8], [1]))
    found = read(tmp_path, zip_of(columns=columns, row=eight(7, [3], [0]), all=again))
    np.testing.assert_array_equal(found["columns"], [[1, 3, 5], [2, 4, 6]])
    np.testing.assert_array_equal(found["row"], [7, 7, 7])
    np.testing.assert_array_equal(found["all"], EIGHT)
    assert np.shares_memory(found["columns"], found["all"])
    with pytest.raises(ValueError, match="read-only"):
        found["columns"][0, 0] = 5


@pytest.mark.parametrize("order", ["big", "little", None])
def test_byte_orders_and_any_folder(tmp_path, order):
    value = pth.mapping({"a": eight(0, [8], [1])})
    numbers = EIGHT.astype(">f4" if order == "big" else "<f4").tobytes()
    content = pth.archive(value, {"0": numbers}, "Füße", byteorder=(order or "").encode())
    if order is None:  # as before PyTorch 2.1
        entries = {"x/data.pkl": pth.pickle_of(value), "x/version": b"3\n", "x/data/0": numbers}
        content = pth.zipped(entries)
    np.testing.assert_array_equal(read(tmp_path, content)["a"], EIGHT)


@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_checkpoint_of_a_training(tmp_path, key):
    state = pth.mapping({"a": eight(2, [3], [1])})
    groups = b"](" + pth.mapping({"lr": b"G" + struct.pack(">d", 0.1), "fused": b"N"}) + b"e"
    optimizer = b"}(" + pth.number(0) + pth.mapping({"step": eight(0, [], [])}) + b"u"
    value = pth.mapping({"epoch": pth.number(3), key: state, "opt": groups, "steps": optimizer})
    found = read(tmp_path, pth.archive(value, {"0": EIGHT.tobytes()}))
    assert list(found) == ["a"]
    np.testing.assert_array_equal(found["a"], [2, 3, 4])


def test_items_as_python_2_wrote_them(tmp_path):
    pair = b"](U\x01a" + eight(0, [8], [1]) + b"e"  # SHORT_BINSTRING
    value = pth.call("collections", "OrderedDict", b"](" + pair + b"e")
    data = pth.pickles(value, {"0": (8, EIGHT.tobytes())})
    np.testing.assert_array_equal(read(tmp_path, data)["a"], EIGHT)


def test_memory_holds_the_numbers_once(tmp_path):
    numbers = np.ones(5_000_000, "float32")
    for is_zipped in (True, False):
        path = write(tmp_path / "a.pth", pth.pth_file({"a": numbers, "b": numbers}, is_zipped))
        tracemalloc.start()
        read_pth(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # The old format's pickles are read from a copy of at most 16 MiB.
        assert 40e6 < peak < (45e6 if is_zipped else 62e6)


# Other files


def assert_refused(path, message):
    """One line that names the file, and nothing written beside it."""
    before = sorted(Path(path).parent.iterdir())
    with pytest.raises(ValueError, match=f"^{re.escape(repr(path))} {message}$") as caught:
        read_pth(path)
    assert str(caught.value).isprintable() and len(str(caught.value)) < len(path) + 400
    assert sorted(Path(path).parent.iterdir()) == before


def test_missing_file(tmp_path):
    path = str(tmp_path / "none.pth")
    with pytest.raises(FileNotFoundError, match=r"none\.pth' does not exist; pass the path"):
        read_pth(path)


OTHERS = {
    "a web page": (
        b"\n <!DOCTYPE html><html><body>404</body></html>",
        "is a web page, not weights; expected a .pth file: download it again.",
    ),
    "nothing": (b"", r"is not a \.pth file \(it begins with b''\); expected a state dict that .*"),
    "a pointer": (
        b"version https://git-lfs.github.com/spec/v1\n",
        r"is not a \.pth file \(it begins with b'version '\); expected a state dict that .*",
    ),
    "safetensors": (
        struct.pack("<Q", 60) + b'{"a":{"dtype":"F32"',
        r"is a safetensors file; expected a \.pth file: with PyTorch, torch\.save\(safetensors.*",
    ),
    "TorchScript": (
        pth.zipped({"x/data.pkl": b"", "x/code/__torch__.py": b"", "x/constants.pkl": b""}),
        r"is a TorchScript archive, which is a program; expected a state dict: torch\.save\(.*",
    ),
    "a Keras model": (
        pth.zipped({"config.json": b"{}"}),
        r"is damaged or not a \.pth file \(a ZIP archive without one data\.pkl\); expected .*",
    ),
    "a pickle": (
        pth.pickle_of(pth.mapping({})),
        r"is damaged or not a \.pth file \(a pickle that torch\.save did not write\); expected .*",
    ),
    "the old format, big": (
        pth.pickles(pth.mapping({}), {}, little_endian=False),
        r"is of PyTorch's old format and a machine of the byte order big, which is not read; .*",
    ),
    "a list": (
        pth.archive(b"]", {}),
        r"holds a list without weights; pass a state dict: torch\.save\(model\.state_dict\(\), .*",
    ),
    "no tensor": (
        pth.archive(pth.mapping({"epoch": pth.number(3)}), {}),
        "holds a dict without weights; pass a state dict: .*",
    ),
    "a quantised tensor": (
        zip_of(a=pth.name("torch._utils", "_rebuild_qtensor")),
        r"holds a quantised tensor \(torch\._utils\._rebuild_qtensor\), which is not read; "
        r"expected dense tensors of floating point: save the state dict of a model that .*",
    ),
    "a quantised storage": (
        zip_of(a=pth.name("torch", "QInt8Storage")),
        r"holds a quantised tensor \(torch\.QInt8Storage\), which .*",
    ),
    "a sparse tensor": (
        zip_of(a=pth.name("torch._utils", "_rebuild_sparse_tensor")),
        r"holds a sparse tensor \(torch\._utils\._rebuild_sparse_tensor\), which is not read; .*",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_other_file_is_refused(tmp_path, kind):
    data, message = OTHERS[kind]
    assert_refused(write(tmp_path / "a.pth", data), message)


@pytest.mark.parametrize("is_zipped", [True, False])
@pytest.mark.parametrize("kept", [0.001, 0.02, 0.5, 0.98])
def test_truncated_file_is_refused(tmp_path, is_zipped, kept):
    arrays = {f"layer{index}.weight": np.ones((50, 60), "float32") for index in range(4)}
    whole = pth.pth_file(arrays, is_zipped)
    path = write(tmp_path / "a.pth", whole[: int(kept * len(whole))])
    assert_refused(
        path, r"is damaged or not a \.pth file \(.+\); expected a state dict .*: download it .*"
    )


def test_a_changed_bit_is_found(tmp_path):
    data = bytearray(pth.pth_file({"a": EIGHT}))
    data[data.index(EIGHT.tobytes()) + 5] ^= 1
    assert_refused(write(tmp_path / "a.pth", data), r".*\(Bad CRC-32 for file 'archive/data/0'\).*")


# Files that do harm

CALL = r"is refused: reading it would call {}; nothing was run\. Expected arrays alone: pass a .*"
DAMAGED = r"is damaged or not a \.pth file \({}\); expected a state dict that torch\.save wrote.*"
SYSTEM = pth.call("os", "system", pth.text("touch harm_done"))
TUPLES = b")" + b"q\x00h\x00\x86" * 200  # each holds the one before twice


def with_second_name(data: bytes) -> bytes:
    """Gives the last entry of an archive the name of the one before."""
    return data.replace(b"archive/data/1", b"archive/data/0")


def with_field(data: bytes, offset: int, value: int) -> bytes:
    """Changes a field of the last entry in an archive's directory."""
    changed = bytearray(data)
    struct.pack_into("<H", changed, data.rindex(b"PK\x01\x02") + offset, value)
    return bytes(changed)


def overlapping() -> bytes:
    """A thousand entries in the directory of one and the same place."""
    data = zip_of(a=eight(0, [8], [1]), x=pth.text("x" * 50_000))
    first, end = data.index(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    entry = data[first : data.index(b"PK\x01\x02", first + 4)]
    more = b"".join(entry.replace(b"data.pkl", b"%08d" % index) for index in range(1000))
    tail = bytearray(data[end:])
    struct.pack_into("<HHI", tail, 8, 0, 0, len(more) + end - first)
    return data[:first] + more + data[first:end] + bytes(tail)


ATTACKS = {
    # Calls
    "a program, zipped": (zip_of(a=eight(0, [8], [1]), x=SYSTEM), CALL.format(r"os\.system")),
    "a program, old format": (pth.pickles(SYSTEM, {}), CALL.format(r"os\.system")),
    "a program, pickle": (pth.pickle_of(SYSTEM), CALL.format(r"os\.system")),
    "a program in the list of storages": (
        pth.pickles(pth.mapping({}), {})[:-3] + SYSTEM + b".", CALL.format(r"os\.system"),
    ),
    "protocol 4": (
        zip_of(x=b"\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R"), CALL.format(r"builtins\.eval"),
    ),
    "INST": (zip_of(x=b"(X\x01\0\0\0aios\nsystem\n"), CALL.format(r"os\.system")),
    "an attribute of what is known": (
        zip_of(x=b"\x8c\x0ctorch._utils\x8c\x1e_rebuild_tensor_v2.__globals__\x93"),
        CALL.format(r"torch\._utils\._rebuild_tensor_v2\.__globals__"),
    ),
    "a module that is imported": (zip_of(x=pth.name("antigravity", "a")), CALL.format(".*")),
    "a name of control characters": (
        zip_of(x=pth.name("os\x1b[2J" * 10_000, "system")), CALL.format(r"os\\x1b\[2J.*system"),
    ),
    "arguments of a training": (
        zip_of(a=eight(0, [8], [1]), args=pth.name("argparse", "Namespace") + b")\x81}b"),
        CALL.format(r"argparse\.Namespace"),
    ),
    "NEWOBJ": (
        zip_of(x=pth.name("collections", "OrderedDict") + b")\x81"),
        DAMAGED.format("its pickle has the operation NEWOBJ, which torch.save does not write"),
    ),
    "an extension": (zip_of(x=b"\x82\x01"), DAMAGED.format(".* EXT1, which .*")),
    "a call of data": (zip_of(x=eight(0, [8], [1]) + b")R"), DAMAGED.format(".*not a function")),
    "a call of a type": (
        zip_of(x=pth.call("torch", "FloatStorage")), DAMAGED.format(".* not a function"),
    ),
    "attributes of a tensor": (
        zip_of(x=eight(0, [8], [1]) + b"}b"), DAMAGED.format("its pickle changes what is .*"),
    ),
    # Bombs
    "a large place in the memo": (
        zip_of(a=b"r\xff\xff\xff\x7f".join([eight(0, [8], [1]), b""])), "",
    ),
    "a long text": (
        zip_of(a=b"\x8d" + struct.pack("<Q", 2**60)), DAMAGED.format(".*unicodestring8.*"),
    ),
    "a long text, old format": (
        pth.pickles(b"\x8d" + struct.pack("<Q", 2**60), {}), DAMAGED.format(".*unicodestring8.*"),
    ),
    "endless operations": (
        zip_of(x=b"N" * (MAX_OPERATIONS + 9)), DAMAGED.format("its pickle has more than .*"),
    ),
    "a pickle of 20 MB": (
        zip_of(x=pth.text("x" * 20_000_000)), DAMAGED.format("its pickle has more than .* bytes"),
    ),
    "tuples of tuples": (zip_of(a=eight(0, [8], [1]), x=TUPLES), ""),
    "tuples of tuples as a key": (
        zip_of(x=b"}" + TUPLES + b"Ns"), DAMAGED.format("a dict in it has keys other than .*"),
    ),
    "numbers of many digits as keys": (
        zip_of(x=b"}" + pth.number(2**63) + b"Ns"), DAMAGED.format("a dict in it has keys .*"),
    ),
    "a dict in itself": (
        pth.archive(b"}q\x00" + pth.text("model") + b"h\x00s", {}), "holds a dict without .*",
    ),
    "tensors that repeat a number": (
        zip_of(a=eight(0, [2**40, 2**40], [0, 0])),
        r"is refused: its \d+ bytes would become tensors of 4\.84e\+24; expected tensors that .*",
    ),
    "one tensor of many names": (
        pth.archive(
            pth.tensor(pth.storage("Float", "0", 1000), 0, [1000], [1]) + b"q\x00"
            + pth.mapping({str(n): b"h\x00" for n in range(9000)}),
            {"0": bytes(4000)},
        ),
        "is refused: .*",
    ),
    # Views
    "offset": (zip_of(a=eight(1, [8], [1])), DAMAGED.format("a tensor .* beyond its storage")),
    "strides": (zip_of(a=eight(0, [2, 3], [3, 3])), DAMAGED.format("a tensor .* beyond .*")),
    "negative stride": (zip_of(a=eight(7, [8], [-1])), DAMAGED.format("a shape or stride .*")),
    "negative offset": (zip_of(a=eight(-1, [2], [1])), DAMAGED.format("a shape or stride .*")),
    "negative axis": (zip_of(a=eight(0, [-8], [1])), DAMAGED.format("a shape or stride .*")),
    "a truth value as a shape": (zip_of(a=eight(0, [True], [1])), DAMAGED.format("a shape .*")),
    "a shape of 2**70": (zip_of(a=eight(0, [2**70], [0])), DAMAGED.format("a shape or .*")),
    "forty axes": (zip_of(a=eight(0, [1] * 40, [1] * 40)), DAMAGED.format("a shape .* 32 numbers")),
    "strides of another shape": (zip_of(a=eight(0, [8], [1, 1])), DAMAGED.format(".* fit .*")),
    "a tensor of a list": (
        zip_of(a=pth.tensor(b"]", 0, [8], [1])), DAMAGED.format("a tensor .* no storage, .*"),
    ),
    # Storages
    "more numbers than the entry": (
        zip_of(a=pth.tensor(pth.storage("Float", "0", 2**40), 0, [1], [1])),
        DAMAGED.format("the numbers of a storage are missing, or not as many as its length"),
    ),
    "fewer bytes a number": (
        zip_of(a=pth.tensor(pth.storage("Half", "0", 8), 0, [8], [1])),
        DAMAGED.format("the numbers of a storage are missing, .*"),
    ),
    "a storage of two types": (
        zip_of(a=eight(0, [8], [1]), b=pth.tensor(pth.storage("Half", "0", 16), 0, [8], [1])),
        DAMAGED.format("two of its storages have the same key"),
    ),
    "a key that leads out": (
        zip_of(a=eight(0, [8], [1], "../../data/0")), DAMAGED.format("the numbers .* missing, .*"),
    ),
    "a negative length": (
        zip_of(a=pth.tensor(pth.storage("Float", "0", -8), 0, [0], [1])),
        DAMAGED.format("a shape or stride .*"),
    ),
    "a reference to a module": (
        zip_of(a=pth.row(pth.text("module"), b"N", b"N", b"N") + b"Q"),
        DAMAGED.format("it has a reference other than to numbers"),
    ),
    "a view of a storage": (
        zip_of(a=pth.storage("Float", "0", 8, pth.numbers(0, 1, 2))),
        DAMAGED.format("it has a reference .*"),
    ),
    "old format: no numbers": (
        pth.pickles(pth.mapping({"a": eight(0, [8], [1])}), {}),
        DAMAGED.format("its list of storages is not that of its tensors"),
    ),
    "old format: other numbers": (
        pth.pickles(pth.mapping({"a": eight(0, [8], [1])}), {"0": (2**61, EIGHT.tobytes())}),
        DAMAGED.format("the numbers of a storage are not as many as its length"),
    ),
    "old format: a negative length": (
        pth.pickles(pth.mapping({"a": eight(0, [8], [1])}), {"0": (-8, EIGHT.tobytes())}),
        DAMAGED.format("the numbers of a storage are not as many as its length"),
    ),
    "old format: numbers end": (
        pth.pickles(pth.mapping({"a": eight(0, [8], [1])}), {"0": (8, EIGHT[:7].tobytes())}),
        DAMAGED.format("the numbers of a storage are not as many as its length"),
    ),
    "old format: a list of lists": (
        pth.pickles(pth.mapping({}), {}, keys=["a"]).replace(b"X\x01\0\0\0a", b"]"),
        DAMAGED.format("its list of storages is not that of its tensors"),
    ),
    # Archives
    "a compressed entry": (
        pth.zipped({"a/data.pkl": bytes(200_000_000)}, zipfile.ZIP_DEFLATED),
        DAMAGED.format("its ZIP archive is compressed or encrypted, which torch.save does not do"),
    ),
    "an encrypted entry": (
        with_field(zip_of(a=eight(0, [8], [1])), 8, 1), DAMAGED.format(".* or encrypted, .*"),
    ),
    "two entries of one name": (
        with_second_name(pth.archive(b"}", {"0": b"", "1": b""})),
        DAMAGED.format("its ZIP archive has two entries of one name"),
    ),
    "entries in the same place": (
        overlapping(), DAMAGED.format("its ZIP archive unpacks to more bytes than it has"),
    ),
    "a list of too many entries": (
        pth.zipped({"x" * 60_000 + str(n): b"" for n in range(80)}),
        DAMAGED.format("its ZIP archive has too many entries"),
    ),
    "two pickles": (
        pth.zipped({"a/data.pkl": b"}.", "b/data.pkl": b"}."}),
        DAMAGED.format("a ZIP archive without one data.pkl"),
    ),
    "another byte order": (
        pth.archive(b"}", {}, byteorder=b"middle"), DAMAGED.format("its byte order is neither .*"),
    ),
    "a large byte order": (
        pth.archive(b"}", {}, byteorder=bytes(50_000_000)), DAMAGED.format("its byte order .*"),
    ),
    # Stacks
    "an empty stack": (zip_of(x=b"RRRR"), DAMAGED.format(".*")),
    "no mark": (zip_of(x=b"ttt"), DAMAGED.format(".*")),
    "an odd number of items": (zip_of(x=b"}(Nu"), DAMAGED.format(".*")),
    "items of a list": (zip_of(x=b"]NNs"), DAMAGED.format("its pickle sets items of what .*")),
    "a list of a dict": (zip_of(x=b"}Na"), DAMAGED.format("its pickle appends to what is not .*")),
    "no such memo": (zip_of(x=b"h\x77"), DAMAGED.format("its pickle refers to a value that .*")),
    "a class named by numbers": (zip_of(x=b"NN\x93"), DAMAGED.format("its pickle names .*")),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_runs_nothing_and_takes_little(tmp_path, attack, monkeypatch):
    data, message = ATTACKS[attack]
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "a.pth", data)
    start = time.monotonic()
    tracemalloc.start()
    try:
        if message:
            assert_refused(path, message)
        else:
            np.testing.assert_array_equal(read_pth(path)["a"], EIGHT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MAX_BYTES and time.monotonic() - start < MAX_SECONDS
    assert [each.name for each in tmp_path.iterdir()] == ["a.pth"]
    assert "antigravity" not in sys.modules
