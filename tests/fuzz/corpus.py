"""Writes small good data sets, one kind for each reader and image format, and damaged ones."""

import io
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from fuzz.mutations import mutate, split_records

SIZE = (40, 32)  # width, height
NAMED, OUTSIDE = "named", "outside"


@dataclass(frozen=True)
class Kind:
    """A kind of input: writes a data set into a folder and returns its spec."""

    write: Callable[[Path], str]
    targets: Sequence[str]  # files of which one is damaged


def image(kind: str, seed: int = 0) -> bytes:
    """Returns a small image of smooth noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), "uint8")
    smooth = Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC)
    file = io.BytesIO()
    options = {"exif": _turned(), "progressive": bool(seed % 2)} if kind == "JPEG" else {}
    smooth.save(file, kind, **options)
    return file.getvalue()


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def xml(size: bool = True) -> str:
    """Returns a VOC annotation of two objects."""
    width, height = SIZE
    sides = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    objects = "".join(
        f"<object>\n<name>{name}</name>\n<difficult>{number}</difficult>\n<bndbox>"
        f"<xmin>{3 + number}</xmin><ymin>5.5</ymin><xmax>30</xmax><ymax>{20 + number}</ymax>"
        "</bndbox></object>\n"
        for number, name in enumerate(("dog", "traffic light"))
    )
    head = "<?xml version='1.0' encoding='utf-8'?>\n<annotation><filename>p0.jpg</filename>\n"
    return f"{head}{sides if size else ''}\n{objects}</annotation>\n"


def write_voc(folder: Path, kind: str = "JPEG", size: bool = True) -> str:
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for number in range(2):
        (folder / f"Annotations/p{number}.xml").write_text(xml(size))
        # Readers go by the content, not by the extension.
        (folder / f"JPEGImages/p{number}.jpg").write_bytes(image(kind, number))
    (folder / "ImageSets/Main/train.txt").write_text("p0\np1\n")
    return f"voc:{folder}@train"


def coco() -> dict:
    width, height = SIZE
    images = [
        {"id": number + 1, "file_name": f"{number}.jpg", "width": width, "height": height}
        for number in range(2)
    ]
    annotations = [
        {"id": 5 + number, "image_id": 1 + number, "category_id": 18, "iscrowd": number,
         "bbox": [2.5, 3, 20.25, 10], "area": 150.5}
        for number in range(2)
    ]  # fmt: skip
    categories = [{"id": 18, "name": "dog"}, {"id": 3, "name": "traffic light"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(folder: Path) -> str:
    (folder / "images").mkdir(parents=True)
    for number in range(2):
        (folder / f"images/{number}.jpg").write_bytes(image("JPEG", number))
    (folder / "instances.json").write_text(json.dumps(coco(), indent=1))
    return f"coco:{folder}/instances.json@{folder}/images"


def write_yolo(folder: Path) -> str:
    for name in ("images/train", "labels/train"):
        (folder / name).mkdir(parents=True)
    for number in range(2):
        (folder / f"images/train/{number}.jpg").write_bytes(image("JPEG", number))
        lines = "1 0.5 0.5 0.25 0.75\n0 0.4 0.3 0.2 0.1\n"
        (folder / f"labels/train/{number}.txt").write_text(lines)
    names = "names:\n  0: dog\n  1: traffic light\n"
    (folder / "data.yaml").write_text(f"path: .\ntrain: images/train\nval: images/val\n{names}")
    return f"yolo:{folder}@train"


def write_yolo_list(folder: Path) -> str:
    """Writes a YOLO folder whose images a text file lists."""
    spec = write_yolo(folder)
    text = (folder / "data.yaml").read_text()
    (folder / "data.yaml").write_text(text.replace("train: images/train", "train: train.txt"))
    (folder / "train.txt").write_text("images/train/0.jpg\n./images/train/1.jpg\n")
    return spec


def write_image_folder(folder: Path) -> str:
    (folder / "day").mkdir(parents=True)
    for number, name in enumerate(("0.jpg", "day/1.jpg")):
        (folder / name).write_bytes(image("JPEG", number))
    return f"images:{folder}"


def write_csv(folder: Path) -> str:
    (folder / "images").mkdir(parents=True)
    lines = ["filename,class,xmin,ymin,xmax,ymax"]
    for number in range(2):
        (folder / f"images/{number}.jpg").write_bytes(image("JPEG", number))
        lines += [f'{number}.jpg,"dog",2.5,3,22,13', f"{number}.jpg,traffic light,1,1,9,9"]
    (folder / "objects.csv").write_text("\n".join(lines) + "\n")
    return f"csv:{folder}/objects.csv@{folder}/images"


def record(number: int, **changes: Sequence) -> bytes:
    """Returns a record of an image with one object; a change's name has "__" for slashes."""
    values = {
        "image/encoded": [image("JPEG", number)],
        "image/source_id": [f"p{number}".encode()],
        "image/height": [SIZE[1]],
        "image/width": [SIZE[0]],
        "image/object/bbox/ymin": [0.25],
        "image/object/bbox/xmin": [0.1],
        "image/object/bbox/ymax": [0.75],
        "image/object/bbox/xmax": [0.9],
        "image/object/class/text": [b"dog"],
        "image/object/class/label": [1],
        **{name.replace("__", "/"): value for name, value in changes.items()},
    }
    lists = {bytes: "bytes_list", int: "int64_list", float: "float_list"}
    features = {
        name: tf.train.Feature(**{lists[type(value[0])]: {"value": value}})
        for name, value in values.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_records(path: Path, records: Sequence[bytes]) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content in records:
            writer.write(content)


def write_tfrecord(folder: Path) -> str:
    folder.mkdir(parents=True)
    write_records(folder / "train.tfrecord", [record(0), record(1)])
    label_map = "item {\n  id: 1\n  name: 'dog'\n}\nitem {\n  id: 2\n  name: 'car'\n}\n"
    (folder / "label_map.pbtxt").write_text(label_map)
    return f"tfrecord:{folder}/*.tfrecord@{folder}/label_map.pbtxt"


def write_toml(folder: Path) -> str:
    """Writes a data file that names a VOC folder."""
    write_voc(folder)
    lines = ['train = ["voc:.@train"]', 'classes = ["dog", "traffic light"]']
    (folder / "data.toml").write_text("\n".join(lines) + "\n")
    return str(folder / "data.toml")


def _images(kind: str) -> Kind:
    return Kind(lambda folder: write_voc(folder, kind, size=False), ("JPEGImages/p0.jpg",))


KINDS = {
    "jpeg": _images("JPEG"),
    "png": _images("PNG"),
    "bmp": _images("BMP"),
    "gif": _images("GIF"),
    "webp": _images("WEBP"),
    "tiff": _images("TIFF"),
    "voc": Kind(write_voc, ("Annotations/p0.xml", "ImageSets/Main/train.txt")),
    "coco": Kind(write_coco, ("instances.json",)),
    "yolo": Kind(write_yolo, ("data.yaml", "labels/train/0.txt")),
    "yolo-list": Kind(write_yolo_list, ("train.txt",)),
    "images": Kind(write_image_folder, ("0.jpg",)),
    "csv": Kind(write_csv, ("objects.csv",)),
    "tfrecord": Kind(write_tfrecord, ("train.tfrecord", "train.tfrecord", "label_map.pbtxt")),
    "toml": Kind(write_toml, ("data.toml",)),
}
TEXT_EXTENSIONS = (".xml", ".txt", ".json", ".yaml", ".csv", ".pbtxt", ".toml")


def write_input(kind: str, seed: int, number: int, folder: Path) -> str:
    """Writes a data set with one damaged file: a function of kind, seed and number."""
    chance = random.Random(f"{seed} {kind} {number}")
    spec = write_good(kind, folder)
    target = folder / NAMED / chance.choice(KINDS[kind].targets)
    content = target.read_bytes()
    if target.suffix == ".tfrecord" and chance.random() < 0.7:
        # With right checksums, so that the damage gets past them.
        records = split_records(content)
        index = chance.randrange(len(records))
        records[index] = mutate(records[index], chance, is_text=False)
        write_records(target, records)
    else:
        target.write_bytes(mutate(content, chance, target.suffix in TEXT_EXTENSIONS))
    return spec


def write_good(kind: str, folder: Path) -> str:
    """Writes a good data set, and beside it files that it does not name."""
    (folder / OUTSIDE).mkdir(parents=True)
    (folder / OUTSIDE / "secret.jpg").write_bytes(image("JPEG", 9))
    (folder / OUTSIDE / "secret.xml").write_text(xml())
    (folder / OUTSIDE / "secret.txt").write_text("p0\n")
    return KINDS[kind].write(folder / NAMED)
