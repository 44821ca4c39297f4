"""Which default boxes overlap a ground truth enough to matter, without a look at all of them."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ssd_keras.boxes.formats import Array, split_coordinates
from ssd_keras.boxes.iou import paired_iou

SMALLEST_IOU = 1e-6
"""A ground truth that overlaps no default box by more than this stays unmatched."""

LEAST = np.nextafter(np.float32(SMALLEST_IOU), np.float32(1))
SHARE_OF_BEST = 0.75
MARGIN = 1e-5  # the bounds are rounded by 1e-6


class Pairs(NamedTuple):
    """Ground truths and default boxes that overlap; of each, the lower index comes first."""

    truth: tf.Tensor  # int64 [M], index of the ground truth
    default_box: tf.Tensor  # int64 [M], index of the default box
    overlap: tf.Tensor  # float32 [M], their intersection over union, above `SMALLEST_IOU`


def all_pairs(iou: Array) -> Pairs:
    """The pairs of a full matrix."""
    place = tf.where(iou > SMALLEST_IOU)
    return Pairs(place[:, 0], place[:, 1], tf.gather_nd(iou, place))


class IoUIndex:
    """Finds the pairs that matter for matching: exactly, for any default boxes.

    The default boxes of a grid are products of a few hundred vertical and horizontal intervals.
    Two boxes overlap (always as intersection over union) by no more than their vertical intervals
    do, nor than their horizontal ones; and by no less than the product of these two, whose
    denominator is the area of the rectangle around both boxes. So the intervals alone say which
    pairs are worth an exact look, and how well each ground truth can do at least. Default boxes
    that share no intervals take as long as the full matrix.
    """

    def __init__(self, default_boxes: np.ndarray) -> None:
        self.default_boxes = default_boxes = np.asarray(default_boxes, "float32")
        rows, row_of = np.unique(default_boxes[:, [0, 2]], axis=0, return_inverse=True)
        columns, column_of = np.unique(default_boxes[:, [1, 3]], axis=0, return_inverse=True)
        # Rows that go with the same columns are a block: each of them goes with each of these.
        column_lists = np.split(
            column_of[np.lexsort((column_of, row_of))], np.cumsum(np.bincount(row_of))[:-1]
        )
        blocks: dict[tuple, list[int]] = {}
        for row, found in enumerate(column_lists):
            blocks.setdefault(tuple(np.unique(found)), []).append(row)
        order = np.concatenate(list(blocks.values()))
        self._rows, self._columns = rows[order], columns
        self._row_of = np.argsort(order)[row_of].astype("int32")
        self._column_of = column_of.astype("int32")
        self._row_blocks = _repeated(blocks.values())
        self._column_blocks = _repeated(blocks)
        self._block_columns = np.concatenate(list(blocks)).astype("int32")

    def pairs(
        self, boxes: tf.Tensor, threshold: float, is_whole: tf.Tensor | bool = False
    ) -> tuple[Pairs, tf.Tensor]:
        """The pairs that matter."""
        edge = split_coordinates(boxes)
        vertical = _interval_iou(edge.ymin, edge.ymax, self._rows)
        horizontal = _interval_iou(edge.xmin, edge.xmax, self._columns)
        best_row = tf.math.segment_max(vertical, self._row_blocks)
        best_column = tf.math.segment_max(
            tf.gather(horizontal, self._block_columns), self._column_blocks
        )
        best = tf.reduce_max(best_row * best_column, axis=0)
        lowest = tf.maximum(tf.minimum(SHARE_OF_BEST * best, threshold), LEAST)
        lowest = tf.where(is_whole, LEAST, lowest)
        # Whole rows of all ground truths at a time: contiguous bytes.
        least = lowest * (1 - MARGIN)
        is_near = tf.gather(vertical >= least, self._row_of) & tf.gather(
            horizontal >= least, self._column_of
        )
        near = tf.where(is_near)
        default_box, truth = near[:, 0], near[:, 1]
        overlap = paired_iou(tf.gather(boxes, truth), tf.gather(self.default_boxes, default_box))
        kept = tf.where(overlap >= tf.gather(lowest, truth))[:, 0]
        pairs = Pairs(*(tf.gather(one, kept) for one in (truth, default_box, overlap)))
        return pairs, lowest <= LEAST


def _repeated(groups):
    """The number of each group, as often as it has members."""
    lengths = [len(group) for group in groups]
    return np.repeat(np.arange(len(lengths)), lengths).astype("int32")


def _interval_iou(start, end, intervals):
    """Intersection over union in one dimension, [intervals, n]; 0 without a length."""
    other_start, other_end = intervals[:, :1], intervals[:, 1:]
    shared = tf.minimum(end, other_end) - tf.maximum(start, other_start)
    shared = tf.maximum(shared, 0.0)
    return tf.math.divide_no_nan(shared, (end - start) + (other_end - other_start) - shared)
