"""All pairs of a matrix of IoUs, as the index would give them."""

import numpy as np
import tensorflow as tf

from ssd_keras.boxes.iou_index import SMALLEST_IOU, Pairs


def all_pairs(iou: np.ndarray) -> Pairs:
    """Returns the pairs of a full matrix [n, N]."""
    index = tf.where(iou > SMALLEST_IOU)
    return Pairs(index[:, 0], index[:, 1], tf.gather_nd(iou, index))
