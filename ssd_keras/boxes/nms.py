"""NMS in `keras.ops`: every class of every image at once, on any backend."""

from typing import Any

from keras import ops


def overlaps(boxes: Any, iou_threshold: float) -> Any:
    """Which boxes of a list overlap by more than the threshold."""
    ymin, xmin, ymax, xmax = (boxes[..., edge] for edge in range(4))

    def common(low, high):
        highest_low = ops.maximum(ops.expand_dims(low, -1), ops.expand_dims(low, -2))
        lowest_high = ops.minimum(ops.expand_dims(high, -1), ops.expand_dims(high, -2))
        return ops.maximum(lowest_high - highest_low, 0.0)

    area = (ymax - ymin) * (xmax - xmin)
    intersection = common(ymin, ymax) * common(xmin, xmax)
    union = ops.expand_dims(area, -1) + ops.expand_dims(area, -2) - intersection
    # A box of no area overlaps nothing.
    return (intersection > 0.0) & (intersection > iou_threshold * union)


def greedy(clash: Any, is_candidate: Any) -> Any:
    """Greedy suppression of lists that are sorted by falling score.

    A box stays unless a better one that stays clashes with it. That rule is applied to all boxes
    at once and again, until nothing changes. The first box of a list is right after one round,
    and each round makes at least the next one right for good, so it ends at the only answer;
    after a handful of rounds in practice, as many as boxes suppress each other in a chain.
    """
    place = ops.arange(is_candidate.shape[-1])
    is_better = ops.expand_dims(place, -1) > ops.expand_dims(place, -2)
    clash &= is_better

    def stays(kept):
        return is_candidate & ~ops.any(clash & ops.expand_dims(kept, -2), axis=-1)

    kept, _ = ops.while_loop(
        lambda kept, before: ops.any(kept != before),
        lambda kept, before: (stays(kept), kept),
        (stays(is_candidate), is_candidate),
    )
    return kept


def _best(boxes, scores, labels, kept, max_detections):
    """The best of all lists, in places that are zero where there are no more."""
    num_places = kept.shape[1] * kept.shape[2]
    scores = ops.reshape(ops.where(kept, scores, 0.0), (-1, num_places))
    count = min(max_detections, num_places)
    best, index = ops.top_k(scores, count)
    labels = ops.take_along_axis(ops.reshape(labels, (-1, num_places)), index, axis=1)
    boxes = ops.reshape(boxes, (-1, num_places, 4))
    boxes = ops.take_along_axis(boxes, ops.expand_dims(index, -1), axis=1)
    is_used = best > 0.0
    unused = ((0, 0), (0, max_detections - count))
    return {
        "boxes": ops.pad(ops.where(is_used[..., None], boxes, 0.0), (*unused, (0, 0))),
        "scores": ops.pad(best, unused),
        "labels": ops.cast(ops.pad(ops.where(is_used, labels, 0), unused), "int32"),
        "num_detections": ops.sum(ops.cast(is_used, "int32"), axis=1),
    }
