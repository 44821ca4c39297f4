"""Writes COCO files."""

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from ssd_keras.data.records import DetectionData, Example
from ssd_keras.data.splits import Split
from ssd_keras.data.writers.files import UniqueStems, extension_of, write_file


def write_coco(splits: Sequence[Split], folder: str, on_image: Callable[[], object]) -> list[str]:
    """Writes a JSON file for each split, and images/ for all; returns the specs to read them."""
    images = os.path.join(folder, "images")
    os.makedirs(images)
    stem_of = UniqueStems()
    specs = []
    for split in splits:
        data = split.data
        categories = zip(data.category_ids, data.class_names, strict=True)
        content: dict[str, list[dict[str, Any]]] = {
            "images": [],
            "annotations": [],
            "categories": [{"id": number, "name": name} for number, name in categories],
        }
        has_numbers = all(isinstance(example.image_id, int) for example in data.examples)
        for number, example in enumerate(data.examples, start=1):
            encoded = example.read()
            name = stem_of(example) + extension_of(encoded)
            write_file(os.path.join(images, name), encoded)
            # COCO's tools expect whole numbers: such ids stay, others are numbered.
            image_id = int(example.image_id) if has_numbers else number
            sides = {"width": example.width, "height": example.height}
            content["images"].append({"id": image_id, "file_name": name, **sides})
            first = len(content["annotations"]) + 1
            content["annotations"] += _annotations(example, image_id, data, first)
            on_image()
        path = os.path.join(folder, f"{split.name}.json")
        write_file(path, json.dumps(content).encode())
        specs.append(f"coco:{path}@{images}")
    return specs


def _annotations(
    example: Example, image_id: int, data: DetectionData, first_id: int
) -> list[dict[str, Any]]:
    return [
        {
            "id": first_id + row,
            "image_id": image_id,
            "category_id": data.category_ids[label],
            "bbox": example.boxes[row].tolist(),
            "area": float(example.areas[row]),
            "iscrowd": int(example.is_crowd[row]),
            **({} if example.scores is None else {"score": float(example.scores[row])}),
        }
        for row, label in enumerate(example.labels)
    ]
