"""The export formats and their options; checks a request without a model or TensorFlow."""

import dataclasses
import os
from collections.abc import Collection, Mapping


@dataclasses.dataclass(frozen=True)
class Format:
    """A format that models are exported to."""

    name: str
    keras_name: str  # as `model.export(format=...)` names it
    suffix: str  # of the file's name; "" for a directory
    options: Mapping[str, tuple[str, ...]]  # choices by option, the default first


_ROWS = (
    Format(
        name="saved_model",
        keras_name="tf_saved_model",
        suffix="",
        options={"precision": ("float32", "bfloat16"), "weights": ("constants", "variables")},
    ),
    Format(
        name="tflite",
        keras_name="litert",
        suffix=".tflite",
        options={
            "quantize": ("none", "float16", "dynamic", "int8"),
            "post_processing": ("builtin", "op", "none"),
            "input_dtype": ("uint8", "float32"),
        },
    ),
)
FORMATS = {row.name: row for row in _ROWS}


def check_request(
    path: str, format: str, options: Mapping[str, str], images: Collection[object]
) -> None:
    """Raises ValueError for what cannot be exported, before anything takes time."""
    if format not in FORMATS:
        raise ValueError(f"format={format!r} is unknown; choose one of {', '.join(FORMATS)}.")
    _check_path(path, FORMATS[format])
    choices = FORMATS[format].options
    for name, choice in options.items():
        if name not in choices:
            owners = [other.name for other in FORMATS.values() if name in other.options]
            if owners:
                raise ValueError(f"{name} is an option of {', '.join(owners)}, not of {format}.")
            known = ", ".join(("post_process", "images", *choices))
            raise ValueError(f"option {name!r} is unknown; choose from {known}.")
        if choice not in choices[name]:
            raise ValueError(
                f"{name}={choice!r} is unknown; choose one of {', '.join(choices[name])}."
            )
    if options.get("quantize") == "int8" and not len(images):
        raise ValueError(
            "int8 needs images to calibrate on; pass calibration data, such as the training data "
            "(--calibration-data)."
        )


def _check_path(path: str, format: Format) -> None:
    suffixes = [other.suffix for other in FORMATS.values() if other.suffix]
    suffix = next((suffix for suffix in suffixes if path.endswith(suffix)), "")
    if suffix != format.suffix:
        expected = f"a file ending in {format.suffix}" if format.suffix else "a directory"
        raise ValueError(f"output {path!r} does not fit the format {format.name}; pass {expected}.")
    if format.suffix and os.path.isdir(path):
        raise ValueError(f"output {path!r} is a directory; pass the path of a file.")
    if not format.suffix and os.path.exists(path):
        is_saved_model = os.path.isfile(os.path.join(path, "saved_model.pb"))
        if not is_saved_model and not (os.path.isdir(path) and not os.listdir(path)):
            raise ValueError(
                f"output {path!r} already exists and is not a SavedModel; choose another directory."
            )
