"""FlatBuffer tables from plain values, for schemas whose generated code nobody ships."""

from typing import TypeAlias

import flatbuffers
import numpy as np

ALIGNMENT = 16

Value: TypeAlias = "str | np.generic | np.ndarray | Table | list[Table]"


class Table(dict[int, "Value"]):
    """A table: its values by their place in the schema, counted from 0.

    A union takes two places, a `numpy.uint8` that names the member and the member itself.
    Scalars are of the schema's NumPy type, vectors of scalars are arrays.
    """


def table_bytes(table: Table, identifier: bytes) -> bytes:
    """A whole FlatBuffer."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(_write_table(builder, table), file_identifier=identifier)
    return bytes(builder.Output())


def _write_table(builder, table):
    # Whatever a table points to is written before the table.
    offsets = {
        place: _write_pointed(builder, value)
        for place, value in table.items()
        if not isinstance(value, np.generic)
    }
    builder.StartObject(max(table, default=-1) + 1)
    for place, value in table.items():
        if place in offsets:
            builder.PrependUOffsetTRelativeSlot(place, offsets[place], 0)
        else:
            _SCALARS[value.dtype](builder, place, value.item(), None)
    return builder.EndObject()


def _write_pointed(builder, value):
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
