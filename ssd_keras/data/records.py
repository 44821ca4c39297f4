"""Records of an annotated image and of a data set."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ssd_keras.boxes.formats import convert_boxes
from ssd_keras.core.origin import NOT_STATED, DataOrigin
from ssd_keras.data.image_sources import ImageSource, image_location, read_bytes
from ssd_keras.data.problems import Problem, ProblemKind

Box = tuple[float, float, float, float]
# Tools disagree on whether pixels start at 0 or at 1: one pixel beyond the edge is no mistake.
EDGE_TOLERANCE = 1.0


@dataclass(frozen=True, eq=False)
class Example:
    """One encoded image and its objects.

    Args:
        image_id: the file's stem (VOC), or the image's id in the annotation file (COCO).
        image: path of the encoded image, the encoded bytes (generated images), a `FileSlice`
            (images in TFRecords), or a `ConvertedImage` (formats other than JPEG and PNG).
        height: rows in pixels, as annotated.
        width: columns in pixels, as annotated.
        boxes: float64 [n, 4], x, y, width, height in pixels, 0-based and continuous. The numbers
            are the file's: up to one pixel of a box may lie outside the image.
        labels: int32 [n], 0-based, without background.
        is_difficult: bool [n], VOC's `difficult` flag.
        is_crowd: bool [n], COCO's `iscrowd` flag.
        areas: float64 [n], square pixels; COCO's `area` where there is one, else width * height.
        orientation: EXIF orientation, 1 to 8, that turns the stored pixels into the annotated
            image; default 1 (none), also where the annotated height and width are those of the
            stored pixels and not of the turned ones.
        annotated: the same image with the objects as the file has them, which metrics count;
            default None: `boxes` are these. It is set where objects were clipped or dropped.
        scores: float64 [n], 0..1, of boxes that a model has found; default None, of annotations.
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
    annotated: "Example | None" = None
    scores: np.ndarray | None = None

    @property
    def location(self) -> str:
        """What names the image in messages: its path, or its id where it has none."""
        return image_location(self.image, self.image_id)

    def read(self) -> bytes:
        """Reads the encoded image.

        Returns:
            JPEG or PNG bytes, as the file has them; PNG bytes of images in other formats.

        Raises:
            FileNotFoundError: the image has been moved since the data were loaded.
        """
        return read_bytes(self.image)

    def relative_boxes(self) -> np.ndarray:
        """Returns the boxes relative to the image, clipped to it.

        Returns:
            float32 [n, 4], relative yxyx in 0..1.
        """
        boxes = convert_boxes(self.boxes, "xywh", "rel_yxyx", (self.height, self.width))
        return np.clip(boxes, 0.0, 1.0).astype(np.float32)


@dataclass(frozen=True, eq=False)
class DetectionData:
    """A data set: its classes, its images, and the problems found in it.

    Args:
        class_names: names in label order, without background.
        examples: one record an image.
        problems: what was wrong, in the order it was found; default none.
        category_ids: the annotation file's id of each class, aligned with `class_names`; default
            1..C, which VOC and generated data have too.
        label_of_id: the label of every category id of the file; default those of `category_ids`.
            It has more where several categories have one name.
        sources: the data sets, as the user named them; default none: made in Python.
        licence: what the data say of their licence; default "": it is not known.
    """

    class_names: tuple[str, ...]
    examples: tuple[Example, ...]
    problems: tuple[Problem, ...] = ()
    category_ids: tuple[int, ...] = ()
    label_of_id: Mapping[int, int] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    licence: str = ""

    def __post_init__(self) -> None:
        if not self.category_ids:
            object.__setattr__(self, "category_ids", tuple(range(1, len(self.class_names) + 1)))
        labels = {category_id: label for label, category_id in enumerate(self.category_ids)}
        object.__setattr__(self, "label_of_id", {**self.label_of_id, **labels})

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def origin(self) -> DataOrigin:
        """Sources, numbers of images and objects, licence."""
        num_objects = sum(len(example.labels) for example in self.examples)
        return DataOrigin(self.sources, len(self), num_objects, self.licence or NOT_STATED)


def fit_box(
    box: Sequence[float], height: int, width: int
) -> tuple[Box | None, ProblemKind | None, str]:
    """Returns the usable box (None: there is none), and the kind and detail of its problem.

    A box that reaches up to one pixel over the edge keeps its numbers, because metrics need them
    exactly; `Example.relative_boxes` clips it.
    """
    x, y, box_width, box_height = map(float, box)
    detail = f"box x={x:g} y={y:g} width={box_width:g} height={box_height:g}"
    if not all(map(math.isfinite, (x, y, box_width, box_height))):
        return None, ProblemKind.NOT_FOUR_NUMBERS, detail
    if box_width <= 0 or box_height <= 0:
        return None, ProblemKind.NO_AREA, detail
    detail += f" in {width}x{height} pixels"
    left, top = max(x, 0.0), max(y, 0.0)
    right, bottom = min(x + box_width, width), min(y + box_height, height)
    if right <= left or bottom <= top:
        return None, ProblemKind.OUTSIDE_IMAGE, detail
    overshoot = max(left - x, top - y, x + box_width - right, y + box_height - bottom)
    if overshoot <= EDGE_TOLERANCE:
        return (x, y, box_width, box_height), None, ""
    clipped = (left, top, float(right - left), float(bottom - top))
    return clipped, ProblemKind.REACHES_OUTSIDE, detail
