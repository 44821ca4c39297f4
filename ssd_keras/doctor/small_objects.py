"""A hint where many objects are too small for a model's input, or unlike its default boxes."""

from typing import TYPE_CHECKING

import numpy as np

from ssd_keras.data.records import DetectionData
from ssd_keras.doctor.default_box_fit import best_ious, sample_objects
from ssd_keras.doctor.object_boxes import ObjectBoxes
from ssd_keras.doctor.object_sizes import MAX_HARD_SHARE, MIN_SIDE

if TYPE_CHECKING:
    from ssd_keras.models.ssd import SSD


def small_objects_hint(data: DetectionData, model: "SSD", threshold: float = 0.5) -> str:
    """Returns a hint, from a sample of the objects, or an empty string."""
    objects, grid = sample_objects(ObjectBoxes.from_data(data)), model.default_box_grid
    if not len(objects.boxes):
        return ""
    sides = objects.sides(grid.image_size)
    return hard_objects_hint(best_ious(objects, grid), sides, threshold, grid.image_size)


def hard_objects_hint(
    best: np.ndarray, sides: np.ndarray, threshold: float, image_size: tuple[int, int]
) -> str:
    """Returns a hint where more than a tenth of the objects are hard to learn, or ""."""
    unmatched, small = float(np.mean(best < threshold)), float(np.mean(sides < MIN_SIDE))
    parts = []
    if unmatched > MAX_HARD_SHARE:
        parts.append(f"{unmatched:.0%} of the objects match no default box at IoU {threshold:g}")
    if small > MAX_HARD_SHARE:
        size = f"{image_size[0]}x{image_size[1]}"
        smaller = f"smaller than {MIN_SIDE:g} pixels of the input ({size})"
        parts.append(f"{small:.0%} of the objects are {smaller}")
    if not parts:
        return ""
    return (
        f"hint: {' and '.join(parts)}; what helps: a larger model.options.image_size, the default "
        "boxes that `ssd-keras data check` fits, or finer model.options.feature_layers."
    )
