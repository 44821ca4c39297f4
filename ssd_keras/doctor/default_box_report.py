"""How well a model's default boxes fit a data set, before and after fitting them to it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ssd_keras.boxes.default_box_grid import DefaultBoxGrid
from ssd_keras.data.splits import Split
from ssd_keras.doctor.default_box_fit import OBJECTIVE, fit_default_boxes, recipe_argument
from ssd_keras.doctor.default_box_recall import DefaultBoxIoUs, default_box_ious
from ssd_keras.doctor.object_boxes import ObjectBoxes
from ssd_keras.doctor.small_objects import hard_objects_hint

SIDE_EDGES = (16, 32, 64, 128)
MAX_CLASSES = 30
COLUMNS = ("objects", "unmatched", "reachable recall", "mean best IoU")


class DefaultBoxReport(NamedTuple):
    """The default boxes of a model against each split, as they are and fitted to the first split.

    `fitted` is `grid` itself, and `after` is `before`, where no better boxes were found.
    """

    name: str
    threshold: float
    grid: DefaultBoxGrid
    fitted: DefaultBoxGrid
    splits: Sequence[Split]
    objects: list[ObjectBoxes]
    before: list[DefaultBoxIoUs]
    after: list[DefaultBoxIoUs]

    @property
    def is_fitted(self) -> bool:
        return self.fitted != self.grid

    def unmatched(self) -> list[tuple[int, int, float]]:
        """Returns (example index, object index, best IoU) of the first split's unmatched objects.

        The object with the lowest IoU comes first.
        """
        objects, best = self.objects[0], self.before[0].best
        rows = np.flatnonzero(best < self.threshold)
        rows = rows[np.argsort(best[rows], kind="stable")]
        columns = (objects.example_indices, objects.object_indices, best)
        return list(zip(*(column[rows].tolist() for column in columns), strict=True))

    def __str__(self) -> str:
        height, width = self.grid.image_size
        lines = [
            f"default boxes of {self.name} ({len(self.grid.boxes())}, input {height}x{width}), "
            f"matched from an IoU of {self.threshold:g}",
            _line("", COLUMNS) + (" (before -> after)" if self.is_fitted else ""),
        ]
        for split, objects, *ious in zip(
            self.splits, self.objects, self.before, self.after, strict=True
        ):
            for name, mask in _groups(split, objects, self.grid.image_size):
                lines.append(_line(name, self._cells(mask, ious[: 1 + self.is_fitted])))
        if self.is_fitted:
            objective = OBJECTIVE.format(threshold=self.threshold)
            lines += [
                f"  fitted to {self.splits[0].name} alone; objective: {objective}",
                "  to train with the fitted boxes:",
                f"  {recipe_argument(self.fitted)}",
            ]
        else:
            lines.append("  no shapes fit better")
        sides, size = self.objects[0].sides(self.grid.image_size), self.grid.image_size
        hint = hard_objects_hint(self.before[0].best, sides, self.threshold, size)
        return "\n".join([*lines, hint] if hint else lines)

    def _cells(self, mask: np.ndarray, ious: Sequence[DefaultBoxIoUs]) -> list[str]:
        """Returns the columns of a group of objects; `ious` before, and after if fitted."""
        chosen = [DefaultBoxIoUs(each.best[mask], each.claimed[mask]) for each in ious]
        return [
            f"{mask.sum()}",
            " -> ".join(f"{np.sum(each.best < self.threshold)}" for each in chosen),
            " -> ".join(f"{each.reachable_recall(self.threshold):.3f}" for each in chosen),
            " -> ".join(f"{each.best.mean():.3f}" for each in chosen),
        ]


def check_default_boxes(
    splits: Sequence[Split],
    grid: DefaultBoxGrid,
    name: str,
    threshold: float = 0.5,
    keep_ratios: bool = False,
    progress: bool = False,
) -> DefaultBoxReport:
    """Measures a model's default boxes, fits them to the first split and measures again."""
    tables = [ObjectBoxes.from_data(split.data) for split in splits]
    pairs = [(s, table) for s, table in zip(splits, tables, strict=True) if len(table.boxes)]
    if not pairs:
        raise ValueError("the data contain no objects to compare default boxes with")
    splits, objects = [split for split, _ in pairs], [table for _, table in pairs]
    fitted = fit_default_boxes(objects[0], grid, threshold, keep_ratios)
    before = [default_box_ious(table, grid, progress) for table in objects]
    after = before
    if fitted != grid:
        after = [default_box_ious(table, fitted, progress) for table in objects]
    return DefaultBoxReport(name, threshold, grid, fitted, splits, objects, before, after)


def _groups(
    split: Split, objects: ObjectBoxes, image_size: tuple[int, int]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields names and masks: all objects, by class (the most frequent first), by size."""
    yield split.name, np.ones(len(objects.labels), bool)
    counts = np.bincount(objects.labels, minlength=len(split.data.class_names))
    for label in np.argsort(-counts, kind="stable")[:MAX_CLASSES]:
        if counts[label]:
            yield f"  {split.data.class_names[label]}", objects.labels == label
    bins = np.digitize(objects.sides(image_size), SIDE_EDGES)
    for index in np.unique(bins):
        low = SIDE_EDGES[index - 1] if index else 0
        high = f"to {SIDE_EDGES[index]}" if index < len(SIDE_EDGES) else "and more"
        yield f"  {low} {high} pixels of the input", bins == index


def _line(name: str, cells: Sequence[str]) -> str:
    return f"  {name:32}" + "".join(f"{cell:>19}" for cell in cells)
