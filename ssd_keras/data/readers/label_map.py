"""Reads class names from text files and label maps."""

import os
import re

from ssd_keras.core.text import is_plain_text


def read_labels(path: str) -> list[str]:
    """Reads class names."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"the labels {path!r} do not exist; pass a text file of names.")
    try:
        with open(path, encoding="utf-8-sig") as file:
            names = [line.strip() for line in file.read().rstrip().split("\n")]
    except UnicodeDecodeError as error:
        raise ValueError(f"the labels {path!r} are no text; expected one name a line.") from error
    if names == [""]:
        raise ValueError(f"the labels {path!r} are empty; expected one name a line.")
    return names


def read_names(path: str) -> list[str]:
    """Class names out of a text file."""
    names = read_labels(path)
    if not all(names):
        raise ValueError(f"the labels {path!r} have an empty line; expected one name a line.")
    if not all(map(is_plain_text, names)):
        raise ValueError(f"the labels {path!r} have control characters; expected one name a line.")
    return names


def read_label_map(path: str) -> dict[int, str]:
    """Class names by id, out of a label map of the TF Object Detection API or a list of names."""
    if not path.endswith(".pbtxt"):
        return dict(enumerate(read_names(path), start=1))
    if not os.path.isfile(path):
        raise FileNotFoundError(f"label map {path!r} does not exist; pass a .pbtxt or .txt file.")
    with open(path, encoding="utf-8", errors="replace") as file:
        items = re.findall(r"item\s*\{([^}]*)\}", file.read())
    name_of: dict[int, str] = {}
    for item in items:
        number = re.search(r"\bid\s*:\s*(\d{1,9})\b", item)
        name = re.search(r"\bdisplay_name\s*:\s*([\"'])(.*?)\1", item)
        name = name or re.search(r"\bname\s*:\s*([\"'])(.*?)\1", item)
        if number and name and is_plain_text(name[2]):
            name_of[int(number[1])] = name[2]
    if not name_of:
        raise ValueError(f"label map {path!r} has no items; expected item {{ id: 1 name: 'dog' }}.")
    return dict(sorted(name_of.items()))
