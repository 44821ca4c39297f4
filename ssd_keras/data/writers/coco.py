"""Writes COCO files."""

import json
import os
from collections.abc import Callable, Sequence

from ssd_keras.data.records import DetectionData, Example
from ssd_keras.data.splits import Split
from ssd_keras.data.writers.files import _extension, _Stems, _write


def write_coco(splits: Sequence[Split], folder: str, tick: Callable[[], object]) -> list[str]:
    """Writes a JSON file for each split, and images/ for all."""
    images = os.path.join(folder, "images")
    os.makedirs(images)
    stem_of = _Stems()
    specs = []
    for split in splits:
        data = split.data
        content: dict[str, list[dict]] = {"images": [], "annotations": [], "categories": []}
        content["categories"] = [
            {"id": category_id, "name": name}
            for category_id, name in zip(data.category_ids, data.class_names, strict=True)
        ]
        has_numbers = all(isinstance(example.image_id, int) for example in data.examples)
        for number, example in enumerate(data.examples, start=1):
            encoded = example.read()
            name = stem_of(example) + _extension(encoded)
            _write(os.path.join(images, name), encoded)
            # COCO's tools want whole numbers: such ids stay, others are numbered.
            image_id = int(example.image_id) if has_numbers else number
            sides = {"width": example.width, "height": example.height}
            content["images"].append({"id": image_id, "file_name": name, **sides})
            content["annotations"] += _coco_objects(example, image_id, data, content)
            tick()
        path = os.path.join(folder, f"{split.name}.json")
        _write(path, json.dumps(content).encode())
        specs.append(f"coco:{path}@{images}")
    return specs


def _coco_objects(
    example: Example, image_id: int, data: DetectionData, content: dict[str, list[dict]]
) -> list[dict]:
    first = len(content["annotations"]) + 1
    return [
        {
            "id": first + row,
            "image_id": image_id,
            "category_id": data.category_ids[label],
            "bbox": example.boxes[row].tolist(),
            "area": float(example.areas[row]),
            "iscrowd": int(example.is_crowd[row]),
        }
        for row, label in enumerate(example.labels)
    ]
