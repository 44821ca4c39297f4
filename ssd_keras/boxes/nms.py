"""NMS: three kernels with one contract and, but for the order of equal scores, one result.

A kernel takes candidates as lists: boxes [B, lists, k, 4], scores [B, lists, k] falling in each
list, labels [B, lists, k]. There is a list for each class, or one list. It returns boxes
[B, K, 4], scores [B, K], labels int32 [B, K] and num_detections int32 [B] by falling score, for K
`max_detections`; unused slots are zero.
"""

import math
from collections.abc import Callable
from typing import Protocol, TypeAlias

import numpy as np
from keras import ops

from ssd_keras.boxes.formats import Array
from ssd_keras.boxes.iou import edges, intersection_and_union

# Relative boxes reach little beyond 0..1: at this distance boxes of two classes do not meet.
CLASS_DISTANCE = 4.0


class Thresholds(Protocol):
    """What a kernel reads of a `PostProcess`."""

    @property
    def score_threshold(self) -> float: ...
    @property
    def iou_threshold(self) -> float: ...
    @property
    def max_detections(self) -> int: ...
    @property
    def max_detections_per_class(self) -> int | None: ...
    @property
    def class_agnostic(self) -> bool: ...


DetectionBatch: TypeAlias = dict[str, Array]
Kernel: TypeAlias = Callable[[Array, Array, Array, int, Thresholds], DetectionBatch]


def combined(
    boxes: Array, scores: Array, labels: Array, num_classes: int, thresholds: Thresholds
) -> DetectionBatch:
    """TensorFlow's own operator, the fastest on its CPUs."""
    if thresholds.class_agnostic:  # the operator would not return the classes
        return parallel(boxes, scores, labels, num_classes, thresholds)
    import tensorflow as tf

    length = scores.shape[2]
    if scores.shape[1] == num_classes:
        boxes, scores = ops.transpose(boxes, (0, 2, 1, 3)), ops.transpose(scores, (0, 2, 1))
    else:  # a box of the one list has a score in its class and 0 in the others
        boxes = ops.transpose(boxes, (0, 2, 1, 3))
        scores = scores[:, 0, :, None] * ops.one_hot(labels[:, 0], num_classes)
    found = tf.image.combined_non_max_suppression(
        boxes,
        scores,
        max_output_size_per_class=min(length, thresholds.max_detections_per_class or length),
        max_total_size=thresholds.max_detections,
        iou_threshold=thresholds.iou_threshold,
        score_threshold=thresholds.score_threshold,
        clip_boxes=False,
    )
    return {
        "boxes": found.nmsed_boxes,
        "scores": found.nmsed_scores,
        "labels": ops.cast(found.nmsed_classes, "int32"),
        "num_detections": found.valid_detections,
    }


def parallel(
    boxes: Array, scores: Array, labels: Array, num_classes: int, thresholds: Thresholds
) -> DetectionBatch:
    """Treats all lists at once in `keras.ops`, so that an accelerator waits for none of them."""
    in_conflict = exceeds_iou(boxes, thresholds.iou_threshold)
    is_same_class = labels[..., :, None] == labels[..., None, :]
    if scores.shape[1] != num_classes and not thresholds.class_agnostic:
        in_conflict &= is_same_class
    is_kept = greedy_nms(in_conflict, scores > thresholds.score_threshold)
    if thresholds.max_detections_per_class:
        is_no_worse = ops.tril(is_same_class) & is_kept[..., None, :]
        rank = ops.sum(ops.cast(is_no_worse, "int32"), axis=-1)
        is_kept &= rank <= thresholds.max_detections_per_class
    return top_detections(boxes, scores, labels, is_kept, thresholds.max_detections)


def builtin(
    boxes: Array, scores: Array, labels: Array, num_classes: int, thresholds: Thresholds
) -> DetectionBatch:
    """Operators that every TFLite runtime and ONNX have, for one image: B is 1.

    Boxes are moved apart by class, so that one NMS over all of them works class by class.
    """
    from tensorflow import raw_ops

    num_lists, length = scores.shape[1:]
    offsets, is_list_of_class = class_offsets(num_classes), num_lists == num_classes
    # Numbers of each list, not of each candidate, which would fill the file as constants.
    offsets = offsets[:, None] if is_list_of_class else ops.take(offsets, labels, axis=0)
    moved = boxes if thresholds.class_agnostic else boxes + offsets
    boxes, moved = ops.reshape(boxes, (-1, 4)), ops.reshape(moved, (-1, 4))
    scores, labels = ops.reshape(scores, (-1,)), ops.reshape(labels, (-1,))
    limit = thresholds.max_detections_per_class
    # A limit by class may pass over the best: all that NMS keeps are looked at.
    num_kept = num_lists * length if limit else min(thresholds.max_detections, num_lists * length)
    kept, _, count = raw_ops.NonMaxSuppressionV5(
        boxes=moved,
        scores=scores,
        max_output_size=num_kept,
        iou_threshold=_just_above(thresholds.iou_threshold),
        score_threshold=thresholds.score_threshold,
        soft_nms_sigma=0.0,
        pad_to_max_output_size=True,
    )
    is_kept = ops.arange(num_kept) < count
    boxes, scores = ops.take(boxes, kept, axis=0), ops.take(scores, kept, axis=0)
    labels = kept // length if is_list_of_class else ops.take(labels, kept, axis=0)
    if limit:
        of_class = ops.cast(labels[:, None] == ops.arange(num_classes), "int32")
        of_class *= ops.cast(is_kept, "int32")[:, None]
        is_kept &= ops.sum(ops.cumsum(of_class, axis=0) * of_class, axis=1) <= limit
    boxes, scores, labels, is_kept = (
        ops.expand_dims(value, (0, 1)) for value in (boxes, scores, labels, is_kept)
    )
    return top_detections(boxes, scores, labels, is_kept, thresholds.max_detections)


