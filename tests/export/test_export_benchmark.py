"""`export/benchmark.py`: its numbers are those of `evaluate` and of the file system."""

import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import exports
import pytest
from PIL import Image

from ssd_keras import load_data, load_detector
from ssd_keras.data.images import resize_image
from ssd_keras.engine.evaluate import evaluate
from ssd_keras.exporters.saved_model import write_saved_model
from ssd_keras.exporters.tflite import tflite_model

ROOT = Path(__file__).parents[2]
COMMAND = ROOT / "export" / "benchmark.py"
NUM_IMAGES = 6


def call(*words):
    """Runs the command as a user's shell does."""
    # Installed or not, the package of this checkout is the one to be tested.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SSD_KERAS_PROGRESS": "1"}
    command = [sys.executable, str(COMMAND), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def write_truth(model, folder):
    """Writes the model's detections, 0.72 times as wide, as COCO data: their IoU is 0.72."""
    images, annotations = [], []
    for number, image in enumerate(exports.images(NUM_IMAGES)):
        name = f"{number}.png"
        Image.fromarray(image).save(folder / name)
        height, width = image.shape[:2]
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        result = model.detect(image)
        assert len(result) == 10
        edges = result.boxes * [height, width, height, width]
        for (top, left, bottom, right), label in zip(
            edges.tolist(), result.labels.tolist(), strict=True
        ):
            box = [left, top, 0.72 * (right - left), bottom - top]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i, "name": name} for i, name in enumerate(model.class_names, 1)]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "truth.json").write_text(json.dumps(truth))
    return f"coco:{folder / 'truth.json'}@{folder}"


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory):
    """A run, a .keras file, a SavedModel, TFLite files, and data to match."""
    folder = tmp_path_factory.mktemp("artefacts")
    model = exports.lively_model(image_size=(64, 96), width=4)
    model.post_process = dataclasses.replace(
        model.post_process, score_threshold=0.05, max_detections=10, clip_boxes="before"
    )
    (folder / "run").mkdir()
    model.save(folder / "run" / "model.keras")
    (folder / "run" / "state.bin").write_bytes(bytes(1_000_000))
    model.save(folder / "cells.keras")
    write_saved_model(model, str(folder / "saved"))
    resized = [resize_image(image, model.image_size).numpy() for image in exports.images()]
    for quantize in ("none", "int8"):
        content = tflite_model(model, quantize, calibration=resized)
        (folder / f"{quantize}.tflite").write_bytes(content)
    (folder / "raw.tflite").write_bytes(tflite_model(model, post_processing="none"))
    other = exports.lively_model(class_names=["cat"], image_size=(64, 96), width=4)
    other.save(folder / "other.keras")
    (folder / "images").mkdir()
    return folder, write_truth(model, folder / "images")


def test_table_agrees_with_evaluate_and_the_files(artefacts, tmp_path):
    folder, data = artefacts
    names = ["run", "cells.keras", "saved", "none.tflite", "int8.tflite"]
    paths = [str(folder / name) for name in names]
    output = tmp_path / "deep" / "numbers.json"
    done = call(*paths, "--data", data, "--output", output, "--threads", 1)
    assert done.returncode == 0, done.stderr
    written = json.loads(output.read_text())
    rows = written["artefacts"]
    assert [row["path"] for row in rows] == paths
    assert written["num_images"] == NUM_IMAGES
    assert "6 images x 5, threads: 1, batch 1, from a decoded uint8" in written["times"]

    keras_file = (folder / "cells.keras").stat().st_size
    run_file = (folder / "run" / "model.keras").stat().st_size
    saved = sum(file.stat().st_size for file in (folder / "saved").rglob("*") if file.is_file())
    tflite = [(folder / name).stat().st_size for name in names[3:]]
    assert [row["bytes"] for row in rows] == [run_file, keras_file, saved, *tflite]

    # An IoU of 0.72 is a match at 5 of COCO's 10 thresholds: 0.5, 0.55, 0.6, 0.65, 0.7. Quantised
    # boxes move a little.
    assert [row["AP50"] for row in rows[:4]] == pytest.approx([1.0] * 4, abs=0.02)
    assert [row["AP"] for row in rows[:4]] == pytest.approx([0.5] * 4, abs=0.02)
    assert 0.1 < rows[4]["AP"] < rows[4]["AP50"] < 1.0
    for row in rows:
        detector = load_detector(row["path"])
        coco = evaluate(detector, load_data(data, class_names=detector.class_names))["coco"]
        assert (row["AP"], row["AP50"]) == pytest.approx((coco["AP"], coco["AP50"]), abs=1e-4)
        times = [row[f"milliseconds_{name}"] for name in ("least", "median", "most")]
        assert 0 < times[0] <= times[1] <= times[2] and len(set(times)) > 1

    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == [
        "artefact", "AP", "AP50", "MB", "ms",
    ]  # fmt: skip
    for line, row in zip(lines[2:], rows, strict=True):
        name, *numbers = [cell.strip() for cell in line.split("|")[1:-1]]
        expected = [row["AP"], row["AP50"], row["bytes"] / 1e6, row["milliseconds_median"]]
        digits = [3, 3, 2, 1]
        shown = [f"{value:.{places}f}" for value, places in zip(expected, digits, strict=True)]
        assert (name, numbers) == (row["path"], shown)
    assert re.search(r"timing: 100%.* 6/6 ", done.stderr)


@pytest.fixture
def command(monkeypatch):
    """The command's `main` in this process, whose threads are started already."""
    import tensorflow as tf

    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL"):  # the command sets them: restored
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.delenv("SSD_KERAS_TRACEBACK", raising=False)
    for name in ("intra", "inter"):
        setter = f"set_{name}_op_parallelism_threads"
        monkeypatch.setattr(tf.config.threading, setter, lambda threads: None)
    spec = importlib.util.spec_from_file_location("export_benchmark", COMMAND)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["none.tflite", "gone.tflite"], [], r"'.*gone.tflite' holds no model; pass the output"),
        (["images"], [], r"'.*images' holds no model; pass the output folder"),
        (["none.tflite"], ["--threads", "0"], r"--threads 0 must be 1 or more"),
        (["none.tflite"], ["--data", "voc:no@val"], r"data 'voc:no@val': .*no"),
        (
            ["none.tflite"],
            ["--data", "synthetic:shapes@val[:0]"],
            r"data '.*': split 'val\[:0\]' has 0 im",
        ),
        (
            ["none.tflite", "other.keras"],
            [],
            r"'.*other.keras' has the classes cat; expected circle, square",
        ),
        (["none.tflite", "raw.tflite"], [], r"'.*raw.tflite' has no post-processing inside"),
    ],
)
def test_bad_input_is_reported_in_one_line(command, artefacts, names, options, message, capfd):
    folder, data = artefacts
    status = command([*(str(folder / name) for name in names), "--data", data, *options])
    printed = capfd.readouterr()
    assert status == 2 and printed.out == ""
    assert re.fullmatch(f"error: {message}.*\n", printed.err), printed.err
