"""Parts of a detector that recipes and presets choose by name: necks, heads, assigners, losses.

A part is a dataclass. Its module lies in the package of its kind, whose modules are all imported
before a name is looked up, so that a new part is one new class and no entry elsewhere.
"""

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, TypeVar

from ssd_keras.core.text import unknown_name

PACKAGES = {
    "neck": "ssd_keras.models.necks",
    "head": "ssd_keras.models.heads",
    "assigner": "ssd_keras.assigners",
    "box_loss": "ssd_keras.losses",
    "class_loss": "ssd_keras.losses",
}
_PARTS: dict[str, dict[str, type]] = {kind: {} for kind in PACKAGES}

Part = TypeVar("Part", bound=type)


def register_part(kind: str, name: str) -> Callable[[Part], Part]:
    """Decorator: registers a dataclass with Keras, and under a short name with its kind."""
    import keras

    def register(part: Part) -> Part:
        _PARTS[kind][name] = part
        return keras.saving.register_keras_serializable("ssd_keras")(part)

    return register


def parts(kind: str) -> Mapping[str, type]:
    """Returns the classes of a kind by their short names."""
    import_all(PACKAGES[kind])
    return _PARTS[kind]


def import_all(package: str) -> ModuleType:
    """Imports a module, and all modules in it if it is a package."""
    module = importlib.import_module(package)
    for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
        importlib.import_module(f"{package}.{found.name}")
    return module


def find_part(kind: str, name: str) -> type:
    """Returns the class of a short name."""
    known = parts(kind)
    if name not in known:
        raise ValueError(unknown_name(kind.replace("_", " "), name, known))
    return known[name]


def make_part(kind: str, table: Mapping[str, Any]) -> Any:
    """Builds the part of a table: "type" is its short name, other keys are its fields."""
    options = dict(table)
    name = options.pop("type", None)
    part = find_part(kind, name)
    known = [field.name for field in dataclasses.fields(part) if field.init]
    for option in options:
        if option not in known:
            raise ValueError(
                unknown_name(f"option of {kind.replace('_', ' ')} {name!r}", option, known)
            )
    return part(**options)
