"""Fits default boxes to the objects of a data set.

The number of boxes in every cell stays, so that the model costs what it did; sizes and aspect
ratios change.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np

from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.doctor.default_box_grid import DefaultBoxGrid, Objects

OBJECTIVE = (
    "the mean of the share of objects matched at {threshold:g} and of their best overlap, every "
    "class counting alike, less {loyalty:g} times the mean change of the numbers' logarithms"
)
MOST_OBJECTS = 4000
"""More are sampled: the fit changes no more, and its time stays a minute."""
LOYALTY = 0.01
"""What a mean change by a factor of e costs: boxes that gain nothing stay as they are, for the
sizes that augmentation makes."""
STEPS = (0.3, 0.12, 0.05, 0.02)
"""Of the search, in logarithms of sizes and ratios: from 35 % down to 2 %."""
MOST_PASSES = 6
SMALLEST_SIZE = 4.0
SMALLEST_RATIO, LARGEST_RATIO = 1.15, 6.0
LEAST_GROWTH = 1.02


def best_ious(objects: Objects, layout: DefaultBoxGrid) -> np.ndarray:
    """The largest overlap (IoU) of each object with any default box.

    In a grid of equal boxes, the one whose centre is nearest has the largest overlap; so each
    object is compared with one cell of each map.
    """
    return _Fit(objects, layout).overlaps(layout)


def fit_default_boxes(
    objects: Objects,
    layout: DefaultBoxGrid,
    threshold: float = 0.5,
    keep_ratios: bool = False,
    seed: int = 0,
) -> DefaultBoxGrid:
    """Searches sizes and aspect ratios that fit the objects better; see `OBJECTIVE`.

    A pattern search: from the present boxes, and from sizes that follow the objects' own, one
    number after the other is tried larger and smaller, by steps that get finer.
    """
    fit = _Fit(sample(objects, seed), layout, threshold, keep_ratios)
    best = max((fit.climb(start) for start in fit.starts()), key=fit.score)
    rounded = _rounded(best, layout)
    return rounded if fit.score(rounded) > fit.score(layout) else layout


def sample(objects: Objects, seed: int = 0, most: int = MOST_OBJECTS) -> Objects:
    """At most so many of the objects, drawn without return."""
    if len(objects.boxes) <= most:
        return objects
    chosen = np.random.default_rng(seed).choice(len(objects.boxes), most, replace=False)
    return Objects(*(column[np.sort(chosen)] for column in objects))


def recipe_options(fitted: DefaultBoxGrid, layout: DefaultBoxGrid) -> dict[str, list]:
    """What fitted default boxes change, as `model_options` of a recipe."""
    new, old = fitted.spec, layout.spec
    options: dict[str, list] = {}
    if new.sizes != old.sizes:
        options["sizes"] = list(new.sizes)
    if new.aspect_ratios != old.aspect_ratios:
        options["aspect_ratios"] = [list(each) for each in new.aspect_ratios]
    return options


def recipe_words(fitted: DefaultBoxGrid, layout: DefaultBoxGrid) -> str:
    """What fitted default boxes change, as words for `ssd-keras train`."""
    options = recipe_options(fitted, layout)
    return " ".join(
        f"--set 'model_options.{name}={json.dumps(value)}'" for name, value in options.items()
    )


class _Fit:
    """The objects, and where they lie in the grids, which no choice of boxes changes."""

    def __init__(
        self,
        objects: Objects,
        layout: DefaultBoxGrid,
        threshold: float = 0.5,
        keep_ratios: bool = False,
    ):
        self.layout, self.threshold = layout, threshold
        boxes = objects.boxes
        self.sides = boxes[:, 2:] - boxes[:, :2]
        center = (boxes[:, 2:] + boxes[:, :2]) / 2
        self.offsets = [
            np.stack([_distances(center[:, 0], y), _distances(center[:, 1], x)], axis=-1)
            for y, x in layout.centers()
        ]
        parts = (0,) if keep_ratios else (0, 1)
        self.places = [(part, i) for part in parts for i in range(len(_numbers(layout)[part]))]
        counts = np.bincount(objects.labels)
        self.weights = 1.0 / (counts[objects.labels] * np.count_nonzero(counts))

    def overlaps(self, layout: DefaultBoxGrid) -> np.ndarray:
        best = np.zeros(len(self.sides))
        areas = np.prod(self.sides, axis=-1)
        for offsets, shapes in zip(self.offsets, layout.shapes(), strict=True):
            for shape in shapes:
                reach = np.minimum(self.sides, shape)
                shared = np.minimum(reach, (self.sides + shape) / 2 - offsets)
                shared = np.prod(np.maximum(shared, 0.0), axis=-1)
                best = np.maximum(best, shared / (areas + np.prod(shape) - shared))
        return best

    def score(self, layout: DefaultBoxGrid) -> float:
        best = self.overlaps(layout)
        fit = float(self.weights @ ((best >= self.threshold) + best)) / 2
        changes = np.abs(np.concatenate(_numbers(layout)) - np.concatenate(_numbers(self.layout)))
        return fit - LOYALTY * float(changes.mean())

    def starts(self) -> Iterator[DefaultBoxGrid]:
        yield self.layout
        sides = np.sqrt(np.prod(self.sides * np.asarray(self.layout.image_size), axis=-1))
        order = np.argsort(sides)
        heights = np.cumsum(self.weights[order])
        shares = np.linspace(0.05, 0.95, len(self.layout.spec.sizes))
        quantiles = np.interp(shares, heights / heights[-1], sides[order])
        yield _with_numbers(self.layout, np.log(quantiles), _numbers(self.layout)[1])
        spread = np.geomspace(quantiles[0], quantiles[-1] * 1.3, len(quantiles))
        yield _with_numbers(self.layout, np.log(spread), _numbers(self.layout)[1])

    def climb(self, start: DefaultBoxGrid) -> DefaultBoxGrid:
        """The end of a pattern search."""
        best, best_score = start, self.score(start)
        for step in STEPS:
            for _ in range(MOST_PASSES):
                before = best_score
                for part, index in self.places:
                    for amount in (step, -step):
                        candidate = _moved(best, part, index, amount)
                        score = self.score(candidate)
                        if score > best_score:
                            best, best_score = candidate, score
                            break
                if best_score - before < 1e-5:
                    break
        return best


def _moved(layout: DefaultBoxGrid, part: int, index: int, amount: float) -> DefaultBoxGrid:
    """The layout with one of its sizes (part 0) or ratios (part 1) changed."""
    numbers = _numbers(layout)
    numbers[part][index] += amount
    return _with_numbers(layout, *numbers)


def _distances(values: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """From each value to the nearest centre; centres rise."""
    right = np.clip(np.searchsorted(centers, values), 0, len(centers) - 1)
    left = np.maximum(right - 1, 0)
    return np.minimum(np.abs(values - centers[left]), np.abs(values - centers[right]))


def _numbers(layout: DefaultBoxGrid) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the sizes, and of all maps' ratios one after the other."""
    spec = layout.spec
    ratios = [ratio for each in spec.aspect_ratios for ratio in each]
    return np.log(np.array(spec.sizes, np.float64)), np.log(np.array(ratios, np.float64))


