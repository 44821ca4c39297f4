"""Image files that paths, folders and patterns name, and names for them."""

import glob
import os
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Sequence

from ssd_keras.core.image_formats import IMAGE_EXTENSIONS
from ssd_keras.core.text import one_line, short_list

MAX_EXTENSIONS = 8  # of other files that a message counts
ADDRESS_STARTS = ("http://", "https://")


def is_address(path: str) -> bool:
    """Whether a text is the address of an image on the web."""
    return path.lower().startswith(ADDRESS_STARTS)


def is_pattern(path: str) -> bool:
    """Whether a text is a pattern of file names, such as "photos/*.jpg", and no file."""
    return glob.has_magic(path) and not is_address(path) and not os.path.lexists(path)


def find_images(paths: Sequence[str]) -> list[str]:
    """Returns the image files among files, folders and patterns; of the latter two by name."""
    found: dict[str, None] = {}
    for path in paths:
        shown = one_line(repr(path))
        if os.path.isdir(path) or is_pattern(path):
            kind = "folder" if os.path.isdir(path) else "pattern"
            files = sorted(filter(_is_image_name, entries_of(path)))
            if not files:
                others = other_files([path])
                raise ValueError(
                    f"{kind} {shown} holds no image{others and f' ({others})'}; expected files "
                    "that end in .jpg, .png, .webp, .tif or as another format that Pillow opens."
                )
            found.update(dict.fromkeys(files))
        elif os.path.isfile(path):
            found[path] = None
        else:
            raise FileNotFoundError(
                f"image {shown} does not exist; pass a file, a folder or a pattern such as "
                "'photos/*.jpg'."
            )
    return list(found)


def entries_of(path: str) -> list[str]:
    """Returns all that lies in a folder, or that a pattern matches."""
    if os.path.isdir(path):
        return [os.path.join(path, name) for name in os.listdir(path)]
    return glob.glob(path, recursive=True) if is_pattern(path) else []


def other_files(paths: Sequence[str]) -> str:
    """Returns what else lies in the folders among the paths, by extension; "" for nothing."""
    counts: Counter[str] = Counter()
    for path in dict.fromkeys(paths):
        for entry in entries_of(path):
            name = os.path.basename(entry)
            if _is_image_name(name) or name.startswith("."):
                continue
            extension = os.path.splitext(name)[1].lower() or "without extension"
            counts["folders" if os.path.isdir(entry) else extension] += 1
    if not counts:
        return ""
    listed = short_list([f"{kind} {count}" for kind, count in counts.most_common()], MAX_EXTENSIONS)
    files = "other file is" if counts.total() == 1 else "other files are"
    return f"{counts.total()} {files} not read: {listed}"


def _is_image_name(path: str) -> bool:
    # macOS puts a file of that beginning beside each file on other file systems.
    name = os.path.basename(path)
    return name.lower().endswith(IMAGE_EXTENSIONS) and not name.startswith("._")


def unique_names(paths: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """Returns a name for each file or address: its stem where no other has it.

    Otherwise it is the path from their common folder, without its extension where that suffices.
    A file that is there twice has a number behind its name, and so has a name that is taken.
    """
    files = [_full_path(path) for path in paths]
    names = _names_of(list(dict.fromkeys(files)))
    return _numbered([names[file] for file in files], set(taken))


def _names_of(files: Sequence[str]) -> dict[str, str]:
    """Returns a name for each of several files, none of which is there twice."""
    names = [_stem(os.path.basename(file)) for file in files]
    shared = [file for file, count in zip(files, _counts(names), strict=True) if count > 1]
    try:
        common = os.path.commonpath([os.path.dirname(file) for file in shared]) if shared else ""
    except ValueError:  # of several drives
        common = ""
    within = [os.path.relpath(file, common) if common else file for file in files]
    within = [path.replace(os.sep, "/") for path in within]
    for longer in ([_stem(path) for path in within], within):
        counts = _counts(names)
        names = [
            name if count == 1 else other
            for name, other, count in zip(names, longer, counts, strict=True)
        ]
    return dict(zip(files, names, strict=True))


def _numbered(names: Sequence[str], taken: set[str]) -> list[str]:
    """Returns the names, with a number behind those that are there twice."""
    unique = []
    for name in names:
        number, candidate = 1, name
        while candidate in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.add(candidate)
        unique.append(candidate)
    return unique


def _counts(names: Sequence[str]) -> list[int]:
    counts = Counter(names)
    return [counts[name] for name in names]


def _stem(path: str) -> str:
    return os.path.splitext(path)[0]


def _full_path(path: str) -> str:
    if not is_address(path):
        return os.path.abspath(path)
    parts = urllib.parse.urlsplit(path)
    return os.path.abspath(f"{os.sep}{parts.netloc}{urllib.parse.unquote(parts.path)}")
