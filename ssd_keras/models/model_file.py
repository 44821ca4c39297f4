"""Reads models: `.keras` files and the folders that Keras writes, which may come from strangers.

Keras runs no code of a file, since its safe mode stays on. Refused here is what that mode leaves
out before Keras 3.13. Bounded are the sizes of the description and of the weights that it
describes; checked is that the weights are finite.
"""

import contextlib
import json
import math
import os
import re
import threading
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from ssd_keras.core.display_thresholds import DisplayThreshold, by_name
from ssd_keras.core.files import replacing
from ssd_keras.core.random_state import kept_random_state
from ssd_keras.core.text import first_cause, one_line
from ssd_keras.models.finite_weights import check_finite
from ssd_keras.models.ssd import SSD

# Names of Keras in the archive.
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MODEL_FILE = "model.keras"  # in a RUN

MAX_ENTRIES = 1000
MAX_TEXT = 8 << 20  # bytes of the description; that of a large model has some 100,000
MAX_EXPANSION = 100  # of compressed weights; Keras does not compress
MATHEMATICS = re.compile(r"keras(\.src)?\.(activations|ops|losses|metrics|initializers)\b")
SPARE_WEIGHTS = 1 << 20  # beyond those that a file has: layers that a model shares count twice


def load_model_at(path: str, name: str) -> SSD:
    """Loads an SSD of a RUN, a .keras file or a folder of Keras; `name` is that in messages."""
    file = path
    if os.path.isdir(path) and not os.path.isfile(os.path.join(path, CONFIG)):
        file = os.path.join(path, MODEL_FILE)
    if not os.path.exists(file):
        raise FileNotFoundError(
            f"{name!r} holds no model; pass the output folder of `ssd-keras train` (with "
            f"{MODEL_FILE} inside), a .keras file, or a preset with weights."
        )
    name = file if name == path else name
    if os.path.isfile(file) and not zipfile.is_zipfile(file):  # Keras would report a missing file
        raise ValueError(
            f"{name!r} is not a Keras model; pass a .keras file that `ssd-keras train` or "
            "`model.save` wrote."
        )
    return load_ssd(file, name=name)


def load_ssd(path: str, compile: bool = False, name: str = "") -> SSD:
    """Loads an SSD of a file or folder; `compile` loads its optimizer and losses too."""
    name = name or path
    try:
        is_folder = os.path.isdir(path)
        num_bytes = _checked_folder(path) if is_folder else _checked_archive(path)
        with _weights_up_to(num_bytes + SPARE_WEIGHTS), kept_random_state():
            model = keras.models.load_model(path, compile=compile)
    except Exception as error:
        raise ValueError(
            f"{name!r} cannot be read as a Keras model ({first_cause(error)}); pass a file that "
            "`ssd-keras train` or `model.save` wrote."
        ) from error
    if not isinstance(model, SSD):
        raise ValueError(
            f"{name!r} holds a {one_line(type(model).__name__)}, not an SSD; pass a file that "
            "`ssd-keras train` wrote."
        )
    check_finite(model, repr(name))
    return model


def replace_display_threshold(
    path: str, thresholds: DisplayThreshold, class_names: Sequence[str]
) -> None:
    """Writes thresholds into the file of an SSD; weights and optimizer stay as they are."""
    _checked_archive(path)
    with replacing(path) as beside, zipfile.ZipFile(path) as old:
        description = json.loads(old.read(CONFIG))
        if description["config"]["class_names"] != list(class_names):
            raise ValueError(f"{path!r} has changed: it holds a model of other classes; try again.")
        description["config"]["display_threshold"] = by_name(thresholds, class_names)
        with zipfile.ZipFile(beside, "w") as new:
            for entry in old.infolist():
                is_config = entry.filename == CONFIG
                content = json.dumps(description).encode() if is_config else old.read(entry)
                new.writestr(entry, content)


def _checked_archive(path: str) -> int:
    """Checks names and sizes in an archive; returns the number of bytes of the weights."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        sizes = _checked_sizes(entries)
        _check_layers(json.loads(archive.read(CONFIG)))
    return sizes[WEIGHTS]


def _checked_folder(path: str) -> int:
    """Checks the sizes of a folder that Keras wrote; returns the number of bytes of the weights."""
    files = {name: os.path.join(path, name) for name in (CONFIG, METADATA, WEIGHTS)}
    sizes = {name: os.path.getsize(file) for name, file in files.items() if os.path.isfile(file)}
    _check_parts(sizes)
    with open(files[CONFIG], "rb") as file:
        _check_layers(json.loads(file.read()))
    return sizes[WEIGHTS]


def _checked_sizes(entries: list[zipfile.ZipInfo]) -> dict[str, int]:
    """Checks the entries; returns their sizes by name."""
    if len(entries) > MAX_ENTRIES:
        raise ValueError(f"it has {len(entries)} entries; expected {MAX_ENTRIES} at most")
    sizes: dict[str, int] = {}
    for entry in entries:
        name = entry.filename
        if name in sizes or "\\" in name or {"", "..", "."} & set(name.rstrip("/").split("/")):
            raise ValueError(f"its entry {one_line(name)!r} leads out of it, or occurs twice")
        if entry.file_size > MAX_EXPANSION * max(entry.compress_size, 10_000):
            raise ValueError(f"its entry {one_line(name)!r} unpacks to {entry.file_size} bytes")
        sizes[name] = entry.file_size
    _check_parts(sizes)
    return sizes


def _check_parts(sizes: dict[str, int]) -> None:
    """Checks that all parts are there, and that the texts are short."""
    for name in (CONFIG, METADATA):
        if sizes.get(name, 0) > MAX_TEXT:
            raise ValueError(f"its {name} has {sizes[name]} bytes; expected {MAX_TEXT} at most")
    for name in (CONFIG, WEIGHTS):
        if name not in sizes:
            raise ValueError(f"it has no {name}")


def _check_layers(node: Any) -> None:
    """Refuses layers that read other files, and functions of Keras that are no mathematics."""
    if isinstance(node, list):
        for child in node:
            _check_layers(child)
    elif isinstance(node, dict):
        name, module = (str(node.get(key)) for key in ("class_name", "module"))
        if name == "TFSMLayer" or isinstance(node.get("vocabulary"), str):
            raise ValueError("one of its layers reads a file outside of it")
        is_function = name == "function" and module.startswith("keras")
        if is_function and not MATHEMATICS.match(module):
            function = one_line(f"{module}.{node.get('registered_name')}")
            raise ValueError(f"it calls the function {function}")
        for child in node.values():
            _check_layers(child)


@contextlib.contextmanager
def _weights_up_to(limit: int) -> Iterator[None]:
    """Refuses layers that together make more weights; before they take memory."""
    add_weight, thread, count = keras.Layer.add_weight, threading.get_ident(), 0

    def counted(layer: keras.Layer, shape: Any = None, *arguments: Any, **options: Any) -> Any:
        nonlocal count
        if threading.get_ident() == thread:
            count += math.prod(shape if isinstance(shape, list | tuple) else [shape or 1])
            if count > limit:
                raise ValueError("its layers have more weights than the file")
        return add_weight(layer, shape, *arguments, **options)

    keras.Layer.add_weight = counted
    try:
        yield
    finally:
        keras.Layer.add_weight = add_weight
