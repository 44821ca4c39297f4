"""Makes examples from what annotation files say: checks images, fits boxes, finds labels."""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from tqdm.contrib.concurrent import thread_map

from ssd_keras.boxes.formats import CORNERS
from ssd_keras.core.class_names import labels_by_name
from ssd_keras.core.images import MAX_PIXELS, ImageHeader
from ssd_keras.core.progress import bar_options
from ssd_keras.core.text import is_plain_text, one_line
from ssd_keras.data.image_files import (
    check_links,
    convert_image,
    find_orientation,
    read_image_header,
)
from ssd_keras.data.image_sources import ImageSource, StoredImage, image_location, original_of
from ssd_keras.data.problems import DROPPED, BadDataError, Problem, ProblemKind, problem_of
from ssd_keras.data.records import (
    Box,
    DetectionData,
    Example,
    fit_box,
)
from ssd_keras.data.unions import category_ids_of, unknown_class, with_unique_ids

Item = TypeVar("Item")
Result = TypeVar("Result")
NUM_THREADS = 8
FLAG_WORDS = {"true": True, "yes": True, "": False, "false": False, "no": False}
MAX_SIZE_LENGTH = 40  # of a file's text in a message
LARGEST_SHARE = 1.1  # corners that are shares of the image may reach over its edge a little


class ReadOptions(NamedTuple):
    """Options of every reader; see `ssd_keras.data.load_data`."""

    class_names: Sequence[str] | None = None
    check_images: bool = True
    progress: bool = False
    max_pixels: int = MAX_PIXELS

    def read_all(
        self,
        read: Callable[[Item], tuple[Result | None, list[Problem]]],
        items: Sequence[Item],
        title: str,
    ) -> tuple[list[Result], list[Problem]]:
        """Returns what `read` makes of the items, in threads, and the problems."""
        bar = {"desc": title, "leave": False, **bar_options(self.progress)}
        pairs = thread_map(read, items, max_workers=NUM_THREADS, **bar)
        results = [result for result, _ in pairs if result is not None]
        return results, [problem for _, problems in pairs for problem in problems]


class AnnotatedObject(NamedTuple):
    """One object as a file has it; `position` says where in the file, such as "object 3".

    The box is x, y, width, height in pixels, or what the image's `to_box` makes such a box of.
    """

    position: str
    class_name: str
    box: Box
    area: float | None = None
    is_difficult: bool = False
    is_crowd: bool = False
    swapped_corners: str = ""  # as the file has them, where the box has them in order


@dataclass(frozen=True)
class AnnotatedImage:
    """One image as a file has it; a height or width of 0 is taken from the upright image."""

    image_id: str | int
    image: StoredImage
    height: int
    width: int
    annotation_file: str
    objects: list[AnnotatedObject]
    folders: Sequence[str] = ()  # where given, symbolic links may not lead out of all of them
    to_box: Callable[[Sequence[float], int, int], Box] | None = None  # of box, height and width
    bad_size: str = ""  # what a file has in place of a usable size


def read_corners(texts: Sequence[str | None]) -> tuple[Box, str]:
    """Returns xmin, ymin, xmax, ymax in order, and the texts of a file that has them swapped."""
    pairs = zip(CORNERS, texts, strict=True)
    detail = "box " + " ".join(f"{corner}={text}" for corner, text in pairs)
    try:
        left, top, right, bottom = (float(text or "") for text in texts)
    except ValueError:
        raise BadDataError(ProblemKind.NOT_FOUR_NUMBERS, detail) from None
    if right == left or bottom == top:
        box = (left, top, right - left, bottom - top)
        raise BadDataError(ProblemKind.NO_AREA, detail, box=box)
    is_swapped = right < left or bottom < top
    # Not `min` and `max`, which lose a NaN.
    left, right = (right, left) if right < left else (left, right)
    top, bottom = (bottom, top) if bottom < top else (top, bottom)
    return (left, top, right, bottom), detail if is_swapped else ""


def read_flag(value: object, name: str, location: str, problems: list[Problem]) -> bool:
    """Returns a flag such as 1, 1.0, true or yes; other words become a problem."""
    text = "" if value is None else str(value).strip()
    if text.lower() in FLAG_WORDS:
        return FLAG_WORDS[text.lower()]
    with contextlib.suppress(ValueError):
        if float(text) in (0, 1):
            return bool(float(text))
    problems.append(Problem(ProblemKind.BAD_FLAG, location, f"{name} is '{text}'"))
    return False


def read_bad_size(width: object, height: object) -> str:
    """Returns the width and height of a file that has them and not above 0, else ""."""
    has_neither = width is None and height is None
    if has_neither or (read_side(width) and read_side(height)):
        return ""
    return one_line(f"{width}x{height}", MAX_SIZE_LENGTH)


