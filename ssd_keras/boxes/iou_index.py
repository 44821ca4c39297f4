"""Finds the default boxes that overlap a ground truth enough to matter, without all pairs."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ssd_keras.boxes.iou import edges, iou, paired_iou

SMALLEST_IOU = 1e-6
"""A ground truth whose IoU with every default box is at most this stays unmatched."""

LEAST = np.nextafter(np.float32(SMALLEST_IOU), np.float32(1))
SHARE_OF_BEST = 0.75
MARGIN = 1e-5  # the bounds are rounded by 1e-6


class Pairs(NamedTuple):
    """Ground truths and default boxes that overlap; of each, the lower index comes first."""

    ground_truth: tf.Tensor  # int64 [M], index of the ground truth
    default_box: tf.Tensor  # int64 [M], index of the default box
    iou: tf.Tensor  # float32 [M], above `SMALLEST_IOU`


class IoUIndex:
    """Finds the pairs that matter for matching: exactly, for any default boxes.

    The IoU of two boxes is at most that of their vertical intervals, at most that of their
    horizontal ones, and at least the product of the two, whose denominator is the area of the
    rectangle around both boxes. So the intervals alone say which pairs need an exact IoU, and
    which IoU each ground truth reaches at least.
    """

    # The default boxes of a grid are products of few intervals. A grid of 3 x 3 cells with a
    # square and a wide box in each (#) has six row intervals and six column intervals. Rows that
    # have boxes in the same columns form a block, which has a box for each row and column, so
    # that its best bound is the product of its best row and its best column:
    #
    #             columns of squares    of wide boxes
    #   rows of         # # #
    #   squares         # # #                              block 0: rows 0-2, columns 0-2
    #                   # # #
    #   of wide                           # # #
    #   boxes                             # # #            block 1: rows 3-5, columns 3-5
    #                                     # # #
    #
    # Default boxes that share no intervals take as long as the full matrix.

    def __init__(self, default_boxes: np.ndarray) -> None:
        self.default_boxes = default_boxes = np.asarray(default_boxes, "float32")
        rows, row_of = np.unique(default_boxes[:, [0, 2]], axis=0, return_inverse=True)
        columns, column_of = np.unique(default_boxes[:, [1, 3]], axis=0, return_inverse=True)
        column_lists = np.split(
            column_of[np.lexsort((column_of, row_of))], np.cumsum(np.bincount(row_of))[:-1]
        )
        blocks: dict[tuple, list[int]] = {}
        for row, columns_of_row in enumerate(column_lists):
            blocks.setdefault(tuple(np.unique(columns_of_row)), []).append(row)
        order = np.concatenate(list(blocks.values()))
        # Rows lie in the order of the blocks; columns may belong to several blocks.
        self._rows, self._columns = rows[order], columns  # intervals [rows, 2] and [columns, 2]
        self._row_of = np.argsort(order)[row_of].astype("int32")  # of each default box
        self._column_of = column_of.astype("int32")
        self._row_blocks = _group_numbers(blocks.values())
        self._column_blocks = _group_numbers(blocks)
        self._block_columns = np.concatenate(list(blocks)).astype("int32")

    def pairs(
        self, boxes: tf.Tensor, threshold: float, is_whole: tf.Tensor | bool = False
    ) -> tuple[Pairs, tf.Tensor]:
        """Returns the pairs of boxes [n, 4] that matter, and which boxes have all of theirs there.

        A pair matters from `threshold` on, or from `SHARE_OF_BEST` of its ground truth's best
        IoU on; of the ground truths in `is_whole`, every pair does.
        """
        ymin, xmin, ymax, xmax = edges(boxes)
        vertical = iou((ymin, ymax), (self._rows[:, :1], self._rows[:, 1:]), tf)
        horizontal = iou((xmin, xmax), (self._columns[:, :1], self._columns[:, 1:]), tf)
        best_row = tf.math.segment_max(vertical, self._row_blocks)
        best_column = tf.math.segment_max(
            tf.gather(horizontal, self._block_columns), self._column_blocks
        )
        best = tf.reduce_max(best_row * best_column, axis=0)
        lowest = tf.maximum(tf.minimum(SHARE_OF_BEST * best, threshold), LEAST)
        lowest = tf.where(is_whole, LEAST, lowest)
        # Whole rows of all ground truths at a time: contiguous bytes.
        bound = lowest * (1 - MARGIN)
        may_matter = tf.gather(vertical >= bound, self._row_of) & tf.gather(
            horizontal >= bound, self._column_of
        )
        index = tf.where(may_matter)
        default_box, ground_truth = index[:, 0], index[:, 1]
        exact = paired_iou(
            tf.gather(boxes, ground_truth), tf.gather(self.default_boxes, default_box), tf
        )
        kept = tf.where(exact >= tf.gather(lowest, ground_truth))[:, 0]
        pairs = Pairs(*(tf.gather(column, kept) for column in (ground_truth, default_box, exact)))
        return pairs, lowest <= LEAST


def _group_numbers(groups: Collection[Collection[int]]) -> np.ndarray:
    """Returns the number of each group, once for each of its members."""
    lengths = [len(group) for group in groups]
    return np.repeat(np.arange(len(lengths)), lengths).astype("int32")
