"""Metadata of TFLite files, read back field by field by MediaPipe's own generated code."""

import io
import warnings
import zipfile

import flatbuffers
import numpy as np
import pytest

from ssd_keras.tflite import metadata
from ssd_keras.tflite.tables import Table, table_bytes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
    from mediapipe.tasks.metadata import (
        object_detector_metadata_schema_py_generated as detector_schema,
    )


def fields(value):
    """A generated object as nested dictionaries; what is absent is left out."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list):
        return [fields(entry) for entry in value]
    if hasattr(value, "__dict__"):
        named = {name: fields(entry) for name, entry in vars(value).items()}
        return {name: entry for name, entry in named.items() if entry is not None}
    return value


def read(content):
    """The metadata of a model as nested dictionaries."""
    assert content[4:8] == b"M001"
    return fields(schema.ModelMetadataT.InitFromPackedBuf(content, 0))


# An image of bytes that no reader must rescale: mean 0, deviation 1, 0..255.
IMAGE = {
    "name": "image",
    "description": "RGB image, 0..255.",
    "content": {
        "contentPropertiesType": schema.ContentProperties.ImageProperties,
        "contentProperties": {"colorSpace": schema.ColorSpaceType.RGB},
    },
    "processUnits": [
        {
            "optionsType": schema.ProcessUnitOptions.NormalizationOptions,
            "options": {"mean": [0.0], "std": [1.0]},
        }
    ],
    "stats": {"max": [255.0], "min": [0.0]},
}
PLAIN_CONTENT = {
    "contentPropertiesType": schema.ContentProperties.FeatureProperties,
    "contentProperties": {},
}


def labels_of(kind):
    return [{"name": "labels.txt", "description": "Names of the classes, in order.", "type": kind}]


def test_every_field_is_what_was_given():
    outputs = [
        metadata.box_output("location", "where"),
        metadata.label_output("category", "what"),
        metadata.label_output("score", "how sure", of_axis=True),
        metadata.plain_output("number of detections", "how many"),
    ]
    content = metadata.detector_metadata("blood", "Finds cells.", "1.2.3", outputs)
    boxes = {
        # Left, top, right and bottom stand at 1, 0, 3 and 2 of a yxyx box.
        "index": [1, 0, 3, 2],
        "type": schema.BoundingBoxType.BOUNDARIES,
        "coordinateType": schema.CoordinateType.RATIO,
    }
    kinds = schema.AssociatedFileType
    graph = {
        "name": "blood",
        "inputTensorMetadata": [IMAGE],
        "outputTensorMetadata": [
            {
                "name": "location",
                "description": "where",
                "content": {
                    "contentPropertiesType": schema.ContentProperties.BoundingBoxProperties,
                    "contentProperties": boxes,
                },
            },
            {
                "name": "category",
                "description": "what",
                "content": PLAIN_CONTENT,
                "associatedFiles": labels_of(kinds.TENSOR_VALUE_LABELS),
            },
            {
                "name": "score",
                "description": "how sure",
                "content": PLAIN_CONTENT,
                "associatedFiles": labels_of(kinds.TENSOR_AXIS_LABELS),
            },
            {
                "name": "number of detections",
                "description": "how many",
                "content": PLAIN_CONTENT,
            },
        ],
    }
    assert read(content) == {
        "name": "blood",
        "description": "Finds cells.",
        "version": "1.2.3",
        "subgraphMetadata": [graph],
        "minParserVersion": "1.5.0",
    }


def test_default_boxes_by_hand():
    # Centres (x, y), then width and height; the second spans y 0.25..0.75 and x 0.5..0.625:
    # x (0.5 + 0.625) / 2 = 0.5625, y 0.5, width 0.125, height 0.5. All are exact in float32.
    boxes = np.float32([[-0.5, 0, 1, 1], [0.25, 0.5, 0.75, 0.625]])
    entry = metadata.default_box_metadata(boxes, (0.125, 0.25, 0.5, 2.0), 7)
    graph = read(metadata.detector_metadata("n", "d", "v", [], [entry]))["subgraphMetadata"][0]
    (custom,) = graph["customMetadata"]
    assert custom["name"] == "DETECTOR_METADATA"
    content = bytes(custom["data"])
    assert content[4:8] == b"V001"
    options = fields(detector_schema.ObjectDetectorOptionsT.InitFromPackedBuf(content, 0))
    anchors = [
        {"xCenter": 0.5, "yCenter": 0.25, "width": 1.0, "height": 1.5},
        {"xCenter": 0.5625, "yCenter": 0.5, "width": 0.125, "height": 0.5},
    ]
    decoding = {
        "numClasses": 7, "numBoxes": 2, "numCoords": 4,
        "keypointCoordOffset": 0, "numKeypoints": 0, "numValuesPerKeypoint": 2,
        # Divisors: one by the variances of y, x, height, width.
        "yScale": 8.0, "xScale": 4.0, "hScale": 2.0, "wScale": 0.5,
        "applyExponentialOnBoxSize": True, "sigmoidScore": False,
    }  # fmt: skip
    assert options == {
        "minParserVersion": "1.5.0",
        "ssdAnchorsOptions": {"fixedAnchorsSchema": {"anchors": anchors}},
        "tensorsDecodingOptions": decoding,
    }


def test_labels_lie_in_a_zip_archive_behind_the_file():
    content = metadata.with_labels(b"a model", ["red cell", "Blutplättchen", "3"])
    assert content.startswith(b"a model")
    assert metadata.read_labels(content) == ("red cell", "Blutplättchen", "3")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (entry,) = archive.infolist()
        # Readers map the file and want the bytes themselves.
        assert entry.compress_type == zipfile.ZIP_STORED
        assert archive.read("labels.txt").decode() == "red cell\nBlutplättchen\n3\n"
    assert metadata.with_labels(b"a model", ["red cell", "Blutplättchen", "3"]) == content


def test_a_file_without_labels_is_told():
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("other.txt", "cat\n")
    for content in (b"a model", other.getvalue()):
        with pytest.raises(ValueError, match="has no labels; expected one that `ssd-keras export`"):
            metadata.read_labels(content)


def test_tables_hold_every_kind_of_value():
    # Read by the positions of the format alone: field n has the place 4 + 2n of the vtable.
    scalars = {
        0: np.bool_(True), 1: np.int8(-7), 2: np.uint8(200), 3: np.int32(-70000),
        4: np.uint32(4_000_000_000), 6: np.float32(-0.375),
    }  # fmt: skip
    pointed = {7: "naïve", 8: np.array([1.5, -2.5], "float32"), 9: [Table({0: np.int8(9)})] * 2}
    content = table_bytes(Table({**scalars, **pointed}), b"TEST")
    assert flatbuffers.util.BufferHasIdentifier(content, 0, b"TEST")
    root = int.from_bytes(content[:4], "little")
    table = flatbuffers.table.Table(content, root)
    types = flatbuffers.number_types
    kinds = {"bool": types.BoolFlags, "int8": types.Int8Flags, "uint8": types.Uint8Flags}
    kinds |= {"int32": types.Int32Flags, "uint32": types.Uint32Flags}
    kinds |= {"float32": types.Float32Flags}
    for place, value in scalars.items():
        offset = table.Offset(4 + 2 * place)
        assert offset and table.Get(kinds[value.dtype.name], root + offset) == value
    assert table.Offset(4 + 2 * 5) == 0
    assert table.String(root + table.Offset(18)).decode() == "naïve"
    numbers = table.GetVectorAsNumpy(types.Float32Flags, table.Offset(20))
    assert numbers.tolist() == [1.5, -2.5]
    assert (len(content) - table.Vector(table.Offset(20))) % 4 == 0
    start = table.Vector(table.Offset(22))
    assert table.VectorLen(table.Offset(22)) == 2
    for place in (start, start + 4):
        entry = flatbuffers.table.Table(content, table.Indirect(place))
        assert entry.Get(types.Int8Flags, entry.Pos + entry.Offset(4)) == 9


def test_a_value_of_the_default_is_written_too():
    # An absent score threshold is not a threshold of 0: what is given must be there.
    content = table_bytes(Table({0: np.float32(0), 1: np.bool_(False)}), b"TEST")
    table = flatbuffers.table.Table(content, int.from_bytes(content[:4], "little"))
    assert table.Offset(4) and table.Offset(6)
