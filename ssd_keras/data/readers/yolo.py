"""YOLO folders: a text file for each image, a line for each object, sides as shares."""

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

from ssd_keras.core.text import is_plain_text
from ssd_keras.data.image_files import check_links, leaves_folder
from ssd_keras.data.problems import BadDataError, Problem, ProblemKind, problem_of
from ssd_keras.data.readers.assemble import (
    AnnotatedImage,
    AnnotatedObject,
    assemble,
    map_in_threads,
    size_of,
    to_pixels,
)
from ssd_keras.data.readers.label_map import read_names
from ssd_keras.data.records import DetectionData

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
LIST_EXTENSION = ".txt"
SPLIT_ALIASES = {"validation": "val", "valid": "val", "val": "val"}


def read_yolo(
    root: str,
    split: str,
    *,
    class_names: Sequence[str] | None = None,
    check_images: bool = True,
    progress: bool = False,
) -> DetectionData:
    """Reads one split of a YOLO data set: lines of class, x and y of the centre, width, height."""
    names_file, root = (root, os.path.dirname(root)) if os.path.isfile(root) else ("", root)
    if root and not os.path.isdir(root):
        raise FileNotFoundError(f"no folder {root}; expected YOLO's images and labels there")
    settings = _settings(names_file, root)
    names = settings["names"]
    files: list[tuple[str, bool]] = []
    problems: list[Problem] = []
    for place in _places(root, split, settings):
        if os.path.isdir(place):
            files += [(path, False) for path in _images_in(place)]
        else:
            files += [(path, True) for path in _listed_images(root, place, problems)]
    folders = [os.path.dirname(path) for path, _ in files]
    prefix = os.path.commonpath(folders) if files else root

    def read(file: tuple[str, bool]) -> tuple[AnnotatedImage | None, list[Problem]]:
        path, is_listed = file
        image_id = os.path.splitext(os.path.relpath(path, prefix))[0]
        return _read_image(root, image_id, path, names, is_listed)

    parsed = map_in_threads(read, files, "reading labels", progress)
    problems += [problem for _, found in parsed for problem in found]
    annotated = [image for image, _ in parsed if image is not None]
    if class_names is None:
        class_names = names
    examples, more = assemble(annotated, class_names, check_images=check_images, progress=progress)
    return DetectionData(tuple(class_names), examples, (*problems, *more))


def _settings(names_file: str, root: str) -> dict[str, Any]:
    """Class names, and the folders of the splits where a YAML file names them."""
    candidates = [names_file] if names_file else []
    candidates += [os.path.join(root, name) for name in ("data.yaml", "data.yml", "dataset.yaml")]
    candidates += [os.path.join(root, name) for name in ("classes.txt", "labels/classes.txt")]
    candidates = [path for path in candidates if os.path.isfile(path)]
    lists = [path for path in candidates if path.endswith(".txt")]
    if lists and not names_file and importlib.util.find_spec("yaml") is None:
        candidates = lists
    if not candidates:
        raise FileNotFoundError(
            f"no class names in {root}; expected data.yaml with 'names', or classes.txt with a "
            "name a line"
        )
    path = candidates[0]
    if path.endswith(".txt"):
        return {"names": read_names(path)}
    content = _load_yaml(path)
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(map(_is_name, names)):
        raise ValueError(f"{path} has no 'names'; expected a list, or names by number from 0")
    return {**content, "names": [str(name) for name in names]}


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int) and is_plain_text(str(value))


