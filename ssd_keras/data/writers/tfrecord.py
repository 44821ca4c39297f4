"""Writes TFRecords with the keys of the TF Object Detection API."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from ssd_keras.core.image_formats import PNG_SIGNATURE
from ssd_keras.data.records import DetectionData, Example
from ssd_keras.data.splits import Split

LABEL_MAP = "label_map.pbtxt"


def write_tfrecord(
    splits: Sequence[Split], folder: str, on_image: Callable[[], object], shards: int = 1
) -> list[str]:
    """Writes SPLIT-00000-of-00004.tfrecord and so on, and label_map.pbtxt.

    Records keep the order of the data set, of which each shard holds a contiguous part. Returns
    the specs to read the splits.
    """
    import tensorflow as tf

    for split in splits:
        count = len(split.data)
        for shard in range(shards):
            name = f"{split.name}-{shard:05d}-of-{shards:05d}.tfrecord"
            first, end = shard * count // shards, (shard + 1) * count // shards
            with tf.io.TFRecordWriter(os.path.join(folder, name)) as writer:
                for example in split.data.examples[first:end]:
                    writer.write(_record(tf, example, split.data))
                    on_image()
    label_map = os.path.join(folder, LABEL_MAP)
    with open(label_map, "w", encoding="utf-8") as file:
        file.write(_label_map(splits[0].data))
    return [f"tfrecord:{folder}/{split.name}-*.tfrecord@{label_map}" for split in splits]


def _record(tf: Any, example: Example, data: DetectionData) -> bytes:
    """Returns a serialised `tf.train.Example`."""
    encoded = example.read()
    image_id = str(example.image_id).encode()
    x, y, width, height = example.boxes.T
    edges = {"xmin": x, "xmax": x + width, "ymin": y, "ymax": y + height}
    sides = {"x": example.width, "y": example.height}
    values: dict[str, Any] = {
        "image/encoded": [encoded],
        "image/format": [b"png" if encoded.startswith(PNG_SIGNATURE) else b"jpeg"],
        "image/filename": [image_id],
        "image/source_id": [image_id],
        "image/key/sha256": [hashlib.sha256(encoded).hexdigest().encode()],
        "image/height": [example.height],
        "image/width": [example.width],
        **{f"image/object/bbox/{name}": edges[name] / sides[name[0]] for name in edges},
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


def _label_map(data: DetectionData) -> str:
    """Returns the classes as a label map of the TF Object Detection API."""
    # A string of JSON is one of Protocol Buffers' text format.
    return "".join(
        f"item {{\n  id: {number}\n  name: {json.dumps(name, ensure_ascii=False)}\n}}\n"
        for number, name in zip(data.category_ids, data.class_names, strict=True)
    )


def _feature(tf: Any, values: Sequence[Any]) -> Any:
    if len(values) and isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if len(values) and isinstance(values[0], float):  # NumPy's float64 is one
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
