"""One annotation file of a VOC folder."""

import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from typing import NamedTuple

from ssd_keras.boxes.formats import CORNERS
from ssd_keras.core.text import clean_name, is_plain_text, line_of, marked_encoding
from ssd_keras.data.image_files import check_links
from ssd_keras.data.problems import BadDataError, Problem, ProblemKind, problem_of
from ssd_keras.data.readers.assemble import (
    AnnotatedObject,
    read_bad_size,
    read_corners,
    read_flag,
    read_side,
)

DECLARATION = re.compile(rb"\s*<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)")
# Encodings of which files hold letters of a larger one.
LARGER_ENCODINGS = {"gb2312": "gb18030", "gbk": "gb18030", "latin-1": "cp1252"}
BEFORE_DECLARATION = "\ufeff \t\r\n"  # a mark of UTF-8, and blanks that XML forbids there
BOX_TAGS = ("bndbox", "bbox")


class VocAnnotation(NamedTuple):
    """What an annotation file says; a height or width of 0 is that of the image."""

    filename: str
    height: int
    width: int
    objects: list[AnnotatedObject]
    bad_size: str = ""  # what the file has in place of a usable size


def read_annotation(path: str, root: str) -> tuple[VocAnnotation | None, list[Problem]]:
    """Returns the objects of an XML file, and a problem for each that cannot be used."""
    try:
        check_links(path, (root, os.path.dirname(path)))
        if not os.path.isfile(path):  # opening a pipe would block
            raise ValueError("it is not a file")
        tree = _parse(path)
        elements = _objects(tree)
    except BadDataError as error:
        return None, [problem_of(error, path)]
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
        return None, [Problem(ProblemKind.BAD_ANNOTATION, path, str(error))]
    size = next(tree.iter("size"), tree)
    sides = [size.findtext(name) for name in ("width", "height")]
    objects: list[AnnotatedObject] = []
    problems: list[Problem] = []
    for number, element in enumerate(elements, start=1):
        position, name = f"object {number}", clean_name(element.findtext("name") or "")
        location = f"{path}: {position} ({name})" if name else f"{path}: {position}"
        try:
            objects.append(_read_object(element, position, name, location, problems))
        except BadDataError as error:
            problems.append(problem_of(error, location))
    width, height = map(read_side, sides)
    name, bad_size = tree.findtext("filename") or "", read_bad_size(*sides)
    return VocAnnotation(name, height, width, objects, bad_size), problems


class _TreeBuilder(ElementTree.TreeBuilder):
    """Refuses document types: their entities can fill the memory or read other files."""

    def doctype(self, name: str, public_id: str | None, system: str | None) -> None:
        raise ValueError("it declares a document type, which is refused")


def _parse(path: str) -> ElementTree.Element:
    """Returns the root of an XML file; tags are in small letters, without namespaces."""
    with open(path, "rb") as file:
        text = _decode(file.read())
    tree = ElementTree.fromstring(
        text.lstrip(BEFORE_DECLARATION), ElementTree.XMLParser(target=_TreeBuilder())
    )
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2].lower()
    return tree


def _decode(content: bytes) -> str:
    declared = DECLARATION.match(content[:300])
    encoding = marked_encoding(content)
    if encoding is None and content[:2] in (b"<\0", b"\0<"):
        encoding = "utf-16-le" if content[:1] == b"<" else "utf-16-be"
    if encoding is None:
        encoding = declared[1].decode().lower() if declared else "utf-8"
        encoding = LARGER_ENCODINGS.get(encoding, encoding)
        if encoding.startswith(("utf-16", "utf16")):  # untrue, because the declaration was read
            encoding = "utf-8"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"it is not {encoding.upper()}, line {line_of(error)}: save it as UTF-8, or declare "
            "its encoding"
        ) from None


def _objects(tree: ElementTree.Element) -> list[ElementTree.Element]:
    """Returns the elements of objects; raises an error where the file is no VOC annotation."""
    objects = list(tree.iter("object"))
    if tree.tag == "annotations" and tree.find("image") is not None:
        raise ValueError("it is in CVAT's own format: export the task as PASCAL VOC or COCO")
    if len(list(tree.iter("filename"))) > 1:
        raise ValueError("it holds several images: write a file for each")
    if not objects and tree.tag != "annotation":
        raise ValueError(f"its root is <{tree.tag}> instead of <annotation>")
    if not objects and any(element.tag in BOX_TAGS for element in tree.iter()):
        raise ValueError("it has boxes but no <object>")
    return objects


def _read_object(
    element: ElementTree.Element, position: str, name: str, location: str, problems: list[Problem]
) -> AnnotatedObject:
    if not is_plain_text(name):
        raise BadDataError(ProblemKind.NO_CLASS_NAME)
    boxes = [box for box in element if box.tag in BOX_TAGS]
    if not boxes:
        tags = ", ".join(child.tag for child in element)
        raise BadDataError(ProblemKind.NOT_FOUR_NUMBERS, f"an object of {tags} without <bndbox>")
    texts: Sequence[str | None] = [boxes[0].findtext(corner) for corner in CORNERS]
    # By VOC's rule a box of equal corners is one pixel wide, but annotation tools write such boxes
    # for accidental clicks: it counts as having no area.
    (left, top, right, bottom), swapped = read_corners(texts)
    box = (left - 1, top - 1, right - left + 1, bottom - top + 1)
    is_difficult = read_flag(element.findtext("difficult"), "difficult", location, problems)
    return AnnotatedObject(position, name, box, is_difficult=is_difficult, swapped_corners=swapped)
