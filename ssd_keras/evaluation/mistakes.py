"""The worst mistakes, each with a caption, and drawings of them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ssd_keras.drawing.draw import draw_boxes
from ssd_keras.evaluation.errors import BACKGROUND_IOU, ERROR_TYPES, error_types
from ssd_keras.evaluation.matches import Matches, ScoreThreshold

MAX_PER_IMAGE = 2
"""One bad image must not fill the page."""


@dataclass(frozen=True, eq=False)
class Mistake:
    """A false detection or a missed object; boxes are x, y, width, height in pixels."""

    image_index: int  # position of the image in the data
    caption: str  # what is wrong, in a line
    detection: np.ndarray | None = None  # box; None where there is none
    detection_tag: str = ""  # class and score
    truth: np.ndarray | None = None  # box of the object; None where there is none
    truth_tag: str = ""  # class


def most_confident_false(matches: Matches, count: int = 12) -> list[Mistake]:
    """Returns the false detections of the highest scores, at most two of an image."""
    types, names = error_types(matches), matches.data.class_names
    detections, objects = matches.detections, matches.objects
    mistakes = []
    for index in _spread(np.flatnonzero(matches.is_false), detections.image_index, count):
        image_index, box = int(detections.image_index[index]), detections.boxes[index]
        error_type = ERROR_TYPES[types[index]]
        tag = f"{names[detections.labels[index]]} {detections.scores[index]:.2f}"
        if error_type == "background":
            mistakes.append(Mistake(image_index, f"{tag}: background", box, tag))
            continue
        is_same_class = error_type in ("localisation", "duplicate")
        target = (matches.target if is_same_class else matches.other_target)[index]
        iou = (matches.iou if is_same_class else matches.other_iou)[index]
        name = names[objects.labels[target]]
        ignored = " that does not count" if objects.is_ignored[target] else ""
        caption = f"{tag}: {error_type}, IoU {iou:.2f} with a {name}{ignored}"
        mistakes.append(Mistake(image_index, caption, box, tag, objects.boxes[target], name))
    return mistakes


def largest_missed(
    matches: Matches, score_threshold: ScoreThreshold = 0.5, count: int = 12
) -> list[Mistake]:
    """Returns the objects that no detection from a score on has found, largest share first."""
    detections, objects = matches.detections, matches.objects
    is_missed = matches.is_missed(score_threshold)
    sizes = np.array([(e.height, e.width) for e in matches.data.examples]).reshape(-1, 2)
    share = np.prod(objects.boxes[:, 2:], axis=1) / np.prod(sizes, axis=1)[objects.image_index]
    order = np.argsort(-share, kind="stable")
    mistakes = []
    for index in _spread(order[is_missed[order]], objects.image_index, count):
        name = matches.data.class_names[objects.labels[index]]
        caption = f"{name}, {100 * share[index]:.0f} % of the image"
        candidates = np.flatnonzero((matches.target == index) & (matches.iou >= BACKGROUND_IOU))
        image_index, box = int(objects.image_index[index]), objects.boxes[index]
        if not len(candidates):
            caption = f"{caption}: no {name} detected near it"
            mistakes.append(Mistake(image_index, caption, truth=box, truth_tag=name))
            continue
        # The one that found it with too low a score, else the one of the highest IoU.
        order_of_candidates = np.lexsort((matches.iou[candidates], matches.is_true[candidates]))
        best = candidates[order_of_candidates[-1]]
        best_score, iou = detections.scores[best], matches.iou[best]
        caption = f"{caption}: best box has score {best_score:.2f} and IoU {iou:.2f}"
        tag = f"{name} {best_score:.2f}"
        mistakes.append(Mistake(image_index, caption, detections.boxes[best], tag, box, name))
    return mistakes


def draw_mistake(image: np.ndarray, mistake: Mistake, side: int = 400) -> np.ndarray:
    """Returns the part of an image around a mistake: the detection in red, the object in blue."""
    pairs = ((mistake.detection, 0), (mistake.truth, 1))
    present = [(box, label) for box, label in pairs if box is not None]
    corners = np.array([[*box[:2], *(box[:2] + box[2:])] for box, _ in present])
    left, top, right, bottom = _surroundings(corners, image.shape[:2])
    part = Image.fromarray(image[top:bottom, left:right])
    scale = side / max(part.size)
    size = (max(1, round(part.width * scale)), max(1, round(part.height * scale)))
    width, height = right - left, bottom - top
    relative = (corners - [left, top, left, top]) / [width, height, width, height]
    return draw_boxes(
        np.asarray(part.resize(size, Image.Resampling.LANCZOS)),
        relative[:, [1, 0, 3, 2]],
        np.array([label for _, label in present]),
        class_names=(mistake.detection_tag, f"{mistake.truth_tag} (annotated)"),
        font_size=max(12, side // 22),
    )


def _spread(indices: Iterable[int], image_index: np.ndarray, count: int) -> list[int]:
    """The first `count` of the indices, at most `MAX_PER_IMAGE` of one image."""
    chosen: list[int] = []
    per_image: Counter[int] = Counter()
    for index in indices:
        if len(chosen) == count:
            break
        if per_image[image_index[index]] < MAX_PER_IMAGE:
            per_image[image_index[index]] += 1
            chosen.append(int(index))
    return chosen


def _surroundings(corners: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a region that holds the boxes and as much around them."""
    low, high = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    margin = max(32.0, *(high - low)) / 2
    limits = np.array([size[1], size[0]])
    left, top = np.clip(np.floor(low - margin), 0, limits - 1).astype(int).tolist()
    right, bottom = (
        np.clip(np.ceil(high + margin), [left + 1, top + 1], limits).astype(int).tolist()
    )
    return left, top, right, bottom
