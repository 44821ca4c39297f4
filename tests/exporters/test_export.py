"""Exporting as a whole: the command, `model.export`, the check, and the files it leaves."""

import functools
import json
import os
import re
import subprocess
import sys

import exports
import keras
import numpy as np
import pytest
import tensorflow as tf
from trainings import finished_run

from ssd_keras import PostProcess, cli, load_detector
from ssd_keras.data.images import resize_image
from ssd_keras.engine.detector import KerasDetector
from ssd_keras.exporters import check
from ssd_keras.exporters.export import export
from ssd_keras.exporters.saved_model import write_saved_model
from ssd_keras.exporters.tflite import OUTPUTS, tflite_model

DATA = "synthetic:shapes@val[:8]"


@functools.cache
def small_model():
    return exports.lively_model(image_size=(64, 96), width=4)


def image_of_model():
    resized = resize_image(exports.images()[0], small_model().image_size)
    return np.rint(resized.numpy()).astype("uint8")


def test_model_export_writes_whole_detectors(tmp_path, capsys):
    model, image = small_model(), image_of_model()
    expected = KerasDetector(model)(image[None])
    model.export(str(tmp_path / "saved" / "1"))
    model.export(str(tmp_path / "model.tflite"), format="litert")
    output = capsys.readouterr().out
    assert "1: " in output and "NON_MAX_SUPPRESSION_V5 1" in output
    assert "agree with Keras" in output
    for path in ("saved/1", "model.tflite"):
        detector = load_detector(str(tmp_path / path))
        assert detector.class_names == model.class_names
        found = detector(image[None])
        np.testing.assert_array_equal(found["labels"], expected["labels"])
        np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=2e-4)


