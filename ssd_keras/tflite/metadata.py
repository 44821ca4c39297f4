"""Metadata of TFLite detectors as MediaPipe reads it: the meaning of the tensors, the labels.

Keys of a `Table` are field numbers of MediaPipe's metadata_schema.fbs (version 1.5.0) and
object_detector_metadata_schema.fbs.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np

from ssd_keras.tflite.tables import Table, table_bytes

METADATA_NAME = "TFLITE_METADATA"
LABELS_FILE = "labels.txt"
MAX_LABELS = 8 << 20  # bytes
PARSER_VERSION = "1.5.0"
# Members of enumerations and unions.
LABELS_OF_AXIS, LABELS_OF_VALUES = np.int8(2), np.int8(3)
FEATURE_CONTENT, IMAGE_CONTENT, BOX_CONTENT = np.uint8(1), np.uint8(2), np.uint8(3)
RGB, BOUNDARIES, NORMALIZATION = np.int8(1), np.int8(1), np.uint8(1)
# The positions of left, top, right and bottom in a box yxyx.
YXYX_ORDER = np.array([1, 0, 3, 2], "uint32")


def detector_metadata(
    name: str,
    description: str,
    version: str,
    outputs: Sequence[Table],
    custom: Sequence[Table] = (),
    licence: str = "",
) -> bytes:
    """Returns the metadata of a detector with one input image."""
    # Images stay 0..255: the network does its own preprocessing.
    normalization = Table({0: np.zeros(1, "float32"), 1: np.ones(1, "float32")})
    image = Table(
        {
            0: "image",
            1: "RGB image, 0..255.",
            3: Table({0: IMAGE_CONTENT, 1: Table({0: RGB})}),
            4: [Table({0: NORMALIZATION, 1: normalization})],
            5: Table({0: np.full(1, 255, "float32"), 1: np.zeros(1, "float32")}),
        }
    )
    graph = Table({0: name, 2: [image], 3: list(outputs)})
    if custom:
        graph[9] = list(custom)
    model = Table({0: name, 1: description, 2: version, 3: [graph], 7: PARSER_VERSION})
    if licence:
        model[5] = licence
    return table_bytes(model, b"M001")


def box_output(name: str, description: str) -> Table:
    """Describes an output of boxes, relative yxyx."""
    properties = Table({0: YXYX_ORDER, 1: BOUNDARIES})
    return Table({0: name, 1: description, 3: Table({0: BOX_CONTENT, 1: properties})})


def plain_output(name: str, description: str) -> Table:
    """Describes an output of numbers."""
    return Table({0: name, 1: description, 3: Table({0: FEATURE_CONTENT, 1: Table({})})})


def label_output(name: str, description: str, of_axis: bool = False) -> Table:
    """Describes an output whose values, or whose last axis, the labels name."""
    label_type = LABELS_OF_AXIS if of_axis else LABELS_OF_VALUES
    labels = Table({0: LABELS_FILE, 1: "Names of the classes, in order.", 2: label_type})
    return Table({**plain_output(name, description), 6: [labels]})


def default_box_metadata(
    default_boxes: np.ndarray, variances: Sequence[float], num_classes: int
) -> Table:
    """Returns what MediaPipe needs to decode raw outputs: default boxes [N, 4] and scales."""
    center_y, center_x = ((default_boxes[:, :2] + default_boxes[:, 2:]) / 2).T
    height, width = (default_boxes[:, 2:] - default_boxes[:, :2]).T
    anchors = [
        Table(dict(enumerate(row))) for row in np.stack([center_x, center_y, width, height], axis=1)
    ]
    y_scale, x_scale, height_scale, width_scale = (np.float32(1 / value) for value in variances)
    decoding = Table(
        {
            0: np.int32(num_classes),
            1: np.int32(len(default_boxes)),
            2: np.int32(4),  # numbers per box
            3: np.int32(0),  # keypoints: offset, count, numbers per keypoint; there are none
            4: np.int32(0),
            5: np.int32(2),
            6: x_scale,
            7: y_scale,
            8: width_scale,
            9: height_scale,
            10: np.bool_(True),  # widths and heights are logarithms
            11: np.bool_(False),  # scores are probabilities already
        }
    )
    boxes = Table({0: Table({0: anchors})})
    options = table_bytes(Table({0: PARSER_VERSION, 1: boxes, 2: decoding}), b"V001")
    return Table({0: "DETECTOR_METADATA", 1: np.frombuffer(options, "uint8")})


def with_labels(
    model: bytes, class_names: Sequence[str], files: Mapping[str, str] | None = None
) -> bytes:
    """Appends the labels, and other files by name, to a TFLite file as a zip archive."""
    file = io.BytesIO()
    file.write(model)
    labels = "".join(f"{name}\n" for name in class_names)
    with zipfile.ZipFile(file, "a") as archive:
        for name, text in {LABELS_FILE: labels, **(files or {})}.items():
            # A fixed date: the same model gives the same file.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)
    return file.getvalue()


def read_file(model: bytes, name: str) -> bytes | None:
    """Reads a file that `with_labels` appended; None where there is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            return archive.read(name)
    except (zipfile.BadZipFile, KeyError):
        return None


def read_labels(model: bytes) -> tuple[str, ...]:
    """Reads the labels that `with_labels` appended."""
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            size = archive.getinfo(LABELS_FILE).file_size
            if size > MAX_LABELS:
                raise ValueError(f"the labels have {size} bytes, more than {MAX_LABELS}.")
            return tuple(archive.read(LABELS_FILE).decode().splitlines())
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(
            "the TFLite file has no labels; expected one that `ssd-keras export` wrote."
        ) from error
