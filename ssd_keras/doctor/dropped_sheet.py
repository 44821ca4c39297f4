"""Images of what the readers dropped: the dropped boxes, and dropped images that decode."""

import os
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from ssd_keras.core.images import load_stored, open_image, to_rgb, turned
from ssd_keras.data.image_files import open_source
from ssd_keras.data.image_sources import ImageSource, original_of
from ssd_keras.data.problems import Problem
from ssd_keras.data.splits import Split
from ssd_keras.drawing.draw import draw_boxes

MAX_IMAGES = 12
MIN_SIDE = 0.03  # of the image: boxes of no area, or beyond the border, are drawn so large


def dropped_images(splits: Sequence[Split]) -> Iterator[tuple[np.ndarray, str]]:
    """Yields images and captions: each kind's first image before the second of any."""
    problems = [
        (problem.image, problem)
        for split in splits
        for problem in split.data.problems
        if problem.is_loss and problem.image is not None
    ]
    orientations = {
        original_of(example.image): example.orientation
        for split in (splits if problems else ())
        for example in split.data.examples
    }
    count = 0
    for image, group in _in_turns(problems):
        pixels = _decode(image, orientations.get(original_of(image)))
        if pixels is not None:
            yield _drawn(pixels, group), _caption(image, group)
            count += 1
        if count == MAX_IMAGES:
            return


def _in_turns(
    problems: Sequence[tuple[ImageSource, Problem]],
) -> Iterator[tuple[ImageSource, list[Problem]]]:
    """Yields an image and its problems of one kind, a kind after the other."""
    kinds: dict[object, dict[ImageSource, list[Problem]]] = {}
    for image, problem in problems:
        images = kinds.setdefault((problem.kind, problem.group), {})
        images.setdefault(image, []).append(problem)
    queues = [list(images.items()) for images in kinds.values()]
    for turn in range(max(map(len, queues), default=0)):
        yield from (queue[turn] for queue in queues if turn < len(queue))


def _decode(image: ImageSource, orientation: int | None) -> np.ndarray | None:
    """Returns RGB pixels, upright where no orientation is given; None where there are none."""
    try:
        with open_source(image) as file:
            opened, header = open_image(file, sys.maxsize)
            stored = to_rgb(load_stored(opened, header))
            return np.array(turned(stored, orientation or header.orientation))
    except (OSError, ValueError):
        return None


def _drawn(pixels: np.ndarray, problems: Sequence[Problem]) -> np.ndarray:
    height, width = pixels.shape[:2]
    boxes = [x.box for x in problems if x.box is not None and np.isfinite(x.box).all()]
    corners = [_visible(box, height, width) for box in boxes]
    labels = np.zeros(len(boxes), np.int32)  # the first colour is red
    return draw_boxes(
        pixels, np.reshape(corners, (-1, 4)), labels, class_names=[problems[0].action]
    )


def _visible(box: Sequence[float], height: int, width: int) -> list[float]:
    """Returns a box as relative yxyx that can be seen: inside the image and not too small."""
    x, y, box_width, box_height = box
    edges = []
    for start, length, side in ((y, box_height, height), (x, box_width, width)):
        low, high = sorted(np.clip([start / side, (start + length) / side], 0.0, 1.0))
        middle = np.clip((low + high) / 2, MIN_SIDE / 2, 1 - MIN_SIDE / 2)
        half = max(high - low, MIN_SIDE) / 2
        edges.append((middle - half, middle + half))
    (top, bottom), (left, right) = edges
    return [top, left, bottom, right]


def _caption(image: ImageSource, problems: Sequence[Problem]) -> str:
    first, original = problems[0], original_of(image)
    name = os.path.basename(original) if isinstance(original, str) else first.location
    count = f" ({len(problems)})" if len(problems) > 1 else ""
    group = f" ({first.group})" if first.group else ""
    return f"{name}: {first.kind.title}{group}{count}"
