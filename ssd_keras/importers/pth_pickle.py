"""Interprets the pickles in PyTorch's files: plain values and records of tensors, nothing else.

Python's `pickle` calls what a file names. Here the operations that `torch.save` writes make
records, and no name in a file becomes a class or a function.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from ssd_keras.core.text import one_line

MAX_OPERATIONS = 500_000  # of a pickle; a tensor takes about 50
MAX_INTEGER = 2**63
MAX_AXES = 32

# Types of storages as NumPy's; NumPy has no bfloat16.
BFLOAT16 = "bfloat16"
STORAGE_TYPES = {
    "torch FloatStorage": "f4", "torch DoubleStorage": "f8", "torch HalfStorage": "f2",
    "torch BFloat16Storage": BFLOAT16, "torch LongStorage": "i8", "torch IntStorage": "i4",
    "torch ShortStorage": "i2", "torch CharStorage": "i1", "torch ByteStorage": "u1",
    "torch BoolStorage": "u1", "torch ComplexFloatStorage": "c8",
    "torch ComplexDoubleStorage": "c16",
}  # fmt: skip
DTYPES = {
    f"torch {name}"
    for name in (
        "float16", "bfloat16", "float32", "float64", "complex64", "complex128",
        "bool", "uint8", "int8", "int16", "int32", "int64",
    )
}  # fmt: skip
ORDERED_DICT, SIZE = "collections OrderedDict", "torch Size"
TENSOR = "torch._utils _rebuild_tensor_v2"
PARAMETERS = ("torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state")
KNOWN_GLOBALS = {*STORAGE_TYPES, *DTYPES, ORDERED_DICT, SIZE, TENSOR, *PARAMETERS}
# Harmless, but no arrays of numbers.
OTHER_TENSORS = {
    "_rebuild_qtensor": "a quantised tensor",
    "_rebuild_sparse_tensor": "a sparse tensor",
    "_rebuild_sparse_csr_tensor": "a sparse tensor",
    "_rebuild_nested_tensor": "a nested tensor",
    "_rebuild_meta_tensor_no_storage": "a tensor without values",
    "_rebuild_wrapper_subclass": "a tensor of another class",
    "_rebuild_from_type_v2": "a tensor of another class",
    "_rebuild_tensor_v3": "a tensor of another type, such as float8",
}

# Operations that push their argument, and those that push a constant.
VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


class Refused(Exception):
    """What a file holds is known and not read; the text follows the file's name."""


class Damaged(Exception):
    """A file contradicts itself; the text is the reason."""


@dataclass(frozen=True)
class Global:
    """The name of a class or function."""

    name: str  # module and name, with a blank between


@dataclass(frozen=True)
class Storage:
    """Numbers in a file."""

    dtype: str  # NumPy's, or BFLOAT16
    key: str
    length: int


