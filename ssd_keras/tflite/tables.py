"""Writes FlatBuffer tables from plain values, for schemas without packaged generated code."""

from typing import TypeAlias

import flatbuffers
import numpy as np

ALIGNMENT = 16

Value: TypeAlias = "str | np.generic | np.ndarray | Table | list[Table]"


class Table(dict[int, "Value"]):
    """A table: values by field number, counted from 0 in the order of the schema.

    A union takes two fields, a `numpy.uint8` that names the member and the member itself.
    Scalars are of the schema's NumPy type, vectors of scalars are arrays.
    """


def table_bytes(table: Table, identifier: bytes) -> bytes:
    """Returns a FlatBuffer with the table as its root."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(_write_table(builder, table), file_identifier=identifier)
    return bytes(builder.Output())


def _write_table(builder: flatbuffers.Builder, table: Table) -> int:
    # The format demands that everything a table points to is written before the table.
    offsets = {
        field: _write_pointed(builder, value)
        for field, value in table.items()
        if not isinstance(value, np.generic)
    }
    builder.StartObject(max(table, default=-1) + 1)
    for field, value in table.items():
        if isinstance(value, np.generic):
            _SCALARS[value.dtype](builder, field, value.item(), None)
        else:
            builder.PrependUOffsetTRelativeSlot(field, offsets[field], 0)
    return builder.EndObject()


def _write_pointed(builder: flatbuffers.Builder, value: str | np.ndarray | Table | list) -> int:
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, Table):
        return _write_table(builder, value)
    if isinstance(value, np.ndarray):
        builder.StartVector(value.itemsize, value.size, ALIGNMENT)
        builder.head -= value.nbytes
        builder.Bytes[builder.head : builder.head + value.nbytes] = value.tobytes()
        return builder.EndVector()
    offsets = [_write_table(builder, table) for table in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


_SCALARS = {
    np.dtype("bool"): flatbuffers.Builder.PrependBoolSlot,
    np.dtype("int8"): flatbuffers.Builder.PrependInt8Slot,
    np.dtype("uint8"): flatbuffers.Builder.PrependUint8Slot,
    np.dtype("int32"): flatbuffers.Builder.PrependInt32Slot,
    np.dtype("uint32"): flatbuffers.Builder.PrependUint32Slot,
    np.dtype("float32"): flatbuffers.Builder.PrependFloat32Slot,
}
