"""Which objects a model's default boxes can find."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from ssd_keras.assigners.max_iou import match_near
from ssd_keras.boxes.iou import paired_iou
from ssd_keras.boxes.iou_index import IoUIndex
from ssd_keras.doctor.default_box_grid import DefaultBoxGrid, Objects


class BestIoUs(NamedTuple):
    """How well the default boxes fit each object, [n] each.

    `best` is the largest overlap (IoU) with any default box; `own` that with the default box which
    the matching gives to this object alone, 0 where it gets none.
    """

    best: np.ndarray
    own: np.ndarray

    def matched(self, threshold: float = 0.5) -> float:
        """The share of objects that some default box overlaps by the threshold."""
        return float(np.mean(self.best >= threshold))

    def reachable_recall(self, threshold: float = 0.5) -> float:
        """The share of objects that have a default box of their own at the threshold.

        Default boxes left as they are would find this share: no box finds two objects.
        """
        return float(np.mean(self.own >= threshold))


def measure_best_ious(objects: Objects, layout: DefaultBoxGrid, progress: bool = False) -> BestIoUs:
    """Lays the default boxes over every image, as the training's matching does."""
    index = IoUIndex(layout.boxes())

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])
    def overlaps(boxes):
        near, _ = index.pairs(boxes, threshold=1.0)
        best = tf.math.unsorted_segment_max(near.overlap, near.truth, tf.shape(boxes)[0])
        _, owned = match_near(index, boxes, threshold=1.0)
        own = paired_iou(boxes, tf.gather(index.default_boxes, tf.maximum(owned, 0)))
        return tf.maximum(best, 0.0), tf.where(owned >= 0, own, 0.0)

    best, own = np.zeros(len(objects.boxes)), np.zeros(len(objects.boxes))
    starts = np.flatnonzero(np.diff(objects.images, prepend=-1))
    ends = np.append(starts[1:], len(objects.boxes))
    pairs = list(zip(starts, ends, strict=True))
    for start, end in tqdm(pairs, "laying default boxes", leave=False, disable=not progress):
        found = overlaps(objects.boxes[start:end].astype(np.float32))
        best[start:end], own[start:end] = (values.numpy() for values in found)
    return BestIoUs(best, own)
