"""From what an annotation file says to examples: looks at images, fits boxes, finds labels."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np
from tqdm import tqdm

from ssd_keras.core.class_names import labels_by_name, united_names
from ssd_keras.data.image_files import (
    check_links,
    find_orientation,
    read_image_header,
    upright_size,
)
from ssd_keras.data.problems import BadDataError, Problem, ProblemKind, problem_of
from ssd_keras.data.records import Box, DetectionData, Example, ImageSource, fit_box, location_of

Item = TypeVar("Item")
Result = TypeVar("Result")
CORNERS = ("xmin", "ymin", "xmax", "ymax")


class AnnotatedObject(NamedTuple):
    """One object as a file has it; `item` is its place in the file, such as "object 3"."""

    item: str
    class_name: str
    box: Box
    area: float | None = None
    is_difficult: bool = False
    is_crowd: bool = False


@dataclass(frozen=True)
class AnnotatedImage:
    """One image as a file has it; a size of 0 by 0 is to be taken from the image itself.

    Where `folders` are given, symbolic links must not lead its path out of all of them.
    """

    image_id: str | int
    image: ImageSource
    height: int
    width: int
    annotation_file: str
    objects: list[AnnotatedObject]
    folders: Sequence[str] = ()


def read_corners(texts: Sequence[str | None]) -> Box:
    """Four numbers out of the words of a file."""
    pairs = zip(CORNERS, texts, strict=True)
    numbers = "box " + " ".join(f"{corner}={text}" for corner, text in pairs)
    try:
        left, top, right, bottom = (float(text or "") for text in texts)
    except ValueError:
        raise BadDataError(ProblemKind.NOT_FOUR_NUMBERS, numbers) from None
    if right < left or bottom < top:
        raise BadDataError(ProblemKind.SWAPPED_CORNERS, numbers)
    if right == left or bottom == top:
        raise BadDataError(ProblemKind.NO_AREA, numbers)
    return left, top, right, bottom


def to_pixels(corners: Sequence[float], height: int, width: int) -> Box:
    """A relative box in pixels.

    Files of relative boxes hold about seven digits: a thousandth of a pixel is what they know, and
    rounding to it gives back the whole pixels that most boxes came from.
    """
    top, bottom = (round(float(y) * height, 3) for y in corners[::2])
    left, right = (round(float(x) * width, 3) for x in corners[1::2])
    return left, top, round(right - left, 3), round(bottom - top, 3)


def size_of(image: ImageSource, upright: bool) -> tuple[int, int]:
    """Height and width of an image, for readers of relative boxes."""
    header = read_image_header(image)
    return upright_size(header) if upright else (header.height, header.width)


def map_in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], description: str, progress: bool
) -> list[Result]:
    """Calls the function on every item in a few threads."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        results: Iterable[Result] = pool.map(function, items)
        bar = tqdm(results, description, len(items), leave=False, disable=not progress)
        return list(bar)


def assemble(
    images: Sequence[AnnotatedImage],
    class_names: Sequence[str],
    *,
    check_images: bool,
    progress: bool,
) -> tuple[tuple[Example, ...], list[Problem]]:
    """Turns annotated images into examples."""

    def make(image: AnnotatedImage) -> tuple[Example | None, list[Problem]]:
        return _make_example(image, class_names, label_of, check_images)

    label_of = labels_by_name(class_names)
    made = map_in_threads(make, images, "looking at images", progress)
    examples = tuple(example for example, _ in made if example is not None)
    return examples, [problem for _, problems in made for problem in problems]


def unite(sources: Sequence[DetectionData], class_names: Sequence[str] | None) -> DetectionData:
    """One data set out of several, joined by the names of the classes."""
    if len(sources) == 1:
        return sources[0]
    if class_names is None:
        class_names = united_names([data.class_names for data in sources])
    united: list[DetectionData] = [relabel(data, class_names) for data in sources]
    examples: list[Example] = []
    taken: set[str] = set()
    for number, data in enumerate(united):
        for example in data.examples:
            image_id = example.image_id
            if str(image_id) in taken:
                image_id = f"{number}:{image_id}"
            taken.add(str(image_id))
            examples.append(replace(example, image_id=image_id))
    problems = tuple(problem for data in united for problem in data.problems)
    return DetectionData(tuple(class_names), tuple(examples), problems)


def relabel(data: DetectionData, class_names: Sequence[str]) -> DetectionData:
    """The same images under other class names."""
    label_of = labels_by_name(class_names)
    new_labels = np.array([label_of.get(name, -1) for name in data.class_names], np.int32)
    examples, problems = [], list(data.problems)
    for example in data.examples:
        labels = new_labels[example.labels]
        for index in np.flatnonzero(labels < 0):
            name = data.class_names[example.labels[index]]
            location = f"{example.image_id}: object {index + 1} ({name})"
            problems.append(_unknown_class(location, name, class_names))
        kept = labels >= 0
        fields = ("boxes", "is_difficult", "is_crowd", "areas")
        changes = {field: getattr(example, field)[kept] for field in fields}
        examples.append(replace(example, labels=labels[kept], **changes))
    return DetectionData(tuple(class_names), tuple(examples), tuple(problems))


def _make_example(
    image: AnnotatedImage,
    class_names: Sequence[str],
    label_of: dict[str, int],
    check_images: bool,
) -> tuple[Example | None, list[Problem]]:
    height, width, orientation = image.height, image.width, 1
    has_size = height > 0 and width > 0
    try:
        if check_images or not has_size:
            if image.folders and isinstance(image.image, str):
                check_links(image.image, image.folders)
            header = read_image_header(image.image)
            if not has_size:
                height, width = header.height, header.width
            orientation = find_orientation(header, height, width)
    except (OSError, ValueError) as error:
        return None, [problem_of(error, location_of(image.image, image.image_id))]
    kept: list[AnnotatedObject] = []
    problems: list[Problem] = []
    for found in image.objects:
        location = f"{image.annotation_file}: {found.item} ({found.class_name})"
        if found.class_name not in label_of:
            problems.append(_unknown_class(location, found.class_name, class_names))
            continue
        box, kind, detail = fit_box(found.box, height, width)
        if kind is not None:
            problems.append(Problem(kind, location, detail))
        if box is not None:
            kept.append(found._replace(box=box))
    example = Example(
        image_id=image.image_id,
        image=image.image,
        height=height,
        width=width,
        boxes=np.array([found.box for found in kept], np.float64).reshape(-1, 4),
        labels=np.array([label_of[found.class_name] for found in kept], np.int32),
        is_difficult=np.array([found.is_difficult for found in kept], bool),
        is_crowd=np.array([found.is_crowd for found in kept], bool),
        areas=np.array([_area(found) for found in kept], np.float64),
        orientation=orientation,
    )
    return example, problems


def _area(found: AnnotatedObject) -> float:
    return found.box[2] * found.box[3] if found.area is None else found.area


def _unknown_class(
    location: str, name: str, class_names: Sequence[str], limit: int = 10
) -> Problem:
    hidden = len(class_names) - limit
    more = f" and {hidden} more" if hidden > 0 else ""
    detail = f"'{name}'; expected one of {', '.join(class_names[:limit])}{more}"
    return Problem(ProblemKind.UNKNOWN_CLASS, location, detail)
