"""Class names from text files and from label maps of the TF Object Detection API."""

import io
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from google.protobuf import text_format

from ssd_keras.core.protobuf import Schema, message_class
from ssd_keras.core.text import clean_name, is_plain_text, one_line, read_text
from ssd_keras.data.problems import Problem, ProblemKind

# The fields of StringIntLabelMap that matter here.
MESSAGES: Schema = {
    "LabelMap": (("item", 1, "Item", True),),
    "Item": (
        ("name", 1, "string", False),
        ("id", 2, "int32", False),
        ("display_name", 3, "string", False),
    ),
}
LabelMapMessage = message_class("ssd_keras_label_map", MESSAGES, "LabelMap")
BACKGROUND = "background"


class LabelMap(NamedTuple):
    """Names of classes by id, and by each text that stands for one: `name` and `display_name`."""

    name_of: dict[int, str]
    name_of_text: dict[str, str]

    def find(self, text: str, label: int, location: str) -> tuple[str, Problem | None]:
        """Returns the name of an object's class (empty: none), by its text or its number."""
        text = clean_name(text)
        name, numbered = self.name_of_text.get(text), self.name_of.get(label)
        if name is None and numbered is not None:
            if not text:
                return numbered, None
            detail = f"'{text}'; its number {label} is '{numbered}'"
            return numbered, Problem(ProblemKind.OTHER_TEXT, location, detail)
        name = name or text
        if is_plain_text(name):
            return name, None
        detail = f"{label}; expected class/text, or a label of the label map"
        return "", Problem(ProblemKind.UNKNOWN_CLASS, location, detail, group=str(label))


def read_name_lines(path: str) -> list[str]:
    """Returns the names of a text file, one a line; some may be empty."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"the labels {path!r} do not exist; pass a text file of names.")
    names = [clean_name(line) for line in _read_text(path).rstrip().split("\n")]
    if not any(names):
        raise ValueError(f"the labels {path!r} are empty; expected one name a line.")
    return names


def read_names(path: str) -> list[str]:
    """Returns the class names of a text file, one a line."""
    names = read_name_lines(path)
    if not all(names):
        raise ValueError(f"the labels {path!r} have an empty line; expected one name a line.")
    if not all(map(is_plain_text, names)):
        raise ValueError(f"the labels {path!r} have control characters; expected one name a line.")
    return names


def read_label_map(path: str) -> tuple[LabelMap, list[Problem]]:
    """Returns a label map (.pbtxt), or a list of names whose ids count from 1, and notes."""
    if not path.endswith(".pbtxt"):
        names = read_names(path)
        return LabelMap(dict(enumerate(names, start=1)), {name: name for name in names}), []
    if not os.path.isfile(path):
        raise FileNotFoundError(f"label map {path!r} does not exist; pass a .pbtxt or .txt file.")
    try:
        items = text_format.Parse(_read_text(path), LabelMapMessage(), allow_unknown_field=True)
    except (text_format.ParseError, RecursionError) as error:
        reason = one_line(str(error))
        raise ValueError(f"label map {path!r} cannot be parsed ({reason}); correct it.") from error
    found, notes = _collect(items.item, path)
    if not found.name_of:
        raise ValueError(f"label map {path!r} has no items; expected item {{ id: 1 name: 'dog' }}.")
    return found, notes


def _collect(items: Sequence[Any], path: str) -> tuple[LabelMap, list[Problem]]:
    name_of: dict[int, str] = {}
    name_of_text: dict[str, str] = {}
    notes: list[Problem] = []
    for number, item in enumerate(items, start=1):
        texts = [clean_name(text) for text in (item.display_name, item.name)]
        name = next(filter(is_plain_text, texts), "")
        location = f"{path}: item {number}"
        if not item.HasField("id") or not name:
            continue
        if item.id == 0 and name.lower() == BACKGROUND:
            notes.append(Problem(ProblemKind.BACKGROUND, location))
            continue
        if item.id in name_of:
            detail = f"{item.id} is already '{name_of[item.id]}', and now '{name}'"
            action = "read by the last name"
            notes.append(Problem(ProblemKind.DUPLICATE_CATEGORY, location, detail, action))
        name_of[item.id] = name
        name_of_text.update({text: name for text in texts if text})
    return LabelMap(dict(sorted(name_of.items())), name_of_text), notes


def _read_text(path: str) -> str:
    return io.StringIO(read_text(path), newline=None).getvalue()
