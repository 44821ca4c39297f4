"""Parts of a detector that recipes and presets choose by name: necks, heads, assigners, losses.

A part is a dataclass; an augmentation step may be a function. Its module lies in the package of its
kind, whose modules are all imported before a name is looked up, so that a new part is one new class
and no entry elsewhere.
"""

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, TypeVar

from ssd_keras.core.records import from_table
from ssd_keras.core.text import unknown_name

PACKAGES = {
    "neck": "ssd_keras.models.necks",
    "head": "ssd_keras.models.heads",
    "assigner": "ssd_keras.assigners",
    "box_loss": "ssd_keras.losses",
    "class_loss": "ssd_keras.losses",
    "augmentation_step": "ssd_keras.data.augmentation.steps",
}
_PARTS: dict[str, dict[str, Any]] = {kind: {} for kind in PACKAGES}

Part = TypeVar("Part", bound=type)


def register_part(kind: str, name: str) -> Callable[[Part], Part]:
    """Decorator: registers a dataclass with Keras, and under a short name with its kind."""
    import keras

    def register(part: Part) -> Part:
        add_part(kind, name, part)
        return keras.saving.register_keras_serializable("ssd_keras")(part)

    return register


def add_part(kind: str, name: str, part: Any) -> None:
    """Registers a part under a short name, without Keras: for parts that no model file holds."""
    _PARTS[kind][name] = part


def parts(kind: str) -> Mapping[str, Any]:
    """Returns the classes and functions of a kind by their short names."""
    import_all(PACKAGES[kind])
    return _PARTS[kind]


def import_all(package: str) -> ModuleType:
    """Imports a module, and all modules in it if it is a package."""
    module = importlib.import_module(package)
    for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
        importlib.import_module(f"{package}.{found.name}")
    return module


def find_part(kind: str, name: str) -> Any:
    """Returns the class or function of a short name."""
    known = parts(kind)
    if name not in known:
        raise ValueError(unknown_name(kind.replace("_", " "), name, known))
    return known[name]


def make_part(kind: str, table: Mapping[str, Any], name: str = "") -> Any:
    """Builds the part of a table: "type" is its short name, other keys are its fields.

    A function has no fields and is the part itself. `name` is that of the table in messages.
    """
    options = dict(table)
    type_name = options.pop("type", "")
    part, name = find_part(kind, type_name), name or kind.replace("_", " ")
    if isinstance(part, type):
        return from_table(part, options, name)
    if options:
        raise ValueError(
            f"{name} {type_name!r} is a function, which takes no options; remove "
            f"{', '.join(map(repr, options))}."
        )
    return part


def part_name(kind: str, part: Any) -> str | None:
    """Returns the short name of a part, or None where it has none."""
    named = (name for name, known in parts(kind).items() if known in (part, type(part)))
    return next(named, None)


def part_table(kind: str, part: Any) -> dict[str, Any]:
    """Returns the table from which `make_part` builds the part."""
    name = part_name(kind, part)
    if name is None:
        raise ValueError(
            f"{kind.replace('_', ' ')} {part!r} has no name to write; register it under one."
        )
    return {"type": name, **{option: getattr(part, option) for option in _options(part)}}


def _options(part: Any) -> list[str]:
    fields = dataclasses.fields(part) if dataclasses.is_dataclass(part) else ()
    return [field.name for field in fields if field.init]
