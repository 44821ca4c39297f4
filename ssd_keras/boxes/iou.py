"""Intersection over union of boxes: one formula for NumPy, TensorFlow and Keras.

`xp` is the namespace of the arrays: `numpy`, `tensorflow` or `keras.ops`.
"""

import functools
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ssd_keras.boxes.formats import Array

# Arrays that broadcast, such as (ymin, xmin, ymax, xmax) of boxes or (start, end) of intervals.
Edges = Sequence[Array] | np.ndarray
SMALLEST_UNION = 1e-30  # instead of 0: boxes of no area overlap nothing
SMALLEST_SIDE = 1e-6  # instead of 0 in aspect ratios, whose gradients stay finite


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
    around = _product(_sides_around(box, other, xp))
    empty = (around - union) / xp.maximum(around, SMALLEST_UNION)
    return shared / xp.maximum(union, SMALLEST_UNION) - empty


def diou(box: Edges, other: Edges, xp: Any) -> Array:
    """Returns the distance IoU of boxes that are given by their edges in pixels, -1..1.

    It is the IoU less the squared distance of the centres, as a share of the squared diagonal of
    the smallest rectangle around both boxes.
    """
    return iou(box, other, xp) - _squared_distance(box, other, xp)


def ciou(box: Edges, other: Edges, xp: Any) -> Array:
    """Returns the complete IoU of boxes that are given by their edges in pixels, -2..1.

    It is the DIoU less a * v, where v is the squared difference of the angles arctan(width /
    height), as a share of (pi / 2)^2, and a = v / (1 - IoU + v). As in the official code, a has no
    gradient.
    """
    overlap = iou(box, other, xp)
    v = ((_aspect_angle(box, xp) - _aspect_angle(other, xp)) * (2 / math.pi)) ** 2
    a = v / xp.maximum(1.0 - overlap + v, SMALLEST_UNION)
    if hasattr(xp, "stop_gradient"):  # NumPy has no gradients
        a = xp.stop_gradient(a)
    return overlap - _squared_distance(box, other, xp) - a * v


def paired_iou(boxes: Array, others: Array, xp: Any = np) -> Array:
    """Returns the IoU of each box with the other box of the same row, [n]."""
    return iou(edges(boxes), edges(others), xp)


def pairwise_iou(boxes: Array, others: Array, xp: Any = np) -> Array:
    """Returns the IoU of every box with every other box, [n, m]."""
    # One row of others for each box: no arrays [n, m, 2], whose short last axis is slow.
    return iou([edge[:, None] for edge in edges(boxes)], edges(others), xp)


def _sides_around(box: Edges, other: Edges, xp: Any) -> list[Array]:
    """Returns the sides of the smallest rectangle around both boxes."""
    half = len(box) // 2
    starts = map(xp.minimum, box[:half], other[:half])
    ends = map(xp.maximum, box[half:], other[half:])
    return list(map(operator.sub, ends, starts))


def _squared_distance(box: Edges, other: Edges, xp: Any) -> Array:
    """Returns that of the centres, as a share of the squared diagonal around both boxes."""
    half = len(box) // 2
    sums = [[*map(operator.add, each[:half], each[half:])] for each in (box, other)]
    distance = sum(((a - b) / 2) ** 2 for a, b in zip(*sums, strict=True))
    diagonal = sum(side**2 for side in _sides_around(box, other, xp))
    return distance / xp.maximum(diagonal, SMALLEST_UNION)


def _aspect_angle(box: Edges, xp: Any) -> Array:
    """Returns arctan(width / height) of a box."""
    ymin, xmin, ymax, xmax = box
    # TensorFlow has `atan2` in place of NumPy's name.
    arctan2 = xp.arctan2 if hasattr(xp, "arctan2") else xp.atan2
    sides = (xp.maximum(side, SMALLEST_SIDE) for side in (xmax - xmin, ymax - ymin))
    return arctan2(*sides)


def _product(factors: Iterable[Array]) -> Array:
    return functools.reduce(operator.mul, factors)
