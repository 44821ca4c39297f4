"""Class names from text files and from label maps of the TF Object Detection API."""

import os

from google.protobuf import text_format

from ssd_keras.core.protobuf import Schema, message_class
from ssd_keras.core.text import is_plain_text

# The fields of StringIntLabelMap that matter here.
MESSAGES: Schema = {
    "LabelMap": (("item", 1, "Item", True),),
    "Item": (
        ("name", 1, "string", False),
        ("id", 2, "int32", False),
        ("display_name", 3, "string", False),
    ),
}
LabelMap = message_class("ssd_keras_label_map", MESSAGES, "LabelMap")


def read_name_lines(path: str) -> list[str]:
    """Returns the stripped lines of a text file of class names; some may be empty."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"the labels {path!r} do not exist; pass a text file of names.")
    try:
        with open(path, encoding="utf-8-sig") as file:
            names = [line.strip() for line in file.read().rstrip().split("\n")]
    except UnicodeDecodeError as error:
        raise ValueError(f"the labels {path!r} are not text; expected one name a line.") from error
    if names == [""]:
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


def read_label_map(path: str) -> dict[int, str]:
    """Returns class names by id, from a label map (.pbtxt) or a list of names (ids from 1)."""
    if not path.endswith(".pbtxt"):
        return dict(enumerate(read_names(path), start=1))
    if not os.path.isfile(path):
        raise FileNotFoundError(f"label map {path!r} does not exist; pass a .pbtxt or .txt file.")
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        text = file.read()
    try:
        items = text_format.Parse(text, LabelMap(), allow_unknown_field=True).item
    except (text_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"label map {path!r} cannot be parsed ({error}); correct it.") from error
    names = [(item.id, item.display_name or item.name) for item in items if item.HasField("id")]
    name_of = {number: name for number, name in names if is_plain_text(name)}
    if not name_of:
        raise ValueError(f"label map {path!r} has no items; expected item {{ id: 1 name: 'dog' }}.")
    return dict(sorted(name_of.items()))
