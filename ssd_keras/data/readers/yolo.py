"""Reads YOLO folders: a text file for each image, a line for each object, relative boxes."""

import importlib.util
import os
from collections.abc import Sequence
from typing import Any

from ssd_keras.core.image_formats import IMAGE_EXTENSIONS
from ssd_keras.core.text import is_plain_text
from ssd_keras.data.image_files import check_links, leaves_folder
from ssd_keras.data.problems import BadDataError, Problem, ProblemKind, problem_of
from ssd_keras.data.readers.assemble import (
    AnnotatedImage,
    AnnotatedObject,
    ReadOptions,
    assemble,
    to_pixels,
)
from ssd_keras.data.readers.label_map import read_names
from ssd_keras.data.records import DetectionData

YAML_FILES = ("data.yaml", "data.yml", "dataset.yaml")
NAME_LISTS = ("classes.txt", "labels/classes.txt")
LIST_EXTENSION = ".txt"
SPLIT_ALIASES = {"validation": "val", "valid": "val", "val": "val"}


def read_yolo(root: str, split: str, options: ReadOptions) -> DetectionData:
    """Reads one split of a YOLO folder; a line is class, x and y of the centre, width, height."""
    yaml_file, root = (root, os.path.dirname(root)) if os.path.isfile(root) else ("", root)
    if root and not os.path.isdir(root):
        raise FileNotFoundError(f"no folder {root}; expected YOLO's images and labels there")
    settings = _read_settings(yaml_file, root)
    files: list[tuple[str, bool]] = []
    problems: list[Problem] = []
    for path in _split_paths(root, split, settings):
        if os.path.isdir(path):
            files += [(image, False) for image in _images_in(path)]
        else:
            files += [(image, True) for image in _listed_images(root, path, problems)]
    folders = [os.path.dirname(image) for image, _ in files]
    prefix = os.path.commonpath(folders) if files else root

    def read(file: tuple[str, bool]) -> tuple[AnnotatedImage | None, list[Problem]]:
        image, is_listed = file
        image_id = os.path.splitext(os.path.relpath(image, prefix))[0]
        return _read_image(root, image_id, image, settings["names"], is_listed)

    annotated, more = options.read_all(read, files, "reading labels")
    return assemble(annotated, settings["names"], problems + more, options)


def _read_settings(yaml_file: str, root: str) -> dict[str, Any]:
    """Returns `names`, the class names, and what else a YAML file holds: folders of splits."""
    paths = [yaml_file] if yaml_file else []
    paths += [os.path.join(root, name) for name in (*YAML_FILES, *NAME_LISTS)]
    paths = [path for path in paths if os.path.isfile(path)]
    lists = [path for path in paths if path.endswith(".txt")]
    if lists and not yaml_file and importlib.util.find_spec("yaml") is None:
        paths = lists
    if not paths:
        raise FileNotFoundError(
            f"no class names in {root}; expected data.yaml with 'names', or classes.txt with a "
            "name a line"
        )
    path = paths[0]
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
        raise ValueError(f"{path} is not YAML ({' '.join(str(error).split())[:120]})") from error


def _split_paths(root: str, split: str, settings: dict[str, Any]) -> list[str]:
    """Returns the folders and lists of a split's images; none of them leads out of the root."""
    value = settings.get(split, settings.get(SPLIT_ALIASES.get(split, "")))
    if not value:
        choices = [os.path.join("images", split), os.path.join(split, "images"), split]
        return [_first_path(root, [*choices, f"{split}{LIST_EXTENSION}"], split)]
    base = settings.get("path")
    paths = []
    for entry in value if isinstance(value, list) else [value]:
        # Exports of Roboflow say ../train/images of folders that lie beside data.yaml.
        plain = str(entry).removeprefix("../")
        choices = [plain, os.path.join(str(base), plain)] if base else [plain]
        paths.append(_first_path(root, choices, f"{split}: {entry}"))
    return paths


