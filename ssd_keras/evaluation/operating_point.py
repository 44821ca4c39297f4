"""Precision, recall and counts at one score threshold for each class, and the best thresholds.

A threshold only cuts the list of a class, which is matched by falling score: what is true at a
threshold is what was true among all detections.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ssd_keras.core.class_names import labels_by_name
from ssd_keras.core.display_thresholds import DEFAULT, DisplayThreshold
from ssd_keras.core.text import short_list
from ssd_keras.evaluation.confusion import confusion_matrix
from ssd_keras.evaluation.matches import Matches
from ssd_keras.evaluation.precision_recall_curves import (
    PrecisionRecallCurve,
    all_classes_curve,
    best_f1,
    class_curves,
)

BEST = "best"
MIN_OBJECTS = 10
"""A class of fewer objects takes the threshold of all classes together."""

COUNTS = ("true_positives", "false_positives", "missed")
MAX_CONFUSIONS = 5
MAX_DIGITS = 8  # of a threshold, unless two scores lie nearer to each other
OPTIMISTIC = (
    "the thresholds were chosen on these data: their precision, recall and F1 are optimistic; "
    "measure them on other data"
)


def operating_point(
    matches: Matches,
    score_threshold: DisplayThreshold | str = DEFAULT,
    class_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Returns precision, recall, F1, counts and confusion from a score on; see `evaluate`.

    The thresholds are by label of the detector's `class_names`, by default those of the data.
    """
    data_names = matches.data.class_names
    names = data_names if class_names is None else tuple(class_names)
    in_data = [labels_by_name(data_names).get(name, -1) for name in names]
    chosen: dict[str, Any] = {}
    if isinstance(score_threshold, str):
        by_label, common, pooled = best_thresholds(matches)
        thresholds = [by_label[label] if label >= 0 else common for label in in_data]
        chosen = {"common_threshold": common, "common_classes": pooled, "warning": OPTIMISTIC}
    else:
        thresholds = np.broadcast_to(score_threshold, len(names)).tolist()
        by_label = np.full(len(data_names), DEFAULT)
        for label, threshold in zip(in_data, thresholds, strict=True):
            if label >= 0:
                by_label[label] = threshold
    is_kept = matches.reaches(by_label)
    found, false = (
        np.bincount(matches.detections.labels[is_kept & kind], minlength=len(data_names))
        for kind in (matches.is_true, matches.is_false)
    )
    num_objects = matches.num_objects
    rows = zip(data_names, by_label.tolist(), found, false, num_objects, strict=True)
    return {
        "iou_threshold": matches.iou_threshold,
        "thresholds": dict(zip(names, thresholds, strict=True)),
        **chosen,
        "all": _rates(int(found.sum()), int(false.sum()), int(num_objects.sum())),
        "classes": {
            name: {"threshold": threshold, **_rates(*map(int, counts))}
            for name, threshold, *counts in rows
        },
        "confusion": {
            "rows": [*data_names, "background"],
            "columns": [*data_names, "missed"],
            "counts": confusion_matrix(matches, by_label).tolist(),
        },
    }


def best_thresholds(matches: Matches) -> tuple[np.ndarray, float, list[str]]:
    """Returns the threshold of the largest F1 by label, that of all classes, and who takes it.

    Of several with the largest F1 it is the highest, in the middle between two scores. Classes of
    fewer than `MIN_OBJECTS` objects, and those of which nothing is found, take the common one.
    """
    best_of_all = _best_threshold(all_classes_curve(matches))
    common = DEFAULT if best_of_all is None else best_of_all
    thresholds, pooled = [], []
    for name, curve in zip(matches.data.class_names, class_curves(matches), strict=True):
        own = _best_threshold(curve) if curve.num_objects >= MIN_OBJECTS else None
        pooled += [name] if own is None else []
        thresholds.append(common if own is None else own)
    return np.array(thresholds, float), common, pooled


def _best_threshold(curve: PrecisionRecallCurve) -> float | None:
    best = best_f1(curve)
    if not best or best["F1"] == 0:
        return None
    lower = curve.scores[curve.scores < best["score"]]
    return _between(float(lower[0]) if len(lower) else 0.0, best["score"])


def _between(low: float, high: float) -> float:
    """Returns a short number above `low`, at most `high`; also in the scores' float32."""
    for digits in range(2, MAX_DIGITS + 1):
        value = round((low + high) / 2, digits)
        if all(low < each <= high for each in (value, float(np.float32(value)))):
            return value
    return high


def _rates(found: int, false: int, num_objects: int) -> dict[str, float | int | None]:
    missed = num_objects - found
    return {
        "precision": _share(found, found + false),
        "recall": _share(found, num_objects),
        "F1": _share(2 * found, 2 * found + false + missed),
        "true_positives": found,
        "false_positives": false,
        "missed": missed,
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def operating_point_line(point: Mapping[str, Any]) -> str:
    """Returns one line with the numbers of all classes together."""
    values = sorted(set(point["thresholds"].values()))
    scores = f"{values[0]:.4g}" + (f" to {values[-1]:.4g}, by class," if len(values) > 1 else "")
    numbers = point["all"]
    rates = ", ".join(f"{k} {_percent(numbers[k])}" for k in ("precision", "recall", "F1"))
    return (
        f"from a score of {scores} on: {rates}; {numbers['true_positives']} true, "
        f"{numbers['false_positives']} false, {numbers['missed']} missed"
    )


def operating_point_table(point: Mapping[str, Any]) -> str:
    """Returns the numbers by class as a plain-text table, and the most frequent confusions."""
    rows = {
        name: values
        for name, values in point["classes"].items()
        if any(values[key] for key in COUNTS)
    }
    width = max(len("operating point"), *map(len, rows), 0)
    head = ("score from", "precision", "recall", "F1", "true", "false", "missed")
    lines = [f"{'operating point':<{width}}" + "".join(f"{text:>11}" for text in head)]
    for name, values in [*rows.items(), ("all", point["all"])]:
        cells = [f"{values['threshold']:.4g}" if "threshold" in values else ""]
        cells += [_percent(values[key]) for key in ("precision", "recall", "F1")]
        cells += [str(values[key]) for key in COUNTS]
        lines.append(f"{name:<{width}}" + "".join(f"{text:>11}" for text in cells))
    if confusions := _confusions(point["confusion"]):
        lines.append(f"most confused: {', '.join(confusions)}")
    if point.get("common_classes"):
        lines.append(
            f"{point['common_threshold']:.4g}, the best for all together, is used for classes of "
            f"fewer than {MIN_OBJECTS} objects or without detections: "
            f"{short_list(point['common_classes'])}"
        )
    if "warning" in point:
        lines.append(point["warning"])
    return "\n".join(lines)


def _confusions(confusion: Mapping[str, Any]) -> list[str]:
    """Returns the most frequent pairs of an annotated and a detected class."""
    names, counts = confusion["rows"][:-1], np.array(confusion["counts"])[:-1, :-1]
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:MAX_CONFUSIONS]
    pairs = [divmod(index, len(names)) for index in order.tolist()]
    return [f"{counts[a, b]} {names[a]} as {names[b]}" for a, b in pairs if counts[a, b]]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
