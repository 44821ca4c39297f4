"""Reads data files: TOML files that name data sets and class names, such as `EXAMPLE`."""

import os
import tomllib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ssd_keras.core.class_names import COCO_CLASSES, VOC_CLASSES, check_class_names
from ssd_keras.core.text import clean_name, is_plain_text, unknown_name
from ssd_keras.data.unions import ClassChanges, make_changes

PARTS = ("train", "validation")
KEYS = (*PARTS, "classes", "format", "rename", "drop", "license")
CLASS_LISTS = {"voc": VOC_CLASSES, "coco": COCO_CLASSES}
EXTENSION = ".toml"
EXAMPLE = """\
data.toml (any name that ends in .toml; data.toml@validation is its validation data)
    # Paths are relative to this file; all but one of train and validation may be left out.
    train = ["voc:VOC2007@trainval", "voc:VOC2012@trainval"]
    validation = "voc:VOC2007@test"
    classes = "voc"                              # or "coco", or a list of names in label order
    rename = {van = "vehicle", bus = "vehicle"}  # the same new name makes one class
    drop = ["person"]                            # classes whose objects are not used
    license = "CC BY 4.0"                        # of all data sets that do not say it themselves
    # format = "voc"                             # kind of all data sets, then named without it"""


class DataFile(NamedTuple):
    """Specs of each part's data sets, class names (None: those of the data), changes, licence."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    class_names: tuple[str, ...] | None
    changes: ClassChanges
    licence: str


def is_data_file(spec: str) -> bool:
    """Whether a spec names a data file, such as "data.toml" or "data.toml@validation"."""
    path, at, part = spec.rpartition("@")
    return spec.endswith(EXTENSION) or (at == "@" and path.endswith(EXTENSION))


def read_data_file(path: str, resolve: Callable[[str, str], str]) -> DataFile:
    """Reads a data file; `resolve(spec, folder)` makes a spec's paths relative to its folder."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no data file {path}; expected TOML there")
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not TOML ({error}); correct it") from error
    for name in sorted(content.keys() - set(KEYS)):
        raise ValueError(f"{path}: {unknown_name('name', name, KEYS)}")
    folder, prefix = os.path.dirname(path), content.get("format", "")
    if not isinstance(prefix, str):
        raise ValueError(f"{path}: format is {prefix!r}; expected a word such as 'voc'")
    parts = {part: _specs(path, part, content.get(part, [])) for part in PARTS}
    if not parts["train"] and not parts["validation"]:
        raise ValueError(f'{path} names no data; expected such as train = "voc:ROOT@train"')
    try:
        resolved = {
            part: tuple(resolve(f"{prefix}:{spec}" if prefix else spec, folder) for spec in specs)
            for part, specs in parts.items()
        }
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    changes = make_changes(content.get("rename", {}), content.get("drop", []), path)
    class_names, licence = _class_names(path, content.get("classes")), content.get("license", "")
    if not isinstance(licence, str) or (licence and not is_plain_text(licence)):
        raise ValueError(f"{path}: license is {licence!r}; expected its name in one line")
    return DataFile(**resolved, class_names=class_names, changes=changes, licence=licence)


def _specs(path: str, part: str, value: Any) -> Sequence[str]:
    specs = [value] if isinstance(value, str) else value
    if not isinstance(specs, list) or not all(isinstance(spec, str) and spec for spec in specs):
        raise ValueError(f"{path}: {part} is {value!r}; expected a data set or a list of them")
    nested = [spec for spec in specs if is_data_file(spec)]
    if nested:
        raise ValueError(f"{path}: {part} names the data file '{nested[0]}'; expected data sets")
    return specs


def _class_names(path: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str) and value in CLASS_LISTS:
        return CLASS_LISTS[value]
    if not isinstance(value, list) or not value or not all(isinstance(n, str) for n in value):
        raise ValueError(
            f"{path}: classes is {value!r}; expected a list of names, or one of "
            f"{', '.join(repr(name) for name in CLASS_LISTS)}"
        )
    names = tuple(map(clean_name, value))
    try:
        check_class_names(names)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return names
