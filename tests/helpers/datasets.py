"""Small data sets on disk, for tests of readers and of what uses them."""

import io
import json
from pathlib import Path

from PIL import Image

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
    """Writes {stem: [object, ...] or whole XML text} and returns the words for the data set."""
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


def only_problem(data: DetectionData) -> str:
    (problem,) = data.problems
    assert "\n" not in str(problem)
    return str(problem)
