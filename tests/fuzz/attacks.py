"""Hand-written hostile data sets, each with what a reader must report."""

import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fuzz.corpus import NAMED, OUTSIDE, SIZE, coco, image, record, write_good, write_records, xml
from fuzz.mutations import PNG_SIGNATURE, fix_checksums

DEEP = 100_000
CLAIMED = 60_000  # pixels a side
BOMB = 100_000_000  # bytes, once unpacked
LIST = "train.txt"
XML, SPLIT, IMAGE = "Annotations/p0.xml", "ImageSets/Main/train.txt", "JPEGImages/p0.jpg"


@dataclass(frozen=True)
class Attack:
    """A change to a good data set, and what the reader reports."""

    kind: str  # one of `corpus.KINDS`
    arm: Callable[[Path], object]  # changes the data set in a folder; other folders lie beside it
    words: str  # pattern of the report; "" where the input is harmless and accepted


def write_attack(name: str, folder: Path) -> str:
    """Writes the data set of an attack and returns its spec."""
    spec = write_good(ATTACKS[name].kind, folder)
    ATTACKS[name].arm(folder / NAMED)
    return spec


# How the data set is changed


def _write(name: str, content: str | bytes) -> Callable[[Path], object]:
    data = content.encode() if isinstance(content, str) else content
    return lambda root: (root / name).write_bytes(data)


def _replace(name: str, old: str, new: str, times: int = 1) -> Callable[[Path], object]:
    def arm(root: Path) -> None:
        text = (root / name).read_text()
        if old not in text:
            raise LookupError(f"{old!r} is not in {name}")
        (root / name).write_text(text.replace(old, new, times))

    return arm


def _link(name: str, target: str) -> Callable[[Path], object]:
    """Replaces a file by a link to one beside the data set, or anywhere."""

    def arm(root: Path) -> None:
        (root / name).unlink()
        (root / name).symlink_to(target if target[0] == "/" else root.parent / OUTSIDE / target)

    return arm


def _pipe(name: str) -> Callable[[Path], object]:
    """Replaces a file by a pipe that nobody writes to."""

    def arm(root: Path) -> None:
        (root / name).unlink()
        os.mkfifo(root / name)

    return arm


def _linked_folder(root: Path) -> None:
    """Writes a list that names an image below a linked folder."""
    (root / "other").symlink_to(root.parent / OUTSIDE)
    (root / LIST).write_text("other/secret.jpg\nimages/train/1.jpg\n")


def _coco(change: Callable[[dict], object]) -> Callable[[Path], object]:
    content = coco()
    change(content)
    return _write("instances.json", json.dumps(content))


def _image(**changes: object) -> Callable[[Path], object]:
    return _coco(lambda content: content["images"][0].update(changes))


def _annotation(**changes: object) -> Callable[[Path], object]:
    return _coco(lambda content: content["annotations"][0].update(changes))


def _record(**changes: list) -> Callable[[Path], object]:
    def arm(root: Path) -> None:
        write_records(root / "train.tfrecord", [record(0, **changes), record(1)])

    return arm


def _checksum(data: bytes) -> int:
    """Returns TFRecord's checksum: Castagnoli's CRC, rotated and shifted."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _endless_record(root: Path) -> None:
    """Writes a record whose length field says 2**60, with the right checksum."""
    length = struct.pack("<Q", 2**60)
    head = length + struct.pack("<I", _checksum(length))
    (root / "train.tfrecord").write_bytes(head + b"few bytes")


# Bombs


def _laughs() -> str:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    return f'<!DOCTYPE a [<!ENTITY a0 "ha">{entities}]><annotation>&a11;</annotation>'


def _entity(address: str) -> str:
    return f'<!DOCTYPE a [<!ENTITY b SYSTEM "{address}">]><annotation>&b;</annotation>'


def _aliases() -> str:
    """Returns YAML's billion laughs: each list holds the one before ten times."""
    lists = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    return f"a0: &a0 [dog]\n{lists}names: *a11\ntrain: *a11\n"


