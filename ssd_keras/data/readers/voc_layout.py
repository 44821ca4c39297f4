"""Where annotations, images and lists of a VOC folder lie."""

import functools
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ssd_keras.core.class_names import VOC_CLASSES
from ssd_keras.core.image_formats import IMAGE_EXTENSIONS
from ssd_keras.core.text import composed, did_you_mean, read_text
from ssd_keras.data.image_files import check_links
from ssd_keras.data.problems import Problem, ProblemKind
from ssd_keras.data.readers.file_index import (
    OTHER_EXTENSIONS,
    FileIndex,
    endings,
    names_of_split,
    path_key,
)

ALL_IMAGES = "all"  # as a split: needs no split file
XML, LIST = ".xml", ".txt"
ANNOTATION_FOLDERS = ("Annotations", "Annotation", "xmls", "xml", "labels")
IMAGE_FOLDERS = ("JPEGImages", "images", "image", "imgs", "img")
LIST_FOLDERS = ("ImageSets/Main", "ImageSets", "")


class StemIndex(FileIndex):
    """The files below a folder by their stems, which are relative to it."""

    @functools.cached_property
    def annotations(self) -> dict[str, str]:
        """The names of all XML files by their stems."""
        names = (name for name in self.names if name.lower().endswith(XML))
        return {os.path.splitext(name)[0]: name for name in names}

    @functools.cached_property
    def _stems(self) -> Mapping[str, list[str]]:
        return _grouped({stem: stem for stem in self.annotations})

    @functools.cached_property
    def _image_names(self) -> Mapping[str, list[str]]:
        names = (name for name in self.names if not name.lower().endswith(OTHER_EXTENSIONS))
        return _grouped({name: os.path.splitext(name)[0] for name in names})

    @functools.cached_property
    def _image_names_without_folder(self) -> Mapping[str, list[str]]:
        return _grouped({name: os.path.splitext(os.path.basename(name))[0] for name in self.images})

    def find_stem(self, text: str) -> str | None:
        """Returns the stem of the XML file that a line of a list names."""
        for ending in endings(text):
            for stem in (ending, _without_extension(ending)):
                if found := _nearest(self._stems.get(path_key(stem), []), stem, str):
                    return found[0]
        return None

    def find_images(self, stem: str, filename: str) -> list[str]:
        """Returns the names of the images of an annotation, that which it names first."""
        like = self._image_names.get(path_key(stem), [])
        found = _nearest(like, stem, lambda name: os.path.splitext(name)[0])
        if not found:
            paths = filter(None, map(self.find, endings(filename)))
            found = [os.path.relpath(path, self.root) for path in paths][:1]
        if not found:
            same = self._image_names_without_folder.get(path_key(os.path.basename(stem)), [])
            found = same if len(same) == 1 else []
        return sorted(found, key=lambda name: (not _is_named(name, filename), _rank(name)))


class VocLayout(NamedTuple):
    """The folders of a split, and the file that lists its images (None: all of them)."""

    root: str
    annotations: StemIndex
    images: StemIndex
    list_file: str | None

    @property
    def is_devkit(self) -> bool:
        """Whether the folder has a list for each of VOC's classes, such as cat_val.txt."""
        folder = FileIndex(os.path.join(self.root, LIST_FOLDERS[0]))
        return set(VOC_CLASSES) <= {name.rpartition("_")[0] for name in folder.names}


def find_layout(root: str, split: str) -> VocLayout:
    """Returns where the files of a split lie; raises an error that says where they may."""
    index = FileIndex(root)
    names = names_of_split(split)
    lists = (os.path.join(folder, f"{x}{LIST}") for folder in LIST_FOLDERS for x in names)
    list_file = next(filter(None, map(index.find, lists)), None)
    below = ""
    if list_file is None and split != ALL_IMAGES:
        folder, below = _split_folder(index, names)
        root = os.path.join(root, folder)
    annotations = _first_with("annotations", root, (*ANNOTATION_FOLDERS, *IMAGE_FOLDERS), below)
    images = _first_with("images", root, IMAGE_FOLDERS, below)
    return VocLayout(root, annotations, images, list_file)


