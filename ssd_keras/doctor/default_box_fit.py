"""Fits sizes and aspect ratios of default boxes to the objects of a data set.

The number of boxes per cell stays, so that the model costs as much as before.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from ssd_keras.boxes.default_box_grid import DefaultBoxGrid
from ssd_keras.boxes.iou import pairwise_iou
from ssd_keras.doctor.object_boxes import ObjectBoxes

# What a mean change by a factor of e costs. Augmentation makes other sizes than the data have, so
# boxes that gain nothing stay as they are.
CHANGE_PENALTY = 0.01
OBJECTIVE = (
    "the mean of the share of matched objects (IoU {threshold:g}) and of their best IoU, with "
    f"equal weight per class, minus {CHANGE_PENALTY:g} times the mean change of log(size or ratio)"
)
MAX_OBJECTS = 4000  # a larger sample does not change the fit; this one takes less than a minute
SEARCH_STEPS = (0.3, 0.12, 0.05, 0.02)  # in log(size or ratio): from 35 % down to 2 %
MAX_PASSES = 6
MIN_SIZE = 4.0
MIN_RATIO, MAX_RATIO = 1.15, 6.0
MIN_GROWTH = 1.02  # from one map's size to the next


def best_ious(objects: ObjectBoxes, grid: DefaultBoxGrid) -> np.ndarray:
    """Returns the largest IoU of each object with any default box, [n]."""
    return _Fit(objects, grid).best_ious(grid)


def fit_default_boxes(
    objects: ObjectBoxes,
    grid: DefaultBoxGrid,
    threshold: float = 0.5,
    keep_ratios: bool = False,
    seed: int = 0,
) -> DefaultBoxGrid:
    """Returns default boxes that fit the objects better (see `OBJECTIVE`), or `grid` itself."""
    fit = _Fit(sample_objects(objects, seed), grid, threshold, keep_ratios)
    best = max(map(fit.pattern_search, fit.starting_points()), key=fit.score)
    rounded = _rounded(best, grid)
    return rounded if fit.score(rounded) > fit.score(grid) else grid


def sample_objects(
    objects: ObjectBoxes, seed: int = 0, max_objects: int = MAX_OBJECTS
) -> ObjectBoxes:
    """Draws at most `max_objects` objects without replacement; they keep their order."""
    if len(objects.boxes) <= max_objects:
        return objects
    rng = np.random.default_rng(seed)
    return objects.take(np.sort(rng.choice(len(objects.boxes), max_objects, replace=False)))


def recipe_options(fitted: DefaultBoxGrid, grid: DefaultBoxGrid) -> dict[str, Any]:
    """Returns the changed sizes and ratios as `model_options` of a recipe."""
    new, old = fitted.default_boxes, grid.default_boxes
    names = ("sizes", "aspect_ratios")
    return {name: getattr(new, name) for name in names if getattr(new, name) != getattr(old, name)}


def recipe_arguments(fitted: DefaultBoxGrid, grid: DefaultBoxGrid) -> str:
    """Returns the changed sizes and ratios as arguments of `ssd-keras train`."""
    return " ".join(
        f"--set 'model_options.{name}={json.dumps(value)}'"
        for name, value in recipe_options(fitted, grid).items()
    )


class _Fit:
    """The objects and their distances from cell centres, which are the same for all shapes."""

    def __init__(
        self,
        objects: ObjectBoxes,
        grid: DefaultBoxGrid,
        threshold: float = 0.5,
        keep_ratios: bool = False,
    ) -> None:
        self.grid, self.threshold = grid, threshold
        self.shapes = objects.boxes[:, 2:] - objects.boxes[:, :2]
        center = (objects.boxes[:, 2:] + objects.boxes[:, :2]) / 2
        # In a grid of equal boxes, the one with the nearest centre has the largest IoU; so each
        # object is compared with one cell of each map.
        distances = [
            np.stack([_distances(center[:, 0], y), _distances(center[:, 1], x)], axis=-1)
            for y, x in grid.cell_centers()
        ]
        # For each map the objects relative to that centre. Fortran order keeps edges contiguous.
        self.boxes_from_center = [
            np.asfortranarray(np.hstack([each - self.shapes / 2, each + self.shapes / 2]))
            for each in distances
        ]
        self.parameters = _log_parameters(grid)
        self.num_sizes = len(grid.default_boxes.sizes)
        self.num_searched = self.num_sizes if keep_ratios else len(self.parameters)
        counts = np.bincount(objects.labels)
        self.weights = 1.0 / (counts[objects.labels] * np.count_nonzero(counts))

    def best_ious(self, grid: DefaultBoxGrid) -> np.ndarray:
        shapes = zip(grid.cell_shapes(), self.boxes_from_center, strict=True)
        ious = [pairwise_iou(np.hstack([-cell / 2, cell / 2]), boxes) for cell, boxes in shapes]
        return np.concatenate(ious).max(axis=0)

    def score(self, grid: DefaultBoxGrid) -> float:
        best = self.best_ious(grid)
        fit = float(self.weights @ ((best >= self.threshold) + best)) / 2
        changes = np.abs(_log_parameters(grid) - self.parameters)
        return fit - CHANGE_PENALTY * float(changes.mean())

    def starting_points(self) -> Iterator[DefaultBoxGrid]:
        """Yields the present boxes, and two choices of sizes that follow those of the objects."""
        yield self.grid
        sides = np.sqrt(np.prod(self.shapes * np.asarray(self.grid.image_size), axis=-1))
        order = np.argsort(sides)
        cumulated = np.cumsum(self.weights[order])
        shares = np.linspace(0.05, 0.95, self.num_sizes)
        quantiles = np.interp(shares, cumulated / cumulated[-1], sides[order])
        log_ratios = self.parameters[self.num_sizes :]
        for sizes in (quantiles, np.geomspace(quantiles[0], quantiles[-1] * 1.3, self.num_sizes)):
            yield _with_parameters(self.grid, np.concatenate([np.log(sizes), log_ratios]))

    def pattern_search(self, start: DefaultBoxGrid) -> DefaultBoxGrid:
        """Tries each number larger and smaller, in steps that get finer, and keeps what helps."""
        best, best_score = start, self.score(start)
        for step in SEARCH_STEPS:
            for _ in range(MAX_PASSES):
                score_before = best_score
                for index in range(self.num_searched):
                    for change in (step, -step):
                        parameters = _log_parameters(best)
                        parameters[index] += change
                        candidate = _with_parameters(best, parameters)
                        score = self.score(candidate)
                        if score > best_score:
                            best, best_score = candidate, score
                            break
                if best_score - score_before < 1e-5:
                    break
        return best


def _distances(values: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Returns the distance of each value to the nearest of the rising centres."""
    right = np.clip(np.searchsorted(centers, values), 0, len(centers) - 1)
    left = np.maximum(right - 1, 0)
    return np.minimum(np.abs(values - centers[left]), np.abs(values - centers[right]))


