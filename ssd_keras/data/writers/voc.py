"""Writes VOC folders."""

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence

from ssd_keras.boxes.formats import CORNERS
from ssd_keras.data.records import Example
from ssd_keras.data.splits import Split
from ssd_keras.data.writers.files import UniqueStems, extension_of, refuse_crowds, write_file


def write_voc(splits: Sequence[Split], folder: str, on_image: Callable[[], object]) -> list[str]:
    """Writes Annotations/, JPEGImages/ and ImageSets/Main/; returns the specs to read them."""
    parts = ("Annotations",), ("JPEGImages",), ("ImageSets", "Main")
    annotations, images, lists = (os.path.join(folder, *names) for names in parts)
    for path in (annotations, images, lists):
        os.makedirs(path)
    stem_of = UniqueStems()
    for split in splits:
        stems = []
        for example in split.data.examples:
            refuse_crowds(example, "VOC")
            stem = stem_of(example)
            content = example.read()
            name = stem + extension_of(content)
            write_file(os.path.join(images, name), content)
            tree = _annotation(example, name, split.data.class_names)
            tree.write(os.path.join(annotations, f"{stem}.xml"), encoding="utf-8")
            stems.append(f"{stem}\n")
            on_image()
        write_file(os.path.join(lists, f"{split.name}.txt"), "".join(stems).encode())
    return [f"voc:{folder}@{split.name}" for split in splits]


def _annotation(example: Example, name: str, class_names: Sequence[str]) -> ElementTree.ElementTree:
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = name
    size = ElementTree.SubElement(root, "size")
    for side, value in (("width", example.width), ("height", example.height), ("depth", 3)):
        ElementTree.SubElement(size, side).text = str(value)
    for row, label in enumerate(example.labels):
        item = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(item, "name").text = class_names[label]
        ElementTree.SubElement(item, "difficult").text = str(int(example.is_difficult[row]))
        x, y, width, height = example.boxes[row].tolist()
        box = ElementTree.SubElement(item, "bndbox")
        # Pixels start at 1, and both corners belong to the box.
        for corner, value in zip(CORNERS, (x + 1, y + 1, x + width, y + height), strict=True):
            ElementTree.SubElement(box, corner).text = f"{round(value, 6):.10g}"
    ElementTree.indent(root)
    return ElementTree.ElementTree(root)
