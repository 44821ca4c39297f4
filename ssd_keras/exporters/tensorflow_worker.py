"""Exports under another Keras backend: a process with TensorFlow does the work."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from ssd_keras.exporters.check import ExportReport
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

MODEL, IMAGES, REQUEST, REPORT = "model.keras", "images.npz", "request.json", "report.json"


def export_in_tensorflow(
    model: SSD,
    path: str,
    format: str,
    post_process: PostProcess | None,
    images: Sequence[np.ndarray],
    options: dict[str, Any],
) -> ExportReport:
    """Does what `ssd_keras.exporters.export.export` does, in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        model.save(os.path.join(directory, MODEL))
        named: Any = {str(index): image for index, image in enumerate(images)}
        np.savez(os.path.join(directory, IMAGES), **named)
        request = {
            "path": os.path.abspath(path),
            "format": format,
            "post_process": (post_process or model.post_process).get_config(),
            **options,
        }
        with open(os.path.join(directory, REQUEST), "w", encoding="utf-8") as file:
            json.dump(request, file)
        process = subprocess.run(
            [sys.executable, "-m", "ssd_keras.exporters.tensorflow_worker", directory],
            env={**os.environ, "KERAS_BACKEND": "tensorflow"},
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            lines = process.stderr.strip().splitlines() or ["no message"]
            raise ValueError(lines[-1].removeprefix("ValueError: "))
        with open(os.path.join(directory, REPORT), encoding="utf-8") as file:
            report = ExportReport(**json.load(file))
    return dataclasses.replace(report, path=path)


def main() -> None:
    """Does the work for the directory that the command line names."""
    import keras

    from ssd_keras.exporters.export import export

    directory = sys.argv[1]
    with open(os.path.join(directory, REQUEST), encoding="utf-8") as file:
        request = json.load(file)
    post_process = PostProcess(**request.pop("post_process"))
    model = keras.models.load_model(os.path.join(directory, MODEL), compile=False)
    with np.load(os.path.join(directory, IMAGES)) as file:
        images = [file[str(index)] for index in range(len(file.files))]
    report = export(model, post_process=post_process, images=images, **request)
    with open(os.path.join(directory, REPORT), "w", encoding="utf-8") as output:
        json.dump(dataclasses.asdict(report), output)


if __name__ == "__main__":
    main()
