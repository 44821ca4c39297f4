"""Runs an export in a TensorFlow process when Keras uses another backend."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from ssd_keras.exporters.artefact import write_artefact
from ssd_keras.exporters.check import ExportReport
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

MODEL, IMAGES = "model.keras", "images.npz"


def write_in_tensorflow_process(
    model: SSD,
    path: str,
    format: str,
    post_process: PostProcess,
    images: Sequence[np.ndarray],
    options: Mapping[str, str],
) -> ExportReport:
    """Calls `write_artefact` in a process whose Keras runs on TensorFlow."""
    request = {
        "path": os.path.abspath(path),
        "format": format,
        "post_process": post_process.get_config(),
        "options": options,
    }
    with tempfile.TemporaryDirectory() as directory:
        model.save(os.path.join(directory, MODEL))
        np.savez(os.path.join(directory, IMAGES), *images)
        process = subprocess.run(
            [sys.executable, "-m", "ssd_keras.exporters.tensorflow_worker", directory],
            env={**os.environ, "KERAS_BACKEND": "tensorflow"},
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=False,
        )
    if process.returncode:
        lines = process.stderr.strip().splitlines() or ["no message"]
        raise ValueError(lines[-1].removeprefix("ValueError: "))
    report = json.loads(process.stdout.splitlines()[-1])
    return ExportReport(**{**report, "path": path})


def main() -> None:
    """Reads a request from stdin, and prints its report as the last line of stdout."""
    directory, request = sys.argv[1], json.load(sys.stdin)
    request["post_process"] = PostProcess(**request["post_process"])
    model = keras.models.load_model(os.path.join(directory, MODEL), compile=False)
    with np.load(os.path.join(directory, IMAGES)) as arrays:
        images = [arrays[name] for name in arrays.files]
    report = write_artefact(model, images=images, **request)
    print(json.dumps(dataclasses.asdict(report)))


if __name__ == "__main__":
    main()
