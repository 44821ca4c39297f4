"""Exporting as a whole: the command, `model.export`, the check, and the files it leaves."""

import contextlib
import functools
import io
import json
import os
import re
from pathlib import Path

import exports
import keras
import numpy as np
import pytest
import tensorflow as tf
from trainings import VALIDATION_DATA, finished_run, read_history

from ssd_keras import PostProcess, cli, load_detector
from ssd_keras.data.images import resize_image
from ssd_keras.engine.detector import KerasDetector
from ssd_keras.exporters.export import export
from ssd_keras.exporters.formats import Format, Tolerance
from ssd_keras.exporters.saved_model import write_saved_model
from ssd_keras.exporters.tflite import OUTPUTS, tflite_model
from ssd_keras.models.model_file import replace_display_threshold


@functools.cache
def small_model():
    model = exports.lively_model(image_size=(64, 96), width=4)
    model.display_threshold = {"square": 0.25}
    return model


def image_of_model():
    resized = resize_image(exports.images()[0], small_model().image_size)
    return np.rint(resized.numpy()).astype("uint8")


SAVED_MODEL, TFLITE = "saved/1", "model.tflite"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A function from a name to the path of the small model's export, written once."""
    folder = tmp_path_factory.mktemp("exports")

    @functools.cache
    def write(name):
        path = str(folder / name)
        options = {"format": "litert"} if name == TFLITE else {}
        with contextlib.redirect_stdout(io.StringIO()) as output:
            small_model().export(path, **options)
        assert f"{os.path.basename(path)}: " in output.getvalue()
        assert "agree with Keras" in output.getvalue()
        assert ("NON_MAX_SUPPRESSION_V5 1" in output.getvalue()) == (name == TFLITE)
        return path

    return write


# On other backends the exporter runs in a process with TensorFlow, for every format.
@pytest.mark.parametrize("name", [pytest.param(TFLITE, marks=pytest.mark.backends), SAVED_MODEL])
def test_model_export_writes_a_whole_detector(name, exported):
    model, image = small_model(), image_of_model()
    expected = KerasDetector(model)(image[None])
    detector = load_detector(exported(name))
    assert detector.class_names == model.class_names
    assert detector.display_threshold == (0.5, 0.25, 0.5, 0.5, 0.5)
    found = detector(image[None])
    np.testing.assert_array_equal(found["labels"], expected["labels"])
    np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=2e-4)
    assert detector.image_size == (model.image_size if name == TFLITE else None)


def test_info_describes_exports(tmp_path, capsys, exported):
    (tmp_path / "bad.tflite").write_bytes(b"no model")
    assert cli.main(["info", exported(SAVED_MODEL)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r".*saved/1: SavedModel, \d+\.\d\d MB", lines[0])
    signatures = dict(re.fullmatch(r"signature (\w+): (.*)", line).groups() for line in lines[1:4])
    assert set(signatures) == {"serving_default", "image_tensor", "tf_example"}
    assert signatures["serving_default"].startswith("image_bytes string[None] -> detection_boxes f")
    assert "detection_scores float32[None, 200]" in signatures["image_tensor"]
    assert lines[4:] == [
        "5 classes: circle, square, triangle, star, cross",
        "display thresholds: circle 0.5, square 0.25, triangle 0.5, star 0.5, cross 0.5",
        *exports.ORIGIN.lines(),
    ]
    assert cli.main(["info", exported(TFLITE)]) == 0
    lines = capsys.readouterr().out.splitlines()
    size = os.path.getsize(exported(TFLITE)) / 1e6
    assert lines[0].endswith(f"model.tflite: TFLite, {size:.2f} MB")
    assert lines[1] == "input: images uint8[1, 64, 96, 3]"
    assert lines[2].endswith(", num_detections float32[1]")
    assert lines[3] == "network: float32, weights float32"
    assert "NON_MAX_SUPPRESSION_V5 1" in lines[4] and lines[5].startswith("5 classes: circle, ")
    assert lines[6].startswith("display thresholds: circle 0.5, square 0.25, ")
    assert lines[7:] == exports.ORIGIN.lines()
    assert cli.main(["info", str(tmp_path / "bad.tflite")]) == 2
    assert re.fullmatch(
        r"ssd-keras: '.*bad\.tflite' cannot be used \(.*\n", capsys.readouterr().err
    )


def test_post_process_and_report(tmp_path):
    post_process = PostProcess(0.1, 0.3, 50, 7)
    path = str(tmp_path / "new" / "model.tflite")
    report = export(small_model(), path, "tflite", post_process=post_process, quantize="float16")
    assert report.path == path and report.size == os.path.getsize(path)
    assert report.operators["NON_MAX_SUPPRESSION_V5"] == 1 and report.seconds > 0
    assert 7 <= report.num_agreed <= report.num_compared
    assert load_detector(path)(image_of_model()[None])["boxes"].shape == (1, 7, 4)


@pytest.mark.parametrize(
    "options", [{}, {"quantize": "int8"}, {"post_processing": "op"}], ids=["builtin", "int8", "op"]
)
def test_tflite_gives_no_score_below_the_threshold_of_its_class(options, tmp_path):
    smallest = (0.9, 0.5, 0.95, 0.97, 0.8)
    post_process = PostProcess(smallest, max_detections=50)
    path, images = str(tmp_path / "a.tflite"), exports.images()
    report = export(
        small_model(), path, "tflite", post_process=post_process, images=images, **options
    )
    assert report.num_agreed > 50
    found = load_detector(path)(image_of_model()[None])
    labels, scores = (found[key][0, : found["num_detections"][0]] for key in ("labels", "scores"))
    assert len(set(labels)) > 1 and (scores >= np.float32(smallest)[labels]).all()


def test_the_command_exports_what_is_drawn(tmp_path, capsys):
    model = tmp_path / "a.keras"
    small_model().save(model)
    table = (0.95, 0.9, 0.95, 0.95, 0.95)
    replace_display_threshold(str(model), table, small_model().class_names)
    words = ["export", str(model), "--format", "tflite", "--output", str(tmp_path / "a.tflite")]
    assert cli.main([*words, "--score-threshold", "display"]) == 0, capsys.readouterr().err
    found = load_detector(str(tmp_path / "a.tflite"))(image_of_model()[None])
    labels, scores = (found[key][0, : found["num_detections"][0]] for key in ("labels", "scores"))
    assert (scores >= np.float32(table)[labels]).all() and 0 < len(scores) < 100
    assert (scores[labels == 1] < 0.95).any()


def test_mixed_precision_exports_in_float32(exported):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = exports.lively_model(image_size=(64, 96), width=4)
    finally:
        keras.config.set_dtype_policy("float32")
    assert mixed.layers[2].compute_dtype == "bfloat16"
    for weight, other in zip(mixed.weights, small_model().weights, strict=True):
        weight.assign(other)
    mixed.display_threshold = small_model().display_threshold
    assert tflite_model(mixed) == Path(exported(TFLITE)).read_bytes()


def test_a_wrong_request_writes_nothing(tmp_path):
    (tmp_path / "thesis").write_text("years of work")
    with pytest.raises(ValueError, match="already exists and is not a SavedModel; choose another"):
        export(small_model(), str(tmp_path))
    with pytest.raises(ValueError, match="^quantize is an option of tflite, not of saved_model"):
        export(small_model(), str(tmp_path / "1"), quantize="int8")
    assert os.listdir(tmp_path) == ["thesis"]


def test_a_limit_below_the_images_of_the_check_is_named_as_the_reason(tmp_path):
    message = (
        r"^max_pixels=99 is less than each image has that the export is checked on; choose \d+"
    )
    with pytest.raises(ValueError, match=message):
        export(small_model(), str(tmp_path / "1"), max_pixels="99")
    assert not list(tmp_path.iterdir())


def test_a_failed_check_leaves_the_old_artefact(tmp_path, monkeypatch):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"old")
    monkeypatch.setattr(Format, "tolerance", lambda row, options: Tolerance(1.1, 0.0, 1.0))
    with pytest.raises(ValueError, match="disagrees with the Keras model: .* nothing was written"):
        export(small_model(), str(path), "tflite")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["model.tflite"]


