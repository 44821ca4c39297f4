"""Reads COCO annotation files: one JSON file with images, annotations and categories."""

import json
import math
import os
from typing import Any, TypeGuard

from ssd_keras.core.text import is_plain_text
from ssd_keras.data.image_files import leaves_folder
from ssd_keras.data.problems import Problem, ProblemKind
from ssd_keras.data.readers.assemble import (
    AnnotatedImage,
    AnnotatedObject,
    ReadOptions,
    assemble,
    read_relative_boxes,
)
from ssd_keras.data.records import DetectionData

Record = dict[str, Any]
SECTIONS = ("images", "annotations", "categories")


def read_coco(annotation_file: str, image_folder: str, options: ReadOptions) -> DetectionData:
    """Reads a COCO file; boxes and areas stay the file's own doubles."""
    content = _load_json(annotation_file)
    if options.check_images and not os.path.isdir(image_folder):
        raise FileNotFoundError(f"no folder {image_folder}; expected the folder of the images")
    name_of, problems = _read_categories(content["categories"], annotation_file)
    images, more = _read_images(content["images"], annotation_file, image_folder)
    problems += more + _add_objects(content["annotations"], images, name_of, annotation_file)
    annotated, more = read_relative_boxes(list(images.values()), annotation_file)
    names = list(dict.fromkeys(name_of.values()))
    return assemble(annotated, names, problems + more, options, name_of)


def _load_json(path: str) -> dict[str, list[Record]]:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no annotation file {path}; expected COCO's JSON there")
    try:
        with open(path, "rb") as file:
            content = json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}); expected COCO annotations") from error
    for section in SECTIONS:
        records = content.get(section) if isinstance(content, dict) else None
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise ValueError(
                f"{path} has no list of records '{section}'; expected COCO annotations with "
                f"{', '.join(SECTIONS)}"
            )
    return content


def _read_categories(records: list[Record], file: str) -> tuple[dict[int, str], list[Problem]]:
    """Returns the name of each category id, by ascending id."""
    name_of: dict[int, str] = {}
    problems: list[Problem] = []
    for number, record in enumerate(records, start=1):
        category_id, name = record.get("id"), record.get("name")
        if not isinstance(category_id, int) or not _is_text(name):
            kind, detail = ProblemKind.BAD_CATEGORY, "no id or no name"
        elif category_id in name_of:
            kind = ProblemKind.DUPLICATE_CATEGORY
            detail = f"{category_id} is already '{name_of[category_id]}'"
        else:
            name_of[category_id] = name
            continue
        problems.append(Problem(kind, f"{file}: category {number}", detail))
    return dict(sorted(name_of.items())), problems


def _read_images(
    records: list[Record], file: str, folder: str
) -> tuple[dict[str | int, AnnotatedImage], list[Problem]]:
    images: dict[str | int, AnnotatedImage] = {}
    problems: list[Problem] = []
    for number, record in enumerate(records, start=1):
        image_id, name = record.get("id"), record.get("file_name")
        if not isinstance(image_id, int) and not _is_text(image_id):
            kind, detail = ProblemKind.NO_IMAGE_ID, ""
        elif image_id in images:
            kind = ProblemKind.DUPLICATE_IMAGE
            detail = f"{image_id} ({images[image_id].image!s})"
        elif not _is_text(name):
            kind, detail = ProblemKind.NO_IMAGE_PATH, "missing or unusable"
        elif leaves_folder(name):
            kind, detail = ProblemKind.PATH_OUTSIDE, name
        else:
            height, width = _side(record.get("height")), _side(record.get("width"))
            path = os.path.join(folder, name)
            images[image_id] = AnnotatedImage(image_id, path, height, width, file, [], (folder,))
            continue
        problems.append(Problem(kind, f"{file}: image {number}", detail))
    return images, problems


def _add_objects(
    records: list[Record],
    images: dict[str | int, AnnotatedImage],
    name_of: dict[int, str],
    file: str,
) -> list[Problem]:
    problems: list[Problem] = []
    for number, record in enumerate(records, start=1):
        position = f"annotation {record.get('id', number)}"
        image_id, category_id = record.get("image_id"), record.get("category_id")
        box, area = _numbers(record.get("bbox"), 4), _numbers([record.get("area")], 1)
        if not isinstance(image_id, (int, str)) or image_id not in images:
            kind, detail = ProblemKind.UNKNOWN_IMAGE, repr(image_id)
        elif not isinstance(category_id, int) or category_id not in name_of:
            kind = ProblemKind.UNKNOWN_CLASS
            detail = f"{category_id!r} (category_id); expected the id of one of the categories"
        elif box is None:
            kind = ProblemKind.NOT_FOUR_NUMBERS
            detail = f"bbox {record.get('bbox')!r} (x, y, width, height)"
        else:
            images[image_id].objects.append(
                AnnotatedObject(
                    position,
                    name_of[category_id],
                    (box[0], box[1], box[2], box[3]),
                    area=None if area is None else area[0],
                    is_crowd=record.get("iscrowd") == 1,
                )
            )
            continue
        problems.append(Problem(kind, f"{file}: {position}", detail))
    return problems


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and is_plain_text(value)


def _numbers(values: Any, count: int) -> list[float] | None:
    """Returns the values as finite floats, or None where they are not `count` numbers."""
    if not isinstance(values, list) or len(values) != count:
        return None
    if not all(isinstance(value, (int, float)) for value in values):
        return None
    try:
        numbers = [float(value) for value in values]
    except OverflowError:  # an integer of hundreds of digits
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _side(value: Any) -> int:
    """Returns a side in pixels, or 0 where the file has none: the image itself then decides."""
    numbers = _numbers([value], 1)
    return max(int(numbers[0]), 0) if numbers else 0
