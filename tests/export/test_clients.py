"""The clients under export/clients, run as a user runs them, against the Keras model."""

import json
import re
import runpy

import numpy as np
import pytest
from client_results import (
    EXPORT,
    SETTINGS,
    assert_alike,
    assert_equal,
    call,
    exported,
    iou,
    keras_result,
    model,
    results_of,
)
from PIL import Image
from server_process import free_port
from serving import serve

from ssd_keras.exporters.formats import FORMATS

pytestmark = pytest.mark.consumers


@pytest.fixture(scope="module")
def folder():
    return exported()


@pytest.fixture(scope="module")
def server(folder):
    with serve(folder / "detector" / "1") as served:
        assert served.servable.num_warm_ups == 3
        yield served


def test_iou_by_hand():
    # 20x10 and 10x20 share 10x10: 100 / (200 + 200 - 100)
    assert iou([0, 0, 20, 10], [0, 0, 10, 20]) == pytest.approx(1 / 3)
    assert iou([0, 0, 4, 4], [5, 5, 9, 9]) == 0


@pytest.mark.parametrize("client", ["rest", "grpc"])
def test_server_clients_agree_with_keras(client, server, folder):
    paths = [folder / name for name in ("fitting.png", "small.png", "rotated.jpg")]
    results = results_of(client, *paths, "--server", getattr(server, client))
    assert [result["image"] for result in results] == [str(path) for path in paths]
    for result, path in zip(results, paths, strict=True):
        assert_equal(result, keras_result(path))
    # 286x236 as stored
    assert (results[2]["width"], results[2]["height"]) == (236, 286)


# MediaPipe cuts corner and size of a box to whole pixels, less than 1 + 1 pixels, and resizes
# differently.
@pytest.mark.parametrize(
    ("client", "pixels", "tolerances"),
    [
        ("litert", 0.05, {}),
        ("onnx", 0.05, {}),
        ("mediapipe", 2.0, {"score": 0.1, "min_iou": 0.25, "share": 0.8}),
    ],
)
def test_clients_of_files_agree_with_keras(client, pixels, tolerances, folder):
    paths = [folder / name for name in ("fitting.png", "small.png", "rotated.jpg")]
    if client == "onnx":
        pytest.importorskip("tf2onnx", reason="NOT TESTED: tf2onnx is not installed")
        FORMATS["onnx"].functions.write(model(), str(folder / "detector.onnx"), SETTINGS, ())
    suffix = "onnx" if client == "onnx" else "tflite"
    results = results_of(client, *paths, "--model", folder / f"detector.{suffix}")
    assert_equal(results[0], keras_result(paths[0]), pixels=pixels)
    for result, path in zip(results[1:], paths[1:], strict=True):
        assert_alike(result, keras_result(path), **tolerances)


def scores_of(result):
    return [detection["score"] for detection in result["detections"]]


def test_scores_below_the_threshold_are_not_printed(folder):
    image = folder / "fitting.png"
    words = ("--model", folder / "detector.tflite", "--display-threshold", 0.9)
    scores = scores_of(json.loads(call("litert", image, *words).stdout))
    expected = [score for score in scores_of(keras_result(image)) if score >= 0.9]
    assert scores == pytest.approx(expected, abs=2e-4)


def test_boxes_are_drawn(folder, tmp_path):
    """Draws the best detection alone, and the same image without any."""
    words = (folder / "rotated.jpg", "--model", folder / "detector.tflite")
    scores = scores_of(results_of("litert", *words)[0])
    for name, threshold in (("one", (scores[0] + scores[1]) / 2), ("none", 1.1)):
        process = call(
            "litert", *words, "--display-threshold", threshold, "--draw", tmp_path / f"{name}.png"
        )
        assert process.returncode == 0, process.stderr
    one, none = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("one", "none"))
    assert one.shape == none.shape == (286, 236, 3)
    assert (one != none).any()


