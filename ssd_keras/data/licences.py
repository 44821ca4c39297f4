"""Finds what data sets say of their licence."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ssd_keras.core.text import is_plain_text, one_line

LICENCE_FILE = re.compile(r"licen[cs]e([._-].*)?$", re.IGNORECASE)
README = re.compile(r"(read.?me|source).*$", re.IGNORECASE)
STATEMENT = re.compile(r"^\W*licen[cs]e\W*[:=]\s*(\S.*)$", re.IGNORECASE | re.MULTILINE)
VERSION = re.compile(r"version \d|cc0|attribution", re.IGNORECASE)  # on the second line
MAX_BYTES = 20_000
MAX_LENGTH = 400


def licence_of_folders(paths: Sequence[str]) -> str:
    """Returns the first line of a licence file, or the line of a README that states one.

    It lies in a folder of the paths, or in that which holds them all; "" where there is none.
    """
    folders = [path if os.path.isdir(path) else os.path.dirname(path) for path in paths if path]
    if len(folders) > 1:
        folders.append(_common(folders))
    for folder in dict.fromkeys(folders):
        if licence := _licence_in(folder):
            return licence
    return ""


def licence_of_coco(licences: Any, images: Sequence[dict[str, Any]]) -> str:
    """Returns the names of the licences of COCO's images, or their addresses."""
    used = {str(image["license"]) for image in images if "license" in image}
    names: list[str] = []
    for record in licences if isinstance(licences, list) else ():
        if isinstance(record, dict) and (not used or str(record.get("id")) in used):
            texts = [record.get("name"), record.get("url")]
            names += [text for text in texts if isinstance(text, str) and is_plain_text(text)][:1]
    return "; ".join(dict.fromkeys(names))


def licence_of_yaml(content: Mapping[str, Any]) -> str:
    """Returns the licence that a YOLO data.yaml states, as Roboflow's do; "" for none."""
    nested = content.get("roboflow")
    tables = [content, nested if isinstance(nested, Mapping) else {}]
    values = [table.get(key) for table in tables for key in ("license", "licence")]
    return next((x for x in values if isinstance(x, str) and is_plain_text(x)), "")


def _common(folders: Sequence[str]) -> str:
    try:
        return os.path.commonpath([os.path.abspath(folder) for folder in folders])
    except ValueError:  # of several drives
        return folders[0]


def _licence_in(folder: str) -> str:
    try:
        names = sorted(os.listdir(folder or "."))
    except OSError:
        return ""
    for pattern, find in ((LICENCE_FILE, _first_line), (README, _statement)):
        for name in filter(pattern.match, names):
            if text := find(_beginning(os.path.join(folder, name))):
                return one_line(text)[:MAX_LENGTH]
    return ""


def _beginning(path: str) -> str:
    if not os.path.isfile(path):
        return ""
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _first_line(text: str) -> str:
    lines = [line.strip("\ufeff#*=- \t") for line in text.splitlines()]
    first, second = [*filter(None, lines), "", ""][:2]
    return f"{first}, {second}" if VERSION.match(second) else first


def _statement(text: str) -> str:
    found = STATEMENT.search(text)
    return found[1].strip("*_` \r") if found else ""
