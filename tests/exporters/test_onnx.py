"""ONNX files: the detections of Keras in ONNX Runtime and OpenVINO, and what a file says."""

import dataclasses
import functools
import json
import re
from pathlib import Path

import exports
import numpy as np
import pytest

from ssd_keras import PostProcess, load_detector
from ssd_keras.core.files import PARTIAL_PREFIX
from ssd_keras.data.images import resize_image
from ssd_keras.engine.detector import KerasDetector
from ssd_keras.engine.model_summary import model_summary
from ssd_keras.exporters.export import export
from ssd_keras.exporters.formats import FORMATS, KEYS, OUTPUTS
from ssd_keras.presets import PRESETS
from ssd_keras.version import __version__

onnx, onnxruntime, _ = (
    pytest.importorskip(name, reason=f"NOT TESTED: {name} is not installed")
    for name in FORMATS["onnx"].packages
)
onnx_format = FORMATS["onnx"].functions
POST_PROCESS = PostProcess(0.8, 0.4, max_candidates=150, max_detections=60)


@functools.cache
def small_model():
    model = exports.lively_model(image_size=(64, 96), width=4, post_process=POST_PROCESS)
    model.display_threshold = {"star": 0.25}
    return model


@functools.cache
def input_images():
    resized = [resize_image(image, small_model().image_size) for image in exports.images()]
    return np.rint(np.stack(resized)).astype("uint8")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The path of the small model's file and the report of its export."""
    path = str(tmp_path_factory.mktemp("onnx") / "small.onnx")
    return path, export(small_model(), path, "onnx")


def assert_equal(found, expected):
    for name in ("labels", "num_detections"):
        np.testing.assert_array_equal(found[name], expected[name])
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-5)
    np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=2e-5)


def test_detections_are_those_of_keras(written):
    path, report = written
    assert report.num_agreed == report.num_compared > 100
    detector = load_detector(path)
    assert detector.class_names == small_model().class_names
    assert detector.image_size == (64, 96)
    assert detector.display_threshold == (0.5, 0.5, 0.5, 0.25, 0.5)
    expected = KerasDetector(small_model())(input_images())
    assert 10 < expected["num_detections"].min() < expected["num_detections"].max() <= 60
    assert_equal(detector(input_images()), expected)
    # Resized images are floats; a file takes the nearest whole numbers.
    assert_equal(detector(input_images() + np.float32(0.4)), expected)