def test_a_drawing_by_hand(tmp_path):
    common = runpy.run_path(str(EXPORT / "clients" / "common.py"))
    grey = Image.new("RGB", (200, 100), (90, 90, 90))
    detections = [
        common["Detection"]("dog", 0.9, (20, 40, 80, 90)),
        common["Detection"]("cat", 0.4, (120, 30, 300, 130)),
    ]
    common["draw"](grey, detections, str(tmp_path / "drawing.png"))
    drawing = np.asarray(Image.open(tmp_path / "drawing.png")).tolist()
    # In order of names, cat has the first colour and dog the second. Lines are two pixels wide.
    red, blue, unchanged = [0xE6, 0x19, 0x4B], [0x00, 0x82, 0xC8], [90, 90, 90]
    assert [drawing[70][x] for x in (19, 20, 21, 22)] == [unchanged, blue, blue, unchanged]
    assert [drawing[y][50] for y in (88, 89, 90, 91)] == [unchanged, blue, blue, unchanged]
    assert [drawing[70][x] for x in (119, 120, 121, 199)] == [unchanged, red, red, unchanged]
    # The label stands on the upper edge.
    assert drawing[39][21] == blue and drawing[5][21] == unchanged
    assert grey.getpixel((20, 70)) == (90, 90, 90)  # the image itself is unchanged


def test_draw_takes_one_image(folder):
    words = (folder / "small.png", folder / "fitting.png", "--model", "any", "--draw", "any.png")
    process = call("litert", *words)
    assert process.returncode == 2
    assert process.stderr.splitlines()[-1].endswith("error: --draw takes one image")


GOOD = "{folder}/fitting.png"
BAD_CALLS = [
    ("rest", [GOOD, "--server", "http://127.0.0.1:{port}"], r"no server answers at http://127.*"),
    ("grpc", [GOOD, "--server", "127.0.0.1:{port}"], r"no server answers at 127\.0\.0\.1:\d+ .*"),
    ("rest", [GOOD, "--server", "localhost:8501"], r"--server 'localhost:8501' must begin with .*"),
    (
        "rest",
        [GOOD, "--server", "{rest}", "--model", "other"],
        r"http.*/other:predict refused \(404\): Servable not found for request: Latest\(other\)",
    ),
    (
        "grpc",
        [GOOD, "--server", "{grpc}", "--model", "other"],
        r"127.* refused \(NOT_FOUND\): Servable not found for request: Latest\(other\)",
    ),
    (
        "rest",
        ["{folder}/tiff.png", "--server", "{rest}"],
        r"the server cannot decode '.*tiff\.png'; send JPEG, PNG, BMP or GIF",
    ),
    ("litert", ["gone.png", "--model", "any"], r"image 'gone\.png' does not exist"),
    (
        "litert",
        ["{folder}/no_image.png", "--model", "any"],
        r"'.*no_image\.png' is not an image",
    ),
    ("litert", [GOOD, "--model", "gone.tflite"], r"model 'gone\.tflite' does not exist"),
    ("mediapipe", [GOOD, "--model", "gone.tflite"], r"model 'gone\.tflite' does not exist"),
    ("litert", [GOOD, "--model", "{folder}/no_model.tflite"], r"'.*' has no labels; pass a .*"),
    (
        "mediapipe",
        [GOOD, "--model", "{folder}/no_model.tflite"],
        r"model '.*no_model\.tflite' cannot be loaded: The model is not a valid Flatbuffer.*",
    ),
    ("onnx", [GOOD, "--model", "gone.onnx"], r"model 'gone\.onnx' does not exist"),
    ("onnx", [GOOD, "--model", "{folder}/no_model.tflite"], r"model '.*' cannot be loaded: .*"),
    (
        "litert",
        [GOOD, "--model", "{folder}/raw.tflite"],
        r"'.*raw\.tflite' gives raw outputs; export it with --post-processing builtin",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("client", "words", "message"), BAD_CALLS)
def test_bad_input_is_reported_in_one_line(client, words, message, server, folder):
    values = {"folder": folder, "port": free_port(), "rest": server.rest, "grpc": server.grpc}
    process = call(client, *(word.format(**values) for word in words))
    assert process.returncode == 2
    assert process.stdout == ""
    assert re.fullmatch(f"error: {message}\n", process.stderr), process.stderr


def test_a_bad_image_is_skipped(server, folder):
    names = ("no_image.png", "tiff.png", "small.png")
    process = call("rest", *(folder / name for name in names), "--server", server.rest)
    assert process.returncode == 2
    assert len(process.stderr.splitlines()) == 2
    assert json.loads(process.stdout)["image"].endswith("small.png")
