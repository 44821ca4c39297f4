"""What can be asked of an export, checked without a model and without TensorFlow."""

import os
from collections.abc import Collection

CHOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "saved_model": {
        "precision": ("float32", "bfloat16"),
        "weights": ("constants", "variables"),
    },
    "tflite": {
        "quantize": ("none", "float16", "dynamic", "int8"),
        "post_processing": ("builtin", "op", "none"),
        "input_dtype": ("uint8", "float32"),
    },
}
"""The options of each format; the first choice is the default."""

NO_CALIBRATION = (
    "int8 needs images to calibrate on; pass calibration data, such as the training data "
    "(--calibration-data)."
)


def check_request(path: str, format: str, options: dict[str, str], images: Collection) -> None:
    """Refuses what cannot be exported, before anything takes time."""
    if format not in CHOICES:
        raise ValueError(f"format={format!r} is unknown; choose one of {', '.join(CHOICES)}.")
    _check_path(path, format)
    known = [name for names in CHOICES.values() for name in names]
    if unknown := sorted(set(options) - set(known)):
        choices = ", ".join(("post_process", "images", *known))
        raise ValueError(f"option {unknown[0]!r} is unknown; choose from {choices}.")
    if foreign := sorted(options.keys() - CHOICES[format].keys()):
        (other,) = CHOICES.keys() - {format}
        raise ValueError(f"{foreign[0]} is an option of the format {other} alone.")
    check_choices(format, **options)
    if options.get("quantize") == "int8" and not len(images):
        raise ValueError(NO_CALIBRATION)


def check_choices(format: str, **options: str) -> None:
    """Refuses a value that an option has not."""
    for name, choice in options.items():
        if choice not in (possible := CHOICES[format][name]):
            raise ValueError(f"{name}={choice!r} is unknown; choose one of {', '.join(possible)}.")


def _check_path(path: str, format: str) -> None:
    if (format == "tflite") != path.endswith(".tflite"):
        expected = "a file ending in .tflite" if format == "tflite" else "a directory"
        raise ValueError(f"output {path!r} does not fit the format {format}; pass {expected}.")
    if format == "tflite" and os.path.isdir(path):
        raise ValueError(f"output {path!r} is a directory; pass the path of a file.")
    if format == "saved_model" and os.path.exists(path):
        is_artefact = os.path.isfile(os.path.join(path, "saved_model.pb"))
        if not is_artefact and not (os.path.isdir(path) and not os.listdir(path)):
            raise ValueError(
                f"output {path!r} is there and is no SavedModel; choose another directory."
            )
