"""Describes a preset, a model or an export in a few lines, for `ssd-keras info`."""

import os

from ssd_keras.core.class_names import class_line
from ssd_keras.core.display_thresholds import thresholds_line
from ssd_keras.core.hub import local_path
from ssd_keras.core.origin import origin_lines
from ssd_keras.exporters.check import artefact_size
from ssd_keras.exporters.exported_detector import artefact_errors
from ssd_keras.exporters.formats import find_format
from ssd_keras.models.model_file import load_model_at
from ssd_keras.models.ssd import SSD
from ssd_keras.presets import PRESETS, from_preset


def model_summary(name: str) -> str:
    """Returns lines about a preset, a model, an export or what is at the address of a hub."""
    if name in PRESETS:
        weights = PRESETS[name].weights
        if weights is None:
            return _describe_model(from_preset(name))
        # Without a download of a hundred megabytes.
        return f"{PRESETS[name]}\nfrom {weights.address}\nSHA-256 {weights.sha256}"
    path = local_path(name)
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"{name!r} is neither a model nor a preset; pass a RUN folder of "
            "`ssd-keras train`, a .keras file, an export, or a preset that "
            "`ssd-keras info presets` lists."
        )
    row = find_format(path)
    if row is None:
        return _describe_model(load_model_at(path, name))
    header = f"{name}: {row.title}, {artefact_size(path) / 1e6:.2f} MB"
    with artefact_errors(name):
        return "\n".join([header, *row.functions.describe(path)])


def _describe_model(model: SSD) -> str:
    height, width = model.image_size
    sizes = ", ".join(f"{rows}x{columns}" for rows, columns in model.feature_sizes)
    lines = [
        f"{model.name}: input {height}x{width}, feature maps {sizes}",
        f"{len(model.default_box_array)} default boxes, {model.count_params():,} parameters",
        class_line(model.class_names),
        f"post-processing: {model.post_process}",
        thresholds_line(model.display_threshold, model.class_names),
        *origin_lines(model.origin),
    ]
    return "\n".join(lines)
