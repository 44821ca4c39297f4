"""Reads COCO annotation files: one JSON file with images, annotations and categories."""

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeGuard

from ssd_keras.core.text import clean_name, is_plain_text
from ssd_keras.data.licences import licence_of_coco
from ssd_keras.data.problems import BadDataError, Problem, ProblemKind, problem_of
from ssd_keras.data.readers.assemble import (
    AnnotatedImage,
    AnnotatedObject,
    ReadOptions,
    assemble,
    read_bad_size,
    read_flag,
    read_relative_boxes,
    read_side,
)
from ssd_keras.data.readers.coco_json import Record, load_coco_json
from ssd_keras.data.readers.file_index import require_folder
from ssd_keras.data.readers.listed_images import ListedImage, find_listed_images, listed_image
from ssd_keras.data.records import DetectionData

ImageId = str | int


def read_coco(annotation_file: str, image_folder: str, options: ReadOptions) -> DetectionData:
    """Reads a COCO file; boxes and areas stay the file's own doubles."""
    content = load_coco_json(annotation_file)
    if options.check_images:
        require_folder(image_folder, "the images")
    name_of, problems = _read_categories(content["categories"], annotation_file)
    images, more = _read_images(content["images"], annotation_file, image_folder)
    problems += more + _add_objects(content["annotations"], images, name_of, annotation_file)
    annotated, more = read_relative_boxes(list(images.values()), annotation_file)
    more += _take_umbrella(content["categories"], annotated, name_of, annotation_file)
    names = list(dict.fromkeys(name_of.values()))
    data = assemble(annotated, names, problems + more, options, name_of)
    return replace(data, licence=licence_of_coco(content.get("licenses"), content["images"]))


def _read_categories(records: list[Record], file: str) -> tuple[dict[int, str], list[Problem]]:
    """Returns the name of each category id, by ascending id; two ids may have one name."""
    name_of: dict[int, str] = {}
    problems: list[Problem] = []
    for number, record in enumerate(records, start=1):
        category_id, name = record.get("id"), record.get("name")
        name = clean_name(name) if isinstance(name, str) else name
        if not isinstance(category_id, int) or not _is_text(name):
            kind, detail = ProblemKind.BAD_CATEGORY, "no id or no name"
        elif category_id in name_of:
            kind = ProblemKind.DUPLICATE_CATEGORY
            detail = f"{category_id} is already '{name_of[category_id]}'"
        else:
            name_of[category_id] = name
            continue
        problems.append(Problem(kind, f"{file}: category {number}", detail))
    name_of = dict(sorted(name_of.items()))
    return name_of, problems + _same_names(name_of, file)


def _same_names(name_of: dict[int, str], file: str) -> list[Problem]:
    ids: dict[str, list[str]] = {}
    for category_id, name in name_of.items():
        ids.setdefault(name, []).append(str(category_id))
    return [
        Problem(
            ProblemKind.SAME_CATEGORY,
            file,
            f"{' and '.join(same)} are {'both' if len(same) == 2 else 'all'} '{name}'",
            group=name,
        )
        for name, same in ids.items()
        if len(same) > 1
    ]


def _take_umbrella(
    records: list[Record], images: Sequence[AnnotatedImage], name_of: dict[int, str], file: str
) -> list[Problem]:
    """Takes out a category without objects that all others are kinds of, as Roboflow writes it."""
    used = {item.class_name for image in images for item in image.objects}
    above = {
        record["id"]: record.get("supercategory")
        for record in records
        if isinstance(record.get("id"), int) and record["id"] in name_of
    }
    counts = Counter(name for name in above.values() if isinstance(name, str))
    for category_id, name in name_of.items():
        num_below = counts[name] - (above[category_id] == name)
        if name not in used and 0 < num_below == len(name_of) - 1:
            del name_of[category_id]
            return [Problem(ProblemKind.UMBRELLA_CATEGORY, file, f"{category_id} '{name}'")]
    return []


def _read_images(
    records: list[Record], file: str, folder: str
) -> tuple[dict[ImageId, AnnotatedImage], list[Problem]]:
    images: dict[ImageId, AnnotatedImage] = {}
    id_of_path: dict[str, ImageId] = {}
    problems: list[Problem] = []
    found = find_listed_images(filter(_is_text, map(_listed_name, records)), folder)
    for number, record in enumerate(records, start=1):
        location = f"{file}: image {number}"
        try:
            image = _read_image(record, images, file, folder, found, location, problems)
        except BadDataError as error:
            problems.append(problem_of(error, location))
            continue
        images[image.image_id] = image
        first_id = id_of_path.setdefault(os.path.normpath(str(image.image)), image.image_id)
        if first_id != image.image_id:
            problems.append(Problem(ProblemKind.SAME_FILE, location, repr(first_id)))
    return images, problems


def _read_image(
    record: Record,
    images: dict[ImageId, AnnotatedImage],
    file: str,
    folder: str,
    found: dict[str, ListedImage],
    location: str,
    problems: list[Problem],
) -> AnnotatedImage:
    image_id, name = record.get("id"), _listed_name(record)
    if not isinstance(image_id, int) and not _is_text(image_id):
        raise BadDataError(ProblemKind.NO_IMAGE_ID)
    if image_id in images:
        detail = f"{image_id} ({images[image_id].image!s})"
        raise BadDataError(ProblemKind.DUPLICATE_IMAGE, detail)
    if not _is_text(name):
        raise BadDataError(ProblemKind.NO_IMAGE_PATH, "missing or unusable")
    path = listed_image(name, found, folder, location, problems)
    sides = [record.get(name) for name in ("width", "height")]
    width, height = map(read_side, sides)
    bad_size = read_bad_size(*sides)
    return AnnotatedImage(image_id, path, height, width, file, [], (folder,), bad_size=bad_size)


def _listed_name(record: Record) -> Any:
    """Returns the path of an image; LVIS has its address alone."""
    return record.get("file_name") or record.get("coco_url")


def _add_objects(
    records: list[Record],
    images: dict[ImageId, AnnotatedImage],
    name_of: dict[int, str],
    file: str,
) -> list[Problem]:
    problems: list[Problem] = []
    for number, record in enumerate(records, start=1):
        position = f"annotation {record.get('id', number)}"
        location = f"{file}: {position}"
        image_id, category_id = record.get("image_id"), record.get("category_id")
        box, area = _numbers(record.get("bbox"), 4), _numbers([record.get("area")], 1)
        group = ""
        if not isinstance(image_id, (int, str)) or image_id not in images:
            kind, detail = ProblemKind.UNKNOWN_IMAGE, repr(image_id)
        elif not isinstance(category_id, int) or category_id not in name_of:
            kind, group = ProblemKind.UNKNOWN_CLASS, repr(category_id)
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
                    is_crowd=read_flag(record.get("iscrowd"), "iscrowd", location, problems),
                )
            )
            continue
        problems.append(Problem(kind, location, detail, group=group))
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
