"""Records of an annotated image and of a data set."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np
from PIL import Image

from ssd_keras.boxes.formats import convert_boxes
from ssd_keras.core.images import decode_turned
from ssd_keras.core.indexing import chosen_rows
from ssd_keras.core.origin import NOT_STATED, DataOrigin
from ssd_keras.core.text import one_line, short_list
from ssd_keras.data.image_sources import ImageSource, image_location, read_bytes
from ssd_keras.data.problems import Problem, ProblemKind
from ssd_keras.drawing.draw import draw_boxes
from ssd_keras.drawing.sheet import MAX_CELLS, notebook_png, sheet_of_first

Box = tuple[float, float, float, float]
# Tools disagree on whether pixels start at 0 or at 1: one pixel beyond the edge is no mistake.
EDGE_TOLERANCE = 1.0
MAX_SOURCES = 3  # of a data set in its line of text


@dataclass(frozen=True, eq=False, repr=False)
class Example:
    """One encoded image and its objects. A notebook shows the image with its boxes.

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
        class_names: names by label, which an example out of `DetectionData` has; default (): the
            numbers of the labels are drawn and counted.
        source: the data set that the image comes from, where `load_data` united several; default
            "": the only one.

    Example:
        >>> from ssd_keras.data import load_data
        >>> example = load_data("synthetic:shapes@train[:4]")[3]
        >>> example
        Example('train_0003', 264x239: 2 star, 1 triangle)
        >>> example.plot().size
        (264, 239)
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
    class_names: tuple[str, ...] = ()
    source: str = ""

    def __repr__(self) -> str:
        """Name, size and objects by class."""
        counts = Counter(
            self.class_names[x] if self.class_names else f"of label {x}"
            for x in self.labels.tolist()
        )
        words = short_list([f"{count} {name}" for name, count in counts.most_common()])
        size = f"{self.width}x{self.height}"
        return f"Example({one_line(repr(self.image_id))}, {size}: {words or 'no objects'})"

    def _repr_png_(self) -> bytes | None:
        """Returns the drawing for a notebook; None, where the image is missing, shows the text."""
        try:
            return notebook_png(self.plot())
        except (OSError, ValueError):
            return None

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

    def read_image(self) -> np.ndarray:
        """Reads and decodes the image.

        Returns:
            RGB uint8 [H, W, 3], upright.

        Raises:
            ValueError: the image cannot be decoded, or has been moved since the data were loaded.
        """
        try:
            return decode_turned(self.read(), self.orientation)
        except (OSError, ValueError) as error:
            reason = "the image is missing" if isinstance(error, OSError) else error
            raise ValueError(f"{one_line(self.location)}: {reason}") from error

    def plot(self) -> Image.Image:
        """Draws the boxes with their classes, and their scores where there are some.

        Returns:
            A Pillow image: a notebook shows it, `.save("example.png")` writes it.

        Raises:
            ValueError: the image cannot be decoded, or has been moved since the data were loaded.
        """
        arrays = (self.relative_boxes(), self.labels, self.scores, self.class_names or None)
        return Image.fromarray(draw_boxes(self.read_image(), *arrays))

    def relative_boxes(self) -> np.ndarray:
        """Returns the boxes relative to the image, clipped to it.

        Returns:
            float32 [n, 4], relative yxyx in 0..1.
        """
        boxes = convert_boxes(self.boxes, "xywh", "rel_yxyx", (self.height, self.width))
        return np.clip(boxes, 0.0, 1.0).astype(np.float32)


@dataclass(frozen=True, eq=False, repr=False)
class DetectionData:
    """A data set: its classes, its images, and the problems found in it. `len` counts the images.

    An index gives one `Example`, and so does iteration; a slice, a mask or several indices give
    `DetectionData` of the same classes and problems. A notebook shows the first images.

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

    Example:
        >>> from ssd_keras.data import load_data
        >>> data = load_data("synthetic:shapes@train[:4]")
        >>> data
        DetectionData(4 images, 18 objects, 5 classes: circle, square, triangle, star, cross; from
        synthetic:shapes@train[:4])
        >>> [example.image_id for example in data[::2]]
        ['train_0000', 'train_0002']
        >>> len(data[[len(example.labels) > 2 for example in data]])
        3
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

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: Any) -> "DetectionData": ...

    def __getitem__(self, index: Any) -> "Example | DetectionData":
        """Returns an example; of a slice, a mask or several indices data of the same classes."""
        rows = chosen_rows(index, len(self), "image")
        if isinstance(rows, int):
            return replace(self.examples[rows], class_names=self.class_names)
        return replace(self, examples=tuple(self.examples[row] for row in rows))

    def __repr__(self) -> str:
        """Counts images, objects and classes, and names the sources."""
        parts = [
            _count(len(self), "image"),
            _count(self.origin.num_objects, "object"),
            f"{_count(len(self.class_names), 'class', 'classes')}: {short_list(self.class_names)}",
        ]
        text = ", ".join(parts)
        if self.sources:
            text += f"; from {one_line(short_list(self.sources, MAX_SOURCES))}"
        if self.problems:
            text += f"; {_count(len(self.problems), 'problem')}"
        return f"DetectionData({text})"

    def _repr_png_(self) -> bytes | None:
        """Returns the first images with their boxes as a contact sheet; None where none is read."""
        first = [self[index] for index in range(min(len(self), MAX_CELLS))]
        sheet = sheet_of_first(first, Example.plot, lambda one: one.image_id, len(self))
        return None if sheet is None else notebook_png(sheet)

    @property
    def origin(self) -> DataOrigin:
        """Sources, numbers of images and objects, licence."""
        num_objects = sum(len(example.labels) for example in self.examples)
        return DataOrigin(self.sources, len(self), num_objects, self.licence or NOT_STATED)


def _count(number: int, singular: str, plural: str = "") -> str:
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


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
