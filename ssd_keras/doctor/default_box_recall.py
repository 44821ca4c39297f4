"""IoU of default boxes with the objects of a data set: which objects a model can find."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from ssd_keras.boxes.default_box_grid import DefaultBoxGrid
from ssd_keras.boxes.iou import paired_iou
from ssd_keras.boxes.iou_index import IoUIndex
from ssd_keras.boxes.matching import match_with_index
from ssd_keras.core.progress import bar_options
from ssd_keras.doctor.object_boxes import ObjectBoxes


class DefaultBoxIoUs(NamedTuple):
    """IoU of each object with its best default box, and with the one that it claims, [n] each."""

    best: np.ndarray
    claimed: np.ndarray  # with the default box that matching gives to this object alone, or 0

    def matched_share(self, threshold: float = 0.5) -> float:
        """Returns the share of objects that some default box matches."""
        return float(np.mean(self.best >= threshold))

    def reachable_recall(self, threshold: float = 0.5) -> float:
        """Returns the recall of the default boxes themselves as detections: one box per object."""
        return float(np.mean(self.claimed >= threshold))


def default_box_ious(
    objects: ObjectBoxes, grid: DefaultBoxGrid, progress: bool = False
) -> DefaultBoxIoUs:
    """Matches the default boxes with the objects of every image, as training does."""
    index = IoUIndex(grid.boxes())

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)], autograph=False)
    def image_ious(boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pairs, _ = index.pairs(boxes, threshold=1.0)
        best = tf.math.unsorted_segment_max(pairs.iou, pairs.ground_truth, tf.shape(boxes)[0])
        _, claimed = match_with_index(index, boxes, threshold=1.0)
        claimed_boxes = tf.gather(index.default_boxes, tf.maximum(claimed, 0))
        claimed_iou = tf.where(claimed >= 0, paired_iou(boxes, claimed_boxes, tf), 0.0)
        return tf.maximum(best, 0.0), claimed_iou

    ious = DefaultBoxIoUs(np.zeros(len(objects.boxes)), np.zeros(len(objects.boxes)))
    starts = np.flatnonzero(np.diff(objects.example_indices, prepend=-1))
    slices = list(map(slice, starts, [*starts[1:], len(objects.boxes)]))
    for rows in tqdm(slices, "matching default boxes", leave=False, **bar_options(progress)):
        best, claimed = image_ious(objects.boxes[rows].astype(np.float32))
        ious.best[rows], ious.claimed[rows] = best.numpy(), claimed.numpy()
    return ious
