"""What a detector made of an image: its objects beside its detections, with the mistakes marked."""

import numpy as np
from PIL import Image

from ssd_keras.boxes.formats import convert_boxes
from ssd_keras.core.text import counted
from ssd_keras.drawing.draw import draw_boxes, draw_false, draw_missed
from ssd_keras.evaluation.detection_table import BoxTable
from ssd_keras.evaluation.matches import Matches, ScoreThreshold

LEGEND = "left: the objects; right: the detections; dashed: missed objects and false detections"
GAP = 6  # pixels between the two
BACKGROUND = 40  # grey level, that of contact sheets


def draw_outcome(
    matches: Matches,
    index: int,
    image: np.ndarray,
    score_threshold: ScoreThreshold = 0.5,
    side: int | None = None,
) -> np.ndarray:
    """Returns an image twice: with its objects, and with its detections from a score on.

    Missed objects are dashed in white and black, false detections in white and red. The image is
    resized to `side` pixels, its longer side, before anything is drawn.
    """
    example, names = matches.data.examples[index], matches.data.class_names

    def boxes(table: BoxTable) -> np.ndarray:
        return convert_boxes(table.boxes, "xywh", "rel_yxyx", (example.height, example.width))

    objects, detections = matches.objects, matches.detections
    is_here = objects.image_index == index
    truth, missed = objects[is_here], objects[is_here & matches.is_missed(score_threshold)]
    is_shown = (detections.image_index == index) & matches.reaches(score_threshold)
    false, found = detections[is_shown & matches.is_false], detections[is_shown & ~matches.is_false]
    image = image if side is None else _resized(image, side)
    left = draw_boxes(image, boxes(truth), truth.labels, class_names=names)
    right = draw_missed(image, boxes(missed), [names[label] for label in missed.labels])
    right = draw_boxes(right, boxes(found), found.labels, found.scores, names)
    right = draw_false(right, boxes(false), [names[label] for label in false.labels], false.scores)
    gap = np.full((len(image), GAP, 3), BACKGROUND, np.uint8)
    return np.concatenate([left, gap, right], axis=1)


def outcome_caption(matches: Matches, index: int, score_threshold: ScoreThreshold = 0.5) -> str:
    """Returns how many objects of an image are found, and how many detections are false."""
    is_here = (matches.objects.image_index == index) & ~matches.objects.is_ignored
    num_missed, num_false = (counts[index] for counts in num_mistakes(matches, score_threshold))
    count = int(is_here.sum())
    words = f"{count - num_missed} of {counted(count, 'object')} found" if count else "no objects"
    return f"{words}, {num_false} false" if num_false else words


def num_mistakes(
    matches: Matches, score_threshold: ScoreThreshold
) -> tuple[np.ndarray, np.ndarray]:
    """Returns how many objects each image misses and how many false detections it has, int [n]."""
    is_missed = matches.is_missed(score_threshold)
    is_false = matches.is_false & matches.reaches(score_threshold)
    missed, false = matches.objects.image_index[is_missed], matches.detections.image_index[is_false]
    num_images = len(matches.data)
    return np.bincount(missed, minlength=num_images), np.bincount(false, minlength=num_images)


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
