"""Takes specs such as "voc:ROOT@SPLIT" apart: functions of their text and of what exists."""

import glob
import os
import re
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NamedTuple

Parts = tuple[str, str]
NEGATIVES = "+negatives"  # behind a split of VOC: images without annotations have no objects
LABEL_MAP_ENDINGS = (".pbtxt", ".txt")


def is_file(path: str) -> bool:
    """Whether a path that may begin with "~" is a file."""
    return os.path.isfile(os.path.expanduser(path))


def is_folder(path: str) -> bool:
    """Whether a path that may begin with "~" is a folder."""
    return os.path.isdir(os.path.expanduser(path))


def is_any(path: str) -> bool:
    """Whether a path that may begin with "~" is a file or a folder."""
    return os.path.exists(os.path.expanduser(path))


def matching_files(pattern: str) -> list[str]:
    """Returns the file of this path, else the files that a pattern of "*" and "?" matches."""
    path = os.path.expanduser(pattern)
    if os.path.isfile(path):
        return [path]
    return sorted(filter(os.path.isfile, glob.glob(path.replace("[", "[[]"))))


def has_matches(pattern: str) -> bool:
    """Whether a path or a pattern names at least one file."""
    return bool(matching_files(pattern))


class SpecForm(NamedTuple):
    """How the specs of a format look; the test of a part that is no path is None."""

    text: str
    first_exists: Callable[[str], bool] | None = None
    second_exists: Callable[[str], bool] | None = None
    ending: str = ""  # of the first part
    needs_second: bool = True


def split_parts(rest: str, form: SpecForm, folder: str = "") -> Parts:
    """Returns what surrounds the "@" that divides a spec, whose paths are relative to a folder.

    Paths may hold "@" too: the one counts whose two sides exist, else the one whose first side
    does, else the one behind the format's ending; before a name that is no path, such as that of
    a split, the last of these.
    """
    cuts = [index for index, letter in enumerate(rest) if letter == "@"]
    pairs = [(rest[:cut], rest[cut + 1 :]) for cut in reversed(cuts)]
    if not form.needs_second:
        pairs.append((rest, ""))
    pairs = [pair for pair in pairs if pair[0] and (pair[1] or not form.needs_second)]
    if not pairs:
        raise ValueError(f"a part is missing around '@'; expected {form.text}")
    fits = [_fit(pair, form, folder) for pair in pairs]
    fitting = [pair for pair, fit in zip(pairs, fits, strict=True) if fit == max(fits)]
    if len(fitting) > 1 and form.needs_second and form.second_exists:
        state = "both sides exist" if max(fits) == 3 else "no side exists"
        choices = " and ".join(f"'{first}' @ '{second}'" for first, second in fitting)
        raise ValueError(
            f"'@' can stand in several places, where {state}: {choices}; expected {form.text}; "
            "correct the paths, or rename a folder"
        )
    return fitting[0] if form.needs_second else fitting[-1]


def join_parts(parts: Parts, form: SpecForm, folder: str, paths: ModuleType = os.path) -> Parts:
    """Returns the parts with their paths relative to a folder."""
    tests = (form.first_exists, form.second_exists)
    first, second = (
        paths.join(folder, paths.expanduser(part)) if test and part else part
        for part, test in zip(parts, tests, strict=True)
    )
    return first, second


def _fit(parts: Parts, form: SpecForm, folder: str) -> int:
    """Returns 3 where both sides exist, 2 where the first does, 1 where the ending is right."""
    first, second = join_parts(parts, form, folder)
    if form.first_exists is not None and form.first_exists(first):
        return 2 + (form.second_exists is None or not second or form.second_exists(second))
    if form.ending:
        return int(first.lower().endswith((form.ending, f"{form.ending}.gz")))
    return int(not form.needs_second and second.endswith(LABEL_MAP_ENDINGS))


def name_candidates(prefix: str, first: str, second: str) -> list[str]:
    """Returns names for the split that a spec stands for, the best one first."""
    above, name = os.path.split(os.path.abspath(os.path.expanduser(first)))
    folder = os.path.basename(above)
    if prefix in ("coco", "csv", "tfrecord"):
        stem = _stem(name)
        return [stem, f"{folder}_{stem}"] if folder else [stem]
    second = second.removesuffix(NEGATIVES)
    if prefix not in ("voc", "yolo", "images"):
        return [second]
    if second in ("all", ".", ""):
        return [name or second, f"{folder}_{name}"]
    return [second, f"{name}_{second}"]


def distinct_names(candidates: Sequence[Sequence[str]]) -> list[str]:
    """Returns the first candidates of all that differ from each other, else numbered ones."""
    for rank in range(max(map(len, candidates), default=0)):
        names = [names[min(rank, len(names) - 1)] for names in candidates]
        if len({*names}) == len(names):
            return names
    numbered: list[str] = []
    for first, *_ in candidates:
        number = 1
        while f"{first}_{number}" in numbered:
            number += 1
        numbered.append(f"{first}_{number}")
    return numbered


def _stem(path: str) -> str:
    """Returns the name of a file without extension, shard numbers and wildcards."""
    name = re.sub(r"-(\d{5}|[?*]+)(-of-[\d?*]+)?", "", os.path.basename(path))
    stem = name.split(".")[0] or name
    return stem.rstrip("*?-_") or name
