"""Images and examples in memory, for tests of what checks, fixes and splits data."""

import io
from collections import Counter
from pathlib import Path

import numpy as np
from datasets import voc_object, write_voc, write_voc_lists
from PIL import Image

from ssd_keras.data import DetectionData, Example
from ssd_keras.data.splits import Split
from ssd_keras.doctor.findings import Finding


def textured(seed: int, size=(120, 90)) -> Image.Image:
    """An image like no other: soft noise of 12 by 9 spots."""
    spots = np.random.default_rng(seed).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    return Image.fromarray(spots).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind="JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def damaged(encoded_image: bytes) -> bytes:
    """Broken between its two ends, which readers look at."""
    middle = len(encoded_image) // 2
    return encoded_image[:middle] + b"\xff" * 600 + encoded_image[middle + 600 :]


def example(
    image_id="a", image=None, boxes=(), labels=None, crowd=None, size=(120, 90), source=""
) -> Example:
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    count = len(boxes)
    return Example(
        image_id=image_id,
        image=encoded(textured(0, size)) if image is None else image,
        height=size[1],
        width=size[0],
        boxes=boxes,
        labels=np.array([0] * count if labels is None else labels, np.int32),
        is_difficult=np.zeros(count, bool),
        is_crowd=np.array([False] * count if crowd is None else crowd, bool),
        areas=boxes[:, 2] * boxes[:, 3],
        source=source,
    )


def titles(findings: list[Finding]) -> dict[str, int]:
    """The number of findings of each title."""
    return dict(Counter(finding.title for finding in findings))


def split_of(*examples: Example, name="train", names=("dog", "cat"), problems=()) -> Split:
    return Split(name, DetectionData(names, examples, tuple(problems)))


def write_faulty_voc(root: Path) -> list[str]:
    """A training split with faults, and a validation split that shares an image with it."""
    train = {
        "a": [voc_object(), voc_object(), voc_object("cat", (5, 5, 90, 70))],
        "b": [voc_object(corners=(50, 20, 50, 20)), voc_object("cow")],
        "c": [voc_object(corners=(31, 21, 130, 60))],
        "d": [voc_object("cat")],
    }
    specs = [
        write_voc(root, train, "train", size=(0, 0)),
        write_voc(root, {"e": [voc_object("cat")]}, "val", size=(0, 0)),
    ]
    write_voc_lists(root)
    for seed, stem in enumerate("abcd"):
        (root / "JPEGImages" / f"{stem}.jpg").write_bytes(encoded(textured(seed, (100, 80))))
    (root / "JPEGImages" / "e.jpg").write_bytes((root / "JPEGImages" / "b.jpg").read_bytes())
    whole = encoded(textured(3, (100, 80)), quality=95)
    (root / "JPEGImages" / "d.jpg").write_bytes(damaged(whole))
    return specs
