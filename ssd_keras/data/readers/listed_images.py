"""Finds the files of images that an annotation file lists by names of any form."""

import os
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote

from ssd_keras.core.image_formats import IMAGE_EXTENSIONS
from ssd_keras.data.image_files import leaves_folder
from ssd_keras.data.problems import BadDataError, Problem, ProblemKind
from ssd_keras.data.readers.file_index import FileIndex, other_path


class ListedImage(NamedTuple):
    """The path of a listed image, and whether only the end of the listed path is that of it."""

    path: str
    by_ending: bool = False


def find_listed_images(names: Iterable[str], folder: str) -> dict[str, ListedImage]:
    """Returns the image that each name stands for; names that stand for none are absent.

    A name is tried as it is, without escapes such as %20, and with the endings of images. Else the
    longest end of its path that a file below the folder has counts, where no other name has it:
    annotation files keep absolute paths, addresses and folders of the machine they come from.
    """
    index = FileIndex(folder)
    found: dict[str, ListedImage] = {}
    for name in dict.fromkeys(names):
        path = _find(index, name)
        listed = ListedImage(path) if path else _find_by_ending(index, name)
        if listed is not None:
            found[name] = listed
    counts = Counter(listed.path for listed in found.values())
    return {
        name: listed
        for name, listed in found.items()
        if not listed.by_ending or counts[listed.path] == 1
    }


def listed_image(
    name: str, found: dict[str, ListedImage], folder: str, location: str, problems: list[Problem]
) -> str:
    """Returns the path of an image, with a note where the listed path is another one."""
    listed = found.get(name)
    if listed is None:
        if leaves_folder(name):
            raise BadDataError(ProblemKind.PATH_OUTSIDE, name)
        return os.path.join(folder, name)
    if listed.by_ending:
        problems.append(other_path(location, name, listed.path, folder))
    return listed.path


def _find(index: FileIndex, name: str) -> str | None:
    spellings = dict.fromkeys((name, unquote(name)))
    endings = ("",) if name.lower().endswith(IMAGE_EXTENSIONS) else ("", *IMAGE_EXTENSIONS)
    paths = (index.find(spelling + ending) for spelling in spellings for ending in endings)
    return next(filter(None, paths), None)


def _find_by_ending(index: FileIndex, name: str) -> ListedImage | None:
    parts = [part for part in name.replace("\\", "/").split("?")[0].split("/") if part]
    for start in range(1, len(parts)):
        path = _find(index, "/".join(parts[start:]))
        if path is not None:
            return ListedImage(path, by_ending=True)
    return None
