"""How well a model's default boxes suit a data set, before and after fitting them to it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ssd_keras.data.splits import Split
from ssd_keras.doctor.default_box_fit import LOYALTY, OBJECTIVE, fit_default_boxes, recipe_words
from ssd_keras.doctor.default_box_grid import DefaultBoxGrid, Objects, objects_of
from ssd_keras.doctor.default_box_recall import BestIoUs, measure_best_ious
from ssd_keras.doctor.small_objects import describe_lost

SIDE_EDGES = (16, 32, 64, 128)
MOST_CLASSES = 30


class BoxCheck(NamedTuple):
    """The default boxes of a model on each split, as they are and fitted to the first split.

    `fitted` is `layout` itself where no better boxes were found.
    """

    name: str
    threshold: float
    layout: DefaultBoxGrid
    fitted: DefaultBoxGrid
    splits: Sequence[Split]
    objects: list[Objects]
    before: list[BestIoUs]
    after: list[BestIoUs]


def check_boxes(
    splits: Sequence[Split],
    layout: DefaultBoxGrid,
    name: str,
    threshold: float = 0.5,
    keep_ratios: bool = False,
    progress: bool = False,
) -> BoxCheck:
    """Measures a model's default boxes, fits them to the first split and measures again."""
    objects = [objects_of(split.data) for split in splits]
    pairs = [(s, o) for s, o in zip(splits, objects, strict=True) if len(o.boxes)]
    if not pairs:
        raise ValueError("the data have no object; expected some to lay default boxes over")
    kept, objects = [split for split, _ in pairs], [own for _, own in pairs]
    fitted = fit_default_boxes(objects[0], layout, threshold, keep_ratios)
    before = [measure_best_ious(own, layout, progress) for own in objects]
    after = before
    if fitted != layout:
        after = [measure_best_ious(own, fitted, progress) for own in objects]
    return BoxCheck(name, threshold, layout, fitted, kept, objects, before, after)


def describe_boxes(check: BoxCheck) -> str:
    """The check as tables, and the fitted boxes as words for `ssd-keras train`."""
    height, width = check.layout.image_size
    count = len(check.layout.boxes())
    lines = [
        f"default boxes of {check.name} ({count}, input {height}x{width}), "
        f"matched from an overlap of {check.threshold:g}"
    ]
    is_fitted = check.fitted != check.layout
    lines.append(_title("", is_fitted))
    for split, own, *overlaps in zip(
        check.splits, check.objects, check.before, check.after, strict=True
    ):
        everything = np.ones(len(own.labels), bool)
        lines.append(_row(split.name, everything, overlaps, check.threshold, is_fitted))
        for name, chosen in _groups(split, own, check.layout.image_size):
            lines.append(_row(f"  {name}", chosen, overlaps, check.threshold, is_fitted))
    if is_fitted:
        objective = OBJECTIVE.format(threshold=check.threshold, loyalty=LOYALTY)
        lines += [
            f"  fitted to {check.splits[0].name}, all others are unseen; objective: {objective}",
            "  to train with the fitted boxes:",
            f"  {recipe_words(check.fitted, check.layout)}",
        ]
    else:
        lines.append("  no sizes or ratios were found that fit better")
    sides = check.objects[0].sides(check.layout.image_size)
    hint = describe_lost(check.before[0].best, sides, check.threshold, check.layout.image_size)
    return "\n".join([*lines, hint] if hint else lines)


def unmatched(check: BoxCheck, split: int = 0) -> list[tuple[int, int, float]]:
    """The objects that no default box matches, the worst first."""
    own, best = check.objects[split], check.before[split].best
    rows = np.flatnonzero(best < check.threshold)
    rows = rows[np.argsort(best[rows], kind="stable")]
    return [(int(own.images[row]), int(own.rows[row]), float(best[row])) for row in rows]


def _groups(
    split: Split, own: Objects, image_size: tuple[int, int]
) -> Iterator[tuple[str, np.ndarray]]:
    """Names and masks of the objects by class, the most frequent first, then by size."""
    counts = np.bincount(own.labels, minlength=len(split.data.class_names))
    for label in np.argsort(-counts, kind="stable")[:MOST_CLASSES]:
        if counts[label]:
            yield split.data.class_names[label], own.labels == label
    bins = np.digitize(own.sides(image_size), SIDE_EDGES)
    for index in range(len(SIDE_EDGES) + 1):
        low = f"{SIDE_EDGES[index - 1]}" if index else "0"
        high = f" to {SIDE_EDGES[index]}" if index < len(SIDE_EDGES) else " and more"
        if (bins == index).any():
            yield f"{low}{high} pixels of the input", bins == index


def _title(name: str, is_fitted: bool) -> str:
    columns = ["objects", "unmatched", "reachable recall", "mean best overlap"]
    title = f"  {name:32}" + "".join(f"{column:>19}" for column in columns)
    return title + (" (before -> after)" if is_fitted else "")


def _row(
    name: str, chosen: np.ndarray, overlaps: list[BestIoUs], threshold: float, is_fitted: bool
) -> str:
    measured = [BestIoUs(each.best[chosen], each.own[chosen]) for each in overlaps]
    measured = measured if is_fitted else measured[:1]
    cells = [
        f"{chosen.sum()}",
        " -> ".join(f"{np.sum(each.best < threshold)}" for each in measured),
        " -> ".join(f"{each.reachable_recall(threshold):.3f}" for each in measured),
        " -> ".join(f"{each.best.mean():.3f}" for each in measured),
    ]
    return f"  {name:32}" + "".join(f"{cell:>19}" for cell in cells)
