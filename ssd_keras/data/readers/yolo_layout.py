"""Where the images and label files of a YOLO folder lie."""

import os
import re
import reprlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ssd_keras.core.image_formats import IMAGE_EXTENSIONS
from ssd_keras.core.text import did_you_mean, is_plain_text
from ssd_keras.data.image_files import check_links
from ssd_keras.data.problems import BadDataError, Problem, ProblemKind, problem_of
from ssd_keras.data.readers.file_index import (
    OTHER_EXTENSIONS,
    FileIndex,
    endings,
    names_of_split,
    other_path,
    path_key,
)
from ssd_keras.data.readers.yolo_names import YoloSettings
from ssd_keras.data.readers.yolo_rows import is_row, read_lines

LIST_EXTENSION = ".txt"
SETTINGS = ("path", "names", "nc", "download")  # keys of data.yaml that are no splits
# The part of a folder's name that "labels" stands for: images, JPEGImages, train_images.
IMAGES_PART = re.compile(r"(?:jpeg)?(?:image|img)s?", re.IGNORECASE)


class YoloImage(NamedTuple):
    """An image of a split: its id, its path, and that of its label file ("": it has none)."""

    image_id: str
    path: str
    labels: str
    is_listed: bool


def split_images(
    index: FileIndex, split: str, settings: YoloSettings
) -> tuple[list[YoloImage], list[Problem]]:
    """Returns the images of a split and what is wrong with its files."""
    problems: list[Problem] = []
    is_listed: dict[str, bool] = {}  # by path
    folders: list[str] = []
    label_of = LabelFinder(index)
    for source in _sources(index, split, settings, problems):
        if os.path.isdir(source):
            paths = _images_in(source, label_of, problems)
            problems += _labels_without_image(source, paths, label_of)
            folders.append(source)
        else:
            paths = _listed_images(index, source, problems)
            folders += map(os.path.dirname, paths)
        is_listed.update(dict.fromkeys(paths, not os.path.isdir(source)))
    prefix = os.path.commonpath(folders) if folders else index.root
    images = []
    for path, listed in is_listed.items():
        image_id = os.path.splitext(os.path.relpath(path, prefix))[0]
        images.append(YoloImage(image_id, path, label_of(path), listed))
    if images and not any(image.labels for image in images):
        words = (
            f"{len(images)} images has a label file; looked at {label_of.places(images[0].path)}"
        )
        problems.append(Problem(ProblemKind.NO_LABEL_FILE, index.root, words))
    return images, problems


class LabelFinder:
    """Finds the label files of images."""

    def __init__(self, index: FileIndex) -> None:
        self.index = index
        self._found: dict[str, str] = {}
        self._folders: dict[str, list[str]] = {}

    def __call__(self, image: str) -> str:
        """Returns the path of the label file of an image, or "" where there is none."""
        if image not in self._found:
            names = map(self.index.find, self._names(image))
            self._found[image] = next(filter(None, names), "")
        return self._found[image]

    def places(self, image: str) -> str:
        """Returns where the label file of an image was looked for, and a file like it elsewhere."""
        first = os.path.join(self.index.root, next(self._names(image)))
        name = f"{os.path.splitext(os.path.basename(image))[0]}{LIST_EXTENSION}"
        others = (x for x in self.index.names if os.path.basename(x) == name)
        elsewhere = next((f"; there is {other}" for other in others), "")
        return f"{first} and beside the image{elsewhere}"

    def folders(self, folder: str) -> list[str]:
        """Returns where the labels of images in a folder may lie, relative to the root."""
        if folder not in self._folders:
            below = os.path.relpath(folder, self.index.root)
            self._folders[folder] = list(label_folders(below))
        return self._folders[folder]

    def _names(self, image: str) -> Iterator[str]:
        folder, name = os.path.split(image)
        for label_folder in self.folders(folder):
            for stem in (os.path.splitext(name)[0], name):  # some tools write a.jpg.txt
                yield os.path.join(label_folder, f"{stem}{LIST_EXTENSION}")


def label_folders(folder: str) -> Iterator[str]:
    """Yields where labels of the images in a folder may lie, all relative to the root.

    These are a/labels/b for a/images/b, then labels/a, a/labels and a itself.
    """
    parts = [] if folder in ("", os.curdir) else folder.split(os.sep)
    for number in reversed(range(len(parts))):
        part, count = IMAGES_PART.subn("labels", parts[number], count=1)
        if count:
            yield os.path.join(*parts[:number], part, *parts[number + 1 :])
    yield os.path.join("labels", *parts)
    yield os.path.join(*parts, "labels")
    yield os.path.join(*parts, "")


