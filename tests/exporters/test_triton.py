"""Models for Triton Inference Server: the ONNX file takes batches, the configuration names it."""

import functools
import json
import subprocess

import exports
import numpy as np
import pytest
from server_process import SERVERS_PYTHON, skip_without

from ssd_keras import PostProcess, load_detector
from ssd_keras.data.images import resize_image
from ssd_keras.engine.detector import KerasDetector
from ssd_keras.engine.model_summary import model_summary
from ssd_keras.exporters.export import export
from ssd_keras.exporters.formats import FORMATS, OUTPUTS

onnx, onnxruntime, _ = (
    pytest.importorskip(name, reason=f"NOT TESTED: {name} is not installed")
    for name in FORMATS["triton"].packages
)
SLOTS = 60
CLASS_NAMES = ('the "red" one', "grün\\", "light blue")
TYPES = {"TYPE_UINT8": "uint8", "TYPE_FP32": "float32", "TYPE_INT32": "int32"}


@functools.cache
def small_model():
    post_process = PostProcess(0.95, 0.4, max_candidates=150, max_detections=SLOTS)
    return exports.lively_model(
        class_names=CLASS_NAMES, image_size=(64, 96), width=4, post_process=post_process
    )


@functools.cache
def input_images():
    resized = [resize_image(image, small_model().image_size) for image in exports.images()]
    return np.rint(np.stack(resized)).astype("uint8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "detector"
    report = export(small_model(), str(path), "triton", max_batch_size=4)
    assert report.num_agreed == report.num_compared > 50
    assert report.operators["NonMaxSuppression"] == report.operators["Loop"] == 1
    return path


def test_a_batch_gives_the_detections_of_keras(folder):
    assert sorted(str(x.relative_to(folder)) for x in folder.rglob("*") if x.is_file()) == [
        "1/model.onnx",
        "config.pbtxt",
    ]
    session = onnxruntime.InferenceSession(folder / "1" / "model.onnx")
    expected = KerasDetector(small_model())(input_images())
    assert 5 < expected["num_detections"].min() < expected["num_detections"].max() <= SLOTS
    for rows in ([0, 1, 2, 3], [2], [3, 0]):
        outputs = session.run(list(OUTPUTS), {"images": input_images()[rows]})
        boxes, labels, scores, counts = outputs
        np.testing.assert_array_equal(counts, expected["num_detections"][rows])
        np.testing.assert_array_equal(labels, expected["labels"][rows])
        np.testing.assert_allclose(scores, expected["scores"][rows], atol=1e-5)
        np.testing.assert_allclose(boxes, expected["boxes"][rows], atol=2e-5)


def test_a_folder_is_loaded_like_a_file(folder):
    detector = load_detector(str(folder))
    assert detector.class_names == CLASS_NAMES and detector.image_size == (64, 96)
    expected = KerasDetector(small_model())(input_images())
    found = detector(input_images())
    np.testing.assert_array_equal(found["labels"], expected["labels"])
    lines = model_summary(str(folder)).splitlines()
    assert "detector: Triton model, " in lines[0]
    assert lines[1] == "input: images uint8['batch', 64, 96, 3]"
    assert "NonMaxSuppression 1" in lines[3]


def test_wrong_sizes_of_batches_are_refused(tmp_path):
    with pytest.raises(ValueError, match="max_batch_size is 0; expected a whole number of 1 or"):
        export(small_model(), str(tmp_path / "x"), "triton", max_batch_size=0)


PARSE = """
import sys
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2
text = open(sys.argv[1], encoding="utf-8").read()
config = text_format.Parse(text, model_config_pb2.ModelConfig())
print(json_format.MessageToJson(config, preserving_proto_field_name=True))
"""


@pytest.mark.servers
def test_triton_reads_the_configuration_of_this_file(folder):
    """Parsed by Triton's own definition; names, types and dims are those of the ONNX file."""
    skip_without("tritonclient")
    command = [SERVERS_PYTHON, "-c", PARSE, folder / "config.pbtxt"]
    config = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert config["backend"] == "onnxruntime" and config["max_batch_size"] == 4
    assert config["dynamic_batching"] == {"max_queue_delay_microseconds": "5000"}
    graph = onnx.load(folder / "1" / "model.onnx").graph
    for key, values in (("input", graph.input), ("output", graph.output)):
        assert [entry["name"] for entry in config[key]] == [value.name for value in values]
        for entry, value in zip(config[key], values, strict=True):
            dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            assert TYPES[entry["data_type"]] == dtype
            batch, *dims = value.type.tensor_type.shape.dim
            assert batch.dim_param == "batch"
            stated = entry["dims"] if "reshape" not in entry else entry["reshape"].get("shape", [])
            assert [int(size) for size in stated] == [dim.dim_value for dim in dims]
    names = json.loads(config["parameters"]["class_names"]["string_value"])
    assert tuple(names) == CLASS_NAMES
    (warm_up,) = config["model_warmup"]
    assert warm_up["inputs"]["images"]["dims"] == config["input"][0]["dims"]
