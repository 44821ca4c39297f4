"""Average precision by size and by aspect ratio of the objects, as Fig. 4 of the SSD paper.

After Hoiem, Chodpathumwan, Dai: "Diagnosing Error in Object Detectors", ECCV 2012, section 3: the
objects of each class are cut at the 10th, 30th, 70th and 90th percentile of box area and of aspect
ratio (width / height).
"""

import numpy as np

from ssd_keras.evaluation.matches import Matches
from ssd_keras.evaluation.voc import average_precision, precision_recall, voc_match

PERCENTILES = (10, 30, 70, 90)
SLICES = {"size": ("XS", "S", "M", "L", "XL"), "aspect": ("XT", "T", "M", "W", "XW")}
"""Extra small to extra large; extra tall to extra wide."""

ALL = "all"
"""Names the objects of a class together, beside its slices."""

Slices = dict[str, dict[str, float | int]]


def sliced_average_precision(matches: Matches, by: str = "size") -> dict[str, Slices]:
    """The average precision of every class for each fifth of its objects.

    For one slice the objects of the others count as difficult ones: they need not be found, and
    detections on them are ignored. False detections count in every slice, since they have no
    object that would tell where they belong. A slice of few objects has therefore a low precision
    by its size alone; the normalised average precision takes that away. It replaces the true
    detections at a recall R, which are R times the objects of the slice, by R times the mean
    number of objects of a class: P = R N / (R N + false detections).
    """
    if by not in SLICES:
        raise ValueError(f"by={by!r} is unknown; choose 'size' or 'aspect'.")
    num_objects = matches.num_objects
    usual = float(num_objects[num_objects > 0].mean()) if num_objects.any() else 0.0
    result = {}
    for label, name in enumerate(matches.data.class_names):
        if not num_objects[label]:
            continue
        own = np.flatnonzero(matches.objects["label"] == label)
        counts = ~matches.is_ignored_object[own]
        slice_of = slice_indices(matches.objects["box"][own], counts, by)
        parts = {ALL: counts}
        parts |= {part: counts & (slice_of == i) for i, part in enumerate(SLICES[by])}
        result[name] = {
            part: _measure(matches, label, own, wanted, usual)
            for part, wanted in parts.items()
            if wanted.any()
        }
    return result


def slice_indices(boxes: np.ndarray, counts: np.ndarray, by: str) -> np.ndarray:
    """Which slice each object of one class belongs to."""
    width, height = boxes[:, 2], boxes[:, 3]
    values = width * height if by == "size" else width / height
    return np.searchsorted(np.percentile(values[counts], PERCENTILES), values, side="left")


def mean_over_classes(sliced: dict[str, Slices], by: str = "size") -> Slices:
    """The mean of each slice over the classes that have it."""
    result: Slices = {}
    for part in (ALL, *SLICES[by]):
        own = [slices[part] for slices in sliced.values() if part in slices]
        if own:
            means = {name: float(np.mean([one[name] for one in own])) for name in own[0]}
            result[part] = {**means, "num_objects": sum(int(one["num_objects"]) for one in own)}
    return result


def _measure(
    matches: Matches, label: int, own: np.ndarray, wanted: np.ndarray, usual: float
) -> dict[str, float | int]:
    """One slice of one class: `own` are the objects of the class, `wanted` those of the slice."""
    rows = matches.rows["label"] == label
    place = np.append(np.full(len(matches.objects), -1), -1)
    place[own] = np.arange(len(own))
    best = place[matches.target[rows]]
    is_true, is_ignored = voc_match(matches.iou[rows], best, ~wanted, matches.iou_threshold)
    is_true = is_true[~is_ignored]
    recall, precision = precision_recall(is_true, int(wanted.sum()))
    num_true, num_false = recall * usual, np.cumsum(~is_true)
    total = num_true + num_false
    normalised = np.divide(num_true, total, out=np.zeros_like(total), where=total > 0)
    return {
        "num_objects": int(wanted.sum()),
        "AP": average_precision(recall, precision),
        "normalised_AP": average_precision(recall, normalised),
        "recall": float(recall[-1]) if len(recall) else 0.0,
    }