def test_info_describes_exports(tmp_path, capsys):
    model = small_model()
    write_saved_model(model, str(tmp_path / "saved"))
    (tmp_path / "model.tflite").write_bytes(tflite_model(model))
    (tmp_path / "bad.tflite").write_bytes(b"no model")
    assert cli.main(["info", str(tmp_path / "saved")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r".*saved: SavedModel, \d+\.\d\d MB", lines[0])
    signatures = dict(re.fullmatch(r"signature (\w+): (.*)", line).groups() for line in lines[1:4])
    assert set(signatures) == {"serving_default", "image_tensor", "tf_example"}
    assert signatures["serving_default"].startswith("image_bytes string[None] -> detection_boxes f")
    assert "detection_scores float32[None, 200]" in signatures["image_tensor"]
    assert lines[4] == "5 classes: circle, square, triangle, star, cross"
    assert cli.main(["info", str(tmp_path / "model.tflite")]) == 0
    lines = capsys.readouterr().out.splitlines()
    size = (tmp_path / "model.tflite").stat().st_size / 1e6
    assert lines[0].endswith(f"model.tflite: TFLite, {size:.2f} MB")
    assert lines[1] == "input: images uint8[1, 64, 96, 3]"
    assert lines[2].endswith(", num_detections float32[1]")
    assert "NON_MAX_SUPPRESSION_V5 1" in lines[3] and lines[4].startswith("5 classes: circle, ")
    assert cli.main(["info", str(tmp_path / "bad.tflite")]) == 2
    assert re.fullmatch(r"ssd-keras: '.*bad\.tflite' cannot be used: .*\n", capsys.readouterr().err)


def test_post_process_and_report(tmp_path):
    post_process = PostProcess(0.1, 0.3, 50, 7)
    path = str(tmp_path / "new" / "model.tflite")
    report = export(small_model(), path, "tflite", post_process=post_process, quantize="float16")
    assert report.path == path and report.size == os.path.getsize(path)
    assert report.operators["NON_MAX_SUPPRESSION_V5"] == 1 and report.seconds > 0
    assert 7 <= report.num_agreed <= report.num_compared
    assert load_detector(path)(image_of_model()[None])["boxes"].shape == (1, 7, 4)


def test_mixed_precision_exports_in_float32(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = exports.lively_model(image_size=(64, 96), width=4)
    finally:
        keras.config.set_dtype_policy("float32")
    plain = tflite_model(small_model())
    assert mixed.layers[2].compute_dtype == "bfloat16"
    for weight, other in zip(mixed.weights, small_model().weights, strict=True):
        weight.assign(other)
    assert tflite_model(mixed) == plain


def test_a_wrong_request_writes_nothing(tmp_path):
    (tmp_path / "thesis").write_text("years of work")
    with pytest.raises(ValueError, match="already exists and is not a SavedModel; choose another"):
        export(small_model(), str(tmp_path))
    with pytest.raises(ValueError, match="^quantize is an option of tflite, not of saved_model"):
        export(small_model(), str(tmp_path / "1"), quantize="int8")
    assert os.listdir(tmp_path) == ["thesis"]


def test_a_failed_check_leaves_the_old_artefact(tmp_path, monkeypatch):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"old")
    monkeypatch.setitem(check.TOLERANCES, "none", check.Tolerance(1.1, 0.0, 1.0))
    with pytest.raises(ValueError, match="disagrees with the Keras model: .* nothing was written"):
        export(small_model(), str(path), "tflite")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["model.tflite"]


def test_weights_are_constants_or_variables(tmp_path):
    model = small_model()
    size = 4 * model.count_params()
    image = tf.constant(exports.images()[0][None])
    answers = []
    for weights, files in (("constants", [1, 0]), ("variables", [0, 1])):
        path = str(tmp_path / weights)
        write_saved_model(model, path, weights=weights)
        parts = ("saved_model.pb", "variables/variables.data-00000-of-00001")
        assert [os.path.getsize(f"{path}/{part}") > size for part in parts] == files
        answers.append(tf.saved_model.load(path).signatures["image_tensor"](image))
    for name in ("detection_classes", "num_detections"):
        np.testing.assert_array_equal(answers[0][name], answers[1][name])
    for name in ("detection_boxes", "detection_scores"):
        np.testing.assert_allclose(answers[0][name], answers[1][name], atol=1e-5)
    assert answers[0]["num_detections"][0] > 3


def test_the_command_exports_and_evaluates_alike(tmp_path, capsys):
    results = {}
    paths = {
        "saved_model": ["--output", str(tmp_path / "served" / "3")],
        "bfloat16": [
            "--output",
            str(tmp_path / "served" / "4"),
            "--precision",
            "bfloat16",
            "--weights",
            "variables",
        ],
        "tflite": ["--output", str(tmp_path / "run.tflite"), "--max-detections", "200"],
    }
    for name, words in paths.items():
        format = name.replace("bfloat16", "saved_model")
        assert cli.main(["export", finished_run(), "--format", format, *words]) == 0
        assert "agree with Keras" in capsys.readouterr().out
    for name, path in {"keras": finished_run(), **{k: v[1] for k, v in paths.items()}}.items():
        file = tmp_path / f"{name}.json"
        assert cli.main(["evaluate", path, "--data", DATA, "--json", str(file)]) == 0
        results[name] = json.loads(file.read_text())["coco"]["AP"]
    capsys.readouterr()
    assert results["saved_model"] == pytest.approx(results["keras"], abs=0.002)
    assert results["bfloat16"] == pytest.approx(results["keras"], abs=0.01)
    assert results["tflite"] == pytest.approx(results["keras"], abs=0.005)


def test_what_cannot_be_evaluated_is_one_line(tmp_path, capsys):
    raw = tmp_path / "raw.tflite"
    raw.write_bytes(tflite_model(small_model(), post_processing="none"))
    text = tmp_path / "text.tflite"
    text.write_text("no model")
    for path, message in [(raw, "has no post-processing inside"), (text, "has no labels")]:
        assert cli.main(["evaluate", str(path), "--data", DATA]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(
        ValueError, match="contains its post_process; pass post_process when exporting"
    ):
        load_detector(str(raw), PostProcess())
    assert OUTPUTS[0] == "detection_boxes"


ON_JAX = """
import sys
sys.path.insert(0, "tests/helpers")
import exports, keras
assert keras.backend.backend() == "jax"
model = exports.lively_model(image_size=(64, 96), width=4)
model.export(sys.argv[1], format="litert")
"""


def test_the_jax_backend_exports_too(tmp_path):
    path = tmp_path / "model.tflite"
    process = subprocess.run(
        [sys.executable, "-c", ON_JAX, str(path)],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
        cwd=os.path.dirname(os.path.dirname(os.path.dirname(__file__))),
    )
    assert process.returncode == 0, process.stderr[-600:]
    assert "agree with Keras" in process.stdout
    assert load_detector(str(path)).image_size == (64, 96)
