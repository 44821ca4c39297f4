"""Intersection over union of boxes: one formula for NumPy, TensorFlow and Keras.

`xp` is the namespace of the arrays: `numpy`, `tensorflow` or `keras.ops`.
"""

import functools
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ssd_keras.boxes.formats import Array

# Arrays that broadcast, such as (ymin, xmin, ymax, xmax) of boxes or (start, end) of intervals.
Edges = Sequence[Array] | np.ndarray
SMALLEST_UNION = 1e-30  # instead of 0: boxes of no area overlap nothing


def edges(boxes: Array) -> Edges:
    """Returns the four edges of boxes [..., 4]."""
    return [boxes[..., index] for index in range(4)]


def intersection_and_union(
    box: Edges, other: Edges, xp: Any, areas: tuple[Array, Array] | None = None
) -> tuple[Array, Array]:
    """Returns the areas that two boxes share and cover; see `iou`."""
    half = len(box) // 2
    starts = map(xp.maximum, box[:half], other[:half])
    ends = map(xp.minimum, box[half:], other[half:])
    shared = _product(xp.maximum(length, 0.0) for length in map(operator.sub, ends, starts))
    area, other_area = areas or (
        _product(map(operator.sub, each[half:], each[:half])) for each in (box, other)
    )
    return shared, area + other_area - shared


def iou(box: Edges, other: Edges, xp: Any, areas: tuple[Array, Array] | None = None) -> Array:
    """Returns the IoU of boxes that are given by their edges; 0 for boxes of no area.

    Pass `areas` where they are known more exactly than the edges give them.
    """
    shared, union = intersection_and_union(box, other, xp, areas)
    return shared / xp.maximum(union, SMALLEST_UNION)


def giou(box: Edges, other: Edges, xp: Any) -> Array:
    """Returns the generalised IoU of boxes that are given by their edges, -1..1.

    It is the IoU less the share of the smallest rectangle around both boxes that neither covers:
    below 0, it tells how far apart boxes are.
    """
    shared, union = intersection_and_union(box, other, xp)
    half = len(box) // 2
    starts = map(xp.minimum, box[:half], other[:half])
    ends = map(xp.maximum, box[half:], other[half:])
    around = _product(map(operator.sub, ends, starts))
    empty = (around - union) / xp.maximum(around, SMALLEST_UNION)
    return shared / xp.maximum(union, SMALLEST_UNION) - empty


def paired_iou(boxes: Array, others: Array, xp: Any = np) -> Array:
    """Returns the IoU of each box with the other box of the same row, [n]."""
    return iou(edges(boxes), edges(others), xp)


def pairwise_iou(boxes: Array, others: Array, xp: Any = np) -> Array:
    """Returns the IoU of every box with every other box, [n, m]."""
    # One row of others for each box: no arrays [n, m, 2], whose short last axis is slow.
    return iou([edge[:, None] for edge in edges(boxes)], edges(others), xp)


def _product(factors: Iterable[Array]) -> Array:
    return functools.reduce(operator.mul, factors)
