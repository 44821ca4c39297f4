"""PASCAL VOC folders: Annotations/ID.xml, JPEGImages/ID.jpg and ImageSets/Main/SPLIT.txt."""

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

from ssd_keras.core.text import is_plain_text
from ssd_keras.data.image_files import check_links
from ssd_keras.data.problems import BadDataError, Problem, ProblemKind, problem_of
from ssd_keras.data.readers.assemble import (
    CORNERS,
    AnnotatedImage,
    AnnotatedObject,
    assemble,
    map_in_threads,
    read_corners,
)
from ssd_keras.data.records import DetectionData

VOC_CLASS_NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
EVERYTHING = "all"
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG", ".bmp", ".gif")


def read_voc(
    root: str,
    split: str,
    *,
    class_names: Sequence[str] | None = None,
    check_images: bool = True,
    progress: bool = False,
) -> DetectionData:
    """Reads one split of a folder in VOC's layout.

    VOC's pixels start at 1 and both corners belong to the box, so x = xmin - 1 and
    width = xmax - xmin + 1.
    """
    split_file = os.path.join(root, "ImageSets", "Main", f"{split}.txt")
    is_whole = split == EVERYTHING and not os.path.lexists(split_file)
    annotation_folder, image_folder = _find_folders(root, is_whole, check_images)
    annotations = _list_files(annotation_folder, (".xml",))
    images = _list_files(image_folder, IMAGE_EXTENSIONS)
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

    parsed = map_in_threads(read, stems, "reading annotations", progress)
    problems += [problem for _, found in parsed for problem in found]
    annotated = [image for image, _ in parsed if image is not None]
    if class_names is None:
        names = {found.class_name for image in annotated for found in image.objects}
        class_names = VOC_CLASS_NAMES if names <= set(VOC_CLASS_NAMES) else sorted(names)
    examples, more = assemble(annotated, class_names, check_images=check_images, progress=progress)
    return DetectionData(tuple(class_names), examples, (*problems, *more))


def _find_folders(root: str, is_whole: bool, check_images: bool) -> tuple[str, str]:
    """The folders of annotations and of images."""
    annotations, images = (os.path.join(root, name) for name in ("Annotations", "JPEGImages"))
    if is_whole and os.path.isdir(root) and not os.path.isdir(annotations):
        return root, images if os.path.isdir(images) else root
    needed = [] if is_whole else ["ImageSets/Main"]
    for folder in ("Annotations", *needed, *(["JPEGImages"] if check_images else [])):
        if not os.path.isdir(os.path.join(root, folder)):
            all_of_it = "; @all takes all images" if folder == "ImageSets/Main" else ""
            raise FileNotFoundError(
                f"no folder {folder} in {root}; expected VOC's layout there{all_of_it}"
            )
    return annotations, images


def _list_files(folder: str, extensions: Sequence[str]) -> dict[str, str]:
    """Path of every stem; only what lies in the folder itself can be found by a split file."""
    if not os.path.isdir(folder):
        return {}
    names = set(os.listdir(folder))
    found: dict[str, str] = {}
    for extension in reversed(extensions):  # the first extension has the last word
        for name in names:
            if name.endswith(extension):
                found[name.removesuffix(extension)] = os.path.join(folder, name)
    return found


def _read_split(
    root: str, path: str, annotations: dict[str, str], problems: list[Problem]
) -> list[str]:
    """The ids that a split file lists; those listed twice become problems."""
    folder = os.path.dirname(path)
    if not os.path.isfile(path):
        splits = ", ".join(sorted(_list_files(folder, (".txt",)))) or "none"
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
        # A stem may hold blanks: the line is cut only where it is not itself a known stem.
        stem = line if line in annotations else line.split()[0]
        if stem in stems:
            problems.append(Problem(ProblemKind.DUPLICATE_IMAGE, path, stem))
        stems[stem] = None
    return list(stems)


class _TreeBuilder(ElementTree.TreeBuilder):
    """Refuses document types: entities in them can fill the memory or read other files."""

    def doctype(self, name: str, public_id: str | None, system: str | None) -> None:
        raise ValueError("it declares a document type, which is refused")


def _read_annotation(
    root: str, stem: str, path: str, image: str
) -> tuple[AnnotatedImage | None, list[Problem]]:
    try:
        check_links(path, (root, os.path.dirname(path)))
        if not os.path.isfile(path):  # a pipe would be waited for
            raise ValueError("it is not a file")
        parser = ElementTree.XMLParser(target=_TreeBuilder())
        tree = ElementTree.parse(path, parser).getroot()
    except BadDataError as error:
        return None, [problem_of(error, path)]
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
        return None, [Problem(ProblemKind.BAD_ANNOTATION, path, str(error))]
    width, height = (_side(tree.findtext(f"size/{name}")) for name in ("width", "height"))
    objects: list[AnnotatedObject] = []
    problems: list[Problem] = []
    for number, element in enumerate(tree.findall("object"), start=1):
        try:
            objects.append(_read_object(element, f"object {number}"))
        except BadDataError as error:
            name = (element.findtext("name") or "").strip()
            item = f"object {number} ({name})" if name else f"object {number}"
            problems.append(problem_of(error, f"{path}: {item}"))
    folders = (root, os.path.dirname(image))
    return AnnotatedImage(stem, image, height, width, path, objects, folders), problems


def _read_object(element: ElementTree.Element, item: str) -> AnnotatedObject:
    name = (element.findtext("name") or "").strip()
    if not is_plain_text(name):
        raise BadDataError(ProblemKind.NO_CLASS_NAME)
    texts = [element.findtext(f"bndbox/{corner}") for corner in CORNERS]
    # By VOC's rule a box of equal corners is one pixel wide, but tools write it for clicks by
    # accident: it counts as having no area.
    left, top, right, bottom = read_corners(texts)
    box = (left - 1, top - 1, right - left + 1, bottom - top + 1)
    is_difficult = (element.findtext("difficult") or "").strip() == "1"
    return AnnotatedObject(item, name, box, is_difficult=is_difficult)


def _side(text: str | None) -> int:
    """A side in pixels; 0 where the file does not say, and the image itself is asked."""
    try:
        return max(int(float(text or 0)), 0)
    except (ValueError, OverflowError):
        return 0
