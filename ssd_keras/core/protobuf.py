"""Builds protobuf message classes at run time, from the few fields that a reader needs."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# message: rows of field, number, type, repeated. A type is another message, or such as "int32".
Schema = Mapping[str, Sequence[tuple[str, int, str, bool]]]


def message_class(
    package: str,
    schema: Schema,
    name: str,
    defaults: Mapping[str, str] | None = None,
    enums: Mapping[str, Sequence[str]] | None = None,
) -> Any:
    """Returns the class of one message of a schema; its parser skips all fields not listed.

    `defaults` are by field, or by message and field: "Anchors.min_level". `enums` are types by
    name, with their values.
    """
    types = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name=f"ssd_keras/{package}.proto", package=package, syntax="proto2"
    )
    for enum_name, values in (enums or {}).items():
        enum = file.enum_type.add(name=enum_name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    for message_name, fields in schema.items():
        message = file.message_type.add(name=message_name)
        for field, number, field_type, repeated in fields:
            entry = message.field.add(name=field, number=number)
            entry.label = types.LABEL_REPEATED if repeated else types.LABEL_OPTIONAL
            if field_type in schema:
                entry.type, entry.type_name = types.TYPE_MESSAGE, f".{package}.{field_type}"
            elif enums and field_type in enums:
                entry.type, entry.type_name = types.TYPE_ENUM, f".{package}.{field_type}"
            else:
                entry.type = types.Type.Value(f"TYPE_{field_type.upper()}")
            for key in (field, f"{message_name}.{field}"):
                if defaults and key in defaults:
                    entry.default_value = defaults[key]
            if repeated and field_type == "int64":
                entry.options.packed = True
    # Not the default pool, where an installed project may have the same messages.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
