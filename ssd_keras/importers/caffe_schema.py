"""The few messages and fields of Caffe's protobuf schema that weights need, built at run time.

Numbers and types are those of ``caffe.proto`` in weiliu89/caffe (branch ssd), which BVLC's own
files share. A parser skips every field that is not listed, so other forks' files are read too.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "ssd_keras_caffe"

# message: (field, number, type, repeated). A type in capitals is another message.
MESSAGES: dict[str, tuple[tuple[str, int, str, bool], ...]] = {
    "NetParameter": (
        ("layers", 2, "V1LayerParameter", True),  # before 2014
        ("layer", 100, "LayerParameter", True),
    ),
    "LayerParameter": (
        ("name", 1, "bytes", False),  # text, in a sound file
        ("blobs", 7, "BlobProto", True),
        ("prior_box_param", 203, "PriorBoxParameter", False),
    ),
    "V1LayerParameter": (
        ("name", 4, "bytes", False),
        ("blobs", 6, "BlobProto", True),
    ),
    "BlobProto": (
        # Four dimensions of the time before `shape`.
        ("num", 1, "int32", False),
        ("channels", 2, "int32", False),
        ("height", 3, "int32", False),
        ("width", 4, "int32", False),
        # Packed numbers lie in the file as a field of bytes does, and NumPy reads those at once
        # instead of making 26 million Python floats. Caffe writes both fields packed.
        ("data", 5, "bytes", False),
        ("shape", 7, "BlobShape", False),
        ("double_data", 8, "bytes", False),
    ),
    "BlobShape": (("dim", 1, "int64", True),),
    "PriorBoxParameter": (
        ("min_size", 1, "float", True),
        ("max_size", 2, "float", True),
        ("aspect_ratio", 3, "float", True),
        ("flip", 4, "bool", False),
        ("clip", 5, "bool", False),
        ("variance", 6, "float", True),
        ("step", 10, "float", False),
        ("step_h", 11, "float", False),
        ("step_w", 12, "float", False),
        ("offset", 13, "float", False),
    ),
}

DEFAULTS = {"flip": "true", "offset": "0.5"}


def _build() -> Any:
    """The class of `NetParameter`, in a pool of its own: an installed Caffe may have the same."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="ssd_keras/caffe.proto", package=PACKAGE, syntax="proto2"
    )
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            entry = message.field.add(name=field, number=number)
            entry.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in MESSAGES:
                entry.type, entry.type_name = kinds.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                entry.type = getattr(kinds, f"TYPE_{kind.upper()}")
            if field in DEFAULTS:
                entry.default_value = DEFAULTS[field]
            if kind == "int64":
                entry.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.NetParameter"))


NetParameter = _build()
"""Message class of a ``.caffemodel`` file."""
