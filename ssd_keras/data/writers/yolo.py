"""Writes YOLO folders."""

import json
import os
from collections.abc import Callable, Sequence

from ssd_keras.data.image_files import read_image_header, upright_size
from ssd_keras.data.records import Example
from ssd_keras.data.splits import Split
from ssd_keras.data.writers.files import _extension, _refuse_crowds, _Stems, _write


def write_yolo(splits: Sequence[Split], folder: str, tick: Callable[[], object]) -> list[str]:
    """Writes images/SPLIT/, labels/SPLIT/ and data.yaml; classes.txt for those without PyYAML."""
    stem_of = _Stems()
    for split in splits:
        images, labels = (os.path.join(folder, kind, split.name) for kind in ("images", "labels"))
        os.makedirs(images)
        os.makedirs(labels)
        for example in split.data.examples:
            _refuse_crowds(example, "YOLO")
            content = example.read()
            if upright_size(read_image_header(content)) != (example.height, example.width):
                raise ValueError(
                    f"{example.location}: its EXIF data turn the image but not its boxes, which "
                    "YOLO cannot say; choose the layout voc or coco"
                )
            stem = stem_of(example)
            _write(os.path.join(images, stem + _extension(content)), content)
            _write(os.path.join(labels, f"{stem}.txt"), _yolo_lines(example).encode())
            tick()
    names = splits[0].data.class_names
    # Texts of JSON are texts of YAML.
    texts = [json.dumps(name, ensure_ascii=False) for name in names]
    lines = [f'"{split.name}": "images/{split.name}"' for split in splits]
    lines += ["names:", *(f"  {number}: {text}" for number, text in enumerate(texts))]
    for name, texts in (("data.yaml", lines), ("classes.txt", list(names))):
        _write(os.path.join(folder, name), "".join(f"{text}\n" for text in texts).encode())
    return [f"yolo:{folder}@{split.name}" for split in splits]


def _yolo_lines(example: Example) -> str:
    sides = [example.width, example.height] * 2
    lines = []
    for label, (x, y, width, height) in zip(example.labels, example.boxes.tolist(), strict=True):
        numbers = (x + width / 2, y + height / 2, width, height)
        shares = (f"{number / side:.10g}" for number, side in zip(numbers, sides, strict=True))
        lines.append(f"{label} {' '.join(shares)}\n")
    return "".join(lines)