def exceeds_iou(boxes: Array, iou_threshold: float) -> Array:
    """Returns which boxes of a list [..., k, 4] have an IoU above the threshold, [..., k, k]."""
    rows = [edge[..., :, None] for edge in edges(boxes)]
    columns = [edge[..., None, :] for edge in edges(boxes)]
    intersection, union = intersection_and_union(rows, columns, ops)
    # A box of no area overlaps nothing.
    return (intersection > 0.0) & (intersection > iou_threshold * union)


def greedy_nms(in_conflict: Array, is_candidate: Array) -> Array:
    """Returns which candidates [..., k], sorted by falling score, greedy NMS keeps.

    The rule "a candidate stays unless it is in conflict with a better one that stays" is applied
    to all boxes at once until nothing changes. The first box is right after one round, and each
    round makes at least the next one right for good.
    """
    # A chain of four boxes, each in conflict with its neighbours (x: stays):
    #   round   A B C D
    #     1     x . . .   every candidate counts, so that A alone has no better one
    #     2     x . x x   A alone counts: B goes, C and D stay
    #     3     x . x .   C counts too: D goes
    #     4     x . x .   nothing changes
    # In practice there are as many rounds as boxes in the longest such chain: few.
    index = ops.arange(is_candidate.shape[-1])
    with_better = in_conflict & (index[:, None] > index)

    def staying(kept: Array) -> Array:
        return is_candidate & ~ops.any(with_better & kept[..., None, :], axis=-1)

    kept, _ = ops.while_loop(
        lambda kept, before: ops.any(kept != before),
        lambda kept, before: (staying(kept), kept),
        (staying(is_candidate), is_candidate),
    )
    return kept


def top_detections(
    boxes: Array, scores: Array, labels: Array, is_kept: Array, max_detections: int
) -> DetectionBatch:
    """Returns the best of the kept boxes of all lists [B, lists, k]; unused slots are zero."""
    num_boxes = is_kept.shape[1] * is_kept.shape[2]
    scores = ops.reshape(ops.where(is_kept, scores, 0.0), (-1, num_boxes))
    count = min(max_detections, num_boxes)
    best, index = ops.top_k(scores, count)
    labels = gather_rows(ops.reshape(labels, (-1, num_boxes)), index)
    boxes = gather_rows(ops.reshape(boxes, (-1, num_boxes, 4)), index)
    is_used = best > 0.0
    unused = ((0, 0), (0, max_detections - count))
    return {
        "boxes": ops.pad(ops.where(is_used[..., None], boxes, 0.0), (*unused, (0, 0))),
        "scores": ops.pad(best, unused),
        "labels": ops.cast(ops.pad(ops.where(is_used, labels, 0), unused), "int32"),
        "num_detections": ops.sum(ops.cast(is_used, "int32"), axis=1),
    }


def gather_rows(values: Array, index: Array) -> Array:
    """Returns of values [B, n, ...] those that an index [B, ...] names in each image."""
    if values.shape[0] == 1:
        return ops.take(values[0], index, axis=0)
    batch_size, length, *rest = ops.shape(values)
    # `take_along_axis` would repeat the index for each edge of a box.
    first = ops.arange(batch_size, dtype="int32") * length
    # Not `+=`, which would change the caller's tensor under torch.
    row = index + ops.reshape(first, (-1, *[1] * (len(index.shape) - 1)))
    return ops.take(ops.reshape(values, (-1, *rest)), row, axis=0)


def class_offsets(num_classes: int) -> np.ndarray:
    """Returns the offset [ymin, xmin, ymax, xmax] of each class' boxes, [classes, 4]."""
    # Classes stand on a square grid: offsets stay small, so coordinates keep their digits. Four
    # classes, each with its boxes in a unit square:
    #
    #             x = 0..1     x = 4..5
    #   y = 0..1  class 0      class 1
    #   y = 4..5  class 2      class 3
    columns = math.ceil(math.sqrt(num_classes))
    row, column = np.divmod(np.arange(num_classes), columns)
    return np.stack([row, column, row, column], axis=1).astype("float32") * CLASS_DISTANCE


def _just_above(iou_threshold: float) -> np.float32:
    """Returns the threshold at which TFLite drops the boxes that the other kernels drop.

    They drop boxes above the threshold, TFLite also those at it: at 0, all boxes.
    """
    above = np.nextafter(np.float32(iou_threshold), np.float32(2))
    # Above 1 TFLite repeats its first box, so at a threshold of 1 it drops equal boxes.
    return np.clip(above, np.finfo("float32").tiny, np.float32(1))
