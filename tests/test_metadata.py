"""Metadata of TFLite files, read back by MediaPipe's own generated code."""

import warnings

import numpy as np
import pytest

from ssd_keras.serving import metadata

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
    from mediapipe.tasks.metadata import (
        object_detector_metadata_schema_py_generated as detector_schema,
    )


def test_metadata_say_what_was_given():
    outputs = [
        metadata.box_output("location", "boxes"),
        metadata.label_output("category", "labels"),
        metadata.label_output("score", "scores", of_axis=True),
        metadata.plain_output("number of detections", "how many"),
    ]
    content = metadata.detector_metadata("cells", "finds cells", "1.2.3", outputs)
    assert content[4:8] == b"M001"
    model = schema.ModelMetadataT.InitFromPackedBuf(content, 0)
    assert (model.name, model.description, model.version) == (b"cells", b"finds cells", b"1.2.3")
    assert model.minParserVersion == b"1.5.0"
    (graph,) = model.subgraphMetadata
    assert graph.name == b"cells" and graph.customMetadata is None
    (image,) = graph.inputTensorMetadata
    assert image.name == b"image"
    assert image.content.contentProperties.colorSpace == schema.ColorSpaceType.RGB
    (unit,) = image.processUnits
    assert (unit.options.mean.tolist(), unit.options.std.tolist()) == ([0.0], [1.0])
    assert (image.stats.max.tolist(), image.stats.min.tolist()) == ([255.0], [0.0])
    boxes, labels, scores, count = graph.outputTensorMetadata
    names = [one.name for one in (boxes, labels, scores, count)]
    assert names == [b"location", b"category", b"score", b"number of detections"]
    assert boxes.description == b"boxes"
    properties = boxes.content.contentProperties
    assert properties.index.tolist() == [1, 0, 3, 2]
    assert properties.type == schema.BoundingBoxType.BOUNDARIES
    assert properties.coordinateType == schema.CoordinateType.RATIO
    (file,) = labels.associatedFiles
    assert file.name == b"labels.txt"
    assert file.type == schema.AssociatedFileType.TENSOR_VALUE_LABELS
    (file,) = scores.associatedFiles
    assert file.type == schema.AssociatedFileType.TENSOR_AXIS_LABELS
    assert count.associatedFiles is None


def test_default_boxes_say_what_was_given():
    # Box 2 spans y 0.2..0.6 and x 0.5..0.6: centre (0.55, 0.4), 0.1 wide, 0.4 high.
    boxes = np.float32([[0, 0, 1, 1], [0.2, 0.5, 0.6, 0.6]])
    entry = metadata.default_box_metadata(boxes, (0.1, 0.2, 0.25, 0.5), 7)
    content = metadata.detector_metadata("n", "d", "v", [], [entry])
    graph = schema.ModelMetadataT.InitFromPackedBuf(content, 0).subgraphMetadata[0]
    (custom,) = graph.customMetadata
    assert custom.name == b"DETECTOR_METADATA"
    data = bytes(custom.data)
    assert data[4:8] == b"V001"
    options = detector_schema.ObjectDetectorOptionsT.InitFromPackedBuf(data, 0)
    _, second = options.ssdAnchorsOptions.fixedAnchorsSchema.anchors
    found = (second.xCenter, second.yCenter, second.width, second.height)
    assert found == pytest.approx((0.55, 0.4, 0.1, 0.4))
    decoding = options.tensorsDecodingOptions
    assert (decoding.numClasses, decoding.numBoxes, decoding.numCoords) == (7, 2, 4)
    assert (decoding.keypointCoordOffset, decoding.numKeypoints) == (0, 0)
    scales = (decoding.yScale, decoding.xScale, decoding.hScale, decoding.wScale)
    assert scales == pytest.approx((10, 5, 4, 2))
    assert decoding.applyExponentialOnBoxSize is True and decoding.sigmoidScore is False


def test_labels_come_back_and_leave_the_file_as_it_was():
    content = metadata.with_labels(b"a model", ["red cell", "Blutplättchen"])
    assert content.startswith(b"a model")
    assert metadata.read_labels(content) == ("red cell", "Blutplättchen")


def test_a_file_without_labels_is_told():
    with pytest.raises(ValueError, match="has no labels; expected one that `ssd-keras export`"):
        metadata.read_labels(b"a model")
