"""Writes YOLO folders."""

import json
import os
from collections.abc import Callable, Sequence

from ssd_keras.data.image_files import read_image_header
from ssd_keras.data.records import Example
from ssd_keras.data.splits import Split
from ssd_keras.data.writers.files import UniqueStems, extension_of, refuse_crowds, write_file


def write_yolo(splits: Sequence[Split], folder: str, on_image: Callable[[], object]) -> list[str]:
    """Writes images/, labels/, data.yaml, and classes.txt for readers without PyYAML.

    The latter lies beside the labels too, where labelImg looks for it. Returns the specs to read
    the splits.
    """
    stem_of = UniqueStems()
    stem_of.taken.add("classes")
    names = splits[0].data.class_names
    name_list = "".join(f"{name}\n" for name in names).encode()
    for split in splits:
        images, labels = (os.path.join(folder, name, split.name) for name in ("images", "labels"))
        os.makedirs(images)
        os.makedirs(labels)
        for example in split.data.examples:
            refuse_crowds(example, "YOLO")
            content = example.read()
            if read_image_header(content).upright_size != (example.height, example.width):
                raise ValueError(
                    f"{example.location}: its EXIF data turn the image but not its boxes, which "
                    "YOLO cannot express; choose the format voc or coco"
                )
            stem = stem_of(example)
            write_file(os.path.join(images, stem + extension_of(content)), content)
            write_file(os.path.join(labels, f"{stem}.txt"), _label_lines(example).encode())
            on_image()
        write_file(os.path.join(labels, "classes.txt"), name_list)
    lines = [f'"{split.name}": "images/{split.name}"' for split in splits]
    # A string of JSON is one of YAML.
    texts = (json.dumps(name, ensure_ascii=False) for name in names)
    lines += ["names:", *(f"  {number}: {text}" for number, text in enumerate(texts))]
    write_file(os.path.join(folder, "data.yaml"), "".join(f"{line}\n" for line in lines).encode())
    write_file(os.path.join(folder, "classes.txt"), name_list)
    return [f"yolo:{folder}@{split.name}" for split in splits]


def _label_lines(example: Example) -> str:
    sides = [example.width, example.height] * 2
    lines = []
    for label, (x, y, width, height) in zip(example.labels, example.boxes.tolist(), strict=True):
        values = (x + width / 2, y + height / 2, width, height)
        relative = (f"{value / side:.10g}" for value, side in zip(values, sides, strict=True))
        lines.append(f"{label} {' '.join(relative)}\n")
    return "".join(lines)
