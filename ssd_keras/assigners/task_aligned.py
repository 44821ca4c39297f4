"""Task-aligned assignment: an assigner by the model's own predictions."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from keras import ops

from ssd_keras.assigners.assigner import Assigner, DefaultBoxArray
from ssd_keras.assigners.candidates import Candidates, one_object_each, targets_of_choices
from ssd_keras.boxes.formats import Array
from ssd_keras.core.parts import register_part


@register_part("assigner", "task_aligned")
@dataclasses.dataclass(frozen=True)
class TaskAlignedAssigner(Assigner):
    """Assigns each object the default boxes whose predictions fit it best, in class and place.

    Feng et al., "TOOD: Task-aligned One-stage Object Detection", arXiv 2108.07755. The alignment
    of a default box with an object is score^alpha * IoU^beta, of the score that the model predicts
    for the object's class and the IoU of the box that it predicts. An object takes the `top_k`
    candidates of the highest alignment above 0 whose centre is inside it; where no centre is
    inside, or all have an alignment of 0, the best candidate. Of several objects a default box
    takes the one of the highest IoU. The quality is the alignment, scaled so that the object's
    highest is its highest IoU.

    Args:
        alpha: exponent of the score, at least 0. Default 1.
        beta: exponent of the IoU, at least 0. Default 6.
        top_k: most default boxes of one object. Default 13.
        max_candidates: default boxes of each object that are looked at, those of the highest GIoU
            with it. Default 128.

    Raises:
        ValueError: for a value out of range.

    Example:

    >>> TaskAlignedAssigner(top_k=9).needs_predictions
    True
    """

    needs_predictions: ClassVar[bool] = True

    alpha: float = 1.0
    beta: float = 6.0
    top_k: int = 13
    max_candidates: int = 128

    def __post_init__(self) -> None:
        if min(self.alpha, self.beta) < 0 or min(self.top_k, self.max_candidates) < 1:
            raise ValueError(
                f"{self} is out of range; alpha and beta must be 0 or more, top_k and "
                "max_candidates 1 or more."
            )

    def assign(
        self,
        ground_truth: Mapping[str, Array],
        default_boxes: DefaultBoxArray,
        predictions: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]:
        if predictions is None:
            raise ValueError("TaskAlignedAssigner needs predictions; call it in the training step.")
        candidates = Candidates.of(ground_truth, default_boxes, predictions)
        alignment = ops.power(candidates.score, self.alpha) * ops.power(candidates.iou, self.beta)
        has_inside, may_match = candidates.may_match()
        # Candidates of equal alignment keep their order, which is that of their GIoU.
        alignment, position = ops.top_k(
            ops.where(may_match, alignment, -1.0), min(self.top_k, may_match.shape[2])
        )
        index, ious = (
            ops.take_along_axis(values, position, axis=2)
            for values in (candidates.index, candidates.iou)
        )
        is_first = ops.arange(position.shape[2]) == 0
        is_chosen = (has_inside & (alignment > 0.0)) | (is_first & (alignment >= 0.0))
        num_boxes = predictions["boxes"].shape[1]
        is_chosen = one_object_each(index, is_chosen, ious, num_boxes)
        alignment, ious = (ops.where(is_chosen, values, 0.0) for values in (alignment, ious))
        largest = ops.max(alignment, axis=2, keepdims=True)
        quality = alignment / ops.where(largest > 0.0, largest, 1.0)
        quality *= ops.max(ious, axis=2, keepdims=True)
        return targets_of_choices(ground_truth, index, is_chosen, quality, num_boxes)
