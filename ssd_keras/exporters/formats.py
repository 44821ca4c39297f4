"""The export formats, one row each; checks a request without a model or TensorFlow.

What a row cannot say is in its module, which is imported when it is used.
"""

import dataclasses
import fnmatch
import importlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, cast

from ssd_keras.core.extras import check_extra
from ssd_keras.core.files import check_writable, replacing, replacing_directory
from ssd_keras.core.text import unknown_name

if TYPE_CHECKING:
    from ssd_keras.exporters.exported_detector import ExportedDetector
    from ssd_keras.models.post_process import PostProcess
    from ssd_keras.models.ssd import SSD

NUM_THREADS = 2
ONNX_PACKAGES = ("onnx", "onnxruntime", "tf2onnx")
# 2^26, 3 bytes each while an image is decoded: enough for photographs of 64 megapixels, and below
# the 179 million of files that a user chose himself.
MAX_PIXELS = 67_108_864
OUTPUTS = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")
RAW_OUTPUTS = ("box_deltas", "class_scores")
"""Outputs of an artefact with NMS inside, and of one without."""
KEYS = ("boxes", "labels", "scores", "num_detections")
"""Keys of a `PostProcess` in the order of `OUTPUTS`."""


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """The largest deviation of an artefact from Keras."""

    iou: float  # smallest IoU of a box with Keras' box
    score: float  # largest difference of scores
    share: float  # smallest share of detections within these two
    floor: float = 0.0  # share of the best score below which scores are noise


EXACT = Tolerance(0.98, 0.005, 0.995)
INTEGER = Tolerance(0.6, 0.25, 0.85, floor=0.5)


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of a format: one of some words, or a whole number."""

    choices: tuple[str, ...]  # the default first, the only one of a number
    help: str
    is_number: bool = False

    def check(self, name: str, value: object) -> None:
        """Raises ValueError for a value that the option does not take."""
        if self.is_number:
            if not (str(value).isdecimal() and int(str(value))):
                raise ValueError(f"{name} is {value!r}; expected a whole number of 1 or more.")
        elif value not in self.choices:
            raise ValueError(unknown_name(name, str(value), self.choices))


class FormatModule(Protocol):
    """The functions of a format's module."""

    def write(
        self,
        model: "SSD",
        path: str,
        post_process: "PostProcess",
        images: Sequence[Any],
        **options: str,
    ) -> None:
        """Writes the artefact to a path where nothing is; `images` [H, W, 3] are to calibrate on.

        All layers of the model are float32, and all options of the row are given.
        """

    def start(self, path: str, num_threads: int) -> tuple[Callable, Callable]:
        """Returns functions from an image [H, W, 3] to inputs, and from these to outputs by name.

        The check runs the text of this function in a process without Keras and ssd_keras, so it
        imports what it uses.
        """

    def check_operators(self, path: str) -> dict[str, int]:
        """Counts the operators, most frequent first; raises ValueError for a wrong one."""

    def load(self, path: str, num_threads: int = NUM_THREADS) -> "ExportedDetector":
        """Loads an artefact with NMS inside."""

    def describe(self, path: str) -> list[str]:
        """Returns lines for `ssd-keras info`: inputs, outputs, classes."""


@dataclasses.dataclass(frozen=True)
class Format:
    """A format that models are exported to."""

    name: str
    title: str  # in sentences
    keras_name: str  # as `model.export(format=...)` names it
    module: str  # with the functions of `FormatModule`
    suffix: str = ""  # of the file's name; "" for a folder
    marker: str = ""  # file that shows that a folder is such an artefact
    takes_any_size: bool = False  # the artefact resizes images
    packages: tuple[str, ...] = ()  # beside those that ssd_keras needs
    extra: str = ""  # that installs them; "": the extra `name`
    options: Mapping[str, Option] = dataclasses.field(default_factory=dict)
    # Facts about choices of the options.
    tolerances: Mapping[str, Tolerance] = dataclasses.field(default_factory=dict)
    calibrated: tuple[str, ...] = ()  # need images
    across_classes: tuple[str, ...] = ()  # NMS drops boxes of other classes too

    def __str__(self) -> str:
        lines = [f"{self.name} ({self.title}, Keras' {self.keras_name!r}): {self.output}"]
        lines += [f"  {name}: {option.help}" for name, option in self.options.items()]
        return "\n".join(lines)

    @property
    def output(self) -> str:
        """What is written, in words."""
        return f"a file ending in {self.suffix}" if self.suffix else "a folder"

    @property
    def functions(self) -> FormatModule:
        """The module, imported."""
        self.check_packages()
        return cast(FormatModule, importlib.import_module(self.module))

    def check_packages(self) -> None:
        """Raises ImportError if a package is not installed."""
        check_extra(self.packages, self.extra or self.name, f"the format {self.name}")

    def all_options(self, options: Mapping[str, str]) -> dict[str, str]:
        """Returns the given options and the defaults of the others."""
        return {name: option.choices[0] for name, option in self.options.items()} | dict(options)

    def tolerance(self, options: Mapping[str, str]) -> Tolerance:
        """Returns how far an artefact with these options may deviate."""
        found = (self.tolerances.get(choice) for choice in options.values())
        return next(filter(None, found), EXACT)

    def is_artefact(self, path: str) -> bool:
        """Whether a path holds an artefact of this format."""
        if self.suffix:
            return path.lower().endswith(self.suffix) and os.path.isfile(path)
        return os.path.isfile(os.path.join(path, self.marker))

    def replacing(self, path: str) -> AbstractContextManager[str]:
        """Yields a temporary path; moves it to `path` when the block succeeds."""
        return replacing(path) if self.suffix else replacing_directory(path)


