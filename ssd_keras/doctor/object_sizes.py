"""Judges the sizes of objects without a model: how many usual inputs make too small."""

from collections.abc import Sequence

import numpy as np

from ssd_keras.data.splits import Split
from ssd_keras.doctor.findings import Finding, FindingKind
from ssd_keras.doctor.object_boxes import ObjectBoxes

INPUT_SIDES = (320, 512, 640)  # of usual models
MIN_SIDE = 8.0  # pixels of the input: smaller objects cover one cell of the finest map, or none
MAX_HARD_SHARE = 0.1  # of the objects


def small_object_findings(splits: Sequence[Split]) -> list[Finding]:
    """Returns the splits where the smallest usual input makes many objects too small."""
    return [
        Finding(FindingKind.SMALL_OBJECTS, split.name, small_objects_text(split))
        for split in splits
        if small_shares(split)[0] > MAX_HARD_SHARE
    ]


def small_objects_text(split: Split) -> str:
    """Returns the share of small objects at each usual input as text."""
    shares = [
        f"{share:.0%} at {side}x{side}"
        for side, share in zip(INPUT_SIDES, small_shares(split), strict=True)
    ]
    return f"smaller than {MIN_SIDE:g} pixels of a model's input: {', '.join(shares)}"


def small_shares(split: Split) -> list[float]:
    """Returns the share of objects below `MIN_SIDE` at each of `INPUT_SIDES`, 0 without objects."""
    objects = ObjectBoxes.from_data(split.data)
    count = max(len(objects.boxes), 1)
    return [float(np.sum(objects.sides((side, side)) < MIN_SIDE)) / count for side in INPUT_SIDES]
