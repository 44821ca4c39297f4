"""Names and files of written images."""

import os
import re

from ssd_keras.data.image_files import SIGNATURES
from ssd_keras.data.records import Example

EXTENSIONS = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp", "GIF": ".gif"}


def _refuse_crowds(example: Example, layout: str) -> None:
    if example.is_crowd.any():
        raise ValueError(
            f"{example.location}: a crowd, for which {layout} has no flag; choose the layout coco"
        )


class _Stems:
    """Names for images: their ids, made safe for file systems and unlike each other."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def __call__(self, example: Example) -> str:
        stem = wanted = _safe(os.path.splitext(str(example.image_id))[0])
        number = 1
        while stem.lower() in self.taken:
            number += 1
            stem = f"{wanted}_{number}"
        self.taken.add(stem.lower())
        return stem


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "image"


def _extension(encoded: bytes) -> str:
    kinds = (kind for kind, mark in SIGNATURES.items() if encoded.startswith(mark))
    return EXTENSIONS[next(kinds, "JPEG")]


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
