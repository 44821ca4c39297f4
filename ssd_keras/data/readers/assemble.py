"""Makes examples from what annotation files say: checks images, fits boxes, finds labels."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np
from tqdm.contrib.concurrent import thread_map

from ssd_keras.core.class_names import labels_by_name, united_names
from ssd_keras.data.image_files import check_links, find_orientation, read_image_header
from ssd_keras.data.image_sources import ImageSource, image_location
from ssd_keras.data.problems import BadDataError, Problem, ProblemKind, problem_of
from ssd_keras.data.records import (
    CORNERS,
    Box,
    DetectionData,
    Example,
    fit_box,
)

Item = TypeVar("Item")
Result = TypeVar("Result")
NUM_THREADS = 8
MAX_NAMES = 10  # class names that a message lists


class ReadOptions(NamedTuple):
    """Options of every reader; see `ssd_keras.data.load_data`."""

    class_names: Sequence[str] | None = None
    check_images: bool = True
    progress: bool = False

    def read_all(
        self,
        read: Callable[[Item], tuple[Result | None, list[Problem]]],
        items: Sequence[Item],
        title: str,
    ) -> tuple[list[Result], list[Problem]]:
        """Returns what `read` makes of the items, in threads, and the problems."""
        bar = {"desc": title, "leave": False, "disable": not self.progress}
        pairs = thread_map(read, items, max_workers=NUM_THREADS, **bar)
        results = [result for result, _ in pairs if result is not None]
        return results, [problem for _, problems in pairs for problem in problems]


class AnnotatedObject(NamedTuple):
    """One object as a file has it; `position` says where in the file, such as "object 3"."""

    position: str
    class_name: str
    box: Box
    area: float | None = None
    is_difficult: bool = False
    is_crowd: bool = False


@dataclass(frozen=True)
class AnnotatedImage:
    """One image as a file has it; a height or width of 0 is taken from the image."""

    image_id: str | int
    image: ImageSource
    height: int
    width: int
    annotation_file: str
    objects: list[AnnotatedObject]
    folders: Sequence[str] = ()  # where given, symbolic links may not lead out of all of them


def read_corners(texts: Sequence[str | None]) -> Box:
    """Returns xmin, ymin, xmax, ymax from the texts of a file."""
    pairs = zip(CORNERS, texts, strict=True)
    detail = "box " + " ".join(f"{corner}={text}" for corner, text in pairs)
    try:
        left, top, right, bottom = (float(text or "") for text in texts)
    except ValueError:
        raise BadDataError(ProblemKind.NOT_FOUR_NUMBERS, detail) from None
    if right < left or bottom < top:
        raise BadDataError(ProblemKind.SWAPPED_CORNERS, detail)
    if right == left or bottom == top:
        raise BadDataError(ProblemKind.NO_AREA, detail)
    return left, top, right, bottom


def to_pixels(corners: Sequence[float], height: int, width: int) -> Box:
    """Returns x, y, width, height in pixels of a relative yxyx box.

    Files of relative boxes hold about seven digits, which is a thousandth of a pixel: rounding to
    that restores the whole pixels that most boxes came from.
    """
    top, bottom = (round(float(y) * height, 3) for y in corners[::2])
    left, right = (round(float(x) * width, 3) for x in corners[1::2])
    return left, top, round(right - left, 3), round(bottom - top, 3)


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
        file_names = sorted({item.class_name for image in images for item in image.objects})
    class_names = tuple(file_names if options.class_names is None else options.class_names)
    label_of = labels_by_name(class_names)

    def make(image: AnnotatedImage) -> tuple[Example | None, list[Problem]]:
        return _make_example(image, class_names, label_of, options.check_images)

    examples, more = options.read_all(make, images, "checking images")
    category_ids = () if name_of is None else _category_ids(class_names, name_of)
    return DetectionData(class_names, tuple(examples), (*problems, *more), category_ids)


def unite(sources: Sequence[DetectionData], class_names: Sequence[str] | None) -> DetectionData:
    """Returns one data set with the images of several, joined by class name."""
    if len(sources) == 1:
        return sources[0]
    if class_names is None:
        class_names = united_names([data.class_names for data in sources])
    examples: list[Example] = []
    problems: list[Problem] = []
    taken_ids: set[str] = set()
    for number, source in enumerate(sources):
        data = relabel(source, class_names)
        problems += data.problems
        for example in data.examples:
            image_id = example.image_id
            if str(image_id) in taken_ids:
                image_id = f"{number}:{image_id}"
            taken_ids.add(str(image_id))
            examples.append(replace(example, image_id=image_id))
    return DetectionData(tuple(class_names), tuple(examples), tuple(problems))


def relabel(data: DetectionData, class_names: Sequence[str]) -> DetectionData:
    """Returns the same images under other class names; objects of other classes are dropped."""
    label_of = labels_by_name(class_names)
    new_labels = np.array([label_of.get(name, -1) for name in data.class_names], np.int32)
    examples, problems = [], list(data.problems)
    for example in data.examples:
        labels = new_labels[example.labels]
        for index in np.flatnonzero(labels < 0):
            name = data.class_names[example.labels[index]]
            location = f"{example.image_id}: object {index + 1} ({name})"
            box = example.boxes[index]
            problems.append(_unknown_class(location, name, class_names, example.image, box))
        kept = labels >= 0
        fields = ("boxes", "is_difficult", "is_crowd", "areas")
        changes = {field: getattr(example, field)[kept] for field in fields}
        examples.append(replace(example, labels=labels[kept], **changes))
    return DetectionData(tuple(class_names), tuple(examples), tuple(problems))


def _make_example(
    annotated: AnnotatedImage,
    class_names: Sequence[str],
    label_of: dict[str, int],
    check_images: bool,
) -> tuple[Example | None, list[Problem]]:
    image, height, width, orientation = annotated.image, annotated.height, annotated.width, 1
    has_size = height > 0 and width > 0
    try:
        if check_images or not has_size:
            if annotated.folders and isinstance(image, str):
                check_links(image, annotated.folders)
            header = read_image_header(image)
            if not has_size:
                height, width = header.height, header.width
            orientation = find_orientation(header, height, width)
    except (OSError, ValueError) as error:
        return None, [problem_of(error, image_location(image, annotated.image_id))]
    objects: list[AnnotatedObject] = []
    problems: list[Problem] = []
    for item in annotated.objects:
        location = f"{annotated.annotation_file}: {item.position} ({item.class_name})"
        if item.class_name not in label_of:
            problem = _unknown_class(location, item.class_name, class_names, image, item.box)
            problems.append(problem)
            continue
        box, kind, detail = fit_box(item.box, height, width)
        if kind is not None:
            problems.append(Problem(kind, location, detail, image=image, box=item.box))
        if box is not None:
            area = box[2] * box[3] if item.area is None else item.area
            objects.append(item._replace(box=box, area=area))
    example = Example(
        image_id=annotated.image_id,
        image=image,
        height=height,
        width=width,
        boxes=np.array([item.box for item in objects], np.float64).reshape(-1, 4),
        labels=np.array([label_of[item.class_name] for item in objects], np.int32),
        is_difficult=np.array([item.is_difficult for item in objects], bool),
        is_crowd=np.array([item.is_crowd for item in objects], bool),
        areas=np.array([item.area for item in objects], np.float64),
        orientation=orientation,
    )
    return example, problems


def _category_ids(class_names: Sequence[str], name_of: dict[int, str]) -> tuple[int, ...]:
    """Returns the file's id of each class; classes that the file lacks get the next free ids."""
    label_of = labels_by_name(class_names)
    id_of = {label_of.get(name): category_id for category_id, name in reversed(name_of.items())}
    free_ids = itertools.count(max(name_of, default=0) + 1)
    return tuple(
        id_of[label] if label in id_of else next(free_ids) for label in range(len(class_names))
    )


def _unknown_class(
    location: str, name: str, class_names: Sequence[str], image: ImageSource, box: Sequence[float]
) -> Problem:
    hidden = len(class_names) - MAX_NAMES
    more = f" and {hidden} more" if hidden > 0 else ""
    expected = f"expected one of {', '.join(class_names[:MAX_NAMES])}{more}"
    detail = f"'{name}'; {expected}"
    return Problem(
        ProblemKind.UNKNOWN_CLASS, location, detail, group=name, image=image, box=tuple(box)
    )
