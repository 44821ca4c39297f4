"""Reads data sets that TensorFlow Datasets has prepared on disk."""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from ssd_keras.core.progress import bar_options
from ssd_keras.core.terminal import silence_stderr, silence_tensorflow_log
from ssd_keras.core.text import clean_name, did_you_mean, is_plain_text
from ssd_keras.data.image_sources import FileSlice, StoredImage
from ssd_keras.data.readers.assemble import (
    AnnotatedImage,
    AnnotatedObject,
    ReadOptions,
    assemble,
    to_pixels,
)
from ssd_keras.data.readers.record_files import RECORD_HEADER, record_offsets
from ssd_keras.data.records import Box, DetectionData


def read_tfds(name: str, split: str, options: ReadOptions) -> DetectionData:
    """Reads a prepared data set; images stay in its TFRecords, or in memory from ArrayRecords.

    TFDS' `voc` divides VOC's corners by the image's sides: pixels from 1, both corners included.
    """
    tfds = _import_tfds()
    builder = _load_builder(tfds, name)
    keys = _find_keys(tfds, builder)
    class_label = builder.info.features[keys.sequence].feature[keys.label]
    label_names = [clean_name(name) for name in class_label.names]
    to_box = _voc_pixels if builder.name == "voc" else to_pixels
    annotated: list[AnnotatedImage] = []
    with silence_tensorflow_log():  # TFDS calls what TensorFlow deprecates
        elements = _elements(tfds, builder, split, keys, options.progress)
        for number, (element, image) in enumerate(elements):
            image_id = _image_id(element, number)
            location = f"tfds:{name}@{split}: image {image_id}"
            objects = element[keys.sequence]
            names = [label_names[label] for label in objects[keys.label]]
            items = _objects(objects, objects[keys.box], names)
            annotated.append(AnnotatedImage(image_id, image, 0, 0, location, items, to_box=to_box))
    info = builder.info.redistribution_info
    licence = info.license if info and is_plain_text(info.license) else ""
    return replace(assemble(annotated, label_names, [], options), licence=licence)


class _Keys(NamedTuple):
    """Names of features: the image, the sequence of objects, and their box and label in it."""

    image: str
    sequence: str
    box: str
    label: str


def _import_tfds() -> Any:
    with silence_stderr():
        import tensorflow_datasets
    # It logs what fails in its own import, and goes on without its functions.
    if not hasattr(tensorflow_datasets, "builder"):
        raise ImportError(
            "tensorflow-datasets does not load with the versions of tensorflow-metadata and "
            "protobuf that are installed; run: pip install 'tensorflow-metadata<1.18'"
        )
    return tensorflow_datasets


def _load_builder(tfds: Any, name: str) -> Any:
    try:
        if os.path.isdir(name):
            return tfds.builder_from_directory(name)
        builder = tfds.builder(name, data_dir=os.environ.get("TFDS_DATA_DIR"))
    except (ValueError, OSError, tfds.core.registered.DatasetNotFoundError) as error:
        known = tfds.list_builders(with_community_datasets=False)
        question = did_you_mean(name.partition("/")[0], known)
        reason = question and f"; {question}" or f" ({' '.join(str(error).split())[:150]}); "
        raise ValueError(f"unknown data set '{name}'{reason}expected as voc/2007") from error
    if not builder.info.splits:
        raise ValueError(
            f"'{name}' is not prepared in {builder.data_dir}; run `tfds build {name}`, or set "
            "TFDS_DATA_DIR to where it is"
        )
    return builder


