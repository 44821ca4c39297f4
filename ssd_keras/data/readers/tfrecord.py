"""Reads TFRecord files with the keys of the TF Object Detection API."""

import glob
import math
import os
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from ssd_keras.core.terminal import import_tensorflow
from ssd_keras.core.text import is_plain_text
from ssd_keras.data.image_sources import FileSlice
from ssd_keras.data.problems import BadDataError, Problem, ProblemKind, problem_of
from ssd_keras.data.readers.assemble import (
    AnnotatedImage,
    AnnotatedObject,
    ReadOptions,
    assemble,
    to_pixels,
)
from ssd_keras.data.readers.label_map import read_label_map
from ssd_keras.data.records import DetectionData

NamePair = tuple[str, int]  # class name and number, 0 where a record has none
BOX_KEYS = tuple(f"image/object/bbox/{name}" for name in ("ymin", "xmin", "ymax", "xmax"))
# A record: its length (8 bytes) and the length's checksum (4), the content, its checksum (4).
RECORD_HEADER, RECORD_FOOTER = 12, 4


def read_tfrecord(pattern: str, label_map: str, options: ReadOptions) -> DetectionData:
    """Reads TFRecords with relative boxes; the images stay in the files.

    The class of an object is image/object/class/text, or image/object/class/label by label map.
    """
    files = sorted(path for path in glob.glob(pattern) if os.path.isfile(path))
    if not files:
        raise FileNotFoundError(f"no file matches {pattern}; expected TFRecord files there")
    name_of = read_label_map(label_map) if label_map else {}
    import_tensorflow()  # once, before the threads would

    def read(path: str) -> tuple[tuple[list[AnnotatedImage], list[NamePair]], list[Problem]]:
        return _read_file(path, name_of)

    parsed, problems = options.read_all(read, files, "reading records")
    annotated: dict[str | int, AnnotatedImage] = {}
    for image in (image for images, _ in parsed for image in images):
        if image.image_id in annotated:
            location, detail = image.annotation_file, str(image.image_id)
            problems.append(Problem(ProblemKind.DUPLICATE_IMAGE, location, detail))
        else:
            annotated[image.image_id] = image
    if not name_of:
        name_of = _number_names([pair for _, pairs in parsed for pair in pairs])
    names = list(dict.fromkeys(name_of.values()))
    return assemble(list(annotated.values()), names, problems, options, name_of)


def iterate_records(path: str) -> Iterator[tuple[int, bytes]]:
    """Yields offset and content of each record of a TFRecord file, with verified checksums."""
    import tensorflow as tf

    with open(path, "rb") as file:
        if file.read(2) == b"\x1f\x8b":
            detail = "compressed with gzip (decompress it with gunzip)"
            raise BadDataError(ProblemKind.DAMAGED_FILE, detail)
    offsets = record_offsets(path)
    offset = number = 0
    error: Exception | None = None
    try:
        # TensorFlow trusts a record's length and aborts on an absurd one: `take` stops before it.
        for record in tf.data.TFRecordDataset(path).take(len(offsets)).as_numpy_iterator():
            yield offset + RECORD_HEADER, record
            offset += RECORD_HEADER + len(record) + RECORD_FOOTER
            number += 1
    except tf.errors.OpError as caught:
        error = caught
    # TensorFlow ignores less than a header at the end.
    if error or offset != os.path.getsize(path):
        detail = f"damaged after record {number} (byte {offset})"
        raise BadDataError(ProblemKind.DAMAGED_FILE, detail) from error


def record_offsets(path: str) -> list[int]:
    """Returns where the records of a TFRecord file begin, without reading their contents."""
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
) -> tuple[tuple[list[AnnotatedImage], list[NamePair]], list[Problem]]:
    """Returns images and the names of their objects, and problems."""
    images: list[AnnotatedImage] = []
    problems: list[Problem] = []
    pairs: dict[NamePair, None] = {}
    try:
        for number, (offset, record) in enumerate(iterate_records(path), start=1):
            position = f"record {number}"
            try:
                image, more = _read_record(record, path, offset, position, name_of, pairs)
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
    name_of: dict[int, str],
    pairs: dict[NamePair, None],
) -> tuple[AnnotatedImage, list[Problem]]:
    features = _parse(record)
    encoded = next(iter(_bytes(features, "image/encoded")), b"")
    if not encoded:
        raise BadDataError(ProblemKind.BAD_RECORD, "no image/encoded")
    sides = [_numbers(features, key) for key in ("image/height", "image/width")]
    if all(side and 0 < side[0] < math.inf for side in sides):
        height, width = (int(side[0]) for side in sides)
    else:
        height = width = 0
    ids = _bytes(features, "image/source_id") + _bytes(features, "image/filename")
    image = AnnotatedImage(
        image_id=next(
            (text.decode("utf-8", "replace") for text in ids if text), f"{path}:{position}"
        ),
        image=FileSlice(path, offset + record.find(encoded), len(encoded)),
        height=height,
        width=width,
        annotation_file=path,
        objects=[],
        to_box=to_pixels,
    )
    return image, _add_objects(features, image, position, name_of, pairs)


def _add_objects(
    features: Any,
    image: AnnotatedImage,
    record: str,
    name_of: dict[int, str],
    pairs: dict[NamePair, None],
) -> list[Problem]:
    columns = [_numbers(features, key) for key in BOX_KEYS]
    count = len(columns[0])
    if any(len(column) != count for column in columns):
        lengths = ", ".join(f"{len(column)}" for column in columns)
        raise BadDataError(ProblemKind.BAD_RECORD, f"{lengths} numbers of ymin, xmin, ymax, xmax")

    def column(name: str, default: Any) -> list[Any]:
        values = _numbers(features, f"image/object/{name}")
        return values if len(values) == count else [default] * count

    texts = [
        text.decode("utf-8", "replace") for text in _bytes(features, "image/object/class/text")
    ]
    labels = [int(label) for label in column("class/label", 0)]
    difficult, crowd, areas = column("difficult", 0), column("is_crowd", 0), column("area", None)
    problems: list[Problem] = []
    for index, corners in enumerate(zip(*columns, strict=True)):
        position, label = f"{record}, object {index + 1}", labels[index]
        name = texts[index] if len(texts) == count else name_of.get(label, "")
        if not is_plain_text(name):
            detail = f"{label}; expected class/text, or a label of the label map"
            location = f"{image.annotation_file}: {position}"
            problems.append(Problem(ProblemKind.UNKNOWN_CLASS, location, detail))
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
    """Returns the numbers of a feature; tools disagree on whether they are floats or integers."""
    if key not in features:
        return []
    return list(features[key].float_list.value) or list(features[key].int64_list.value)


def _number_names(pairs: Sequence[NamePair]) -> dict[int, str]:
    """Returns names by number if pairs are one to one, else sorted names numbered from 1."""
    name_of = {number: name for name, number in pairs if number > 0}
    names = {name for name, _ in pairs}
    if len(name_of) == len({*pairs}) == len(names):
        return dict(sorted(name_of.items()))
    return dict(enumerate(sorted(names), start=1))
