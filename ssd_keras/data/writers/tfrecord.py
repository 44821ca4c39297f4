"""Writes TFRecords with the keys of the TF Object Detection API."""

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any

from ssd_keras.core.terminal import import_tensorflow
from ssd_keras.data.records import DetectionData, Example
from ssd_keras.data.splits import Split

LABEL_MAP = "label_map.pbtxt"


def write_tfrecord(
    splits: Sequence[Split], folder: str, tick: Callable[[], object], shards: int = 1
) -> list[str]:
    """Writes SPLIT-00000-of-00004.tfrecord and so on, and label_map.pbtxt.

    Boxes are relative, from pixels that count from 0. Records keep the order of the data set: each
    shard holds a stretch of it.
    """
    tf = import_tensorflow()

    for split in splits:
        count = len(split.data)
        for shard in range(shards):
            name = f"{split.name}-{shard:05d}-of-{shards:05d}.tfrecord"
            first, end = shard * count // shards, (shard + 1) * count // shards
            with tf.io.TFRecordWriter(os.path.join(folder, name)) as writer:
                for example in split.data.examples[first:end]:
                    writer.write(make_record(example, split.data))
                    tick()
    label_map = os.path.join(folder, LABEL_MAP)
    with open(label_map, "w", encoding="utf-8") as file:
        file.write(label_map_text(splits[0].data))
    return [f"tfrecord:{folder}/{split.name}-*.tfrecord@{label_map}" for split in splits]


def make_record(example: Example, data: DetectionData) -> bytes:
    """One image as a serialised `tf.train.Example`."""
    import tensorflow as tf

    encoded = example.read()
    image_id = str(example.image_id)
    kind = "png" if encoded.startswith(b"\x89PNG") else "jpeg"
    x, y, width, height = example.boxes.T
    ends = {"xmin": x, "xmax": x + width, "ymin": y, "ymax": y + height}
    sides = {"x": example.width, "y": example.height}
    values: dict[str, Any] = {
        "image/encoded": [encoded],
        "image/format": [kind.encode()],
        "image/filename": [image_id.encode()],
        "image/source_id": [image_id.encode()],
        "image/key/sha256": [hashlib.sha256(encoded).hexdigest().encode()],
        "image/height": [example.height],
        "image/width": [example.width],
        **{f"image/object/bbox/{name}": ends[name] / sides[name[0]] for name in ends},
        "image/object/class/text": [data.class_names[i].encode() for i in example.labels],
        "image/object/class/label": [data.category_ids[i] for i in example.labels],
        "image/object/difficult": example.is_difficult.astype(int),
        "image/object/is_crowd": example.is_crowd.astype(int),
        "image/object/area": example.areas,
    }
    features = {name: _feature(tf, value) for name, value in values.items()}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(
        deterministic=True
    )


def label_map_text(data: DetectionData) -> str:
    """The classes as a label map of the TF Object Detection API."""
    pairs = zip(data.category_ids, data.class_names, strict=True)
    quotes = {True: '"', False: "'"}
    return "".join(
        f"item {{\n  id: {number}\n  name: {(q := quotes[chr(39) in name])}{name}{q}\n}}\n"
        for number, name in pairs
    )


def _feature(tf: Any, values: Sequence[Any]) -> Any:
    if len(values) and isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if len(values) and isinstance(values[0], float):  # numpy's float64 is one
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