@dataclass(frozen=True)
class Tensor:
    """A view of a storage, which lies within it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements, like the offset


def interpret(stream: BinaryIO) -> tuple[Any, Mapping[str, Storage]]:
    """Returns the value of the pickle that begins here, and its storages by key."""
    machine = _Machine()
    for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if number == MAX_OPERATIONS:
            raise Damaged(f"its pickle has more than {MAX_OPERATIONS} operations")
        if opcode.name == "STOP":
            break
        machine.run(opcode.name, argument)
    return machine.stack.pop(), machine.storages


class _Machine:
    """The stack machine of a pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def run(self, name: str, argument: Any) -> None:
        if name in VALUES:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in OPERATIONS:
            OPERATIONS[name](self, argument)
        elif name == "INST":
            self._push_global(argument)
        else:
            raise Damaged(f"its pickle has the operation {name}, which torch.save does not write")

    def _items(self) -> list[Any]:
        """Takes what lies above the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _push_tuple(self, length: int) -> None:
        items = self.stack[-length:]
        if len(items) < length:
            raise Damaged("its pickle takes more values than it has")
        self.stack[-length:] = [tuple(items)]

    def _get(self, key: int) -> None:
        if key not in self.memo:
            raise Damaged("its pickle refers to a value that it does not have")
        self.stack.append(self.memo[key])

    def _append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise Damaged("its pickle appends to what is not a list")
        target.extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise Damaged("its pickle sets items of what is not a dict")
        target.update(_pairs(zip(items[::2], items[1::2], strict=True)))

    def _push_global(self, name: str) -> None:
        if name not in KNOWN_GLOBALS:
            raise _foreign(name)
        self.stack.append(Global(name))

    def _stack_global(self) -> None:
        module, name = self._pop_two()
        if not isinstance(module, str) or not isinstance(name, str):
            raise Damaged("its pickle names a class by what is not text")
        self._push_global(f"{module} {name}")

    def _pop_two(self) -> tuple[Any, Any]:
        last = self.stack.pop()
        return self.stack.pop(), last

    def _reduce(self) -> None:
        function, arguments = self._pop_two()
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise Damaged("its pickle calls what is not a function")
        self.stack.append(_result(function.name, arguments))

    def _build(self) -> None:
        """Leaves the state of a dict out: `_metadata` of a state dict."""
        target, _ = self._pop_two()
        if not isinstance(target, dict):
            raise Damaged("its pickle changes what is not a dict")
        self.stack.append(target)

    def _push_storage(self) -> None:
        storage = _storage(self.stack.pop())
        if self.storages.setdefault(storage.key, storage) != storage:
            raise Damaged("two of its storages have the same key")
        self.stack.append(storage)


OPERATIONS: Mapping[str, Callable[[_Machine, Any], object]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine._items())),
    "TUPLE1": lambda machine, _: machine._push_tuple(1),
    "TUPLE2": lambda machine, _: machine._push_tuple(2),
    "TUPLE3": lambda machine, _: machine._push_tuple(3),
    "APPEND": lambda machine, _: machine._append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine._append(machine._items()),
    "SETITEM": lambda machine, _: machine._set_items(list(machine._pop_two())),
    "SETITEMS": lambda machine, _: machine._set_items(machine._items()),
    "MEMOIZE": lambda machine, _: machine.memo.update({len(machine.memo): machine.stack[-1]}),
    **dict.fromkeys(
        ("PUT", "BINPUT", "LONG_BINPUT"),
        lambda machine, key: machine.memo.update({key: machine.stack[-1]}),
    ),
    **dict.fromkeys(
        ("GET", "BINGET", "LONG_BINGET"),
        lambda machine, key: machine._get(key),
    ),
    "GLOBAL": lambda machine, name: machine._push_global(name),
    "STACK_GLOBAL": lambda machine, _: machine._stack_global(),
    "REDUCE": lambda machine, _: machine._reduce(),
    "BUILD": lambda machine, _: machine._build(),
    "BINPERSID": lambda machine, _: machine._push_storage(),
}


def _foreign(name: str) -> Refused:
    """Returns the error for a class or function that is not known."""
    module, _, function = name.rpartition(" ")
    dotted = one_line(f"{module}.{function}", 100)
    kind = "a quantised tensor" if name.startswith("torch Q") else OTHER_TENSORS.get(function)
    if kind and module.startswith("torch"):
        return Refused(
            f"holds {kind} ({dotted}), which is not read; expected dense tensors of floating "
            "point: save the state dict of a model that has those alone."
        )
    return Refused(
        f"is refused: reading it would call {dotted}; nothing was run. Expected arrays alone: "
        "pass a state dict, torch.save(model.state_dict(), path), from a source that you trust."
    )


def _pairs(items: Any) -> dict[str | int, Any]:
    """Returns a dict; others than short keys could take long to compare."""
    found = {}
    for key, value in items:
        if not isinstance(key, str) and not (isinstance(key, int) and abs(key) < MAX_INTEGER):
            raise Damaged("a dict in it has keys other than text and numbers")
        found[key] = value
    return found


def _result(name: str, arguments: tuple[Any, ...]) -> Any:
    """Returns the record of what a known function would make."""
    if name == ORDERED_DICT:  # Python 2 passes the items, Python 3 sets them later
        return _pairs(arguments[0]) if arguments else {}
    if name == SIZE:
        return _integers(arguments[0])
    if name == TENSOR:
        return _tensor(*arguments[:4])
    if name in PARAMETERS and isinstance(arguments[0], Tensor):
        return arguments[0]
    raise Damaged("its pickle calls what is not a function")


def _integers(values: Any) -> tuple[int, ...]:
    if not isinstance(values, tuple) or len(values) > MAX_AXES:
        raise Damaged(f"a shape in it is not a tuple of at most {MAX_AXES} numbers")
    if any(type(value) is not int or not 0 <= value < MAX_INTEGER for value in values):
        raise Damaged("a shape or stride in it is not a number of 0 or more")
    return values


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> Tensor:
    shape, strides, (offset,) = _integers(shape), _integers(strides), _integers((offset,))
    if not isinstance(storage, Storage) or len(shape) != len(strides):
        raise Damaged("a tensor in it has no storage, or strides that do not fit its shape")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if 0 not in shape and last >= storage.length:
        raise Damaged("a tensor in it reaches beyond its storage")
    return Tensor(storage, offset, shape, strides)


def _storage(record: Any) -> Storage:
    """Reads ("storage", type, key, device, length); the old format adds None."""
    if (
        not isinstance(record, tuple)
        or not 5 <= len(record) <= 6
        or record[5:] not in ((), (None,))
    ):
        raise Damaged("it has a reference other than to numbers")
    _, kind, key, _, length = record[:5]
    if not isinstance(kind, Global) or kind.name not in STORAGE_TYPES or not isinstance(key, str):
        raise Damaged("a storage in it has no known type")
    return Storage(STORAGE_TYPES[kind.name], key, *_integers((length,)))
