"""Boxes: intersection over union, and encoding against default boxes.

Everything here speaks relative ``yxyx`` boxes in 0..1 (TensorFlow's order) and TensorFlow
tensors, because it runs inside ``tf.data`` pipelines and exported graphs.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from ssd_keras.default_boxes import VARIANCES

Array: TypeAlias = np.ndarray | tf.Tensor


class Coordinates(NamedTuple):
    """The four edges of default boxes as contiguous rows, with sizes and centres.

    Rows of 8732 neighbours in memory make every later step a plain vector operation.
    """

    ymin: np.ndarray
    xmin: np.ndarray
    ymax: np.ndarray
    xmax: np.ndarray

    @property
    def height(self) -> np.ndarray:
        return self.ymax - self.ymin

    @property
    def width(self) -> np.ndarray:
        return self.xmax - self.xmin

    @property
    def center_y(self) -> np.ndarray:
        return (self.ymin + self.ymax) / 2

    @property
    def center_x(self) -> np.ndarray:
        return (self.xmin + self.xmax) / 2


def split_coordinates(boxes: Array) -> Coordinates:
    """Splits ``[N, 4]`` boxes into four rows.

    Args:
        boxes: relative yxyx boxes, array or tensor [N, 4].

    Returns:
        `Coordinates`, each [N].
    """
    if isinstance(boxes, np.ndarray):
        return Coordinates(*np.ascontiguousarray(boxes.T))
    return Coordinates(*tf.unstack(boxes, axis=-1))


def pairwise_iou(boxes: Array, default_boxes: Array) -> tf.Tensor:
    """Intersection over union of every box with every default box.

    Laid out as one contiguous row of default boxes for each box: no ``[N, n, 2]`` tensors.

    Args:
        boxes: relative yxyx float32 [n, 4].
        default_boxes: relative yxyx float32 [N, 4].

    Returns:
        float32 [n, N] in 0..1; a pair of boxes of no area gives 0, never NaN.

    Example:

    >>> pairwise_iou(tf.constant([[0., 0., 1., 1.]]), np.array([[0., 0., .5, .5]], "float32"))
    <tf.Tensor: shape=(1, 1), dtype=float32, numpy=array([[0.25]], dtype=float32)>
    """
    box = Coordinates(*(edge[:, None] for edge in split_coordinates(tf.convert_to_tensor(boxes))))
    return _iou(box, split_coordinates(default_boxes))


def paired_iou(boxes: Array, others: Array) -> tf.Tensor:
    """Intersection over union of each box with the other of the same row, as `pairwise_iou`.

    Args:
        boxes: relative yxyx float32 [N, 4].
        others: relative yxyx float32 [N, 4].

    Returns:
        float32 [N] in 0..1, to the bit what `pairwise_iou` gives.

    Example:

    >>> box = np.array([[0, 0, .5, .5]], "float32")
    >>> paired_iou(box, box / 2).numpy()
    array([0.25], dtype=float32)
    """
    return _iou(split_coordinates(boxes), split_coordinates(others))


def _iou(box, other):
    height = tf.minimum(box.ymax, other.ymax) - tf.maximum(box.ymin, other.ymin)
    width = tf.minimum(box.xmax, other.xmax) - tf.maximum(box.xmin, other.xmin)
    intersection = tf.maximum(height, 0.0) * tf.maximum(width, 0.0)
    union = box.height * box.width + other.height * other.width - intersection
    return tf.math.divide_no_nan(intersection, union)


def encode_boxes(
    boxes: Array, default_boxes: Array, variances: Sequence[float] = VARIANCES
) -> tf.Tensor:
    """Encodes each box as its offset from the default box of the same row (paper section 2.2).

    ``decode_boxes`` inverts it for boxes with an area. The variances are the reciprocals of
    torchvision's ``weights`` (10, 10, 5, 5).

    Args:
        boxes: relative yxyx float32 [N, 4], one for each default box. Sizes must be above 0.
        default_boxes: relative yxyx float32 [N, 4].
        variances: four divisors for centre y, centre x, height, width.

    Returns:
        box deltas float32 [N, 4]: centre y, centre x (in default box sizes), log height,
        log width, each divided by its variance.

    Example:

    >>> box = np.array([[.1, .1, .5, .5]], "float32")
    >>> float(tf.reduce_sum(tf.abs(encode_boxes(box, box))))
    0.0
    """
    box, default = split_coordinates(boxes), split_coordinates(default_boxes)
    return tf.stack(
        [
            (box.center_y - default.center_y) / default.height / variances[0],
            (box.center_x - default.center_x) / default.width / variances[1],
            tf.math.log(box.height / default.height) / variances[2],
            tf.math.log(box.width / default.width) / variances[3],
        ],
        axis=-1,
    )


def decode_boxes(
    box_deltas: Array, default_boxes: Array, variances: Sequence[float] = VARIANCES
) -> tf.Tensor:
    """Turns box deltas back into boxes; the inverse of `encode_boxes`.

    Args:
        box_deltas: float32 [..., N, 4] as `encode_boxes` gives them.
        default_boxes: relative yxyx float32 [N, 4].
        variances: four factors for centre y, centre x, height, width.

    Returns:
        relative yxyx boxes float32 [..., N, 4]; they may reach outside 0..1.

    Example:

    >>> decode_boxes(tf.zeros([1, 4]), np.array([[.1, .2, .5, .6]], "float32")).numpy().round(3)
    array([[0.1, 0.2, 0.5, 0.6]], dtype=float32)
    """
    delta_y, delta_x, delta_height, delta_width = tf.unstack(box_deltas, axis=-1)
    default = split_coordinates(default_boxes)
    center_y = delta_y * (variances[0] * default.height) + default.center_y
    center_x = delta_x * (variances[1] * default.width) + default.center_x
    half_height = tf.exp(delta_height * variances[2]) * (default.height / 2)
    half_width = tf.exp(delta_width * variances[3]) * (default.width / 2)
    return tf.stack(
        [
            center_y - half_height,
            center_x - half_width,
            center_y + half_height,
            center_x + half_width,
        ],
        axis=-1,
    )