def _load_yaml(path: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise ValueError(
            f"{path}: PyYAML is missing; pip install pyyaml, or write the names into classes.txt"
        ) from None
    try:
        with open(path, encoding="utf-8") as file:
            return yaml.safe_load(file)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no YAML ({' '.join(str(error).split())[:120]})") from error


def _places(root: str, split: str, settings: dict[str, Any]) -> list[str]:
    """Folders, or lists, of a split's images; none of them leads out of the root."""
    wanted = settings.get(split, settings.get(SPLIT_ALIASES.get(split, "")))
    entries = wanted if isinstance(wanted, list) else [wanted]
    base = settings.get("path")
    folders = []
    for entry in entries if wanted else []:
        # Exports of Roboflow say ../train/images of folders that lie beside data.yaml.
        plain = str(entry).removeprefix("../")
        choices = [plain, os.path.join(str(base), plain)] if base else [plain]
        folders.append(_first_place(root, choices, f"{split}: {entry}"))
    if folders:
        return folders
    choices = [os.path.join("images", split), os.path.join(split, "images"), split, f"{split}.txt"]
    return [_first_place(root, choices, split)]


def _first_place(root: str, choices: Sequence[str], wanted: str) -> str:
    for choice in choices:
        path = os.path.join(root, choice)
        is_list = choice.endswith(LIST_EXTENSION) and os.path.isfile(path)
        if not leaves_folder(choice) and (os.path.isdir(path) or is_list):
            return path
    raise FileNotFoundError(
        f"no images of '{wanted}' below {root or '.'}; expected one of the folders "
        f"{', '.join(choices)}"
    )


def _images_in(folder: str) -> list[str]:
    names = sorted(os.listdir(folder))
    return [os.path.join(folder, name) for name in names if name.lower().endswith(IMAGE_EXTENSIONS)]


def _listed_images(root: str, path: str, problems: list[Problem]) -> list[str]:
    """The images that a text file names; what is wrong with its lines becomes problems."""
    try:
        check_links(path, (root,))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    found: dict[str, None] = {}
    for number, line in enumerate(map(str.strip, _lines(path)), start=1):
        if not line:
            continue
        try:
            image = _find_listed(root, os.path.dirname(path), line)
            if image in found:
                raise BadDataError(ProblemKind.DUPLICATE_IMAGE, line)
            found[image] = None
        except BadDataError as error:
            problems.append(problem_of(error, f"{path}: line {number}"))
    return list(found)


def _find_listed(root: str, folder: str, line: str) -> str:
    """Where a line's image is. Lines count from the list's folder, from the root, or from the
    folder above, where a training was started; or they are absolute."""
    if not is_plain_text(line):
        raise BadDataError(ProblemKind.NO_IMAGE_PATH, f"{line!r}")
    if os.path.isabs(line):
        names = [os.path.relpath(line, os.path.abspath(root))]
    else:
        own = os.path.join(os.path.relpath(folder or ".", root or "."), line)
        names = [own, line, os.path.normpath(line).partition(os.sep)[2]]
    inside = [os.path.normpath(name) for name in names if name and not leaves_folder(name)]
    if not inside:
        raise BadDataError(ProblemKind.PATH_OUTSIDE, line)
    paths = [os.path.join(root, name) for name in inside]
    return next(filter(os.path.isfile, paths), paths[0])


def _read_image(
    root: str, image_id: str, path: str, names: Sequence[str], is_listed: bool
) -> tuple[AnnotatedImage | None, list[Problem]]:
    labels = _label_file(path)
    try:
        for file in (path, labels):
            # The folders of a data set may be links themselves; what a list names may not.
            check_links(file, (root,) if is_listed else (root, os.path.dirname(file)))
        height, width = size_of(path, upright=True)
        lines = _lines(labels)
    except (OSError, ValueError) as error:
        return None, [problem_of(error, path)]
    objects: list[AnnotatedObject] = []
    problems: list[Problem] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            objects.append(_read_object(line, f"line {number}", names, height, width))
        except BadDataError as error:
            problems.append(problem_of(error, f"{labels}: line {number}"))
    return AnnotatedImage(image_id, path, height, width, labels, objects), problems


def _label_file(path: str) -> str:
    """Of a/images/b/c.jpg: a/labels/b/c.txt; of an image elsewhere, the file beside it."""
    parts = os.path.splitext(path)[0].split(os.sep)
    for index in reversed(range(len(parts) - 1)):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return os.sep.join(parts) + ".txt"


def _lines(path: str) -> list[str]:
    if not os.path.lexists(path):
        return []
    if not os.path.isfile(path):  # a pipe would be waited for
        raise BadDataError(ProblemKind.BAD_ANNOTATION, f"{path} is not a file")
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        return file.read().splitlines()


def _read_object(
    line: str, item: str, names: Sequence[str], height: int, width: int
) -> AnnotatedObject:
    words = line.split()
    try:
        label, (x, y, box_width, box_height) = int(words[0]), map(float, words[1:])
    except ValueError:
        raise BadDataError(ProblemKind.BAD_LINE, f"'{line.strip()[:60]}'") from None
    if not 0 <= label < len(names):
        expected = f"expected a number from 0 to {len(names) - 1}"
        raise BadDataError(ProblemKind.UNKNOWN_CLASS, f"{label}; {expected}")
    corners = (y - box_height / 2, x - box_width / 2, y + box_height / 2, x + box_width / 2)
    return AnnotatedObject(item, names[label], to_pixels(corners, height, width))