def _log_parameters(grid: DefaultBoxGrid) -> np.ndarray:
    """Returns the logarithms of the sizes, followed by those of all maps' ratios."""
    ratios = [ratio for per_map in grid.default_boxes.aspect_ratios for ratio in per_map]
    return np.log(np.array([*grid.default_boxes.sizes, *ratios], np.float64))


def _with_parameters(grid: DefaultBoxGrid, log_parameters: np.ndarray) -> DefaultBoxGrid:
    """Returns the grid with other numbers, within their bounds; sizes rise from map to map."""
    old = grid.default_boxes
    sizes, ratios = np.split(np.exp(log_parameters), [len(old.sizes)])
    sizes = np.clip(sizes, MIN_SIZE, 1.1 * max(grid.image_size))
    for index in range(1, len(sizes)):
        sizes[index] = max(sizes[index], MIN_GROWTH * sizes[index - 1])
    ratios = np.clip(ratios, MIN_RATIO, MAX_RATIO)
    ends = np.cumsum([len(per_map) for per_map in old.aspect_ratios])[:-1]
    groups = tuple(tuple(sorted(per_map.tolist())) for per_map in np.split(ratios, ends))
    return _replace(grid, tuple(sizes.tolist()), groups)


def _replace(
    grid: DefaultBoxGrid, sizes: tuple[float, ...], ratios: tuple[tuple[float, ...], ...]
) -> DefaultBoxGrid:
    old = grid.default_boxes
    # A first map's only square grows with it, as in `with_classes`.
    square = old.first_square and old.first_square * sizes[0] / old.sizes[0]
    new = dataclasses.replace(old, sizes=sizes, aspect_ratios=ratios, first_square=square)
    return grid._replace(default_boxes=new)


def _rounded(grid: DefaultBoxGrid, original: DefaultBoxGrid) -> DefaultBoxGrid:
    """Returns the grid with few digits; numbers that did not change keep theirs."""

    def shorten(values: Sequence[float], before: Sequence[float], digits: int) -> tuple[float, ...]:
        pairs = zip(values, before, strict=True)
        return tuple(b if math.isclose(a, b, rel_tol=1e-6) else round(a, digits) for a, b in pairs)

    new, old = grid.default_boxes, original.default_boxes
    ratios = tuple(map(shorten, new.aspect_ratios, old.aspect_ratios, repeat(2)))
    return _replace(grid, shorten(new.sizes, old.sizes, 1), ratios)
