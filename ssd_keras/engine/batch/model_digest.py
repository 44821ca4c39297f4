"""The checksum of a model, so that all parts of an output are of the same one."""

import hashlib
import os

from ssd_keras.core.downloads import checksum
from ssd_keras.core.hub import local_path
from ssd_keras.core.text import one_line
from ssd_keras.presets import PRESETS

MODEL_FILE = "model.keras"  # of a RUN folder, whose other files change


def model_digest(model: str) -> str:
    """Returns the SHA-256 of a model's file, or of the names and contents of its folder."""
    if model in PRESETS and (weights := PRESETS[model].weights) is not None:
        return weights.sha256
    path = local_path(model)
    if os.path.isfile(os.path.join(path, MODEL_FILE)):
        path = os.path.join(path, MODEL_FILE)
    if os.path.isfile(path):
        return checksum(path)
    if not os.path.isdir(path):
        raise FileNotFoundError(
            f"model {one_line(repr(model))} does not exist; pass the output folder of `ssd-keras "
            "train`, a .keras file, what `ssd-keras export` wrote, or a preset with weights."
        )
    digest = hashlib.sha256()
    for folder, folders, files in os.walk(path):
        folders.sort()
        for name in sorted(files):
            file = os.path.join(folder, name)
            digest.update(f"{os.path.relpath(file, path)}\n{checksum(file)}\n".encode())
    return digest.hexdigest()


def check_model(model: str, sha256: str) -> None:
    """Raises a `ValueError` where a worker's model is another one."""
    if model_digest(model) != sha256:
        raise ValueError(
            f"model {one_line(repr(model))} has changed since the start, or is another one on this "
            "worker; leave it as it is, and start again with another output."
        )