_ROWS = (
    Format(
        name="saved_model",
        title="SavedModel",
        keras_name="tf_saved_model",
        module="ssd_keras.exporters.saved_model",
        marker="saved_model.pb",
        takes_any_size=True,
        options={
            "precision": Option(
                ("float32", "bfloat16"),
                "numbers of the network: float32 (default), or bfloat16, which takes about half "
                "the time on a processor or GPU that computes in it",
            ),
            "weights": Option(
                ("constants", "variables"),
                "where the weights are: constants (default) are faster for small batches, "
                "variables take a sixth of the memory",
            ),
            "max_pixels": Option(
                (str(MAX_PIXELS),),
                f"refuse encoded images of more pixels; default {MAX_PIXELS}",
                is_number=True,
            ),
        },
        tolerances={"bfloat16": Tolerance(0.9, 0.05, 0.98, floor=0.1)},
    ),
    Format(
        name="tflite",
        title="TFLite",
        keras_name="litert",
        module="ssd_keras.exporters.tflite",
        suffix=".tflite",
        options={
            "quantize": Option(
                ("none", "float16", "dynamic", "int8"),
                "make the file smaller: none (default) keeps float32 weights, float16 halves them, "
                "dynamic quarters them, int8 quarters them and is faster, and needs calibration "
                "data",
            ),
            "post_processing": Option(
                ("builtin", "op", "none"),
                "how boxes are chosen: builtin (default) is the model's NMS by class in built-in "
                "operators; op is TFLite's own operator, with NMS across classes and without "
                "clipping; none gives the outputs of the network, for GPU delegates",
            ),
            "input_dtype": Option(
                ("uint8", "float32"),
                "type of the image's pixels, 0..255: uint8 (default) or float32",
            ),
        },
        tolerances={
            "float16": Tolerance(0.95, 0.03, 0.98, floor=0.1),
            "dynamic": INTEGER,
            "int8": INTEGER,
        },
        calibrated=("int8",),
        across_classes=("op",),
    ),
    Format(
        name="onnx",
        title="ONNX",
        keras_name="onnx",
        module="ssd_keras.exporters.onnx",
        suffix=".onnx",
        packages=ONNX_PACKAGES,
        options={
            "batch": Option(
                ("one", "any"),
                "images in a call: one (default), or any number, for servers that run batches",
            )
        },
    ),
    Format(
        name="triton",
        title="Triton model",
        keras_name="triton",
        module="ssd_keras.exporters.triton",
        marker=os.path.join("1", "model.onnx"),
        packages=ONNX_PACKAGES,
        extra="onnx",
        options={
            "max_batch_size": Option(
                ("8",), "most images that the server runs at once; default 8", is_number=True
            )
        },
    ),
)
FORMATS = {row.name: row for row in _ROWS}


def find_format(path: str) -> Format | None:
    """Returns the format of the artefact at a path, if there is one."""
    return next((row for row in FORMATS.values() if row.is_artefact(path)), None)


def check_request(
    path: str, format: str, options: Mapping[str, str], images: Collection[object]
) -> None:
    """Raises ValueError for what cannot be exported, before anything takes time."""
    if format not in FORMATS:
        raise ValueError(unknown_name("format", format, FORMATS))
    row = FORMATS[format]
    row.check_packages()
    _check_path(path, row)
    for name, choice in options.items():
        if name not in row.options:
            owners = [other.name for other in FORMATS.values() if name in other.options]
            if owners:
                raise ValueError(f"{name} is an option of {', '.join(owners)}, not of {format}.")
            raise ValueError(unknown_name("option", name, ("post_process", "images", *row.options)))
        row.options[name].check(name, choice)
        if choice in row.calibrated and not len(images):
            raise ValueError(
                f"{choice} needs images to calibrate on; pass calibration data, such as the "
                "training data (--calibration-data)."
            )


def _check_path(path: str, row: Format) -> None:
    suffixes = [other.suffix for other in FORMATS.values() if other.suffix]
    suffix = next((suffix for suffix in suffixes if path.endswith(suffix)), "")
    if suffix != row.suffix:
        raise ValueError(f"output {path!r} does not fit the format {row.name}; pass {row.output}.")
    if row.suffix and os.path.isdir(path):
        raise ValueError(f"output {path!r} is a folder; pass the path of a file.")
    is_taken = os.path.isfile(path) or (os.path.isdir(path) and os.listdir(path))
    if not row.suffix and is_taken and not row.is_artefact(path):
        raise ValueError(
            f"output {path!r} already exists and is not a {row.title}; choose another folder."
        )
    if row.name == "saved_model":
        check_no_pattern(path)
    check_writable(path, is_folder=not row.suffix)


def check_no_pattern(path: str) -> None:
    """Raises ValueError for the path of a SavedModel that, as a pattern, does not find itself."""
    name = path.replace(os.sep, "/")
    if "\\" in name or not fnmatch.fnmatchcase(name, name):
        raise ValueError(
            f"TensorFlow loads no SavedModel from {path!r}, because it reads paths as patterns; "
            "choose a path without brackets and backslashes."
        )
