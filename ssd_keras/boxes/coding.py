"""Encodes boxes relative to default boxes, and decodes them.

`xp` is the namespace of the arrays: `numpy`, `tensorflow` or `keras.ops`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ssd_keras.boxes.default_boxes import VARIANCES
from ssd_keras.boxes.formats import Array
from ssd_keras.boxes.iou import edges


def encode_boxes(
    boxes: Array, default_boxes: Array, variances: Sequence[float] = VARIANCES, xp: Any = np
) -> Array:
    """Encodes each box [..., 4] relative to the default box of the same row (paper section 2.2).

    `decode_boxes` inverts it for boxes with an area. The variances are the reciprocals of
    torchvision's `weights` (10, 10, 5, 5).
    """
    y, x, height, width = _centers_and_sides(boxes)
    default_y, default_x, default_height, default_width = _centers_and_sides(default_boxes)
    # TensorFlow has `math.log` and `concat` in place of NumPy's names.
    log = xp.log if hasattr(xp, "log") else xp.math.log
    return xp.stack(
        [
            (y - default_y) / default_height / variances[0],
            (x - default_x) / default_width / variances[1],
            log(height / default_height) / variances[2],
            log(width / default_width) / variances[3],
        ],
        axis=-1,
    )


def decode_boxes(
    box_deltas: Array, default_boxes: Array, variances: Sequence[float] = VARIANCES, xp: Any = np
) -> Array:
    """Turns box deltas [..., 4] back into boxes; the inverse of `encode_boxes`."""
    join = xp.concatenate if hasattr(xp, "concatenate") else xp.concat
    return join(decode_corners(box_deltas, default_boxes, variances, xp), axis=-1)


def decode_corners(
    box_deltas: Array, default_boxes: Array, variances: Sequence[float], xp: Any
) -> tuple[Array, Array]:
    """Returns the upper left and lower right corners [..., 2] of decoded boxes."""
    low, high = default_boxes[..., :2], default_boxes[..., 2:]
    # torch does not multiply with NumPy arrays. TensorFlow has `constant` in place of NumPy's name.
    array = xp.array if hasattr(xp, "array") else xp.constant
    sides, factors = high - low, array(variances, "float32")
    center = box_deltas[..., :2] * (factors[:2] * sides) + (low + high) / 2
    half = xp.exp(box_deltas[..., 2:] * factors[2:]) * (sides / 2)
    return center - half, center + half


def _centers_and_sides(boxes: Array) -> tuple[Array, Array, Array, Array]:
    """Returns center y, center x, height and width of boxes [..., 4]."""
    ymin, xmin, ymax, xmax = edges(boxes)
    return (ymin + ymax) / 2, (xmin + xmax) / 2, ymax - ymin, xmax - xmin
