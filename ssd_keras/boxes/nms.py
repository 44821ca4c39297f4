"""NMS in `keras.ops`: every class of every image at once, on any backend."""

from typing import Any

from keras import ops

from ssd_keras.boxes.formats import Array
from ssd_keras.boxes.iou import edges, intersection_and_union


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
    # In practice there are as many rounds as boxes that suppress each other in a chain: few.
    index = ops.arange(is_candidate.shape[-1])
    in_conflict &= index[:, None] > index

    def staying(kept: Any) -> Any:
        return is_candidate & ~ops.any(in_conflict & kept[..., None, :], axis=-1)

    kept, _ = ops.while_loop(
        lambda kept, before: ops.any(kept != before),
        lambda kept, before: (staying(kept), kept),
        (staying(is_candidate), is_candidate),
    )
    return kept


def top_detections(
    boxes: Array, scores: Array, labels: Array, is_kept: Array, max_detections: int
) -> dict[str, Array]:
    """Returns the best of the kept boxes of all lists [B, lists, k]; unused slots are zero."""
    num_boxes = is_kept.shape[1] * is_kept.shape[2]
    scores = ops.reshape(ops.where(is_kept, scores, 0.0), (-1, num_boxes))
    count = min(max_detections, num_boxes)
    best, index = ops.top_k(scores, count)
    labels = ops.take_along_axis(ops.reshape(labels, (-1, num_boxes)), index, axis=1)
    boxes = ops.take_along_axis(ops.reshape(boxes, (-1, num_boxes, 4)), index[..., None], axis=1)
    is_used = best > 0.0
    unused = ((0, 0), (0, max_detections - count))
    return {
        "boxes": ops.pad(ops.where(is_used[..., None], boxes, 0.0), (*unused, (0, 0))),
        "scores": ops.pad(best, unused),
        "labels": ops.cast(ops.pad(ops.where(is_used, labels, 0), unused), "int32"),
        "num_detections": ops.sum(ops.cast(is_used, "int32"), axis=1),
    }
