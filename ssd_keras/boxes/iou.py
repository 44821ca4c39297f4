"""Intersection over union of boxes."""

import tensorflow as tf

from ssd_keras.boxes.formats import Array, Coordinates, split_coordinates


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
