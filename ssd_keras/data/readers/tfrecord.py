"""TFRecord files with the keys of the TF Object Detection API."""

import glob
import math
import os
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from ssd_keras.core.terminal import import_tensorflow
from ssd_keras.core.text import is_plain_text
from ssd_keras.data.problems import BadDataError, Problem, ProblemKind, problem_of
from ssd_keras.data.readers.assemble import (
    AnnotatedImage,
    AnnotatedObject,
    assemble,
    map_in_threads,
    size_of,
    to_pixels,
)
from ssd_keras.data.readers.coco import match_categories
from ssd_keras.data.readers.label_map import read_label_map
from ssd_keras.data.records import DetectionData, FileSlice

CORNER_KEYS = tuple(f"image/object/bbox/{name}" for name in ("ymin", "xmin", "ymax", "xmax"))
RECORD_HEADER, RECORD_FOOTER = 12, 4
"""Bytes around the content of a record: its length with a checksum, and the content's checksum."""


def read_tfrecord(
    pattern: str,
    label_map: str = "",
    *,
    class_names: Sequence[str] | None = None,
    check_images: bool = True,
    progress: bool = False,
) -> DetectionData:
    """Reads TFRecords; their images stay in the files, none is copied.

    Boxes are relative; see `ssd_keras.data.readers.assemble.to_pixels`. Objects are named by
    image/object/class/text, or by image/object/class/label and the label map.
    """
    files = sorted(path for path in glob.glob(pattern) if os.path.isfile(path))
    if not files:
        raise FileNotFoundError(f"no file matches {pattern}; expected TFRecord files there")
    name_of = read_label_map(label_map) if label_map else {}
    import_tensorflow()  # before there are threads: they would import it each
    parsed = map_in_threads(
        lambda path: _read_file(path, name_of), files, "reading records", progress
    )
    problems = [problem for _, found, _ in parsed for problem in found]
    annotated: dict[str | int, AnnotatedImage] = {}
    for image in (image for images, _, _ in parsed for image in images):
        if image.image_id in annotated:
            problems.append(
                Problem(ProblemKind.DUPLICATE_IMAGE, image.annotation_file, f"{image.image_id}")
            )
        else:
            annotated[image.image_id] = image
    if not name_of:
        name_of = _found_names([pair for _, _, pairs in parsed for pair in pairs])
    if class_names is None:
        class_names = list(dict.fromkeys(name_of.values()))
    examples, more = assemble(
        list(annotated.values()), class_names, check_images=check_images, progress=progress
    )
    category_ids = match_categories(class_names, name_of)
    return DetectionData(tuple(class_names), examples, (*problems, *more), category_ids)


def iterate_records(path: str) -> Iterator[tuple[int, bytes]]:
    """The records of one TFRecord file, their checksums verified."""
    import tensorflow as tf

    with open(path, "rb") as file:
        if file.read(2) == b"\x1f\x8b":
            detail = "compressed with gzip (decompress it with gunzip)"
            raise BadDataError(ProblemKind.DAMAGED_FILE, detail)
    offsets = record_offsets(path)
    offset = number = 0
    error: Exception | None = None
    try:
        # TensorFlow trusts a record's length, and dies of one that is absurd.
        for record in tf.data.TFRecordDataset(path).take(len(offsets)).as_numpy_iterator():
            yield offset + RECORD_HEADER, record
            offset += RECORD_HEADER + len(record) + RECORD_FOOTER
            number += 1
    except tf.errors.OpError as caught:
        error = caught
    # Less than a header at the end is no error to TensorFlow.
    if error or offset != os.path.getsize(path):
        detail = f"damaged after record {number} (byte {offset})"
        raise BadDataError(ProblemKind.DAMAGED_FILE, detail) from error


def record_offsets(path: str) -> list[int]:
    """Where the records of a TFRecord file begin; their contents are passed over."""
    offsets, offset, size = [], 0, os.path.getsize(path)
    with open(path, "rb") as file:
        while len(head := file.read(RECORD_HEADER)) == RECORD_HEADER:
            (length,) = struct.unpack("<Q", head[:8])
            end = offset + RECORD_HEADER + length + RECORD_FOOTER
            if end > size:
                break
            offsets.append(offset)
            offset = end
            file.seek(offset)
    return offsets


