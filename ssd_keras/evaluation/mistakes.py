"""The worst mistakes: which they are, said in a line, and drawn."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ssd_keras.drawing.draw import draw_boxes
from ssd_keras.evaluation.errors import BACKGROUND_IOU, FALSE_KINDS, false_kinds
from ssd_keras.evaluation.matches import Matches

MOST_OF_A_IMAGE = 2
"""One bad image must not fill the page."""


@dataclass(frozen=True, eq=False)
class Mistake:
    """A false detection or a missed object."""

    image: int  # index of the image in the data
    caption: str  # what is wrong, in a line
    # x, y, width, height in pixels of the detection; None where there is none
    detection: np.ndarray | None = None
    detection_tag: str = ""  # its class and score
    # x, y, width, height in pixels of the object; None where there is none
    truth: np.ndarray | None = None
    truth_tag: str = ""  # its class


def most_confident_false(matches: Matches, count: int = 12) -> list[Mistake]:
    """The false detections of the highest scores, at most two of an image."""
    kinds, names = false_kinds(matches), matches.data.class_names
    chosen = _spread(np.flatnonzero(matches.is_false), matches.rows["image"], count)
    result = []
    for index in chosen:
        row, kind = matches.rows[index], FALSE_KINDS[kinds[index]]
        tag = f"{names[row['label']]} {row['score']:.2f}"
        if kind == "background":
            result.append(Mistake(int(row["image"]), f"{tag}: background", row["box"], tag))
            continue
        own = kind in ("localisation", "duplicate")
        target = (matches.target if own else matches.other_target)[index]
        iou = (matches.iou if own else matches.other_iou)[index]
        truth = matches.objects[target]
        name = names[truth["label"]]
        excused = " that does not count" if matches.is_ignored_object[target] else ""
        caption = f"{tag}: {kind}, IoU {iou:.2f} with a {name}{excused}"
        result.append(Mistake(int(row["image"]), caption, row["box"], tag, truth["box"], name))
    return result


def largest_missed(
    matches: Matches, score_threshold: float = 0.5, count: int = 12
) -> list[Mistake]:
    """The objects that no detection from a score on has found, the largest of their image first."""
    is_missed = ~matches.is_ignored_object
    is_missed[matches.target[matches.is_true & (matches.rows["score"] >= score_threshold)]] = False
    objects, names = matches.objects, matches.data.class_names
    sides = np.array([(one.height, one.width) for one in matches.data.examples]).reshape(-1, 2)
    share = np.prod(objects["box"][:, 2:], axis=1) / np.prod(sides, axis=1)[objects["image"]]
    order = np.argsort(-share, kind="stable")
    result = []
    for index in _spread(order[is_missed[order]], objects["image"], count):
        name = names[objects["label"][index]]
        words = f"{name}, {100 * share[index]:.0f} % of the image"
        near = np.flatnonzero((matches.target == index) & (matches.iou >= BACKGROUND_IOU))
        image, box = int(objects["image"][index]), objects["box"][index]
        if not len(near):
            caption = f"{words}: no {name} detected near it"
            result.append(Mistake(image, caption, truth=box, truth_tag=name))
            continue
        # The one that found it with too low a score, else the one that came nearest.
        best = near[np.lexsort((matches.iou[near], matches.is_true[near]))[-1]]
        row, iou = matches.rows[best], matches.iou[best]
        tag = f"{name} {row['score']:.2f}"
        caption = f"{words}: best box has score {row['score']:.2f} and IoU {iou:.2f}"
        result.append(Mistake(image, caption, row["box"], tag, box, name))
    return result


def draw_mistake(image: np.ndarray, mistake: Mistake, side: int = 400) -> np.ndarray:
    """The part of an image around a mistake, with the detection red and the object blue."""
    pairs = ((mistake.detection, 0), (mistake.truth, 1))
    found = [(box, label) for box, label in pairs if box is not None]
    corners = np.array([[*box[:2], *(box[:2] + box[2:])] for box, _ in found])
    left, top, right, bottom = _surroundings(corners, image.shape[:2])
    part = Image.fromarray(image[top:bottom, left:right])
    scale = side / max(part.size)
    size = (max(1, round(part.width * scale)), max(1, round(part.height * scale)))
    width, height = right - left, bottom - top
    relative = (corners - [left, top, left, top]) / [width, height, width, height]
    return draw_boxes(
        np.asarray(part.resize(size, Image.Resampling.LANCZOS)),
        relative[:, [1, 0, 3, 2]],
        np.array([label for _, label in found]),
        class_names=(mistake.detection_tag, f"{mistake.truth_tag} (annotated)"),
        font_size=max(12, side // 22),
    )


def _spread(indices: Iterable[int], images: np.ndarray, count: int) -> list[int]:
    """The first of the indices, at most `MOST_OF_A_IMAGE` of one image."""
    chosen: list[int] = []
    taken: Counter[int] = Counter()
    for index in indices:
        if len(chosen) == count:
            break
        if taken[images[index]] < MOST_OF_A_IMAGE:
            taken[images[index]] += 1
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