def read_side(value: Any) -> int:
    """Returns a side in pixels, or 0 where the file has none: the image itself then decides."""
    try:
        return max(int(float(value or 0)), 0)
    except (TypeError, ValueError, OverflowError):
        return 0


def are_relative(corners: Sequence[Sequence[float]]) -> bool:
    """Whether all corners of a file's boxes are shares of the image's sides, not pixels.

    At least one is a fraction: accidental clicks leave boxes such as 0, 0, 1, 1 in pixels.
    """
    values = np.array(corners, float).ravel()
    is_share = (values >= 1 - LARGEST_SHARE) & (values <= LARGEST_SHARE)
    return bool(len(values) and is_share.all() and (values % 1).any())


def read_relative_boxes(
    images: Sequence[AnnotatedImage], file: str
) -> tuple[list[AnnotatedImage], list[Problem]]:
    """Returns the images of a file, marked where its boxes are shares, and a note of that."""
    boxes = [item.box for image in images for item in image.objects]
    if not are_relative([(x, y, x + width, y + height) for x, y, width, height in boxes]):
        return list(images), []
    marked = [
        replace(image, objects=[x._replace(area=None) for x in image.objects], to_box=scaled_box)
        for image in images
    ]
    return marked, [Problem(ProblemKind.RELATIVE_BOXES, file)]


def to_pixels(corners: Sequence[float], height: int, width: int) -> Box:
    """Returns x, y, width, height in pixels of a relative yxyx box.

    Files of relative boxes hold about seven digits, which is a thousandth of a pixel: rounding to
    that restores the whole pixels that most boxes came from.
    """
    top, bottom = (round(float(y) * height, 3) for y in corners[::2])
    left, right = (round(float(x) * width, 3) for x in corners[1::2])
    return left, top, round(right - left, 3), round(bottom - top, 3)


def scaled_box(box: Sequence[float], height: int, width: int) -> Box:
    """Returns x, y, width, height in pixels of such a box in shares of the image's sides."""
    left, top, box_width, box_height = box
    return to_pixels((top, left, top + box_height, left + box_width), height, width)


def assemble(
    images: Sequence[AnnotatedImage],
    file_names: Sequence[str] | None,
    problems: Sequence[Problem],
    options: ReadOptions,
    name_of: dict[int, str] | None = None,
) -> DetectionData:
    """Returns the data set of the annotated images that can be used.

    `file_names` are the class names of the file (None: the names of the objects, sorted), for
    which `options.class_names` stand in; `name_of` has the file's ids of classes.
    """
    if file_names is None:
        names = {item.class_name for image in images for item in image.objects}
        # 2 before 10, where all names are numbers.
        file_names = sorted(names, key=int if all(map(str.isdecimal, names)) else str)
    class_names = tuple(file_names if options.class_names is None else options.class_names)
    label_of = labels_by_name(class_names)

    def make(image: AnnotatedImage) -> tuple[Example | None, list[Problem]]:
        return _make_example(image, class_names, label_of, options)

    examples, more = options.read_all(make, images, "checking images")
    problems = _with_images(problems, images)
    known = {number: label_of[name] for number, name in (name_of or {}).items() if name in label_of}
    category_ids = () if name_of is None else category_ids_of(class_names, known)
    examples = with_unique_ids(examples, list(map(_id_with_extension, examples)))
    return DetectionData(class_names, tuple(examples), (*problems, *more), category_ids, known)


def _with_images(problems: Sequence[Problem], images: Sequence[AnnotatedImage]) -> list[Problem]:
    """Returns the problems of annotation files that describe one image, with that image."""
    files = Counter(image.annotation_file for image in images)
    image_of = {x.annotation_file: x.image for x in images if files[x.annotation_file] == 1}
    found = [image_of.get(problem.location.split(": ")[0]) for problem in problems]
    return [
        problem if image is None else replace(problem, image=problem.image or image)
        for problem, image in zip(problems, found, strict=True)
    ]


class _Located(NamedTuple):
    """An image that can be used: where its JPEG or PNG lies, its size and its EXIF turn."""

    image: ImageSource
    height: int
    width: int
    orientation: int


