"""Encodes boxes relative to default boxes, and decodes them."""

from collections.abc import Sequence

import tensorflow as tf

from ssd_keras.boxes.default_boxes import VARIANCES
from ssd_keras.boxes.formats import Array, split_coordinates


def encode_boxes(
    boxes: Array, default_boxes: Array, variances: Sequence[float] = VARIANCES
) -> tf.Tensor:
    """Encodes each box as its offset from the default box of the same row (paper section 2.2).

    ``decode_boxes`` inverts it for boxes with an area. The variances are the reciprocals of
    torchvision's ``weights`` (10, 10, 5, 5).
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
    """Turns box deltas back into boxes; the inverse of `encode_boxes`."""
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
