"""Reads PASCAL VOC folders: Annotations/ID.xml, JPEGImages/ID.jpg, ImageSets/Main/SPLIT.txt."""

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

from ssd_keras.core.class_names import VOC_CLASSES
from ssd_keras.core.image_formats import IMAGE_EXTENSIONS
from ssd_keras.core.text import is_plain_text
from ssd_keras.data.image_files import check_links
from ssd_keras.data.problems import BadDataError, Problem, ProblemKind, problem_of
from ssd_keras.data.readers.assemble import (
    AnnotatedImage,
    AnnotatedObject,
    ReadOptions,
    assemble,
    read_bad_size,
    read_corners,
    read_side,
)
from ssd_keras.data.records import CORNERS, DetectionData

ALL_IMAGES = "all"  # as a split: needs no split file
EXTENSIONS = (*IMAGE_EXTENSIONS, *map(str.upper, IMAGE_EXTENSIONS))


def read_voc(root: str, split: str, options: ReadOptions) -> DetectionData:
    """Reads one split of a folder in the VOC format.

    VOC's pixels start at 1 and both corners belong to the box, so x = xmin - 1 and
    width = xmax - xmin + 1.
    """
    split_file = os.path.join(root, "ImageSets", "Main", f"{split}.txt")
    is_whole = split == ALL_IMAGES and not os.path.lexists(split_file)
    annotation_folder, image_folder = _find_folders(root, is_whole, options.check_images)
    annotations = _files_by_stem(annotation_folder, (".xml",))
    images = _files_by_stem(image_folder, EXTENSIONS)
    problems: list[Problem] = []
    if is_whole:
        stems = sorted({*annotations, *images})
    else:
        stems = _read_split(root, split_file, annotations, problems)

    def read(stem: str) -> tuple[AnnotatedImage | None, list[Problem]]:
        if stem not in annotations:
            missing = os.path.join(annotation_folder, f"{stem}.xml")
            return None, [Problem(ProblemKind.MISSING_ANNOTATION, missing)]
        image = images.get(stem) or os.path.join(image_folder, f"{stem}.jpg")
        return _read_annotation(root, stem, annotations[stem], image)

    annotated, more = options.read_all(read, stems, "reading annotations")
    names = {item.class_name for image in annotated for item in image.objects}
    is_voc = names <= set(VOC_CLASSES)
    return assemble(annotated, VOC_CLASSES if is_voc else None, problems + more, options)


def _find_folders(root: str, is_whole: bool, check_images: bool) -> tuple[str, str]:
    """Returns the folders of annotations and of images; without split files they may be one."""
    annotations, images = (os.path.join(root, name) for name in ("Annotations", "JPEGImages"))
    if is_whole and os.path.isdir(root) and not os.path.isdir(annotations):
        return root, images if os.path.isdir(images) else root
    split_folder = [] if is_whole else ["ImageSets/Main"]
    for folder in ("Annotations", *split_folder, *(["JPEGImages"] if check_images else [])):
        if not os.path.isdir(os.path.join(root, folder)):
            hint = "; @all takes all images" if folder in split_folder else ""
            raise FileNotFoundError(
                f"no folder {folder} in {root}; expected the folders of VOC there{hint}"
            )
    return annotations, images


def _files_by_stem(folder: str, extensions: Sequence[str]) -> dict[str, str]:
    """Returns the path of each stem; split files can name only files in the folder itself."""
    if not os.path.isdir(folder):
        return {}
    names = set(os.listdir(folder))
    paths: dict[str, str] = {}
    for extension in reversed(extensions):  # of two files of one stem the first extension wins
        for name in names:
            if name.endswith(extension):
                paths[name.removesuffix(extension)] = os.path.join(folder, name)
    return paths


def _read_split(
    root: str, path: str, annotations: dict[str, str], problems: list[Problem]
) -> list[str]:
    """Returns the stems that a split file lists; those listed twice become problems."""
    folder = os.path.dirname(path)
    if not os.path.isfile(path):
        splits = ", ".join(sorted(_files_by_stem(folder, (".txt",)))) or "none"
        raise FileNotFoundError(
            f"no split file {path}; expected one of the splits there: {splits}, or all for all "
            "images"
        )
    try:
        check_links(path, (root, folder))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        lines = [line.strip() for line in file if line.strip()]
    if not lines:
        raise ValueError(f"the split file {path} is empty; expected one image id a line")
    stems: dict[str, None] = {}
    for line in lines:
        # A stem may contain blanks: what follows a blank is a flag unless the line is a stem.
        stem = line if line in annotations else line.split()[0]
        if stem in stems:
            problems.append(Problem(ProblemKind.DUPLICATE_IMAGE, path, stem))
        stems[stem] = None
    return list(stems)


class _TreeBuilder(ElementTree.TreeBuilder):
    """Refuses document types: their entities can fill the memory or read other files."""

    def doctype(self, name: str, public_id: str | None, system: str | None) -> None:
        raise ValueError("it declares a document type, which is refused")


def _read_annotation(
    root: str, stem: str, path: str, image: str
) -> tuple[AnnotatedImage | None, list[Problem]]:
    try:
        check_links(path, (root, os.path.dirname(path)))
        if not os.path.isfile(path):  # opening a pipe would block
            raise ValueError("it is not a file")
        parser = ElementTree.XMLParser(target=_TreeBuilder())
        tree = ElementTree.parse(path, parser).getroot()
    except BadDataError as error:
        return None, [problem_of(error, path)]
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
        return None, [Problem(ProblemKind.BAD_ANNOTATION, path, str(error))]
    sides = [tree.findtext(f"size/{name}") for name in ("width", "height")]
    width, height = map(read_side, sides)
    objects: list[AnnotatedObject] = []
    problems: list[Problem] = []
    for number, element in enumerate(tree.findall("object"), start=1):
        position, name = f"object {number}", (element.findtext("name") or "").strip()
        try:
            objects.append(_read_object(element, position, name))
        except BadDataError as error:
            location = f"{path}: {position} ({name})" if name else f"{path}: {position}"
            problems.append(problem_of(error, location))
    folders = (root, os.path.dirname(image))
    bad_size = read_bad_size(*sides)
    return AnnotatedImage(
        stem, image, height, width, path, objects, folders, bad_size=bad_size
    ), problems


def _read_object(element: ElementTree.Element, position: str, name: str) -> AnnotatedObject:
    if not is_plain_text(name):
        raise BadDataError(ProblemKind.NO_CLASS_NAME)
    texts = [element.findtext(f"bndbox/{corner}") for corner in CORNERS]
    # By VOC's rule a box of equal corners is one pixel wide, but annotation tools write such boxes
    # for accidental clicks: it counts as having no area.
    left, top, right, bottom = read_corners(texts)
    box = (left - 1, top - 1, right - left + 1, bottom - top + 1)
    is_difficult = (element.findtext("difficult") or "").strip() == "1"
    return AnnotatedObject(position, name, box, is_difficult=is_difficult)
