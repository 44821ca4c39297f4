"""Reads `.keras` files, which may come from strangers.

Keras runs no code of a file, since its safe mode stays on. Refused here is what that mode leaves
out before Keras 3.13. Bounded are the sizes of the description and of the weights that it
describes; checked is that the weights are finite.
"""

import contextlib
import json
import math
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

MAX_ENTRIES = 1000
MAX_TEXT = 8 << 20  # bytes of the description; that of a large model has some 100,000
MAX_EXPANSION = 100  # of compressed weights; Keras does not compress
MATHEMATICS = re.compile(r"keras(\.src)?\.(activations|ops|losses|metrics|initializers)\b")
SPARE_WEIGHTS = 1 << 20  # beyond those that a file has: layers that a model shares count twice


def load_ssd(path: str, compile: bool = False) -> SSD:
    """Loads an SSD; `compile` loads its optimizer and losses too."""
    try:
        num_bytes = _checked_archive(path)
        with _weights_up_to(num_bytes + SPARE_WEIGHTS), kept_random_state():
            model = keras.models.load_model(path, compile=compile)
    except Exception as error:
        raise ValueError(
            f"{path!r} cannot be read as a Keras model ({first_cause(error)}); pass a file that "
            "`ssd-keras train` or `model.save` wrote."
        ) from error
    if not isinstance(model, SSD):
        raise ValueError(
            f"{path!r} holds a {one_line(type(model).__name__)}, not an SSD; pass a file that "
            "`ssd-keras train` wrote."
        )
    check_finite(model, repr(path))
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
    for name in (CONFIG, METADATA):
        if sizes.get(name, 0) > MAX_TEXT:
            raise ValueError(f"its {name} has {sizes[name]} bytes; expected {MAX_TEXT} at most")
    for name in (CONFIG, WEIGHTS):
        if name not in sizes:
            raise ValueError(f"it has no {name}")
    return sizes


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