def _split_folder(index: FileIndex, names: Sequence[str]) -> tuple[str, str]:
    """Returns the folder of a split, and the folder of a split below those of its files."""
    for name in names:
        if index.find_folder(name):
            return name, ""
        if any(index.find_folder(os.path.join(x, name)) for x in ANNOTATION_FOLDERS):
            return "", name
    raise FileNotFoundError(_no_split(index, names[0]))


def _first_with(kind: str, root: str, names: Sequence[str], below: str) -> StemIndex:
    """Returns the first of the folders that holds annotations, or images; else the root."""
    index = FileIndex(root)
    choices = [os.path.join(name, below) for name in names if below] + [*names, ""]
    folders = [folder for folder in map(index.find_folder, choices) if folder]
    indices = [StemIndex(folder) for folder in folders]
    return next((x for x in indices if getattr(x, kind)), indices[0])


def _no_split(index: FileIndex, split: str) -> str:
    """Returns the message for a split that is not there."""
    folder = next(filter(None, map(index.find_folder, LIST_FOLDERS[:2])), None)
    names = FileIndex(folder).names if folder else []
    lists = [name for name in names if name.endswith(LIST)]
    if folder is None or not lists:
        return (
            f"no folder ImageSets/Main with lists in {index.root}, nor a folder '{split}' with XML "
            "files; expected one of them, as VOC and its exports have; @all takes all images"
        )
    splits = [name.removesuffix(LIST) for name in lists]
    path = os.path.join(folder, f"{split}{LIST}")
    return (
        f"no split file {path}; {did_you_mean(split, splits)}expected one of the splits there: "
        f"{', '.join(splits)}, or all for all images"
    )


def read_list(layout: VocLayout, path: str, problems: list[Problem]) -> list[str]:
    """Returns the stems that a split file lists; those listed twice become problems."""
    if not os.path.isfile(path):  # opening a pipe would block
        raise FileNotFoundError(f"no split file {path}; expected a file with an image id a line")
    try:
        check_links(path, (layout.root, os.path.dirname(path)))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"the split file {path} is empty; expected one image id a line")
    stems: dict[str, None] = {}
    for line in lines:
        # A stem may contain blanks: what follows one is a flag, or the path of the XML file.
        words = (line, line.rpartition(" ")[0], line.split()[0])
        found = next(filter(None, map(layout.annotations.find_stem, words)), None)
        stem = found or _without_extension(line.split()[0])
        if stem in stems:
            problems.append(Problem(ProblemKind.DUPLICATE_IMAGE, path, stem))
        stems[stem] = None
    return list(stems)


def _without_extension(name: str) -> str:
    stem, extension = os.path.splitext(name)
    return stem if extension.lower() in (*IMAGE_EXTENSIONS, XML) else name


def _grouped(stems: Mapping[str, str]) -> Mapping[str, list[str]]:
    """Returns the names of files by the keys of their stems."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, stem in stems.items():
        names[path_key(stem)].append(name)
    return names


def _nearest(names: Sequence[str], stem: str, stem_of: Callable[[str], str]) -> Sequence[str]:
    """Returns the names of a stem, else of its composed letters, else of the only like it."""
    exact = [name for name in names if stem_of(name) == stem]
    same = [name for name in names if composed(stem_of(name)) == composed(stem)]
    return exact or same or (names if len({stem_of(name) for name in names}) == 1 else [])


def _is_named(name: str, filename: str) -> bool:
    last = filename.replace("\\", "/").rpartition("/")[2]
    return composed(os.path.basename(name)) == composed(last)


def _rank(name: str) -> int:
    """Where the extension of a file stands among those of images; others are last."""
    extension = os.path.splitext(name)[1].lower()
    known = extension in IMAGE_EXTENSIONS
    return IMAGE_EXTENSIONS.index(extension) if known else len(IMAGE_EXTENSIONS)
