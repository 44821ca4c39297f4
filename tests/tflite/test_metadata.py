"""Metadata of TFLite files, read field by field with MediaPipe's generated code."""

import importlib
import io
import warnings
import zipfile

import flatbuffers
import numpy as np
import pytest

from ssd_keras.tflite import metadata
from ssd_keras.tflite.tables import Table, table_bytes


def mediapipe_schema(name):
    """A module of MediaPipe that reads one schema of metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("mediapipe", reason="NOT TESTED: MediaPipe is not installed")
        return importlib.import_module(f"mediapipe.tasks.metadata.{name}_schema_py_generated")


@pytest.fixture(scope="module")
def schema():
    return mediapipe_schema("metadata")


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


def read(content, schema):
    """The metadata of a model as nested dictionaries."""
    assert content[4:8] == b"M001"
    return fields(schema.ModelMetadataT.InitFromPackedBuf(content, 0))


def image_of_bytes(schema):
    """An image that no reader must rescale: mean 0, deviation 1, 0..255."""
    return {
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


def labels_of(file_type):
    description = "Names of the classes, in order."
    return [{"name": "labels.txt", "description": description, "type": file_type}]


@pytest.mark.consumers
def test_every_field_is_what_was_given(schema):
    outputs = [
        metadata.box_output("location", "where"),
        metadata.label_output("category", "what"),
        metadata.label_output("score", "how sure", of_axis=True),
        metadata.plain_output("number of detections", "how many"),
    ]
    content = metadata.detector_metadata("blood", "Finds cells.", "1.2.3", outputs, licence="MIT")
    boxes = {
        # Left, top, right and bottom stand at 1, 0, 3 and 2 of a yxyx box.
        "index": [1, 0, 3, 2],
        "type": schema.BoundingBoxType.BOUNDARIES,
        "coordinateType": schema.CoordinateType.RATIO,
    }
    plain_content = {
        "contentPropertiesType": schema.ContentProperties.FeatureProperties,
        "contentProperties": {},
    }
    file_types = schema.AssociatedFileType
    graph = {
        "name": "blood",
        "inputTensorMetadata": [image_of_bytes(schema)],
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
                "content": plain_content,
                "associatedFiles": labels_of(file_types.TENSOR_VALUE_LABELS),
            },
            {
                "name": "score",
                "description": "how sure",
                "content": plain_content,
                "associatedFiles": labels_of(file_types.TENSOR_AXIS_LABELS),
            },
            {
                "name": "number of detections",
                "description": "how many",
                "content": plain_content,
            },
        ],
    }
    assert read(content, schema) == {
        "name": "blood",
        "description": "Finds cells.",
        "version": "1.2.3",
        "license": "MIT",
        "subgraphMetadata": [graph],
        "minParserVersion": "1.5.0",
    }


@pytest.mark.consumers
def test_default_boxes_by_hand(schema):
    # Centres (x, y), then width and height; the second spans y 0.25..0.75 and x 0.5..0.625:
    # x (0.5 + 0.625) / 2 = 0.5625, y 0.5, width 0.125, height 0.5. All are exact in float32.
    boxes = np.float32([[-0.5, 0, 1, 1], [0.25, 0.5, 0.75, 0.625]])
    entry = metadata.default_box_metadata(boxes, (0.125, 0.25, 0.5, 2.0), 7)
    content = metadata.detector_metadata("n", "d", "v", [], [entry])
    (graph,) = read(content, schema)["subgraphMetadata"]
    (custom,) = graph["customMetadata"]
    assert custom["name"] == "DETECTOR_METADATA"
    content = bytes(custom["data"])
    assert content[4:8] == b"V001"
    detector_schema = mediapipe_schema("object_detector_metadata")
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
        # Readers map the file: the bytes are stored uncompressed.
        assert entry.compress_type == zipfile.ZIP_STORED
        assert archive.read("labels.txt").decode() == "red cell\nBlutplättchen\n3\n"
    assert metadata.with_labels(b"a model", ["red cell", "Blutplättchen", "3"]) == content


def test_file_without_labels_is_refused():
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("other.txt", "cat\n")
    for content in (b"a model", other.getvalue()):
        with pytest.raises(ValueError, match="has no labels; expected one that `ssd-keras export`"):
            metadata.read_labels(content)


def test_tables_hold_every_kind_of_value():
    # Read by the format's positions alone: field n stands at 4 + 2n of the vtable.
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
    for index, value in scalars.items():
        offset = table.Offset(4 + 2 * index)
        assert offset and table.Get(kinds[value.dtype.name], root + offset) == value
    assert table.Offset(4 + 2 * 5) == 0
    assert table.String(root + table.Offset(18)).decode() == "naïve"
    numbers = table.GetVectorAsNumpy(types.Float32Flags, table.Offset(20))
    assert numbers.tolist() == [1.5, -2.5]
    assert (len(content) - table.Vector(table.Offset(20))) % 4 == 0
    start = table.Vector(table.Offset(22))
    assert table.VectorLen(table.Offset(22)) == 2
    for position in (start, start + 4):
        entry = flatbuffers.table.Table(content, table.Indirect(position))
        assert entry.Get(types.Int8Flags, entry.Pos + entry.Offset(4)) == 9


def test_default_values_are_written_too():
    # An absent score threshold is not a threshold of 0: each given value is written.
    content = table_bytes(Table({0: np.float32(0), 1: np.bool_(False)}), b"TEST")
    table = flatbuffers.table.Table(content, int.from_bytes(content[:4], "little"))
    assert table.Offset(4) and table.Offset(6)
