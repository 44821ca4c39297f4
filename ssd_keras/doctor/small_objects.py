"""One line for those whose objects are too small for the input, or unlike the default boxes."""

from typing import TYPE_CHECKING

import numpy as np

from ssd_keras.data.records import DetectionData
from ssd_keras.doctor.default_box_fit import best_ious, sample
from ssd_keras.doctor.default_box_grid import default_box_grid, objects_of

if TYPE_CHECKING:
    from ssd_keras.models import SSD

LEAST_SIDE = 8.0
"""Pixels of the input: of smaller objects the finest maps see one cell or none."""
MOST_LOST = 0.1
"""Share of the objects that may be hard to learn without a word."""


def objects_hint(data: DetectionData, model: "SSD", threshold: float = 0.5) -> str:
    """A hint for a model and a data set, from a sample of the objects."""
    objects, layout = sample(objects_of(data)), default_box_grid(model)
    if not len(objects.boxes):
        return ""
    best = best_ious(objects, layout)
    return describe_lost(best, objects.sides(layout.image_size), threshold, layout.image_size)


def describe_lost(
    best: np.ndarray, sides: np.ndarray, threshold: float, image_size: tuple[int, int]
) -> str:
    """Says when more than a tenth of the objects is hard to learn, and how to mend it."""
    unmatched, small = float(np.mean(best < threshold)), float(np.mean(sides < LEAST_SIDE))
    parts = []
    if unmatched > MOST_LOST:
        parts.append(f"{unmatched:.0%} of the objects match no default box at {threshold:g}")
    if small > MOST_LOST:
        size = f"{image_size[0]}x{image_size[1]}"
        smaller = f"smaller than {LEAST_SIDE:g} pixels of the input ({size})"
        parts.append(f"{small:.0%} of the objects are {smaller}")
    if not parts:
        return ""
    return (
        f"hint: {' and '.join(parts)}; what helps: a larger model_options.image_size, the default "
        "boxes that `ssd-keras data check` fits, or finer model_options.feature_layers."
    )
