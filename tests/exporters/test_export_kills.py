"""Exports that are killed: the old artefact or the new one is there, whole."""

import os
import signal
import subprocess
import sys
import time

import exports
import numpy as np
import pytest

from ssd_keras import load_detector
from ssd_keras.data.images import resize_image
from ssd_keras.engine.detector import KerasDetector

KILLS = 10
OUTPUTS = {
    "saved_model": "served/1",
    "tflite": "detector.tflite",
    "onnx": "detector.onnx",
    "triton": "models/detector",
}


def start_export(model, format, output):
    command = [sys.executable, "-m", "ssd_keras", "export", model, "--format", format]
    return subprocess.Popen(
        [*command, "--output", output],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # the check runs in a process of its own, which dies too
    )


def assert_is_whole(path, models, image):
    """The artefact is that of one of the models, which is returned."""
    detector = load_detector(path)
    names = [name for name, model in models.items() if model.class_names == detector.class_names]
    assert len(names) == 1
    found, expected = detector(image), KerasDetector(models[names[0]])(image)
    np.testing.assert_array_equal(found["labels"], expected["labels"])
    np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=2e-4)
    return names[0]


@pytest.mark.slow
@pytest.mark.parametrize("format", OUTPUTS)
def test_killed_export_leaves_the_old_or_the_new(format, tmp_path):
    models = {
        name: exports.lively_model(class_names=[name], seed=seed, image_size=(64, 96), width=4)
        for seed, name in enumerate(("one", "two"))
    }
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
    image = np.rint(resize_image(exports.images()[0], (64, 96)).numpy())[None]
    output = tmp_path / "out" / OUTPUTS[format]
    began = time.monotonic()
    assert start_export(str(tmp_path / "one.keras"), format, str(output)).wait() == 0
    duration = time.monotonic() - began
    present, seen = "one", []
    for kill in range(KILLS):
        coming = "two" if present == "one" else "one"
        process = start_export(str(tmp_path / f"{coming}.keras"), format, str(output))
        # Spread over all of it; the second half, where files are written, gets most.
        time.sleep(duration * (0.3 + 0.8 * kill / KILLS))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        present = assert_is_whole(str(output), models, image)
        seen.append(present == coming)
    assert not all(seen) and len(seen) == KILLS
    assert start_export(str(tmp_path / "two.keras"), format, str(output)).wait() == 0
    assert assert_is_whole(str(output), models, image) == "two"
    assert [entry.name for entry in output.parent.iterdir()] == [output.name]
    print(f"{format}: {KILLS} kills in {duration:.0f} s exports, {sum(seen)} came too late")