VARIANTS = {
    "one list": {
        "candidates_per_class": False,
        "max_detections_per_class": 4,
        "clip_boxes": "before",
        "score_threshold": 0.3,
    },
    "by class": {"score_threshold": (0.9, 0.8, 0.95, 0.85, 1.0)},
    "across classes": {"class_agnostic": True, "iou_threshold": 0.2, "clip_boxes": "after"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_each_kind_of_post_processing(name, tmp_path):
    post_process = dataclasses.replace(POST_PROCESS, **VARIANTS[name])
    path = str(tmp_path / "x.onnx")
    onnx_format.write(small_model(), path, post_process, ())
    expected = KerasDetector(small_model(), post_process)(input_images())
    assert expected["num_detections"].min() > 10
    assert_equal(load_detector(path)(input_images()), expected)
    onnx_format.write(small_model(), path, post_process, (), batch="any")
    assert onnx_format.check_operators(path)["NonMaxSuppression"] == 1
    outputs = onnxruntime.InferenceSession(path).run(list(OUTPUTS), {"images": input_images()})
    assert_equal(dict(zip(KEYS, outputs, strict=True)), expected)


def test_a_file_names_its_classes_thresholds_and_origin(written):
    path, report = written
    file = onnx.load(path)
    facts = {entry.key: json.loads(entry.value) for entry in file.metadata_props}
    assert facts["class_names"] == ["circle", "square", "triangle", "star", "cross"]
    assert PostProcess(**facts["post_process"]) == POST_PROCESS
    assert facts["origin"] == small_model().origin.to_dict()
    assert file.producer_version == __version__
    assert [(opset.domain, opset.version) for opset in file.opset_import] == [("", 13)]
    lines = model_summary(path).splitlines()
    assert lines[0].endswith(f"small.onnx: ONNX, {report.size / 1e6:.2f} MB")
    assert lines[1] == "input: images uint8[1, 64, 96, 3]"
    assert lines[2] == (
        "output: detection_boxes float[1, 60, 4], detection_classes int32[1, 60], "
        "detection_scores float[1, 60], num_detections int32[1]"
    )
    assert lines[3].startswith("operators: ")
    assert {"Conv 18", "NonMaxSuppression 1"} <= set(lines[3][11:].split(", "))
    assert lines[4].startswith("5 classes: circle, ")
    assert lines[5] == (
        "display thresholds: circle 0.5, square 0.5, triangle 0.5, star 0.25, cross 0.5"
    )


def test_convolutions_follow_each_other(written):
    # One transpose at the input, one behind each of 2 x 4 heads; batch norm is in the weights.
    counts = written[1].operators
    num_heads = 2 * len(small_model().feature_sizes)
    assert counts["Transpose"] <= 2 + num_heads and "BatchNormalization" not in counts


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NOT TESTED: there is no /dev/full")
def test_a_full_disk_is_told_in_the_words_of_the_disk(tmp_path):
    (tmp_path / f"{PARTIAL_PREFIX}small.onnx").symlink_to("/dev/full")
    with pytest.raises(ValueError, match=r"small\.onnx' cannot be written \(No space left on dev"):
        export(small_model(), str(tmp_path / "small.onnx"), "onnx")
    assert not list(tmp_path.iterdir())


def test_a_broken_graph_is_refused(written, tmp_path):
    file = onnx.load(written[0])
    path = str(tmp_path / "broken.onnx")
    file.graph.output.reverse()
    onnx.save(file, path)
    with pytest.raises(ValueError, match="ends in num_detections, .* with 1 NMS .* of ONNX; its"):
        onnx_format.check_operators(path)
    (node,) = (node for node in file.graph.node if node.op_type == "NonMaxSuppression")
    node.op_type, node.domain = "Other", "com.else"
    file.graph.output.reverse()
    onnx.save(file, path)
    with pytest.raises(ValueError, match="ends in detection_boxes, .* 0 NMS .* of com.else; its"):
        onnx_format.check_operators(path)


def test_files_of_others_are_refused_in_one_line(written, tmp_path):
    file = onnx.load(written[0])
    del file.metadata_props[:]
    onnx.save(file, str(tmp_path / "plain.onnx"))
    (tmp_path / "text.onnx").write_text("no model")
    for name in ("plain", "text"):
        path = str(tmp_path / f"{name}.onnx")
        with pytest.raises(ValueError, match=f"{name}.onnx' cannot be used .*; expected a file th"):
            load_detector(path)


def test_the_documented_example_runs(written, capsys):
    text = (Path(__file__).parents[2] / "export" / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict = {}
    exec(code.replace("detector.onnx", written[0]), names)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == names["count"][0] > 0
    assert lines[0].split()[0] in small_model().class_names


@pytest.mark.slow
@pytest.mark.parametrize("name", [k for k, preset in PRESETS.items() if preset.weights is None])
def test_every_preset_agrees_with_keras(name, tmp_path):
    model = exports.lively_model(name, is_deep=True)
    report = export(model, str(tmp_path / "x.onnx"), "onnx", images=exports.images(2))
    assert report.num_compared > 5
    # Two transposes at a convolution would double the time of a phone's chip.
    assert report.operators["Transpose"] <= 2 + 2 * len(model.feature_sizes)


@pytest.mark.consumers
def test_openvino_gives_the_detections_of_keras(written):
    try:
        import openvino
    except ImportError:
        pytest.skip("NOT TESTED: OpenVINO is not installed")
    # Without the hint, it computes in bfloat16 where the processor can.
    compiled = openvino.Core().compile_model(written[0], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = [compiled(image[None]) for image in input_images()]
    boxes, labels, scores, counts = (
        np.concatenate([result[name] for result in results]) for name in OUTPUTS
    )
    found = {"boxes": boxes, "labels": labels, "scores": scores, "num_detections": counts}
    assert_equal(found, KerasDetector(small_model())(input_images()))
