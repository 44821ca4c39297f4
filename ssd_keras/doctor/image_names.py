"""Names of images, and sequences of frames that their numbers make."""

import os
import re
from collections.abc import Sequence

from ssd_keras.data.image_sources import original_of
from ssd_keras.data.records import Example

MIN_FRAMES = 3
LAST_NUMBER = re.compile(r"(\d+)(\D*)$")
# What Roboflow appends: clip0_frame0003_jpg.rf.5f2b...
EXPORT_SUFFIX = re.compile(r"(_[A-Za-z]+)?\.rf\.\w+$")
# A year or a day before the last number, as in 2008_000123 and IMG-20181228-WA0007: photographs.
DATE = re.compile(r"(?<!\d)(19|20)\d\d([01]\d[0-3]\d)?[ _-]?[A-Za-z]{0,2}$")


def image_names(examples: Sequence[Example]) -> list[str]:
    """Returns the names of files without extension, below their common folder; or the ids."""
    originals = [original_of(example.image) for example in examples]
    folders = [os.path.dirname(image) for image in originals if isinstance(image, str)]
    try:
        folder = os.path.join(os.path.commonpath(folders), "")
    except ValueError:  # no file, absolute and relative paths, or two drives
        folder = ""
    names = []
    for example, image in zip(examples, originals, strict=True):
        if isinstance(image, str):
            path = os.path.splitext(image)[0].removeprefix(folder).replace(os.sep, "/")
            names.append(EXPORT_SUFFIX.sub("", path))
        else:
            names.append(str(example.image_id))
    return names


def numbered_sequences(names: Sequence[str]) -> dict[str, list[int]]:
    """Returns the indices of names that differ in their last number alone, ordered by it.

    The keys are the names with "#" in place of the number. A sequence has at least three names.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    for index, name in enumerate(names):
        match = LAST_NUMBER.search(name)
        if match and "/" not in match[2]:
            key = f"{name[: match.start()]}#{match[2]}"
            found.setdefault(key, []).append((int(match[1]), index))
    return {
        key: [index for _, index in sorted(numbered)]
        for key, numbered in found.items()
        if len(numbered) >= MIN_FRAMES
    }


def is_dated(key: str) -> bool:
    """Whether the names of a sequence have a year or a day before their number."""
    return bool(DATE.search(key.rpartition("#")[0]))


def natural_order(name: str) -> list[tuple[int, str]]:
    """Returns what sorts names as people do: a9 before a10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
