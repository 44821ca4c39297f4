"""Fits the shapes of default boxes to the objects of a data set.

The number of boxes per cell stays, so that the model costs as much as before; a wide box and the
tall one of the same sides stay a pair.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence

import numpy as np

from ssd_keras.boxes.default_box_grid import DefaultBoxGrid
from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.boxes.iou import pairwise_iou
from ssd_keras.doctor.object_boxes import ObjectBoxes

# What a mean change by a factor of e costs. Augmentation makes other sizes than the data have, so
# boxes that gain nothing stay as they are.
CHANGE_PENALTY = 0.01
# An object is matched as far as it is at these scales, because other images and augmentation show
# other sizes.
SCALES = (1.0, 0.8, 1.25)
MAX_OBJECTS = 4000  # a larger sample does not change the fit; this one takes less than a minute
SEARCH_STEPS = (0.3, 0.12, 0.05, 0.02)  # in log(size or ratio): from 35 % down to 2 %
MAX_PASSES = 6
MIN_SIZE = 4.0
MIN_RATIO, MAX_RATIO = 1.15, 6.0
MAX_SPREAD = 2.0  # of a group of boxes from its map's size
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
    """Returns default boxes that fit the objects better, or `grid` itself.

    Better is the mean of the share of matched objects and of their best IoU, with equal weight for
    each class, minus a penalty on the mean change of the logarithms of sizes and ratios.
    """
    fit = _Fit(sample_objects(objects, seed), grid, threshold, keep_ratios, SCALES)
    best = max(map(fit.pattern_search, fit.starting_points()), key=fit.score)
    return grid if np.array_equal(best, fit.parameters.start) else fit.changed_grid(best)


def sample_objects(
    objects: ObjectBoxes, seed: int = 0, max_objects: int = MAX_OBJECTS
) -> ObjectBoxes:
    """Draws at most `max_objects` objects without replacement; they keep their order."""
    if len(objects.boxes) <= max_objects:
        return objects
    rng = np.random.default_rng(seed)
    return objects.take(np.sort(rng.choice(len(objects.boxes), max_objects, replace=False)))


def recipe_argument(fitted: DefaultBoxGrid) -> str:
    """Returns the shapes as an argument of `ssd-keras train`."""
    return f"--set 'model.options.shapes={json.dumps(fitted.default_boxes.shapes)}'"


class _ShapeParameters:
    """Logarithms that describe shapes: sizes of maps, sizes of groups in them, aspect ratios.

    A wide box and the tall one of the same sides are a group; other boxes are groups alone.
    """

    def __init__(self, default_boxes: DefaultBoxes, keep_ratios: bool) -> None:
        counts = default_boxes.boxes_per_cell
        map_index, self.ends = np.repeat(np.arange(len(counts)), counts), np.cumsum(counts)[:-1]
        self.log_shapes = np.log(np.concatenate(default_boxes.shapes))
        sides = np.sort(self.log_shapes).round(6)
        keys = [(index, *pair) for index, pair in zip(map_index, sides.tolist(), strict=True)]
        groups = np.array([[key == group for key in keys] for group in dict.fromkeys(keys)])
        log_ratios = np.diff(sides)[groups.argmax(axis=1), 0]
        has_ratio = (log_ratios > 0) & (not keep_ratios)
        in_map = map_index == np.arange(len(counts))[:, None]
        self.sections = np.cumsum([len(in_map), len(groups)])
        self.start = np.concatenate(
            [
                [self.log_shapes[boxes].mean() for boxes in in_map],
                np.zeros(len(groups)),
                log_ratios[has_ratio],
            ]
        )
        # What a parameter adds to each height and width, [parameters, boxes, 2].
        stretch = np.sign(np.diff(self.log_shapes)) / 2 * [-1, 1]
        self.directions = np.concatenate(
            [
                np.stack([in_map, in_map], axis=-1),
                np.stack([groups, groups], axis=-1),
                groups[has_ratio, :, None] * stretch,
            ]
        )

    def shapes(self, parameters: np.ndarray) -> list[np.ndarray]:
        """Returns the shapes of each map, rounded to tenths of a pixel."""
        changes = np.tensordot(parameters - self.start, self.directions, 1)
        return np.split(np.exp(self.log_shapes + changes).round(1), self.ends)

    def bounded(self, parameters: np.ndarray, largest_size: float) -> np.ndarray:
        """Returns the nearest parameters within their bounds; sizes rise from map to map."""
        sizes, factors, ratios = np.split(parameters, self.sections)
        sizes = np.clip(sizes, math.log(MIN_SIZE), math.log(largest_size))
        least_growth = math.log(MIN_GROWTH) * np.arange(len(sizes))
        sizes = np.maximum.accumulate(sizes - least_growth) + least_growth
        spread = math.log(MAX_SPREAD)
        factors = np.clip(factors, -spread, spread)
        ratios = np.clip(ratios, math.log(MIN_RATIO), math.log(MAX_RATIO))
        return np.concatenate([sizes, factors, ratios])


class _Fit:
    """The objects and their distances from cell centres, which are the same for all shapes."""

    def __init__(
        self,
        objects: ObjectBoxes,
        grid: DefaultBoxGrid,
        threshold: float = 0.5,
        keep_ratios: bool = False,
        scales: Sequence[float] = (1.0,),
    ) -> None:
        self.grid, self.threshold, self.num_scales = grid, threshold, len(scales)
        self.shapes = objects.boxes[:, 2:] - objects.boxes[:, :2]
        half = np.concatenate([scale / 2 * self.shapes for scale in scales])
        center = (objects.boxes[:, 2:] + objects.boxes[:, :2]) / 2
        # In a grid of equal boxes, the one with the nearest centre has the largest IoU; so each
        # object is compared with one cell of each map.
        distances = [
            np.stack([_distances(center[:, 0], y), _distances(center[:, 1], x)], axis=-1)
            for y, x in grid.cell_centers()
        ]
        # For each map the objects relative to that centre. Fortran order keeps edges contiguous.
        self.boxes_from_center = [
            np.asfortranarray(np.hstack([each - half, each + half]))
            for each in (np.tile(each, (len(scales), 1)) for each in distances)
        ]
        self.parameters = _ShapeParameters(grid.default_boxes, keep_ratios)
        counts = np.bincount(objects.labels)
        self.weights = 1.0 / (counts[objects.labels] * np.count_nonzero(counts))

    def changed_grid(self, parameters: np.ndarray) -> DefaultBoxGrid:
        shapes = self.parameters.shapes(parameters)
        default_boxes = dataclasses.replace(self.grid.default_boxes, shapes=shapes)
        return self.grid._replace(default_boxes=default_boxes)

    def best_ious(self, grid: DefaultBoxGrid) -> np.ndarray:
        shapes = zip(grid.cell_shapes(), self.boxes_from_center, strict=True)
        ious = [pairwise_iou(np.hstack([-cell / 2, cell / 2]), boxes) for cell, boxes in shapes]
        return np.concatenate(ious).max(axis=0)

    def score(self, parameters: np.ndarray) -> float:
        best = self.best_ious(self.changed_grid(parameters)).reshape(self.num_scales, -1)
        fit = float(self.weights @ ((best >= self.threshold).mean(axis=0) + best[0])) / 2
        return fit - CHANGE_PENALTY * float(np.abs(parameters - self.parameters.start).mean())

    def starting_points(self) -> Iterator[np.ndarray]:
        """Yields the present parameters, and two choices of sizes that follow the objects'."""
        start, num_maps = self.parameters.start, len(self.grid.feature_sizes)
        yield start
        sides = np.sqrt(np.prod(self.shapes * np.asarray(self.grid.image_size), axis=-1))
        order = np.argsort(sides)
        cumulated = np.cumsum(self.weights[order])
        # One size more at each end: the first and the last map lie within the objects' range.
        shares = np.linspace(0.05, 0.95, num_maps + 2)
        quantiles = np.interp(shares, cumulated / cumulated[-1], sides[order])
        for sizes in (quantiles, np.geomspace(quantiles[0], quantiles[-1], num_maps + 2)):
            yield self._bounded(np.concatenate([np.log(sizes[1:-1]), start[num_maps:]]))

    def pattern_search(self, start: np.ndarray) -> np.ndarray:
        """Tries each number larger and smaller, in steps that get finer, and keeps what helps."""
        best, best_score = start, self.score(start)
        for step in SEARCH_STEPS:
            for _ in range(MAX_PASSES):
                score_before = best_score
                for index in range(len(start)):
                    for change in (step, -step):
                        candidate = best.copy()
                        candidate[index] += change
                        candidate = self._bounded(candidate)
                        score = self.score(candidate)
                        if score > best_score:
                            best, best_score = candidate, score
                            break
                if best_score - score_before < 1e-5:
                    break
        return best

    def _bounded(self, parameters: np.ndarray) -> np.ndarray:
        return self.parameters.bounded(parameters, 1.1 * max(self.grid.image_size))


def _distances(values: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Returns the distance of each value to the nearest of the rising centres."""
    right = np.clip(np.searchsorted(centers, values), 0, len(centers) - 1)
    left = np.maximum(right - 1, 0)
    return np.minimum(np.abs(values - centers[left]), np.abs(values - centers[right]))
