"""The record of an annotated image, and of a data set."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ssd_keras.data.problems import Problem, ProblemKind

Box = tuple[float, float, float, float]


# Tools disagree on whether pixels start at 0 or at 1: one pixel beyond the edge is no mistake.
EDGE_TOLERANCE = 1.0


@dataclass(frozen=True)
class FileSlice:
    """An image inside a larger file, such as one of records: nothing of it is held in memory."""

    path: str  # the file
    offset: int  # where the encoded image begins, in bytes
    length: int  # how many bytes it has


ImageSource = str | bytes | FileSlice
"""Where an encoded image is: in a file of its own, in memory, or inside a larger file."""


def read_bytes(image: ImageSource) -> bytes:
    """Returns the encoded bytes of an image."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, str):
        with open(image, "rb") as file:
            return file.read()
    with open(image.path, "rb") as file:
        file.seek(image.offset)
        return file.read(image.length)


def location_of(image: ImageSource, image_id: str | int) -> str:
    """Returns what names an image in messages: its path, or its id where it has none."""
    if isinstance(image, FileSlice):
        return f"{image.path}: image {image_id}"
    return image if isinstance(image, str) else str(image_id)


@dataclass(frozen=True, eq=False)
class Example:
    """One image, still encoded, and the objects in it.

    Args:
        image_id: the file's stem (VOC), or the image's id in the annotation file (COCO).
        image: path of the encoded image, the encoded bytes themselves (generated images), or
            a `FileSlice` (images in records).
        height: rows in pixels, as annotated.
        width: columns in pixels, as annotated.
        boxes: float64 [n, 4], x, y, width, height in pixels, 0-based and continuous. The numbers
            are the file's own: up to one pixel of a box may lie outside the image.
        labels: int32 [n], 0-based, without background.
        is_difficult: bool [n], VOC's `difficult` flag.
        is_crowd: bool [n], COCO's `iscrowd` flag.
        areas: float64 [n], square pixels; COCO's `area` where there is one, else width * height.
        orientation: EXIF orientation (1 to 8, default 1: none) that turns the decoded pixels into
            the annotated image. It differs from 1 only where the annotated sides are those of
            the turned image.
    """

    image_id: str | int
    image: ImageSource
    height: int
    width: int
    boxes: np.ndarray
    labels: np.ndarray
    is_difficult: np.ndarray
    is_crowd: np.ndarray
    areas: np.ndarray
    orientation: int = 1

    @property
    def location(self) -> str:
        """The image's path, or its id where it has none, for messages."""
        return location_of(self.image, self.image_id)

    def read(self) -> bytes:
        """The encoded image, as its file has it.

        Returns:
            JPEG, PNG, BMP or GIF bytes.

        Raises:
            FileNotFoundError: the image has been moved since the data were loaded.
        """
        return read_bytes(self.image)

    def relative_boxes(self) -> np.ndarray:
        """The boxes in the library's own form, with every edge inside the image.

        Returns:
            float32 [n, 4], relative yxyx, clipped to 0..1.
        """
        x, y, width, height = self.boxes.reshape(-1, 4).T
        corners = np.stack([y, x, y + height, x + width], axis=-1)
        sides = np.array([self.height, self.width, self.height, self.width], np.float64)
        return np.clip(corners / sides, 0.0, 1.0).astype(np.float32)


@dataclass(frozen=True, eq=False)
class DetectionData:
    """A data set: its classes, its images and what had to be left out.

    Args:
        class_names: names in label order, without background.
        examples: one record an image.
        problems: what was wrong, in the order it was found; default none.
        category_ids: the annotation file's id of every class, aligned with `class_names`; default
            1..C, which is also what VOC and generated data have.
    """

    class_names: tuple[str, ...]
    examples: tuple[Example, ...]
    problems: tuple[Problem, ...] = ()
    category_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.category_ids:
            object.__setattr__(self, "category_ids", tuple(range(1, len(self.class_names) + 1)))

    def __len__(self) -> int:
        return len(self.examples)


def fit_box(
    box: Sequence[float], height: int, width: int
) -> tuple[Box | None, ProblemKind | None, str]:
    """Returns the box as it can be used (None: not at all), and a problem's kind and detail.

    A box that reaches up to one pixel over the edge keeps its own numbers, because a scorer needs
    them exactly; `Example.relative_boxes` clips it.
    """
    x, y, box_width, box_height = (float(value) for value in box)
    numbers = f"box x={x:g} y={y:g} width={box_width:g} height={box_height:g}"
    if not all(map(math.isfinite, (x, y, box_width, box_height))):
        return None, ProblemKind.NOT_FOUR_NUMBERS, numbers
    if box_width <= 0 or box_height <= 0:
        return None, ProblemKind.NO_AREA, numbers
    numbers += f" in {width}x{height} pixels"
    left, top = max(x, 0.0), max(y, 0.0)
    right, bottom = min(x + box_width, width), min(y + box_height, height)
    if right <= left or bottom <= top:
        return None, ProblemKind.OUTSIDE_IMAGE, numbers
    overshoot = max(left - x, top - y, x + box_width - right, y + box_height - bottom)
    if overshoot <= EDGE_TOLERANCE:
        return (x, y, box_width, box_height), None, ""
    clipped = (left, top, float(right - left), float(bottom - top))
    return clipped, ProblemKind.REACHES_OUTSIDE, numbers
