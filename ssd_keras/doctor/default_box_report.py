"""How well a model's default boxes fit a data set, before and after fitting them to it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ssd_keras.boxes.default_box_grid import DefaultBoxGrid
from ssd_keras.core.terminal import shows_progress
from ssd_keras.core.text import short_list
from ssd_keras.data.splits import Split
from ssd_keras.doctor.class_table import MAX_NAME_LENGTH, shortened_name
from ssd_keras.doctor.default_box_fit import best_ious, fit_default_boxes, recipe_argument
from ssd_keras.doctor.default_box_recall import DefaultBoxIoUs, default_box_ious
from ssd_keras.doctor.object_boxes import ObjectBoxes
from ssd_keras.doctor.object_sizes import MIN_SIDE
from ssd_keras.doctor.small_objects import hard_objects, hard_shares, size_text

SIDE_EDGES = (16, 32, 64, 128)
MAX_ROWS = 10  # of classes, in each split
MAX_NAMES = 8  # in a line
SIZE_FACTORS, SIZE_STEP = (1.5, 2.0), 32
NOT_FITTED = "not fitted: the assigner needs no smallest IoU of default boxes and objects"
COLUMNS = ("objects", "unmatched", "reachable recall", "mean best IoU")


class Group(NamedTuple):
    """The objects of a class or a size, in a table of objects."""

    name: str
    mask: np.ndarray
    is_class: bool
    before: int  # unmatched objects
    after: int


class DefaultBoxReport(NamedTuple):
    """The default boxes of a model against each split, as they are and fitted to the first split.

    `fitted` is `grid` itself, and `after` is `before`, where no better boxes were found. `larger`
    are the default boxes of the same model with larger inputs.
    """

    name: str
    threshold: float
    grid: DefaultBoxGrid
    fitted: DefaultBoxGrid
    splits: Sequence[Split]
    objects: list[ObjectBoxes]
    before: list[DefaultBoxIoUs]
    after: list[DefaultBoxIoUs]
    larger: Sequence[DefaultBoxGrid] = ()

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

    @property
    def hard_objects(self) -> str:
        """What is hard to learn in the first split, "" where little is."""
        sides = self.objects[0].sides(self.grid.image_size)
        return hard_objects(self.before[0].best, sides, self.threshold)

    def __str__(self) -> str:
        lines = [
            f"default boxes of {self.name} ({len(self.grid.boxes())}, input "
            f"{size_text(self.grid)}), {self._rule}",
            _line("", COLUMNS) + (" (before -> after)" if self.is_fitted else ""),
        ]
        for index in range(len(self.splits)):
            lines += self._split_lines(index)
        if self.is_fitted:
            lines.append(f"  fitted to {self.splits[0].name} alone; to train with these boxes:")
            lines.append(f"  {recipe_argument(self.fitted)}")
            lines += self._lines_of_losses()
        else:
            lines.append("  no shapes fit better" if self.threshold else f"  {NOT_FITTED}")
        return "\n".join([*lines, *self._hint_lines()])

    @property
    def _rule(self) -> str:
        if not self.threshold:
            return "matched by an assigner without a threshold"
        return f"matched from an IoU of {self.threshold:g}"

    def _groups(self, index: int) -> list[Group]:
        """Returns the classes of a split, those of many unmatched objects first, and the sizes."""
        before, after = (each[index].best < self.threshold for each in (self.before, self.after))
        groups = [
            Group(name, mask, is_class, int(before[mask].sum()), int(after[mask].sum()))
            for name, mask, is_class in _masks(
                self.splits[index], self.objects[index], self.grid.image_size
            )
        ]
        return sorted(groups, key=lambda x: (-x.after, -x.before) if x.is_class else (1, 0))

    def _split_lines(self, index: int) -> list[str]:
        """Returns the rows of a split: all objects, the classes and sizes of unmatched ones."""
        ious = [self.before[index], self.after[index]][: 1 + self.is_fitted]
        every = np.ones(len(self.objects[index].labels), bool)
        lines = [_line(self.splits[index].name, self._cells(every, ious))]
        groups = self._groups(index)
        losing = [group for group in groups if group.before or group.after]
        classes = [group for group in losing if group.is_class]
        shown = [*classes[:MAX_ROWS], *(group for group in losing if not group.is_class)]
        lines += [_line(f"  {group.name}", self._cells(group.mask, ious)) for group in shown]
        if rest := classes[MAX_ROWS:]:
            counts = (str(sum(getattr(x, when) for x in rest)) for when in ("before", "after"))
            unmatched = " -> ".join(counts) if self.is_fitted else next(counts)
            lines.append(f"    ... and {len(rest)} classes more: {unmatched} unmatched")
        if whole := [group.name for group in groups if not group.before and not group.after]:
            lines.append(f"    nothing unmatched: {short_list(whole, MAX_NAMES)}")
        return lines

    def _lines_of_losses(self) -> list[str]:
        """Returns a line on the groups of which more objects are unmatched after the fit."""
        losses = [
            (
                group.after - group.before,
                f"{split.name} {group.name} {group.before} -> {group.after} of {group.mask.sum()}",
            )
            for index, split in enumerate(self.splits)
            for group in self._groups(index)
            if group.after > group.before
        ]
        texts = [text for _, text in sorted(losses, key=lambda loss: -loss[0])]
        if not texts:
            return []
        return [f"  but more are unmatched than before in: {short_list(texts, MAX_NAMES)}"]

    def _hint_lines(self) -> list[str]:
        """Returns what helps where many objects are hard to learn, with the figures of inputs."""
        if not self.hard_objects:
            return []
        fitted = "the fitted boxes, " if self.is_fitted else ""
        lines = [
            f"hint: of the objects of {self.splits[0].name} {self.hard_objects}; what helps: "
            f"{fitted}finer model.options.feature_layers, or a larger input:"
        ]
        for grid in self.larger:
            shares = (self._shares(index, grid) for index in range(len(self.splits)))
            size = ",".join(map(str, grid.image_size))
            lines.append(f"  model.options.image_size=[{size}]: {'; '.join(shares)}")
        return lines

    def _shares(self, index: int, grid: DefaultBoxGrid) -> str:
        objects = self.objects[index]
        best, sides = best_ious(objects, grid), objects.sides(grid.image_size)
        unmatched, small = hard_shares(best, sides, self.threshold)
        name = self.splits[index].name
        return f"{name} {unmatched:.0%} unmatched, {small:.0%} smaller than {MIN_SIDE:g} pixels"

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
    progress: bool | None = None,
) -> DefaultBoxReport:
    """Measures a model's default boxes, fits them to the first split and measures again.

    With a threshold of 0, for assigners that have none, they are not fitted.
    """
    progress = shows_progress(progress)
    tables = [ObjectBoxes.from_data(split.data) for split in splits]
    pairs = [(s, table) for s, table in zip(splits, tables, strict=True) if len(table.boxes)]
    if not pairs:
        raise ValueError("the data contain no objects to compare default boxes with")
    splits, objects = [split for split, _ in pairs], [table for _, table in pairs]
    fitted = fit_default_boxes(objects[0], grid, threshold, keep_ratios) if threshold else grid
    before = [default_box_ious(table, grid, progress) for table in objects]
    after = before
    if fitted != grid:
        after = [default_box_ious(table, fitted, progress) for table in objects]
    return DefaultBoxReport(name, threshold, grid, fitted, splits, objects, before, after)


def larger_sizes(image_size: tuple[int, int]) -> list[tuple[int, int]]:
    """Returns sizes one and two steps up: 1.5 and 2 times as high and wide, in steps of 32."""
    height, width = image_size
    return [(_rounded(height * factor), _rounded(width * factor)) for factor in SIZE_FACTORS]


def _rounded(side: float) -> int:
    return max(1, round(side / SIZE_STEP)) * SIZE_STEP


def _masks(
    split: Split, objects: ObjectBoxes, image_size: tuple[int, int]
) -> Iterator[tuple[str, np.ndarray, bool]]:
    """Yields name, mask and whether it is a class: the objects by class, then by size."""
    for label in np.unique(objects.labels):
        yield split.data.class_names[label], objects.labels == label, True
    bins = np.digitize(objects.sides(image_size), SIDE_EDGES)
    for index in np.unique(bins):
        low = SIDE_EDGES[index - 1] if index else 0
        high = f"to {SIDE_EDGES[index]}" if index < len(SIDE_EDGES) else "and more"
        yield f"{low} {high} pixels of the input", bins == index, False


def _line(name: str, cells: Sequence[str]) -> str:
    return f"  {shortened_name(name):{MAX_NAME_LENGTH + 2}}" + "".join(
        f"{cell:>19}" for cell in cells
    )