def _find_keys(tfds: Any, builder: Any) -> _Keys:
    """Returns the first image feature, and the first sequence with a box and a class label."""
    features = builder.info.features
    images = [key for key, value in features.items() if isinstance(value, tfds.features.Image)]
    for key, value in features.items():
        inner = getattr(value, "feature", None)
        if not isinstance(inner, tfds.features.FeaturesDict):
            continue
        boxes = [k for k, v in inner.items() if isinstance(v, tfds.features.BBoxFeature)]
        labels = [k for k, v in inner.items() if isinstance(v, tfds.features.ClassLabel)]
        labels.sort(key=lambda name: name != "label")  # VOC has poses as labels too
        if images and boxes and labels:
            return _Keys(images[0], key, boxes[0], labels[0])
    raise ValueError(
        f"the features {', '.join(features)} are not those of detection; expected an image and a "
        "sequence with a box and a class label"
    )


def _elements(
    tfds: Any, builder: Any, split: str, keys: _Keys, progress: bool
) -> Iterator[tuple[dict[str, Any], StoredImage]]:
    """Yields the elements with encoded images, and where each image is."""
    in_records = builder.info.file_format is tfds.core.FileFormat.TFRECORD
    options = {"split": split, "decoders": {keys.image: tfds.decode.SkipDecoding()}}
    try:
        if in_records:
            config = tfds.ReadConfig(add_tfds_id=True, interleave_cycle_length=1)
            dataset = builder.as_dataset(shuffle_files=False, read_config=config, **options)
            elements = tfds.as_numpy(dataset)
        else:
            dataset = elements = builder.as_data_source(**options)
    except (ValueError, KeyError, AssertionError) as error:
        known = list(builder.info.splits)
        hint = did_you_mean(split, known)
        raise ValueError(
            f"no split '{split}'; {hint}expected {', '.join(known)}, or as train[:10%]"
        ) from error
    offsets: dict[str, list[int]] = {}
    count = len(dataset)
    for element in tqdm(elements, "reading records", count, leave=False, **bar_options(progress)):
        encoded = bytes(element[keys.image])
        image: StoredImage = encoded
        file, _, index = element.get("tfds_id", b"").decode().rpartition("__")
        path = os.path.join(builder.data_dir, file)
        if in_records and os.path.isfile(path):
            if path not in offsets:
                offsets[path] = record_offsets(path)
            image = _slice(path, offsets[path][int(index)], encoded)
        yield element, image


def _slice(path: str, offset: int, encoded: bytes) -> StoredImage:
    """Returns the slice of a record that holds the image, or the bytes where none does."""
    with open(path, "rb") as file:
        file.seek(offset)
        (length,) = struct.unpack("<Q", file.read(RECORD_HEADER)[:8])
        start = file.read(length).find(encoded)
    return FileSlice(path, offset + RECORD_HEADER + start, len(encoded)) if start >= 0 else encoded


def _objects(
    objects: dict[str, Any], boxes: Sequence[Box], names: Sequence[str]
) -> list[AnnotatedObject]:
    absent = [False] * len(boxes)
    difficult, crowd = (objects.get(key, absent) for key in ("is_difficult", "is_crowd"))
    areas = objects.get("area", [None] * len(boxes))
    return [
        AnnotatedObject(
            f"object {index + 1}",
            names[index],
            box,
            area=None if areas[index] is None else float(areas[index]),
            is_difficult=bool(difficult[index]),
            is_crowd=bool(crowd[index]),
        )
        for index, box in enumerate(boxes)
    ]


def _voc_pixels(corners: Sequence[float], height: int, width: int) -> Box:
    """Returns x, y, width, height of VOC's corners: pixels from 1, both corners included."""
    left, top, box_width, box_height = to_pixels(corners, height, width)
    return left - 1, top - 1, box_width + 1, box_height + 1


def _image_id(element: dict[str, Any], number: int) -> str | int:
    """Returns an id, which may be a number or a text, or the name of the file, or its place."""
    image_id = element.get("image/id", b"")
    if not isinstance(image_id, bytes):
        return int(image_id)
    name = os.path.splitext(element.get("image/filename", b"").decode("utf-8", "replace"))[0]
    return image_id.decode("utf-8", "replace") or name or number
