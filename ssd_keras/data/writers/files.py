"""Names and files of written images."""

import os
import re

from ssd_keras.core.files import short_stem
from ssd_keras.core.image_formats import PNG_SIGNATURE
from ssd_keras.core.text import composed
from ssd_keras.data.records import Example


class UniqueStems:
    """Gives images file stems: their ids, made safe for file systems and unlike each other."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def __call__(self, example: Example) -> str:
        stem = base = short_stem(safe_name(os.path.splitext(str(example.image_id))[0]))
        number = 1
        while stem.lower() in self.taken:
            number += 1
            stem = f"{base}_{number}"
        self.taken.add(stem.lower())
        return stem


def safe_name(name: str) -> str:
    """Returns a name of letters, digits and "._-" that starts and ends with none of these marks."""
    return re.sub(r"[^\w.-]+", "_", composed(name)).strip("._") or "image"


def extension_of(encoded: bytes) -> str:
    """Returns the file extension for an encoded image: examples are JPEG or PNG."""
    return ".png" if encoded.startswith(PNG_SIGNATURE) else ".jpg"


def refuse_crowds(example: Example, format_name: str) -> None:
    """Raises a `ValueError` for an image with crowds, which a format has no flag for."""
    if example.is_crowd.any():
        raise ValueError(
            f"{example.location}: has a crowd, which {format_name} has no flag for; choose the "
            "format coco"
        )


def write_file(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