def test_weights_are_constants_or_variables(tmp_path, exported):
    model = small_model()
    size = 4 * model.count_params()
    image = tf.constant(exports.images()[0][None])
    answers = []
    write_saved_model(model, str(tmp_path / "variables"), weights="variables")
    graphs, variables = [], []
    for path in (exported(SAVED_MODEL), str(tmp_path / "variables")):  # constants are the default
        graphs.append(os.path.getsize(f"{path}/saved_model.pb"))
        variables.append(os.path.getsize(f"{path}/variables/variables.data-00000-of-00001"))
        answers.append(tf.saved_model.load(path).signatures["image_tensor"](image))
    assert graphs[0] - graphs[1] > 0.8 * size
    assert variables[0] < 0.1 * size < size < variables[1]
    for name in ("detection_classes", "num_detections"):
        np.testing.assert_array_equal(answers[0][name], answers[1][name])
    for name in ("detection_boxes", "detection_scores"):
        np.testing.assert_allclose(answers[0][name], answers[1][name], atol=1e-5)
    assert answers[0]["num_detections"][0] > 3


def test_the_command_exports_and_evaluates_alike(tmp_path, capsys):
    # The training measured the run on these images at its end, with Keras.
    expected = read_history(os.path.join(finished_run(), "history.csv"))[-1]["val_AP"]
    requests = {
        "saved_model": ("served/4", ["--precision", "bfloat16", "--weights", "variables"], 0.01),
        "tflite": ("run.tflite", ["--max-detections", "200"], 0.005),
        "onnx": ("run.onnx", [], 0.005),
    }
    for format, (name, options, tolerance) in requests.items():
        words = ["--format", format, "--output", str(tmp_path / name), *options]
        assert cli.main(["export", finished_run(), *words]) == 0
        assert "agree with Keras" in capsys.readouterr().out
        words = ["--data", VALIDATION_DATA, "--json", str(tmp_path / "result.json")]
        assert cli.main(["evaluate", str(tmp_path / name), *words]) == 0
        result = json.loads((tmp_path / "result.json").read_text())["coco"]["AP"]
        assert result == pytest.approx(expected, abs=tolerance)


def test_what_cannot_be_evaluated_is_one_line(tmp_path, capsys):
    raw = tmp_path / "raw.tflite"
    raw.write_bytes(tflite_model(small_model(), post_processing="none"))
    text = tmp_path / "text.tflite"
    text.write_text("no model")
    for path, message in [(raw, "has no post-processing inside"), (text, "has no labels")]:
        assert cli.main(["evaluate", str(path), "--data", VALIDATION_DATA]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(
        ValueError, match="contains its post_process; pass post_process when exporting"
    ):
        load_detector(str(raw), PostProcess())
    assert OUTPUTS[0] == "detection_boxes"
