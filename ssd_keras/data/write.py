"""Writes data sets in the layouts of VOC, COCO and YOLO; pictures keep their bytes."""

import json
import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import replace

from tqdm import tqdm

from ssd_keras.data.examples import DetectionData, Example
from ssd_keras.data.picture_files import SIGNATURES, read_picture_header, upright_size
from ssd_keras.data.sources import kinds_of
from ssd_keras.data.splits import Split
from ssd_keras.files import replacing_directory

EXTENSIONS = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp", "GIF": ".gif"}
CORNERS = ("xmin", "ymin", "xmax", "ymax")
LAYOUTS = ("voc", "coco", "yolo", "tfrecord")


def own_layout(specs: Sequence[str]) -> str:
    """The layout that a copy of data sets has where none is asked for.

    Args:
        specs: words for data sets and data files.

    Returns:
        that of the data, where it is one and can be written; else "voc".

    Example:

    >>> own_layout(["yolo:cells@train", "yolo:cells@val"]), own_layout(["csv:cells.csv@pictures"])
    ('yolo', 'voc')
    """
    kinds = kinds_of(specs)
    return kinds.pop() if len(kinds) == 1 and kinds <= set(LAYOUTS) else "voc"


def write_splits(
    splits: Sequence[Split], folder: str, layout: str, *, shards: int = 1, progress: bool = False
) -> list[str]:
    """Writes splits into one new folder, whole or not at all.

    Args:
        splits: under the same class names.
        folder: what to make; it must not exist, or be empty.
        layout: one of `LAYOUTS`.
        shards: files of each split, for "tfrecord". Default 1.
        progress: whether a bar is shown, default False.

    Returns:
        words for each of them as `load_data` takes them.

    Raises:
        ValueError: for an unknown layout, a folder that is taken, a split without pictures, or
            data that the layout cannot hold.
    """
    from ssd_keras.data.write_records import write_tfrecord

    writers: dict[str, Callable[..., list[str]]] = {
        "voc": write_voc, "coco": write_coco, "yolo": write_yolo, "tfrecord": write_tfrecord,
    }  # fmt: skip
    if layout not in writers:
        raise ValueError(f"unknown layout {layout!r}; expected one of {', '.join(LAYOUTS)}")
    if empty := [split.name for split in splits if not len(split.data)]:
        raise ValueError(f"the split {empty[0]!r} has no picture; nothing was written")
    if os.path.lexists(folder) and not (os.path.isdir(folder) and not os.listdir(folder)):
        raise ValueError(f"output {folder!r} is not an empty folder; choose another")
    # One class has one id in all splits, whatever their own files say.
    ids = splits[0].data.category_ids
    named = [Split(_safe(each.name), replace(each.data, category_ids=ids)) for each in splits]
    os.makedirs(os.path.dirname(os.path.abspath(folder)), exist_ok=True)
    options = {"shards": shards} if layout == "tfrecord" else {}
    with replacing_directory(folder) as beside:
        os.makedirs(beside)
        count = sum(len(split.data) for split in named)
        with tqdm(total=count, desc="writing pictures", leave=False, disable=not progress) as bar:
            specs = writers[layout](named, beside, bar.update, **options)
    return [spec.replace(beside, folder) for spec in specs]


def write_voc(splits: Sequence[Split], folder: str, tick: Callable[[], object]) -> list[str]:
    """Writes Annotations/, JPEGImages/ and ImageSets/Main/.

    Args:
        splits: their names become those of the split files.
        folder: an empty folder.
        tick: called after every picture.

    Returns:
        words for each split.

    Raises:
        ValueError: an object is a crowd, which VOC has no flag for.
    """
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


def write_coco(splits: Sequence[Split], folder: str, tick: Callable[[], object]) -> list[str]:
    """Writes a JSON file for each split, and images/ for all.

    Args:
        splits: their names become those of the JSON files.
        folder: an empty folder.
        tick: called after every picture.

    Returns:
        words for each split.
    """
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


def write_yolo(splits: Sequence[Split], folder: str, tick: Callable[[], object]) -> list[str]:
    """Writes images/SPLIT/, labels/SPLIT/ and data.yaml; classes.txt for those without PyYAML.

    Args:
        splits: their names become those of the folders. Flags of difficult objects are lost.
        folder: an empty folder.
        tick: called after every picture.

    Returns:
        words for each split.

    Raises:
        ValueError: for what YOLO cannot say: a crowd, or boxes of a picture as it is stored where
            its EXIF data turn it.
    """
    stem_of = _Stems()
    for split in splits:
        images, labels = (os.path.join(folder, kind, split.name) for kind in ("images", "labels"))
        os.makedirs(images)
        os.makedirs(labels)
        for example in split.data.examples:
            _refuse_crowds(example, "YOLO")
            content = example.read()
            if upright_size(read_picture_header(content)) != (example.height, example.width):
                raise ValueError(
                    f"{example.place}: its EXIF data turn the picture but not its boxes, which "
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


def _refuse_crowds(example: Example, layout: str) -> None:
    if example.is_crowd.any():
        raise ValueError(
            f"{example.place}: a crowd, for which {layout} has no flag; choose the layout coco"
        )


def _yolo_lines(example: Example) -> str:
    sides = [example.width, example.height] * 2
    lines = []
    for label, (x, y, width, height) in zip(example.labels, example.boxes.tolist(), strict=True):
        numbers = (x + width / 2, y + height / 2, width, height)
        shares = (f"{number / side:.10g}" for number, side in zip(numbers, sides, strict=True))
        lines.append(f"{label} {' '.join(shares)}\n")
    return "".join(lines)


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


class _Stems:
    """Names for pictures: their ids, made safe for file systems and unlike each other."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def __call__(self, example: Example) -> str:
        stem = wanted = _safe(os.path.splitext(str(example.image_id))[0])
        number = 1
        while stem.lower() in self.taken:
            number += 1
            stem = f"{wanted}_{number}"
        self.taken.add(stem.lower())
        return stem


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "picture"


def _extension(encoded: bytes) -> str:
    kinds = (kind for kind, mark in SIGNATURES.items() if encoded.startswith(mark))
    return EXTENSIONS[next(kinds, "JPEG")]


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
