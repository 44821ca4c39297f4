"""Differences of two detectors' average precisions, with bootstrap intervals over the images.

Efron, Tibshirani: "An Introduction to the Bootstrap", 1993, section 13.3: the images are drawn with
replacement, the same ones for both detectors; of the differences the middle 95 % are the interval.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from ssd_keras.core.progress import bar_options
from ssd_keras.core.text import short_list
from ssd_keras.data.records import DetectionData
from ssd_keras.evaluation.coco_matches import IOU_THRESHOLDS, SIZES, coco_matches
from ssd_keras.evaluation.detection_table import DetectionTable
from ssd_keras.evaluation.weighted_ap import weighted_average_precision

NUM_RESAMPLES = 1000
CONFIDENCE = 0.95
OF_CLASS = ("AP", "AP50")
"""Average precisions of a class."""

Samples = dict[str, np.ndarray]
"""Average precision by name, [1 + resamples], the first of the data as they are; NaN: none."""


def compare_detections(
    data: DetectionData,
    first: DetectionTable,
    second: DetectionTable,
    class_names: Collection[str] | None = None,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """Returns the differences of two tables of detections; see `ssd_keras.compare`.

    `class_names` are those of the data that are compared, by default all.
    """
    names = [name for name in data.class_names if class_names is None or name in class_names]
    weights = _weights(len(data), num_resamples, seed)
    total = 2 * len(names)
    with tqdm(total=total, desc="comparing", unit="class", **bar_options(progress)) as bar:
        all_a, classes_a = _samples(data, first, names, weights, bar)
        all_b, classes_b = _samples(data, second, names, weights, bar)
    overall = {key: _difference(all_a[key], all_b[key]) for key in all_a}
    classes = {
        name: {key: _difference(classes_a[name][key], classes_b[name][key]) for key in OF_CLASS}
        for name in names
    }
    return {
        "num_images": len(data),
        "num_resamples": num_resamples,
        "seed": seed,
        "confidence": CONFIDENCE,
        "left_out": [name for name in data.class_names if name not in names],
        "all": overall,
        "classes": classes,
    }


def _weights(num_images: int, num_resamples: int, seed: int) -> np.ndarray:
    """Returns how often each image is drawn, [images, 1 + resamples]; first, once each."""
    shares = np.full(num_images, 1 / num_images)
    drawn = np.random.default_rng(seed).multinomial(num_images, shares, num_resamples)
    return np.vstack([np.ones((1, num_images), int), drawn]).T.astype(np.float32)


def _samples(
    data: DetectionData, table: DetectionTable, names: Sequence[str], weights: np.ndarray, bar: tqdm
) -> tuple[Samples, dict[str, Samples]]:
    """Returns the average precisions over the classes, and those of each class."""
    means, at50, at75 = [], [], []
    for name, matches in zip(data.class_names, coco_matches(data, table), strict=True):
        if name not in names:
            continue
        values = weighted_average_precision(matches, weights)
        means.append(values.mean(axis=0))
        at50.append(values[0, 0])
        at75.append(values[IOU_THRESHOLDS.tolist().index(0.75), 0])
        bar.update()
    by_size = _mean(np.array(means))
    sizes = {f"AP_{name}": values for name, values in zip(SIZES, by_size, strict=True)}
    overall = {"AP": sizes.pop("AP_all"), "AP50": _mean(np.array(at50))}
    classes = {
        name: {"AP": mean[0], "AP50": half}
        for name, mean, half in zip(names, means, at50, strict=True)
    }
    return {**overall, "AP75": _mean(np.array(at75)), **sizes}, classes


def _mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean over the first axis of the values that there are, NaN of none."""
    is_known = ~np.isnan(values)
    count = is_known.sum(axis=0)
    total = np.where(is_known, values, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _difference(first: np.ndarray, second: np.ndarray) -> dict[str, float | None]:
    """Returns both values, second - first, and the interval of that, None without objects."""
    differences = second - first
    drawn = differences[1:][~np.isnan(differences[1:])]
    low = high = None
    if len(drawn) and not np.isnan(differences[0]):
        outside = 100 * (1 - CONFIDENCE) / 2
        low, high = np.percentile(drawn, [outside, 100 - outside]).tolist()
    numbers = {"first": first[0], "second": second[0], "difference": differences[0]}
    known = {key: None if np.isnan(value) else float(value) for key, value in numbers.items()}
    return {**known, "low": low, "high": high}


def comparison_table(comparison: Mapping[str, Any]) -> str:
    """Returns the differences as a plain-text table, in percent."""
    rows = {**comparison["all"]}
    for name, row in comparison["classes"].items():
        if row["AP"]["first"] is not None:
            rows[f"AP of {name}"] = row["AP"]
    width = max(map(len, rows))
    head = ("first", "second", "difference", "interval")
    lines = [
        f"{comparison['num_images']} images; numbers in percent; intervals of "
        f"{100 * comparison['confidence']:g} % from {comparison['num_resamples']} resamples of "
        "the images",
        f"{'':<{width}}{head[0]:>9}{head[1]:>9}{head[2]:>12}{head[3]:>18}",
    ]
    for name, row in rows.items():
        first, second, difference, low, high = (
            "-" if value is None else f"{100 * value:.2f}" for value in row.values()
        )
        interval = f"{low} to {high}"
        line = f"{name:<{width}}{first:>9}{second:>9}{difference:>12}{interval:>18}"
        lines.append(f"{line}  {verdict(row)}".rstrip())
    if comparison["left_out"]:
        lines.append(
            "not compared, because not both detectors know them: "
            f"{short_list(comparison['left_out'])}"
        )
    return "\n".join(lines)


def verdict(row: Mapping[str, float | None]) -> str:
    """Returns "better" or "worse", for the second detector, where the interval excludes 0."""
    low, high = row["low"], row["high"]
    if low is None or high is None or low <= 0 <= high:
        return ""
    return "better" if low > 0 else "worse"