def _read_file(
    path: str, name_of: dict[int, str]
) -> tuple[list[AnnotatedImage], list[Problem], list[tuple[str, int]]]:
    """Images, problems, and pairs of class name and number (0: none)."""
    images: list[AnnotatedImage] = []
    problems: list[Problem] = []
    pairs: dict[tuple[str, int], None] = {}
    records = iterate_records(path)
    number = 0
    while True:
        number += 1
        try:
            offset, record = next(records)
        except StopIteration:
            break
        except BadDataError as error:
            problems.append(problem_of(error, path))
            break
        except OSError as error:
            problems.append(Problem(ProblemKind.DAMAGED_FILE, path, f"unreadable ({error})"))
            break
        item = f"record {number}"
        try:
            image, found = _read_record(record, path, offset, item, name_of, pairs)
        except (OSError, ValueError) as error:
            problems.append(problem_of(error, f"{path}: {item}"))
            continue
        images.append(image)
        problems += found
    return images, problems, list(pairs)


def _read_record(
    record: bytes,
    path: str,
    offset: int,
    item: str,
    name_of: dict[int, str],
    pairs: dict[tuple[str, int], None],
) -> tuple[AnnotatedImage, list[Problem]]:
    features = _parse(record)
    encoded = _bytes(features, "image/encoded")
    if not encoded or not encoded[0]:
        raise BadDataError(ProblemKind.BAD_RECORD, "no image/encoded")
    place = FileSlice(path, offset + record.find(encoded[0]), len(encoded[0]))
    sides = [_numbers(features, key) for key in ("image/height", "image/width")]
    if all(side and 0 < side[0] < math.inf for side in sides):
        height, width = (int(side[0]) for side in sides)
    else:
        height, width = size_of(encoded[0], upright=False)
    columns = [_numbers(features, key) for key in CORNER_KEYS]
    texts = [text.decode("utf-8", "replace") for text in _bytes(features, _class("text"))]
    numbers = [int(number) for number in _numbers(features, _class("label"))]
    count = len(columns[0])
    if any(len(column) != count for column in columns):
        lengths = ", ".join(f"{len(column)}" for column in columns)
        raise BadDataError(ProblemKind.BAD_RECORD, f"{lengths} numbers of ymin, xmin, ymax, xmax")
    objects: list[AnnotatedObject] = []
    problems: list[Problem] = []
    extra = {
        name: _numbers(features, f"image/object/{name}")
        for name in ("difficult", "is_crowd", "area")
    }
    extra = {name: values for name, values in extra.items() if len(values) == count}
    for index in range(count):
        label = numbers[index] if len(numbers) == count else 0
        text = texts[index] if len(texts) == count else name_of.get(label, "")
        if not is_plain_text(text):
            detail = f"{label}; expected class/text, or a label of the label map"
            location = f"{path}: {item}, object {index + 1}"
            problems.append(Problem(ProblemKind.UNKNOWN_CLASS, location, detail))
            continue
        pairs[text, label] = None
        objects.append(
            AnnotatedObject(
                f"{item}, object {index + 1}",
                text,
                to_pixels([column[index] for column in columns], height, width),
                area=float(extra["area"][index]) if "area" in extra else None,
                is_difficult=bool(extra["difficult"][index]) if "difficult" in extra else False,
                is_crowd=bool(extra["is_crowd"][index]) if "is_crowd" in extra else False,
            )
        )
    names = _bytes(features, "image/source_id") + _bytes(features, "image/filename")
    image_id = next((name.decode("utf-8", "replace") for name in names if name), f"{path}:{item}")
    return AnnotatedImage(image_id, place, height, width, path, objects), problems


def _parse(record: bytes) -> Any:
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        return tf.train.Example.FromString(record).features.feature
    except DecodeError as error:
        raise BadDataError(ProblemKind.BAD_RECORD, "another content") from error


def _bytes(features: Any, key: str) -> list[bytes]:
    return list(features[key].bytes_list.value) if key in features else []


def _numbers(features: Any, key: str) -> list[float]:
    """Whole or real numbers; tools disagree on which."""
    if key not in features:
        return []
    return list(features[key].float_list.value) or list(features[key].int64_list.value)


def _class(name: str) -> str:
    return f"image/object/class/{name}"


def _found_names(pairs: Sequence[tuple[str, int]]) -> dict[int, str]:
    """Names by number where every name has one of its own, else sorted and numbered from 1."""
    name_of = {number: name for name, number in pairs if number > 0}
    if len(name_of) == len({*pairs}) == len({name for name, _ in pairs}):
        return dict(sorted(name_of.items()))
    return dict(enumerate(sorted({name for name, _ in pairs}), start=1))