def _sources(
    index: FileIndex, split: str, settings: YoloSettings, problems: list[Problem]
) -> list[str]:
    """Returns the folders and lists of a split's images; none of them leads out of the root."""
    names = names_of_split(split)
    value = next(filter(None, map(settings.content.get, names)), None)
    if not value:
        forms = ("images/{}", "{}/images", "{}", "obj_{}_data", f"{{}}{LIST_EXTENSION}")
        choices = [form.format(x) for x in names for form in forms]
        folders = {part for x in index.images for part in os.path.dirname(x).split(os.sep)}
        known = sorted(filter(None, {*folders, *settings.content} - set(SETTINGS)))
        return [_first(index, choices, split, did_you_mean(split, known))[0]]
    entries = value if isinstance(value, list) else [value]
    if not all(isinstance(entry, str) for entry in entries):
        raise ValueError(f"'{split}' is {reprlib.repr(value)}; expected a folder or a list of them")
    base = settings.content.get("path")
    sources = []
    for entry in entries:
        if os.path.isabs(entry):
            choices = [os.path.relpath(entry, os.path.abspath(index.root))]
        else:
            # Exports of Roboflow say ../train/images of folders that lie beside data.yaml, and
            # Darknet counts from the parent of the root.
            plain = entry.removeprefix("../")
            choices = [plain, *([os.path.join(base, plain)] if isinstance(base, str) else [])]
            choices.append(os.path.normpath(plain).partition(os.sep)[2])
        choices = [choice for choice in choices if choice]
        title = f"{split}: {entry}"
        source, choice = _first(index, [*choices, *endings(entry)], title)
        if choice not in choices:
            problems.append(other_path(title, entry, source, index.root))
        sources.append(source)
    return sources


def _first(
    index: FileIndex, choices: Sequence[str], title: str, question: str = ""
) -> tuple[str, str]:
    """Returns the path of the first folder or list of images that exists, and its choice."""
    for choice in choices:
        if folder := index.find_folder(choice):
            return folder, choice
        path = index.find(choice) if choice.lower().endswith(LIST_EXTENSION) else None
        if path and os.path.isfile(path):
            return path, choice
    raise FileNotFoundError(
        f"no images of '{title}' below {index.root}; {question}expected one of the folders "
        f"{', '.join(dict.fromkeys(choices))} (@. takes images in the folder itself)"
    )


def _images_in(folder: str, label_of: LabelFinder, problems: list[Problem]) -> list[str]:
    """Returns the images of a folder: files with an image's extension, or with a label file."""
    index = FileIndex(folder)
    problems += index.problems
    paths = [os.path.normpath(os.path.join(folder, name)) for name in index.names]
    images = [path for path in paths if path.lower().endswith(IMAGE_EXTENSIONS)]
    used = {path_key(os.path.splitext(path)[0]) for path in images}
    for path in paths:
        is_other = path.lower().endswith((*IMAGE_EXTENSIONS, *OTHER_EXTENSIONS))
        if not is_other and path_key(os.path.splitext(path)[0]) not in used and label_of(path):
            images.append(path)
    return sorted(images)


def _labels_without_image(
    folder: str, images: Sequence[str], label_of: LabelFinder
) -> list[Problem]:
    """Returns a problem for each label file of a folder of images that belongs to none of them."""
    used = {path_key(os.path.normpath(label_of(image))) for image in images}
    places = map(label_of.index.find_folder, label_of.folders(folder))
    label_folder = next(filter(None, places), folder)
    paths = [
        os.path.normpath(os.path.join(label_folder, name))
        for name in FileIndex(label_folder).names
        if name.lower().endswith(LIST_EXTENSION)
    ]
    return [
        Problem(ProblemKind.LABELS_WITHOUT_IMAGE, path, folder)
        for path in paths
        if path_key(path) not in used and os.path.isfile(path) and is_row(read_lines(path)[:1])
    ]


def _listed_images(index: FileIndex, path: str, problems: list[Problem]) -> list[str]:
    """Returns the images that a text file names; bad lines become problems."""
    try:
        check_links(path, (index.root,))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    images: dict[str, None] = {}
    for number, line in enumerate(map(str.strip, read_lines(path)), start=1):
        if not line:
            continue
        location = f"{path}: line {number}"
        try:
            image, is_of_other = _find_listed(index, os.path.dirname(path), line)
            if image in images:
                raise BadDataError(ProblemKind.DUPLICATE_IMAGE, line)
            images[image] = None
        except BadDataError as error:
            problems.append(problem_of(error, location))
            continue
        if is_of_other:
            problems.append(other_path(location, line, image, index.root))
    return list(images)


def _find_listed(index: FileIndex, folder: str, line: str) -> tuple[str, bool]:
    """Returns the path of the image that a line of a list names.

    The flag is true where only the last parts of the line lead to it.
    """
    if not is_plain_text(line):
        raise BadDataError(ProblemKind.NO_IMAGE_PATH, repr(line))
    root = index.root
    if os.path.isabs(line):
        names = [os.path.relpath(line, os.path.abspath(root))]
    else:
        # Relative to the list's folder, to the root, or to the parent of the root, where Darknet
        # and Ultralytics are started.
        beside_list = os.path.join(os.path.relpath(folder, root), line)
        names = [beside_list, line, os.path.normpath(line).partition(os.sep)[2]]
    names = [os.path.normpath(name) for name in names if name]
    inside = [name for name in names if not name.startswith(os.pardir)]
    for number, name in enumerate((*inside, *endings(line))):
        if path := index.find(name):
            return os.path.normpath(path), number >= len(inside)
    if not inside:
        raise BadDataError(ProblemKind.PATH_OUTSIDE, line)
    return os.path.normpath(os.path.join(root, inside[0])), False
