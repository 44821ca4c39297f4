"""A hint where many objects are too small for a model's input, or unlike its default boxes."""

from typing import TYPE_CHECKING

import numpy as np

from ssd_keras.boxes.default_box_grid import DefaultBoxGrid
from ssd_keras.data.records import DetectionData
from ssd_keras.doctor.default_box_fit import best_ious, sample_objects
from ssd_keras.doctor.object_boxes import ObjectBoxes
from ssd_keras.doctor.object_sizes import MAX_HARD_SHARE, MIN_SIDE

if TYPE_CHECKING:
    from ssd_keras.models.ssd import SSD


def small_objects_hint(data: DetectionData, model: "SSD", threshold: float = 0.5) -> str:
    """Returns a hint, from a sample of the objects, or an empty string.

    The threshold is 0 for an assigner without a smallest IoU.
    """
    objects, grid = sample_objects(ObjectBoxes.from_data(data)), model.default_box_grid
    if not len(objects.boxes):
        return ""
    hard = hard_objects(best_ious(objects, grid), objects.sides(grid.image_size), threshold)
    if not hard:
        return ""
    return (
        f"hint: of the objects {hard}, at an input of {size_text(grid)}; what helps: a larger "
        "model.options.image_size, fitted default boxes (`ssd-keras data check` with --recipe "
        "prints both), or finer model.options.feature_layers."
    )


def hard_objects(best: np.ndarray, sides: np.ndarray, threshold: float) -> str:
    """Returns the shares of objects that are hard to learn, or "" where none is above a tenth."""
    unmatched, small = hard_shares(best, sides, threshold)
    if max(unmatched, small) <= MAX_HARD_SHARE:
        return ""
    too_small = f"{small:.0%} are smaller than {MIN_SIDE:g} pixels"
    if not threshold:
        return too_small
    return f"{unmatched:.0%} match no default box at IoU {threshold:g} and {too_small}"


def hard_shares(best: np.ndarray, sides: np.ndarray, threshold: float) -> tuple[float, float]:
    """Returns the shares of objects that no default box matches, and of small ones."""
    return float(np.mean(best < threshold)), float(np.mean(sides < MIN_SIDE))


def size_text(grid: DefaultBoxGrid) -> str:
    return "x".join(map(str, grid.image_size))
