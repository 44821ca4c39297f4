"""Encodes boxes relative to default boxes, and decodes them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ssd_keras.boxes.default_boxes import VARIANCES
from ssd_keras.boxes.formats import Array


def encode_boxes(
    boxes: Array, default_boxes: Array, variances: Sequence[float] = VARIANCES
) -> tf.Tensor:
    """Encodes each box [..., 4] relative to the default box of the same row (paper section 2.2).

    `decode_boxes` inverts it for boxes with an area. The variances are the reciprocals of
    torchvision's `weights` (10, 10, 5, 5).
    """
    (low, high), (default_low, default_high) = _corners(boxes), _corners(default_boxes)
    size, divisors = default_high - default_low, np.asarray(variances, "float32")
    center = ((low + high) / 2 - (default_low + default_high) / 2) / size / divisors[:2]
    log_size = tf.math.log((high - low) / size) / divisors[2:]
    return tf.concat([center, log_size], axis=-1)


def decode_boxes(
    box_deltas: Array, default_boxes: Array, variances: Sequence[float] = VARIANCES
) -> tf.Tensor:
    """Turns box deltas [..., 4] back into boxes; the inverse of `encode_boxes`."""
    return tf.concat(decode_corners(box_deltas, default_boxes, variances, tf), axis=-1)


def decode_corners(
    box_deltas: Array, default_boxes: Array, variances: Sequence[float], xp: Any
) -> tuple[Array, Array]:
    """Returns the upper left and lower right corners [..., 2] of decoded boxes.

    `xp` is the namespace of the arrays: `numpy`, `tensorflow` or `keras.ops`.
    """
    low, high = _corners(default_boxes)
    size, factors = high - low, np.asarray(variances, "float32")
    center = box_deltas[..., :2] * (factors[:2] * size) + (low + high) / 2
    half = xp.exp(box_deltas[..., 2:] * factors[2:]) * (size / 2)
    return center - half, center + half


def _corners(boxes: Array) -> tuple[Array, Array]:
    return boxes[..., :2], boxes[..., 2:]
