"""Intersection over union of boxes."""

import tensorflow as tf

from ssd_keras.boxes.formats import Array, Coordinates, split_coordinates


def pairwise_iou(boxes: Array, default_boxes: Array) -> tf.Tensor:
    """Intersection over union of every box with every default box.

    Laid out as one contiguous row of default boxes for each box: no ``[N, n, 2]`` tensors.
    """
    box = Coordinates(*(edge[:, None] for edge in split_coordinates(tf.convert_to_tensor(boxes))))
    return _iou(box, split_coordinates(default_boxes))


def paired_iou(boxes: Array, others: Array) -> tf.Tensor:
    """Intersection over union of each box with the other of the same row, as `pairwise_iou`."""
    return _iou(split_coordinates(boxes), split_coordinates(others))


def _iou(box, other):
    height = tf.minimum(box.ymax, other.ymax) - tf.maximum(box.ymin, other.ymin)
    width = tf.minimum(box.xmax, other.xmax) - tf.maximum(box.xmin, other.xmin)
    intersection = tf.maximum(height, 0.0) * tf.maximum(width, 0.0)
    union = box.height * box.width + other.height * other.width - intersection
    return tf.math.divide_no_nan(intersection, union)
