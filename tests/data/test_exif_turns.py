"""The same images, turned by EXIF data in four formats, in every reader: boxes on their objects."""

import csv
import io
import itertools
import json

import numpy as np
import pytest
from datasets import record, voc_object, write_records, write_voc
from PIL import Image, ImageOps

from ssd_keras.core.images import INVERSE_ORIENTATIONS, read_image, turned
from ssd_keras.data import ProblemKind, load_data
from ssd_keras.data.images import decode_example
from ssd_keras.data.pipeline import inference_dataset
from ssd_keras.data.splits import Split
from ssd_keras.data.writers.write_splits import WRITERS, write_splits

OPTIONS = {"JPEG": {"quality": 95}, "PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}}
NAMES = {f"{kind}{turn}": (kind, turn) for kind, turn in itertools.product(OPTIONS, range(1, 9))}
SIZES = {"wide": (64, 96), "square": (64, 64)}  # height, width of the upright image
BOX = (40, 8, 16, 24)  # x, y, width, height of its object, which is red


def upright(size) -> Image.Image:
    pixels = np.full((*size, 3), 60, np.uint8)
    x, y, width, height = BOX
    pixels[y : y + height, x : x + width] = (250, 10, 10)
    return Image.fromarray(pixels)


def stored(size, turn) -> Image.Image:
    return turned(upright(size), INVERSE_ORIENTATIONS.get(turn, turn))


def stored_box(size, turn) -> list[int]:
    """The object's box in the stored pixels."""
    red = np.asarray(stored(size, turn))[..., 0] > 200
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    return [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]


def encoded(size, kind, turn) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = turn
    file = io.BytesIO()
    stored(size, turn).save(file, kind, exif=exif, **OPTIONS[kind])
    return file.getvalue()


def annotated(size, turn, of) -> tuple[tuple[int, int], tuple[int, ...]]:
    """Annotated width and height (0 where there is none), and box."""
    if of == "stored":
        return stored(size, turn).size, stored_box(size, turn)
    return ((0, 0) if of == "no size" else (size[1], size[0])), BOX


def write_images(folder, size) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (kind, turn) in NAMES.items():
        (folder / f"{name}.{kind.lower()}").write_bytes(encoded(size, kind, turn))


def yolo(root, size, of):
    write_images(root / "images/train", size)
    (root / "labels/train").mkdir(parents=True)
    x, y, width, height = BOX
    line = f"0 {(x + width / 2) / size[1]} {(y + height / 2) / size[0]} {width / size[1]} "
    for name in NAMES:
        (root / f"labels/train/{name}.txt").write_text(f"{line}{height / size[0]}\n")
    (root / "classes.txt").write_text("red\n")
    return f"yolo:{root}@train"


def coco(root, size, of):
    write_images(root / "images", size)
    images, annotations = [], []
    for number, (name, (kind, turn)) in enumerate(NAMES.items(), start=1):
        (width, height), box = annotated(size, turn, of)
        sides = {"width": width, "height": height} if width else {}
        images.append({"id": number, "file_name": f"{name}.{kind.lower()}", **sides})
        annotations.append({"id": number, "image_id": number, "category_id": 1, "bbox": list(box)})
    content = {"images": images, "annotations": annotations}
    content["categories"] = [{"id": 1, "name": "red"}]
    (root / "a.json").write_text(json.dumps(content))
    return f"coco:{root}/a.json@{root}/images"


def voc(root, size, of):
    texts = {}
    for name, (_, turn) in NAMES.items():
        (width, height), (x, y, box_width, box_height) = annotated(size, turn, of)
        sides = f"<size><width>{width}</width><height>{height}</height></size>" if width else ""
        corners = (x + 1, y + 1, x + box_width, y + box_height)
        texts[name] = f"<annotation>{sides}{voc_object('red', corners)}</annotation>"
    spec = write_voc(root, texts)
    for path in (root / "JPEGImages").iterdir():
        path.unlink()
    write_images(root / "JPEGImages", size)
    return spec


def table(root, size, of):
    write_images(root / "images", size)
    x, y, width, height = BOX
    with (root / "a.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "class", "xmin", "ymin", "xmax", "ymax"])
        for name, (kind, _) in NAMES.items():
            writer.writerow([f"{name}.{kind.lower()}", "red", x, y, x + width, y + height])
    return f"csv:{root}/a.csv@{root}/images"


def tfrecord(root, size, of):
    records = []
    for name, (kind, turn) in NAMES.items():
        (width, height), (x, y, box_width, box_height) = annotated(size, turn, of)
        columns, rows = (width, height) if width else (size[1], size[0])
        changes = {"ymin": [y / rows], "ymax": [(y + box_height) / rows]}
        changes |= {"xmin": [x / columns], "xmax": [(x + box_width) / columns]}
        sides = {"width": [width], "height": [height]} if width else {"width": 0, "height": 0}
        changes |= {"encoded": [encoded(size, kind, turn)], "text": [b"red"], "label": [1]}
        changes |= {"filename": [name.encode()], "source_id": [name.encode()], "difficult": [0]}
        records.append(record(**changes, **sides))
    return write_records(root, *records)


CASES = [
    *((yolo, "no size"), (table, "no size")),
    *itertools.product((coco, voc, tfrecord), ("upright", "stored", "no size")),
]


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize(("write", "of"), CASES)
def test_boxes_lie_on_their_objects(tmp_path, write, of, shape):
    size = SIZES[shape]
    data = load_data(write(tmp_path, size, of), bad_data="refuse")
    assert len(data) == len(NAMES) and all(len(example.boxes) == 1 for example in data.examples)
    undecided = 0
    for example, (kind, turn) in zip(_in_order(data), NAMES.values(), strict=True):
        is_told = of != "no size" and shape == "wide" and turn >= 5
        # Where the annotated size is that of the stored pixels alone, they stay as they are.
        turn_back = is_told and of == "stored"
        if of == "stored" and not turn_back:
            continue  # sizes do not tell that these boxes are of the stored pixels
        expected = stored(size, turn) if turn_back else upright(size)
        pixels = decode_example(example)
        assert np.abs(pixels.astype(int) - np.asarray(expected)).mean() < 3, (kind, turn)
        box = stored_box(size, turn) if turn_back else BOX
        assert example.boxes[0] == pytest.approx(box, abs=1e-3), (kind, turn)
        undecided += turn > 1 and not is_told
    notes = [problem for problem in data.problems if problem.kind is ProblemKind.TURNED]
    if of != "stored":
        assert len(notes) == undecided


def _in_order(data):
    names = list(NAMES)
    position = {example.image_id: index for index, example in enumerate(data.examples)}
    if set(position) <= set(names):
        return [data.examples[position[name]] for name in names]
    return data.examples


def test_training_sees_what_detection_sees(tmp_path):
    data = load_data(yolo(tmp_path, SIZES["wide"], "no size"))
    batches = inference_dataset(data, None, 1)
    for example, (image,) in zip(data.examples, batches, strict=True):
        expected = ImageOps.exif_transpose(Image.open(example.location)).convert("RGB")
        np.testing.assert_array_equal(image, expected, example.location)
        np.testing.assert_array_equal(read_image(example.location), expected, example.location)


@pytest.mark.parametrize("format", WRITERS)
def test_copies_hold_the_same_images_and_boxes(tmp_path, format):
    data = load_data(yolo(tmp_path / "data", SIZES["wide"], "no size"))
    (spec,) = write_splits([Split("train", data)], str(tmp_path / "copy"), format)
    copy = load_data(spec, bad_data="refuse")
    assert {example.orientation for example in copy.examples} > {1}
    for original, written in zip(data.examples, copy.examples, strict=True):
        assert written.read() == original.read()
        assert written.location.endswith((".jpg", ".png")) or format == "tfrecord"
        assert (written.orientation, written.height) == (original.orientation, original.height)
        assert written.boxes == pytest.approx(original.boxes, abs=1e-3)