def _with_numbers(layout: DefaultBoxGrid, sizes: np.ndarray, ratios: np.ndarray) -> DefaultBoxGrid:
    """The layout with other numbers, brought into their bounds: sizes rise from map to map."""
    limits = SMALLEST_SIZE, 1.1 * max(layout.image_size)
    values = np.clip(np.exp(sizes), *limits)
    for index in range(1, len(values)):
        values[index] = max(values[index], LEAST_GROWTH * values[index - 1])
    bounded = np.clip(np.exp(ratios), SMALLEST_RATIO, LARGEST_RATIO)
    ends = np.cumsum([len(each) for each in layout.spec.aspect_ratios])[:-1]
    groups = tuple(tuple(sorted(each.tolist())) for each in np.split(bounded, ends))
    return layout._replace(spec=_replace(layout.spec, tuple(values.tolist()), groups))


def _replace(spec: DefaultBoxes, sizes: tuple, aspect_ratios: tuple) -> DefaultBoxes:
    # A first map's only square grows with it, as in `with_classes`.
    square = spec.first_square and spec.first_square * sizes[0] / spec.sizes[0]
    return dataclasses.replace(spec, sizes=sizes, aspect_ratios=aspect_ratios, first_square=square)


def _rounded(layout: DefaultBoxGrid, original: DefaultBoxGrid) -> DefaultBoxGrid:
    """The layout with as many digits as matter; numbers that did not change keep theirs."""

    def shorten(values: Sequence[float], before: Sequence[float], digits: int) -> tuple[float, ...]:
        pairs = zip(values, before, strict=True)
        return tuple(b if math.isclose(a, b, rel_tol=1e-6) else round(a, digits) for a, b in pairs)

    spec, own = layout.spec, original.spec
    ratios = tuple(map(shorten, spec.aspect_ratios, own.aspect_ratios, repeat(2)))
    return layout._replace(spec=_replace(spec, shorten(spec.sizes, own.sizes, 1), ratios))