def _locate(annotated: AnnotatedImage, options: ReadOptions) -> tuple[_Located, list[Problem]]:
    """Returns an image, and notes on its conversion and turn; raises where it cannot be used."""
    image, height, width = annotated.image, annotated.height, annotated.width
    has_size = height > 0 and width > 0
    if has_size and not options.check_images:
        return _Located(image, height, width, 1), []
    if annotated.folders and isinstance(image, str):
        check_links(image, annotated.folders)
    header = read_image_header(image, options.max_pixels)
    if not has_size:
        height, width = header.upright_size
    orientation = find_orientation(header, height, width)
    location = image_location(image, annotated.image_id)
    notes = []
    if annotated.bad_size:
        file, size = annotated.annotation_file, annotated.bad_size
        notes.append(Problem(ProblemKind.BAD_SIZE, file, size, group=size, image=image))
    if orientation != 1 and (not has_size or header.upright_size == (header.height, header.width)):
        notes.append(Problem(ProblemKind.TURNED, location, str(orientation), image=image))
    if header.is_handed_on:
        return _Located(image, height, width, orientation), notes
    notes.append(_conversion(header, location, image))
    converted = convert_image(image, options.max_pixels)
    return _Located(converted, height, width, orientation), notes


def _conversion(header: ImageHeader, location: str, image: StoredImage) -> Problem:
    detail = header.format + (", of which the first frame is read" if header.is_animated else "")
    return Problem(ProblemKind.OTHER_FORMAT, location, detail, group=detail, image=image)


def _make_example(
    annotated: AnnotatedImage,
    class_names: Sequence[str],
    label_of: dict[str, int],
    options: ReadOptions,
) -> tuple[Example | None, list[Problem]]:
    try:
        if isinstance(annotated.image_id, str) and not is_plain_text(annotated.image_id):
            raise BadDataError(ProblemKind.NO_IMAGE_PATH, repr(annotated.image_id))
        (image, height, width, orientation), problems = _locate(annotated, options)
    except (OSError, BadDataError) as error:
        problem = problem_of(error, image_location(annotated.image, annotated.image_id))
        return None, [replace(problem, image=annotated.image)]
    objects, originals, more = _fit_objects(annotated, height, width, class_names, label_of)
    problems += more
    example = Example(
        image_id=annotated.image_id,
        image=image,
        height=height,
        width=width,
        orientation=orientation,
        **_columns(objects, label_of),
    )
    if objects != originals:
        example = replace(example, annotated=replace(example, **_columns(originals, label_of)))
    return example, problems


def _fit_objects(
    annotated: AnnotatedImage,
    height: int,
    width: int,
    class_names: Sequence[str],
    label_of: dict[str, int],
) -> tuple[list[AnnotatedObject], list[AnnotatedObject], list[Problem]]:
    """Returns the usable objects, all that the file has of known classes, and the problems."""
    objects: list[AnnotatedObject] = []
    originals: list[AnnotatedObject] = []
    problems: list[Problem] = []
    image = annotated.image
    for item in _in_pixels(annotated, height, width):
        location = f"{annotated.annotation_file}: {item.position} ({item.class_name})"
        if item.class_name not in label_of:
            problem = unknown_class(location, item.class_name, class_names, image, item.box)
            problems.append(problem)
            continue
        box, kind, detail = fit_box(item.box, height, width)
        if item.swapped_corners:
            # Where they do not fit in order either, a number is wrong.
            problem = Problem(
                ProblemKind.SWAPPED_CORNERS,
                location,
                item.swapped_corners,
                "" if kind is None else DROPPED,
                image=image,
                box=item.box,
            )
            problems.append(problem)
            if kind is not None:
                continue
        if kind is not None:
            problems.append(Problem(kind, location, detail, image=image, box=item.box))
        if kind is not ProblemKind.NOT_FOUR_NUMBERS:
            originals.append(_with_area(item))
        if box is not None:
            objects.append(_with_area(item._replace(box=box)))
            if min(box[2:]) < 1:
                detail = f"box of {box[2]:g} by {box[3]:g}"
                small = ProblemKind.BELOW_ONE_PIXEL
                problems.append(Problem(small, location, detail, image=image, box=box))
    return objects, originals, problems


def _in_pixels(annotated: AnnotatedImage, height: int, width: int) -> list[AnnotatedObject]:
    to_box = annotated.to_box
    if to_box is None:
        return annotated.objects
    return [item._replace(box=to_box(item.box, height, width)) for item in annotated.objects]


def _with_area(item: AnnotatedObject) -> AnnotatedObject:
    return item if item.area is not None else item._replace(area=item.box[2] * item.box[3])


def _columns(items: Sequence[AnnotatedObject], label_of: dict[str, int]) -> dict[str, Any]:
    return {
        "boxes": np.array([item.box for item in items], np.float64).reshape(-1, 4),
        "labels": np.array([label_of[item.class_name] for item in items], np.int32),
        "is_difficult": np.array([item.is_difficult for item in items], bool),
        "is_crowd": np.array([item.is_crowd for item in items], bool),
        "areas": np.array([item.area for item in items], np.float64),
    }


def _id_with_extension(example: Example) -> str:
    image = original_of(example.image)
    extension = os.path.splitext(image)[1] if isinstance(image, str) else ""
    return f"{example.image_id}{extension}"
