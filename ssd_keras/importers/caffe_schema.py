"""Messages and fields of Caffe's protobuf schema that hold weights, built at run time.

Numbers and types are those of ``caffe.proto`` in weiliu89/caffe (branch ssd) and in BVLC's Caffe.
The parser skips fields that are not listed, so that files of other forks are read too.
"""

from ssd_keras.core.protobuf import Schema, message_class

PACKAGE = "ssd_keras_caffe"

# message: (field, number, type, repeated). A capitalised type is another message.
MESSAGES: Schema = {
    "NetParameter": (
        ("layers", 2, "V1LayerParameter", True),  # before 2014
        ("layer", 100, "LayerParameter", True),
    ),
    "LayerParameter": (
        ("name", 1, "bytes", False),  # text, unless the file is damaged
        ("blobs", 7, "BlobProto", True),
        ("prior_box_param", 203, "PriorBoxParameter", False),
    ),
    "V1LayerParameter": (
        ("name", 4, "bytes", False),
        ("blobs", 6, "BlobProto", True),
    ),
    "BlobProto": (
        # The shape in files without `shape`.
        ("num", 1, "int32", False),
        ("channels", 2, "int32", False),
        ("height", 3, "int32", False),
        ("width", 4, "int32", False),
        # Caffe packs numbers, which look like bytes in the file. As bytes, NumPy reads them at
        # once, without 26 million Python floats.
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

# Message class of a .caffemodel file.
NetParameter = message_class(PACKAGE, MESSAGES, "NetParameter", DEFAULTS)