def _first_path(root: str, choices: Sequence[str], title: str) -> str:
    for choice in choices:
        path = os.path.join(root, choice)
        is_list = choice.endswith(LIST_EXTENSION) and os.path.isfile(path)
        if not leaves_folder(choice) and (os.path.isdir(path) or is_list):
            return path
    raise FileNotFoundError(
        f"no images of '{title}' below {root or '.'}; expected one of the folders "
        f"{', '.join(choices)}"
    )


def _images_in(folder: str) -> list[str]:
    names = sorted(os.listdir(folder))
    return [os.path.join(folder, name) for name in names if name.lower().endswith(IMAGE_EXTENSIONS)]


def _listed_images(root: str, path: str, problems: list[Problem]) -> list[str]:
    """Returns the images that a text file names; bad lines become problems."""
    try:
        check_links(path, (root,))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    images: dict[str, None] = {}
    for number, line in enumerate(map(str.strip, _read_lines(path)), start=1):
        if not line:
            continue
        try:
            image = _find_listed(root, os.path.dirname(path), line)
            if image in images:
                raise BadDataError(ProblemKind.DUPLICATE_IMAGE, line)
            images[image] = None
        except BadDataError as error:
            problems.append(problem_of(error, f"{path}: line {number}"))
    return list(images)


def _find_listed(root: str, folder: str, line: str) -> str:
    """Returns the path of the image that a line of a list names."""
    if not is_plain_text(line):
        raise BadDataError(ProblemKind.NO_IMAGE_PATH, repr(line))
    if os.path.isabs(line):
        names = [os.path.relpath(line, os.path.abspath(root))]
    else:
        # Relative to the list's folder, to the root, or to the parent of the root, where Darknet
        # and Ultralytics are started.
        beside_list = os.path.join(os.path.relpath(folder or ".", root or "."), line)
        names = [beside_list, line, os.path.normpath(line).partition(os.sep)[2]]
    names = [os.path.normpath(name) for name in names if name and not leaves_folder(name)]
    if not names:
        raise BadDataError(ProblemKind.PATH_OUTSIDE, line)
    paths = [os.path.join(root, name) for name in names]
    return next(filter(os.path.isfile, paths), paths[0])


def _read_image(
    root: str, image_id: str, path: str, names: Sequence[str], is_listed: bool
) -> tuple[AnnotatedImage | None, list[Problem]]:
    labels = _label_file(path)
    try:
        for file in (path, labels):
            # Folders of a data set may be links themselves; files that a list names may not.
            check_links(file, (root,) if is_listed else (root, os.path.dirname(file)))
        lines = _read_lines(labels) if os.path.lexists(labels) else []
    except (OSError, ValueError) as error:
        return None, [problem_of(error, path)]
    objects: list[AnnotatedObject] = []
    problems: list[Problem] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            objects.append(_read_object(line, f"line {number}", names))
        except BadDataError as error:
            problems.append(problem_of(error, f"{labels}: line {number}"))
    return AnnotatedImage(image_id, path, 0, 0, labels, objects, to_box=to_pixels), problems


def _label_file(path: str) -> str:
    """Returns a/labels/b/c.txt for a/images/b/c.jpg, and the file beside any other image."""
    parts = os.path.splitext(path)[0].split(os.sep)
    for index in reversed(range(len(parts) - 1)):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return os.sep.join(parts) + ".txt"


def _read_lines(path: str) -> list[str]:
    if not os.path.isfile(path):  # opening a pipe would block
        raise BadDataError(ProblemKind.BAD_ANNOTATION, f"{path} is not a file")
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        return file.read().splitlines()


def _read_object(line: str, position: str, names: Sequence[str]) -> AnnotatedObject:
    words = line.split()
    try:
        label, (x, y, box_width, box_height) = int(words[0]), map(float, words[1:])
    except ValueError:
        raise BadDataError(ProblemKind.BAD_LINE, f"'{line.strip()[:60]}'") from None
    if not 0 <= label < len(names):
        expected = f"expected a number from 0 to {len(names) - 1}"
        raise BadDataError(ProblemKind.UNKNOWN_CLASS, f"{label}; {expected}")
    corners = (y - box_height / 2, x - box_width / 2, y + box_height / 2, x + box_width / 2)
    return AnnotatedObject(position, names[label], corners)