def _huge_image(kind: str) -> bytes:
    """Returns an image whose header claims far more pixels than it has."""
    content = bytearray(image(kind))
    if kind == "PNG":
        struct.pack_into(">II", content, 16, CLAIMED, CLAIMED)
        return fix_checksums(bytes(content))
    if kind == "JPEG":
        start = content.index(b"\xff\xc0") + 5  # behind the frame's mark, length and precision
        struct.pack_into(">HH", content, start, CLAIMED, CLAIMED)
    elif kind == "BMP":
        struct.pack_into("<ii", content, 18, CLAIMED, CLAIMED)
    else:
        struct.pack_into("<HH", content, 6, CLAIMED, CLAIMED)  # of the screen
        struct.pack_into("<HH", content, content.index(b"\x2c\0\0\0\0") + 5, CLAIMED, CLAIMED)
    return bytes(content)


def _text_bomb() -> bytes:
    """Returns a PNG with a comment that unpacks to a hundred million bytes."""
    content = image("PNG")
    packed = b"Comment\0\0" + zlib.compress(bytes(BOMB), 9)
    chunk = struct.pack(">I", len(packed)) + b"zTXt" + packed + bytes(4)
    after_header = len(PNG_SIGNATURE) + 25
    return fix_checksums(content[:after_header] + chunk + content[after_header:])


def _large_screen() -> bytes:
    """Returns a GIF whose only frame fills a quarter of it."""
    content = bytearray(image("GIF"))
    struct.pack_into("<HH", content, 6, 2 * SIZE[0], 2 * SIZE[1])
    return bytes(content)


NOT_NUMBERS = r"is not four numbers; expected finite"
TOO_LARGE = r"exceeds limit|megapixels; more than 179 are not read"
LEADS_OUT = r"a symbolic link leads out of .*; copy the file there"

