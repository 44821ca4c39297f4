"""SimOTA: an assigner by the model's own predictions that chooses how many boxes an object gets."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from keras import ops

from ssd_keras.assigners.assigner import Assigner, DefaultBoxArray
from ssd_keras.assigners.candidates import Candidates, one_object_each, targets_of_choices
from ssd_keras.boxes.formats import Array
from ssd_keras.boxes.nms import gather_rows
from ssd_keras.core.parts import register_part
from ssd_keras.core.records import check_ranges, check_whole_numbers

SMALLEST_SHARE = 1e-7  # of scores and IoUs, whose logarithms stay finite


@register_part("assigner", "sim_ota")
@dataclasses.dataclass(frozen=True)
class SimOTAAssigner(Assigner):
    """Assigns each object the default boxes whose predictions cost least, as many as fit it.

    Ge et al., "YOLOX", arXiv 2107.08430, section 2.1, "SimOTA". The cost of a default box for an
    object is the binary cross-entropy of its scores, of all classes, less `iou_weight` times the
    logarithm of the IoU of its predicted box. An object takes the k candidates of the lowest cost
    whose centre is inside it (of all candidates where no centre is inside), where k is the sum of
    its `top_k` best IoUs, rounded down, and at least 1. Of several objects a default box takes the
    one of the lowest cost; one that loses all goes without. The quality is the IoU of the
    predicted box. Unlike YOLOX it has no second region around the objects' centres.

    Args:
        iou_weight: weight of the IoU in the cost, at least 0. Default 3.
        top_k: number of IoUs whose sum is k, and so the most default boxes of one object. Default
            10.
        max_candidates: default boxes of each object that are looked at, those of the highest GIoU
            with it. Default 128.

    Raises:
        ValueError: for a value out of range.

    Example:

    >>> SimOTAAssigner(top_k=13).needs_predictions
    True
    """

    needs_predictions: ClassVar[bool] = True

    iou_weight: float = 3.0
    top_k: int = 10
    max_candidates: int = 128

    def __post_init__(self) -> None:
        check_ranges(self, not_negative=("iou_weight",))
        check_whole_numbers(self, ("top_k", "max_candidates"))

    def assign(
        self,
        ground_truth: Mapping[str, Array],
        default_boxes: DefaultBoxArray,
        predictions: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]:
        if predictions is None:
            raise ValueError("SimOTAAssigner needs predictions; call it in the training step.")
        candidates = Candidates.of(ground_truth, default_boxes, predictions)
        _, may_match = candidates.may_match()
        ious = ops.where(may_match, candidates.iou, 0.0)
        cost = _class_cost(candidates, predictions["scores"])
        cost -= self.iou_weight * ops.log(ops.maximum(ious, SMALLEST_SHARE))
        count = min(self.top_k, may_match.shape[2])
        number = ops.floor(ops.sum(ops.top_k(ious, count)[0], axis=2, keepdims=True))
        # Candidates of equal cost keep their order, which is that of their GIoU.
        merit, position = ops.top_k(ops.where(may_match, -cost, -float("inf")), count)
        index, ious = (
            ops.take_along_axis(values, position, axis=2) for values in (candidates.index, ious)
        )
        rank = ops.arange(count, dtype="float32")
        is_chosen = (rank < ops.maximum(number, 1.0)) & (merit > -float("inf"))
        priority = merit - ops.min(ops.where(is_chosen, merit, 0.0))
        num_boxes = predictions["boxes"].shape[1]
        is_chosen = one_object_each(index, is_chosen, priority, num_boxes)
        return targets_of_choices(ground_truth, index, is_chosen, ious, num_boxes)


def _class_cost(candidates: Candidates, scores: Array) -> Array:
    """Returns the binary cross-entropy of all classes of each candidate, [B, n, K]."""
    least, most = SMALLEST_SHARE, 1 - SMALLEST_SHARE
    absent = -ops.sum(ops.log(1 - ops.clip(scores, least, most)), axis=2)
    score = ops.clip(candidates.score, least, most)
    return gather_rows(absent, candidates.index) + ops.log(1 - score) - ops.log(score)
