"""Reads TFRecord files with the keys of the TF Object Detection API."""

import math
import os
from collections.abc import Sequence
from typing import Any

from ssd_keras.data.image_sources import FileSlice, read_bytes
from ssd_keras.data.problems import BadDataError, Problem, ProblemKind, problem_of
from ssd_keras.data.readers.assemble import (
    AnnotatedImage,
    AnnotatedObject,
    ReadOptions,
    assemble,
    to_pixels,
)
from ssd_keras.data.readers.label_map import LabelMap, read_label_map
from ssd_keras.data.readers.record_files import Features, iterate_records
from ssd_keras.data.records import DetectionData
from ssd_keras.data.specs import matching_files

NamePair = tuple[str, int]  # class name and number, 0 where a record has none
BOX_KEYS = tuple(f"image/object/bbox/{name}" for name in ("ymin", "xmin", "ymax", "xmax"))


def read_tfrecord(pattern: str, label_map: str, options: ReadOptions) -> DetectionData:
    """Reads TFRecords with relative boxes; the images stay in the files.

    The class of an object is image/object/class/text, or image/object/class/label by label map.
    """
    files = matching_files(pattern)
    if not files:
        is_folder = os.path.isdir(pattern)
        hint = f"; it is a folder: write {os.path.join(pattern, '*')}" if is_folder else ""
        raise FileNotFoundError(
            f"no file matches {pattern}; expected TFRecord files, * and ? stand for letters{hint}"
        )
    known, notes = read_label_map(label_map) if label_map else (LabelMap({}, {}), [])

    def read(path: str) -> tuple[tuple[list[AnnotatedImage], list[NamePair]], list[Problem]]:
        return _read_file(path, known)

    parsed, problems = options.read_all(read, files, "reading records")
    annotated: dict[str | int, AnnotatedImage] = {}
    others: list[AnnotatedImage] = []  # of the same id, but other images
    for image in (image for images, _ in parsed for image in images):
        first = annotated.setdefault(image.image_id, image)
        if first is image:
            continue
        if read_bytes(first.image) == read_bytes(image.image):
            location, detail = image.annotation_file, str(image.image_id)
            problems.append(Problem(ProblemKind.DUPLICATE_IMAGE, location, detail))
        else:
            others.append(image)
    name_of = known.name_of
    if not name_of:
        name_of = _number_names([pair for _, pairs in parsed for pair in pairs])
    names = list(dict.fromkeys(name_of.values()))
    return assemble([*annotated.values(), *others], names, [*notes, *problems], options, name_of)


def _read_file(
    path: str, label_map: LabelMap
) -> tuple[tuple[list[AnnotatedImage], list[NamePair]], list[Problem]]:
    """Returns images and the names of their objects, and problems."""
    images: list[AnnotatedImage] = []
    problems: list[Problem] = []
    pairs: dict[NamePair, None] = {}
    try:
        for number, (offset, record) in enumerate(iterate_records(path), start=1):
            position = f"record {number}"
            try:
                image, more = _read_record(record, path, offset, position, label_map, pairs)
            except (OSError, ValueError) as error:
                problems.append(problem_of(error, f"{path}: {position}"))
                continue
            images.append(image)
            problems += more
    except BadDataError as error:
        problems.append(problem_of(error, path))
    except OSError as error:
        problems.append(Problem(ProblemKind.DAMAGED_FILE, path, f"unreadable ({error})"))
    return (images, list(pairs)), problems


def _read_record(
    record: bytes,
    path: str,
    offset: int,
    position: str,
    label_map: LabelMap,
    pairs: dict[NamePair, None],
) -> tuple[AnnotatedImage, list[Problem]]:
    features = Features(record)
    encoded = next(iter(features.bytes("image/encoded")), b"")
    if not encoded:
        raise BadDataError(ProblemKind.BAD_RECORD, "no image/encoded")
    sides = [features.numbers(key) for key in ("image/height", "image/width")]
    if all(side and 0 < side[0] < math.inf for side in sides):
        height, width = (int(side[0]) for side in sides)
    else:
        height = width = 0
    ids = features.texts("image/source_id") + features.texts("image/filename")
    image = AnnotatedImage(
        image_id=next(filter(None, ids), f"{path}:{position}"),
        image=FileSlice(path, offset + record.find(encoded), len(encoded)),
        height=height,
        width=width,
        annotation_file=path,
        objects=[],
        to_box=to_pixels,
    )
    return image, _add_objects(features, image, position, label_map, pairs)


def _add_objects(
    features: Features,
    image: AnnotatedImage,
    record: str,
    label_map: LabelMap,
    pairs: dict[NamePair, None],
) -> list[Problem]:
    columns = [features.numbers(key) for key in BOX_KEYS]
    count = len(columns[0])
    if any(len(column) != count for column in columns):
        lengths = ", ".join(f"{len(column)}" for column in columns)
        raise BadDataError(ProblemKind.BAD_RECORD, f"{lengths} numbers of ymin, xmin, ymax, xmax")

    def column(name: str, default: Any) -> list[Any]:
        values = features.numbers(f"image/object/{name}")
        return values if len(values) == count else [default] * count

    texts = features.texts("image/object/class/text")
    texts = texts if len(texts) == count else [""] * count
    labels = [int(label) for label in column("class/label", 0)]
    difficult, crowd, areas = column("difficult", 0), column("is_crowd", 0), column("area", None)
    problems: list[Problem] = []
    for index, corners in enumerate(zip(*columns, strict=True)):
        position, label = f"{record}, object {index + 1}", labels[index]
        location = f"{image.annotation_file}: {position}"
        name, note = label_map.find(texts[index], label, location)
        if note is not None:
            problems.append(note)
        if not name:
            continue
        pairs[name, label] = None
        image.objects.append(
            AnnotatedObject(
                position,
                name,
                corners,
                area=None if areas[index] is None else float(areas[index]),
                is_difficult=bool(difficult[index]),
                is_crowd=bool(crowd[index]),
            )
        )
    return problems


def _number_names(pairs: Sequence[NamePair]) -> dict[int, str]:
    """Returns names by number if pairs are one to one, else sorted names numbered from 1."""
    name_of = {number: name for name, number in pairs if number > 0}
    names = {name for name, _ in pairs}
    if len(name_of) == len({*pairs}) == len(names):
        return dict(sorted(name_of.items()))
    return dict(enumerate(sorted(names), start=1))