ATTACKS = {
    # Names of files elsewhere
    "voc: filename leads out": Attack(
        "voc", _replace(XML, ">p0.jpg<", ">../../outside/secret.jpg<"), ""
    ),
    "voc: split leads out": Attack(
        "voc", _write(SPLIT, "../../outside/secret\np1\n"), r"the annotation file is missing"
    ),
    "voc: split has an absolute path": Attack(
        "voc", _write(SPLIT, "/etc/hostname\np1\n"), r"the annotation file is missing"
    ),
    "voc: image is a link": Attack("voc", _link(IMAGE, "secret.jpg"), LEADS_OUT),
    "voc: annotation is a link": Attack("voc", _link(XML, "secret.xml"), LEADS_OUT),
    "voc: split is a link": Attack("voc", _link(SPLIT, "secret.txt"), LEADS_OUT),
    "voc: image is a device": Attack("voc", _link(IMAGE, "/dev/zero"), LEADS_OUT),
    "coco: file_name leads out": Attack(
        "coco", _image(file_name="../../outside/secret.jpg"), r"leads out of the image folder"
    ),
    "coco: file_name goes in and out": Attack(
        "coco", _image(file_name="a/../../../outside/secret.jpg"), r"leads out of the image folder"
    ),
    "coco: absolute file_name": Attack(
        "coco", _image(file_name="/etc/hostname"), r"leads out of the image folder"
    ),
    "coco: image is a link": Attack("coco", _link("images/0.jpg", "secret.jpg"), LEADS_OUT),
    "coco: file_name is a folder": Attack(
        "coco", _image(file_name="."), r"the image is missing; expected a file there"
    ),
    "coco: file_name with a zero byte": Attack(
        "coco", _image(file_name="0.jpg\0.png"), r"the path of the image is missing or unusable"
    ),
    "coco: file_name of half a character": Attack(
        "coco", _image(file_name="\ud800.jpg"), r"the path of the image is missing or unusable"
    ),
    "yolo: folder leads out": Attack(
        "yolo", _replace("data.yaml", "train: images/train", "train: ../../outside"),
        r"no images of 'train: ../../outside'",
    ),
    "yolo: absolute base": Attack(
        "yolo", _replace("data.yaml", "path: .", "path: /etc"), ""
    ),
    "yolo: image is a link": Attack("yolo", _link("images/train/0.jpg", "secret.jpg"), LEADS_OUT),
    "yolo: labels are a link": Attack("yolo", _link("labels/train/0.txt", "secret.txt"), LEADS_OUT),
    "yolo-list: line leads out": Attack(
        "yolo-list", _replace(LIST, "images/train/0.jpg", "../../outside/secret.jpg"),
        r"secret\.jpg leads out of",
    ),
    "yolo-list: absolute line": Attack(
        "yolo-list", _replace(LIST, "images/train/0.jpg", "/etc/hostname"), r"leads out of"
    ),
    "yolo-list: zero byte": Attack(
        "yolo-list", _replace(LIST, "0.jpg", "0.jpg\0.png"), r"path of the image is '.*; expected"
    ),
    "yolo-list: image is a link": Attack(
        "yolo-list", _link("images/train/0.jpg", "secret.jpg"), LEADS_OUT
    ),
    "yolo-list: is a link": Attack("yolo-list", _link(LIST, "secret.txt"), LEADS_OUT),
    "yolo-list: through a link": Attack("yolo-list", _linked_folder, LEADS_OUT),
    "yolo-list: is a pipe": Attack("yolo-list", _pipe(LIST), r"no images of 'train: train\.txt'"),
    "csv: filename leads out": Attack(
        "csv", _replace("objects.csv", "0.jpg", "../../outside/secret.jpg"),
        r"leads out of the image folder",
    ),
    "csv: absolute filename": Attack(
        "csv", _replace("objects.csv", "0.jpg", "/etc/hostname"), r"leads out of the image folder"
    ),
    "csv: image is a link": Attack("csv", _link("images/0.jpg", "secret.jpg"), LEADS_OUT),
    "tfrecord: filename leads out": Attack(
        "tfrecord", _record(image__filename=[b"../../outside/secret.jpg"]), ""
    ),
    # Files that never end
    "voc: annotation is a pipe": Attack("voc", _pipe(XML), r"cannot be read \(it is not a file\)"),
    "voc: image is a pipe": Attack("voc", _pipe(IMAGE), r"the image is missing"),
    "voc: split is a pipe": Attack("voc", _pipe(SPLIT), r"no split file .*train\.txt; expected"),
    "yolo: labels are a pipe": Attack("yolo", _pipe("labels/train/0.txt"), r"not a file"),
    "coco: file is a pipe": Attack("coco", _pipe("instances.json"), r"no annotation file"),
    "csv: table is a pipe": Attack("csv", _pipe("objects.csv"), r"no table"),
    "tfrecord: file is a pipe": Attack("tfrecord", _pipe("train.tfrecord"), r"no file matches"),
    # Bombs
    "voc: billion laughs": Attack("voc", _write(XML, _laughs()), r"declares a document type"),
    "voc: entity of a file": Attack(
        "voc", _write(XML, _entity("file:///etc/hostname")), r"declares a document type"
    ),
    "voc: entity of an address": Attack(
        "voc", _write(XML, _entity("http://127.0.0.1:9/")), r"declares a document type"
    ),
    "voc: deep XML": Attack("voc", _write(XML, "<a>" * DEEP), r"annotation file cannot be read"),
    "voc: deep XML that ends": Attack(
        "voc", _write(XML, "<a>" * DEEP + "</a>" * DEEP), r"its root is <a> instead of <annotation>"
    ),
    "voc: a line of a million": Attack(
        "voc", _write(SPLIT, "p1\n" + "A" * 1_000_000), r"the annotation file is missing"
    ),
    "coco: deep JSON": Attack("coco", _write("instances.json", "[" * DEEP), r"is not JSON"),
    "coco: deep JSON in a box": Attack(
        "coco", _write("instances.json", json.dumps(coco()).replace("150.5", "[" * DEEP)),
        r"is not JSON",
    ),
    "yolo: billion laughs": Attack("yolo", _write("data.yaml", _aliases()), r"has no 'names'"),
    "yolo: deep YAML": Attack("yolo", _write("data.yaml", "[" * 5000), r"is not YAML"),
    "yolo: an object of Python": Attack(
        "yolo", _write("data.yaml", "names: !!python/object/apply:os.system [a]"), r"is not YAML"
    ),
    "toml: deep": Attack("toml", _write("data.toml", "train = " + "[" * DEEP), r"is not TOML"),
    "csv: a cell of a million": Attack(
        "csv", _replace("objects.csv", "dog", "d" * 1_000_000), r"is not CSV"
    ),
    "tfrecord: a deep label map": Attack(
        "tfrecord", _write("label_map.pbtxt", "item {" * DEEP), r"cannot be parsed"
    ),
    "tfrecord: an endless record": Attack("tfrecord", _endless_record, r"the file is damaged"),
    "jpeg: claims much": Attack("jpeg", _write(IMAGE, _huge_image("JPEG")), TOO_LARGE),
    "png: claims much": Attack("png", _write(IMAGE, _huge_image("PNG")), TOO_LARGE),
    "bmp: claims much": Attack("bmp", _write(IMAGE, _huge_image("BMP")), TOO_LARGE),
    "gif: claims much": Attack("gif", _write(IMAGE, _huge_image("GIF")), TOO_LARGE),
    "gif: an image smaller than the whole": Attack(
        "gif", _write(IMAGE, _large_screen()), ""
    ),
    "png: a comment unpacks to much": Attack(
        "png", lambda root: (root / IMAGE).write_bytes(_text_bomb()), r"header cannot be read"
    ),
    # Numbers that are none, or far too large
    "voc: NaN": Attack("voc", _replace(XML, "<xmin>3<", "<xmin>NaN<"), NOT_NUMBERS),
    "voc: infinite": Attack("voc", _replace(XML, "<xmax>30<", "<xmax>1e999<"), NOT_NUMBERS),
    "voc: sides of NaN": Attack("voc", _replace(XML, "<width>40<", "<width>nan<"), ""),
    "voc: many digits": Attack("voc", _replace(XML, ">30<", f">{'9' * 10_000}<"), NOT_NUMBERS),
    "coco: NaN": Attack("coco", _annotation(bbox=[2, float("nan"), 3, 4]), NOT_NUMBERS),
    "coco: infinite": Attack("coco", _annotation(bbox=[2, 3, float("inf"), 4]), NOT_NUMBERS),
    "coco: 400 digits": Attack("coco", _annotation(bbox=[1, 2, 10**400, 3]), NOT_NUMBERS),
    "coco: an area of 400 digits": Attack("coco", _annotation(area=10**400), ""),
    "coco: sides of 400 digits": Attack("coco", _image(width=10**400), ""),
    "coco: an id of 400 digits": Attack(
        "coco", _coco(lambda content: content["categories"][0].update(id=10**400)),
        r"unknown class .* \(category_id\)",
    ),
    "csv: NaN": Attack("csv", _replace("objects.csv", "2.5", "nan"), NOT_NUMBERS),
    "yolo: NaN": Attack("yolo", _replace("labels/train/0.txt", "0.25", "nan"), NOT_NUMBERS),
    "tfrecord: NaN": Attack(
        "tfrecord", _record(image__object__bbox__xmin=[float("nan")]), NOT_NUMBERS
    ),
    "tfrecord: sides are infinite": Attack(
        "tfrecord", _record(image__height=[float("inf")]), ""
    ),
    # Contents that contradict themselves
    "coco: a key twice": Attack(
        "coco", _replace("instances.json", '"id": 5,', '"id": 5, "bbox": [1, 1, 5, 5],'), ""
    ),
    "coco: a name of two lines": Attack(
        "coco", _coco(lambda content: content["categories"][0].update(name="dog\ncar")),
        r"the category has no id or no name",
    ),
    "coco: a name that clears the terminal": Attack(
        "coco", _coco(lambda content: content["categories"][0].update(name="\x1b[2Jdog")),
        r"the category has no id or no name",
    ),
    "voc: a name of two lines": Attack(
        "voc", _replace(XML, ">dog<", ">dog\ncar<"), r"the object has no class name"
    ),
    "csv: a name of two lines": Attack(
        "csv", _replace("objects.csv", '"dog"', '"dog\ncar"'), r"the object has no class name"
    ),
    "tfrecord: a name of two lines": Attack(
        "tfrecord", _record(image__object__class__text=[b"dog\ncar"]), r"read by number"
    ),
    "tfrecord: a label map that clears the terminal": Attack(
        "tfrecord", _replace("label_map.pbtxt", "dog", "\x1b[2J"),
        r"unknown class 'dog'; expected one of car",
    ),
    "tfrecord: three numbers of one box": Attack(
        "tfrecord", _record(image__object__bbox__xmin=[0.1, 0.2]), r"1, 2, 1, 1 numbers of ymin"
    ),
    "tfrecord: no image": Attack(
        "tfrecord", _record(image__encoded=[b""]), r"has no image/encoded"
    ),
    "tfrecord: text as a number": Attack(
        "tfrecord", _record(image__height=[b"32"]), ""
    ),
    "voc: another kind of file": Attack("voc", _write(XML, image("PNG")), r"cannot be read"),
    "voc: an annotation in UTF-16": Attack(
        "voc", _write(XML, xml().replace("utf-8", "utf-16").encode("utf-16")), ""
    ),
    "toml: a class that clears the terminal": Attack(
        "toml", _replace("data.toml", '"dog"', r'"\u001b[2Jdog"'),
        r"data\.toml: class_names holds '.*; expected names of one line",
    ),
}  # fmt: skip
