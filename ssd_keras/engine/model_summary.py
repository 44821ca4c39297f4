"""Describes a preset, a model or an export in a few lines, for `ssd-keras info`."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ssd_keras.engine.detector import load_model
from ssd_keras.models.ssd import SSD
from ssd_keras.presets import PRESETS, from_preset


def model_summary(name: str) -> str:
    """Returns lines about a preset, a RUN directory, a .keras file or an export."""
    if name in PRESETS:
        weights = PRESETS[name].weights
        if weights is None:
            return _describe_model(from_preset(name))
        # Without a download of a hundred megabytes.
        return f"{PRESETS[name]}\nfrom {weights.address}\nSHA-256 {weights.sha256}"
    if not os.path.exists(name):
        raise FileNotFoundError(
            f"{name!r} is neither a model nor a preset; pass a RUN directory of "
            "`ssd-keras train`, a .keras file, an export, or a preset that "
            "`ssd-keras info presets` lists."
        )
    if os.path.isfile(os.path.join(name, "saved_model.pb")):
        return _describe_saved_model(name)
    return _describe_tflite(name) if name.endswith(".tflite") else _describe_model(load_model(name))


def _describe_model(model: SSD) -> str:
    height, width = model.image_size
    sizes = ", ".join(f"{rows}x{columns}" for rows, columns in model.feature_sizes)
    lines = [
        f"{model.name}: input {height}x{width}, feature maps {sizes}",
        f"{len(model.default_box_array)} default boxes, {model.count_params():,} parameters",
        _class_line(model.class_names),
        f"post-processing: {model.post_process}",
    ]
    return "\n".join(lines)


def _describe_saved_model(path: str) -> str:
    from ssd_keras.exporters.check import artefact_size
    from ssd_keras.exporters.exported_detectors import SavedModelDetector

    detector = SavedModelDetector(path)
    lines = [f"{path}: SavedModel, {artefact_size(path) / 1e6:.2f} MB"]
    for name, signature in detector.signatures.items():
        ((_, inputs),) = [signature.structured_input_signature]
        lines += [f"signature {name}: {_specs(inputs)} -> {_specs(signature.structured_outputs)}"]
    return "\n".join([*lines, _class_line(detector.class_names)])


def _describe_tflite(path: str) -> str:
    from ai_edge_litert.interpreter import Interpreter

    from ssd_keras.tflite.flatbuffer import operator_counts, read_model
    from ssd_keras.tflite.metadata import read_labels

    with open(path, "rb") as file:
        content = file.read()
    try:
        labels, counts = read_labels(content), operator_counts(read_model(content))
    except ValueError as error:
        raise ValueError(f"{path!r} cannot be used: {error}") from error
    interpreter = Interpreter(model_content=content)
    lines = [f"{path}: TFLite, {len(content) / 1e6:.2f} MB"]
    for kind, details in (
        ("input", interpreter.get_input_details()),
        ("output", interpreter.get_output_details()),
    ):
        tensors = (f"{x['name']} {x['dtype'].__name__}{x['shape'].tolist()}" for x in details)
        lines.append(f"{kind}: {', '.join(tensors)}")
    found = (f"{name} {count}" for name, count in counts.items())
    lines.append(f"operators: {', '.join(found)}")
    return "\n".join([*lines, _class_line(labels)])


def _specs(tensors: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {spec.dtype.name}{list(spec.shape)}" for name, spec in sorted(tensors.items())
    )


def _class_line(class_names: Sequence[str]) -> str:
    return f"{len(class_names)} classes: {', '.join(class_names)}"
