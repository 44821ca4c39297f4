"""Average precision by size and by aspect ratio of the objects, as Fig. 4 of the SSD paper.

After Hoiem, Chodpathumwan, Dai: "Diagnosing Error in Object Detectors", ECCV 2012, section 3: the
objects of each class are cut at the 10th, 30th, 70th and 90th percentile of box area and of aspect
ratio (width / height).
"""

from collections.abc import Mapping

import numpy as np

from ssd_keras.evaluation.matches import Matches
from ssd_keras.evaluation.voc import average_precision, precision_recall, voc_match

PERCENTILES = (10, 30, 70, 90)
SLICES = {"size": ("XS", "S", "M", "L", "XL"), "aspect": ("XT", "T", "M", "W", "XW")}
"""Extra small to extra large; extra tall to extra wide."""

ALL = "all"
"""The slice of all objects of a class."""

Slices = dict[str, dict[str, float | int]]
"""By slice: "num_objects", "AP", "normalised_AP", "recall"."""


def sliced_average_precision(matches: Matches, by: str = "size") -> dict[str, Slices]:
    """Returns the average precision of every class for each fifth of its objects.

    For one slice the objects of the others count as difficult: they need not be found, and
    detections on them are ignored. False detections count in every slice, since they have no
    object that would say where they belong. A slice of few objects has therefore a low precision
    by its size alone; the normalised average precision corrects for that. It replaces the true
    detections at a recall R, which are R times the objects of the slice, by R times the mean
    number of objects of a class: P = R N / (R N + false detections).
    """
    if by not in SLICES:
        raise ValueError(f"by={by!r} is unknown; choose 'size' or 'aspect'.")
    num_objects = matches.num_objects
    mean_count = float(num_objects[num_objects > 0].mean()) if num_objects.any() else 0.0
    result = {}
    for label in np.flatnonzero(num_objects).tolist():
        objects = np.flatnonzero(matches.objects.labels == label)
        counts = ~matches.objects.is_ignored[objects]
        slice_index = slice_indices(matches.objects.boxes[objects], counts, by)
        parts = {ALL: counts}
        parts |= {part: counts & (slice_index == i) for i, part in enumerate(SLICES[by])}
        result[matches.data.class_names[label]] = {
            part: _slice_metrics(matches, label, objects, is_in_slice, mean_count)
            for part, is_in_slice in parts.items()
            if is_in_slice.any()
        }
    return result


def slice_indices(boxes: np.ndarray, counts: np.ndarray, by: str) -> np.ndarray:
    """Returns the slice of each xywh box of one class; percentiles are of those that count."""
    width, height = boxes[:, 2], boxes[:, 3]
    values = width * height if by == "size" else width / height
    return np.searchsorted(np.percentile(values[counts], PERCENTILES), values, side="left")


def mean_over_classes(sliced: Mapping[str, Slices], by: str = "size") -> Slices:
    """Returns the mean of each slice over the classes that have it; objects are summed."""
    result: Slices = {}
    for part in (ALL, *SLICES[by]):
        metrics = [slices[part] for slices in sliced.values() if part in slices]
        if metrics:
            means = {key: float(np.mean([m[key] for m in metrics])) for key in metrics[0]}
            result[part] = {**means, "num_objects": sum(int(m["num_objects"]) for m in metrics)}
    return result


def _slice_metrics(
    matches: Matches, label: int, objects: np.ndarray, is_in_slice: np.ndarray, mean_count: float
) -> dict[str, float | int]:
    """The metrics of one slice of a class; `objects` are the indices of the class's objects."""
    rows = matches.detections.labels == label
    position = np.full(len(matches.objects) + 1, -1)  # one element more, for the target -1
    position[objects] = np.arange(len(objects))
    best = position[matches.target[rows]]
    is_true, is_ignored = voc_match(matches.iou[rows], best, ~is_in_slice, matches.iou_threshold)
    is_true, num_objects = is_true[~is_ignored], int(is_in_slice.sum())
    recall, precision = precision_recall(is_true, num_objects)
    num_true, num_false = recall * mean_count, np.cumsum(~is_true)
    total = num_true + num_false
    normalised = np.divide(num_true, total, out=np.zeros_like(total), where=total > 0)
    return {
        "num_objects": num_objects,
        "AP": average_precision(recall, precision),
        "normalised_AP": average_precision(recall, normalised),
        "recall": float(recall[-1]) if len(recall) else 0.0,
    }
