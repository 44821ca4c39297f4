"""Writes small data sets to disk."""

import io
import json
from pathlib import Path

from PIL import Image

from ssd_keras.core.class_names import VOC_CLASSES
from ssd_keras.data import DetectionData

SIZE = (100, 80)  # width, height of the images in these tests


def image_bytes(kind="JPEG", mode="RGB", size=SIZE, **options) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 90 if mode in "L" else None).save(buffer, kind, **options)
    return buffer.getvalue()


def turned_image(size) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    return image_bytes(size=size, exif=exif.tobytes())


def voc_object(name="dog", corners=(11, 21, 40, 60), difficult=0) -> str:
    tags = "".join(
        f"<{tag}>{value}</{tag}>"
        for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    difficult_tag = f"<difficult>{difficult}</difficult>"
    return f"<object><name>{name}</name>{difficult_tag}<bndbox>{tags}</bndbox></object>"


def write_voc(root: Path, images: dict, split="train", size=SIZE, listed=None) -> str:
    """Writes {stem: [object, ...] or whole XML text} and returns its spec."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for stem, objects in images.items():
        width, height = size
        sides = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        text = objects
        if not isinstance(objects, str):
            text = f"<annotation>{sides if size != (0, 0) else ''}{''.join(objects)}</annotation>"
        (root / "Annotations" / f"{stem}.xml").write_text(text)
        (root / "JPEGImages" / f"{stem}.jpg").write_bytes(image_bytes())
    lines = list(images) if listed is None else listed
    (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(lines) + "\n\n")
    return f"voc:{root}@{split}"


def write_voc_lists(root: Path) -> None:
    """Writes a list for each of VOC's classes, as the development kit has them."""
    for name in VOC_CLASSES:
        (root / f"ImageSets/Main/{name}_train.txt").write_text("a -1\n")


def write_coco(root: Path, images=None, annotations=(), categories=None) -> str:
    (root / "images").mkdir(parents=True, exist_ok=True)
    if images is None:
        images = [coco_image(7)]
    for image in images:
        name = image.get("file_name")
        if isinstance(name, str) and "missing" not in name and ".." not in name:
            (root / "images" / name).write_bytes(image_bytes())
    if categories is None:
        categories = [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}]
    content = {"images": images, "annotations": list(annotations), "categories": categories}
    (root / "instances.json").write_text(json.dumps(content))
    return f"coco:{root}/instances.json@{root}/images"


def coco_image(image_id, **changes) -> dict:
    width, height = SIZE
    name = f"{image_id}.jpg"
    return {"id": image_id, "file_name": name, "width": width, "height": height} | changes


def coco_object(annotation_id=1, **changes) -> dict:
    record = {"id": annotation_id, "image_id": 7, "category_id": 18, "iscrowd": 0}
    return record | {"bbox": [10.25, 20.5, 30.125, 40.0], "area": 700.5} | changes


def write_yolo(root: Path, labels: dict, names=("dog", "cat"), order="images/{split}") -> str:
    """Writes {stem: text of the label file, or None for no file} and returns the spec."""
    folder = root / order.format(split="train")
    label_folder = root / order.format(split="train").replace("images", "labels")
    for path in (folder, label_folder):
        path.mkdir(parents=True, exist_ok=True)
    for stem, text in labels.items():
        (folder / f"{stem}.jpg").write_bytes(image_bytes())
        if text is not None:
            (label_folder / f"{stem}.txt").write_text(text)
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in names))
    return f"yolo:{root}@train"


def write_csv(root: Path, text: str, images=("a.jpg", "b.jpg")) -> str:
    for name in images:
        path = root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes())
    (root / "boxes.csv").write_text(text)
    return f"csv:{root}/boxes.csv@{root}/images"


RELATIVE_CORNERS = {
    "ymin": [0.25, 0.0],
    "xmin": [0.1, 0.0],
    "ymax": [0.75, 1.0],
    "xmax": [0.4, 1.0],
}


def feature(values):
    import tensorflow as tf

    if isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def record(**changes) -> bytes:
    """A record as create_pascal_tf_record of the Object Detection API has them.

    A change is named by the last word of its key; None leaves the feature out.
    """
    import tensorflow as tf

    values = {
        "image/encoded": [image_bytes()],
        "image/height": [SIZE[1]],
        "image/width": [SIZE[0]],
        "image/filename": [b"a.jpg"],
        "image/source_id": [b"000012"],
        "image/object/class/text": [b"dog", b"cat"],
        "image/object/class/label": [2, 1],
        "image/object/difficult": [0, 1],
        **{f"image/object/bbox/{name}": values for name, values in RELATIVE_CORNERS.items()},
    }
    for key in list(values):
        name = key.rpartition("/")[2]
        values[key] = changes.pop(name, values[key])
    assert not changes
    features = {key: feature(value) for key, value in values.items() if value}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_records(root: Path, *records: bytes, name="train-00000-of-00001") -> str:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(root / name)) as writer:
        for content in records:
            writer.write(content)
    return f"tfrecord:{root}/train-*"


def only_problem(data: DetectionData) -> str:
    (problem,) = data.problems
    assert "\n" not in str(problem)
    return str(problem)
