"""Writes VOC folders."""

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence

from ssd_keras.data.records import Example
from ssd_keras.data.splits import Split
from ssd_keras.data.writers.files import _extension, _refuse_crowds, _Stems, _write

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def write_voc(splits: Sequence[Split], folder: str, tick: Callable[[], object]) -> list[str]:
    """Writes Annotations/, JPEGImages/ and ImageSets/Main/."""
    paths = [os.path.join(folder, *parts) for parts in (
        ("Annotations",), ("JPEGImages",), ("ImageSets", "Main"),
    )]  # fmt: skip
    for path in paths:
        os.makedirs(path)
    annotations, images, lists = paths
    stem_of = _Stems()
    for split in splits:
        stems = []
        for example in split.data.examples:
            _refuse_crowds(example, "VOC")
            stem = stem_of(example)
            content = example.read()
            name = stem + _extension(content)
            _write(os.path.join(images, name), content)
            tree = _voc_tree(example, name, split.data.class_names)
            tree.write(os.path.join(annotations, f"{stem}.xml"), encoding="utf-8")
            stems.append(stem)
            tick()
        _write(os.path.join(lists, f"{split.name}.txt"), "".join(f"{s}\n" for s in stems).encode())
    return [f"voc:{folder}@{split.name}" for split in splits]


def _voc_tree(example: Example, name: str, class_names: Sequence[str]) -> ElementTree.ElementTree:
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = name
    size = ElementTree.SubElement(root, "size")
    for side, value in (("width", example.width), ("height", example.height), ("depth", 3)):
        ElementTree.SubElement(size, side).text = str(value)
    for row, label in enumerate(example.labels):
        found = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(found, "name").text = class_names[label]
        difficult = ElementTree.SubElement(found, "difficult")
        difficult.text = str(int(example.is_difficult[row]))
        x, y, width, height = example.boxes[row].tolist()
        box = ElementTree.SubElement(found, "bndbox")
        # Pixels start at 1, and both corners belong to the box.
        for corner, value in zip(CORNERS, (x + 1, y + 1, x + width, y + height), strict=True):
            ElementTree.SubElement(box, corner).text = f"{round(value, 6):.10g}"
    ElementTree.indent(root)
    return ElementTree.ElementTree(root)
