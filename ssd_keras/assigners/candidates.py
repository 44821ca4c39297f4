"""What assigners by predictions share: values of the candidates, and one object a default box."""

from collections.abc import Mapping
from typing import NamedTuple

from keras import ops

from ssd_keras.assigners.assigner import DefaultBoxArray, box_array
from ssd_keras.boxes.formats import Array
from ssd_keras.boxes.iou import edges, iou
from ssd_keras.boxes.nms import gather_rows


class Candidates(NamedTuple):
    """Default boxes that may match each object, with what the model predicts there, [B, n, K]."""

    index: Array  # of the default box; 0 where there is none
    is_valid: Array  # there is a candidate, and an object
    is_inside: Array  # the centre of the default box is inside the object
    iou: Array  # of the object and the predicted box
    score: Array  # predicted for the object's class

    @classmethod
    def of(
        cls,
        ground_truth: Mapping[str, Array],
        default_boxes: DefaultBoxArray,
        predictions: Mapping[str, Array],
    ) -> "Candidates":
        """Returns the candidates that `ground_truth` names."""
        labels, candidates = ground_truth["labels"], ground_truth["candidates"]
        ymin, xmin, ymax, xmax = edges(ground_truth["boxes"][:, :, None])
        is_valid = (candidates >= 0) & (labels >= 0)[..., None] & (ymin < ymax) & (xmin < xmax)
        index = ops.where(is_valid, candidates, 0)
        array = box_array(default_boxes)
        centers = ops.take((array[:, :2] + array[:, 2:]) / 2, index, axis=0)
        y, x = centers[..., 0], centers[..., 1]
        is_inside = is_valid & (ymin < y) & (y < ymax) & (xmin < x) & (x < xmax)
        ious = iou((ymin, xmin, ymax, xmax), edges(gather_rows(predictions["boxes"], index)), ops)
        # All scores of an image in one row: the class counts within the default box.
        num_boxes, num_classes = predictions["scores"].shape[1:]
        scores = ops.reshape(predictions["scores"], (-1, num_boxes * num_classes))
        score = gather_rows(scores, index * num_classes + ops.maximum(labels, 0)[..., None])
        return cls(index, is_valid, is_inside, ious, score)

    def may_match(self) -> tuple[Array, Array]:
        """Returns which objects have a centre inside, [B, n, 1], and the candidates [B, n, K].

        They are those whose centre is inside the object, or all where no centre is.
        """
        has_inside = ops.any(self.is_inside, axis=2, keepdims=True)
        return has_inside, ops.where(has_inside, self.is_inside, self.is_valid)


def one_object_each(index: Array, is_chosen: Array, priority: Array, num_boxes: int) -> Array:
    """Returns which choices [B, n, k] stay: of each default box that of the highest priority.

    Priorities are 0 or more; the first of several objects wins a tie.
    """
    of_best = _max_of_each_default_box(ops.where(is_chosen, priority, -1.0), index, num_boxes)
    is_chosen &= priority == gather_rows(of_best, index)
    count = is_chosen.shape[1]
    before = ops.reshape(ops.arange(count, 0, -1, dtype="int32"), (-1, 1))  # n, ..., 2, 1
    of_first = _max_of_each_default_box(ops.where(is_chosen, before, 0), index, num_boxes)
    return is_chosen & (before == gather_rows(of_first, index))


def targets_of_choices(
    ground_truth: Mapping[str, Array],
    index: Array,
    is_chosen: Array,
    quality: Array,
    num_boxes: int,
) -> dict[str, Array]:
    """Returns an assigner's targets from choices [B, n, k], at most one for each default box."""
    number = ops.reshape(ops.arange(1, 1 + is_chosen.shape[1], dtype="int32"), (-1, 1))
    owner = _max_of_each_default_box(ops.where(is_chosen, number, 0), index, num_boxes) - 1
    row = ops.maximum(owner, 0)
    return {
        "boxes": gather_rows(ground_truth["boxes"], row),
        "labels": ops.where(owner >= 0, gather_rows(ground_truth["labels"], row), -1),
        "quality": _max_of_each_default_box(ops.where(is_chosen, quality, 0.0), index, num_boxes),
    }


def _max_of_each_default_box(values: Array, index: Array, num_boxes: int) -> Array:
    """Returns the largest value of each default box, or 0, [B, N]; `index` is like the values."""
    batch_size = ops.shape(index)[0]
    first = ops.arange(batch_size, dtype="int32")[:, None, None] * num_boxes
    group = ops.reshape(index + first, (-1,))
    values = ops.segment_max(ops.reshape(values, (-1,)), group, batch_size * num_boxes)
    return ops.maximum(ops.reshape(values, (-1, num_boxes)), 0)
