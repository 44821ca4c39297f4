"""Losses of the boxes: smooth L1 of the deltas, GIoU of the boxes themselves."""

import dataclasses
from typing import ClassVar

from keras import ops

from ssd_keras.boxes.formats import Array
from ssd_keras.boxes.iou import edges, giou
from ssd_keras.core.parts import register_part
from ssd_keras.losses.normalized import MatchNormalizedLoss


@dataclasses.dataclass(eq=False)
class BoxLoss(MatchNormalizedLoss):
    """Base of the losses of "box_deltas", which `fit` logs as ``box_deltas_loss``.

    A subclass defines `per_box`, and says in `space` what it compares: "deltas" (default), or
    "boxes", for which `SSD` decodes both sides to relative yxyx. Its dataclass fields are its
    options. With `register_part` recipes find it by name.

    Call arguments:
        y_true: float [B, N, 5]: four deltas or edges, then 1 where the default box is positive,
            else 0.
        y_pred: float [B, N, 4].

    Example:

    >>> class L2Loss(BoxLoss):
    ...     def per_box(self, target, prediction):
    ...         return ops.sum(ops.square(prediction - target), axis=-1)
    >>> float(L2Loss()(ops.array([[[0., 0., 0., 0., 1.]]]), ops.ones((1, 1, 4))))
    4.0
    """

    space: ClassVar[str] = "deltas"

    def per_box(self, target: Array, prediction: Array) -> Array:
        """Returns the loss of each default box.

        Args:
            target: float32 [B, N, 4], deltas or boxes; at default boxes without an object deltas
                of 0, or a box that the prediction equals.
            prediction: float32 [B, N, 4].

        Returns:
            float32 [B, N].
        """
        raise NotImplementedError(f"{type(self).__name__} must define per_box.")

    def call(self, y_true: Array, y_pred: Array) -> Array:
        target, prediction, is_positive = y_true[..., :4], y_pred, y_true[..., 4]
        if self.space == "boxes":
            # Both sides of other default boxes are one box of area 1: no division by an area of
            # 0, no gradient, and no infinity that a factor of 0 would turn into NaN.
            stand_in = ops.array([0.0, 0.0, 1.0, 1.0])
            target, prediction = (
                ops.where(is_positive[..., None] > 0, side, stand_in)
                for side in (target, prediction)
            )
        per_box = self.per_box(target, prediction) * is_positive
        return self.normalize(ops.sum(per_box, axis=-1), ops.sum(is_positive))


@register_part("box_loss", "smooth_l1")
@dataclasses.dataclass(eq=False)
class SmoothL1Loss(BoxLoss):
    """Smooth L1 of the deltas of matched default boxes, divided by their number in the batch.

    Paper equations 1 and 2.

    Call arguments:
        y_true: float [B, N, 5]: four deltas, then 1 where the default box is positive, else 0.
        y_pred: float [B, N, 4].

    Example:

    >>> target = ops.array([[[0., 0., 0., 0., 1.], [9., 9., 9., 9., 0.]]])
    >>> float(SmoothL1Loss()(target, ops.zeros((1, 2, 4)) + 0.5))
    0.5
    """

    def per_box(self, target: Array, prediction: Array) -> Array:
        return ops.sum(smooth_l1(target, prediction), axis=-1)


@register_part("box_loss", "giou")
@dataclasses.dataclass(eq=False)
class GIoULoss(BoxLoss):
    """1 - GIoU of the decoded boxes of matched default boxes, divided by their number.

    Rezatofighi et al., "Generalized Intersection over Union", arXiv 1902.09630: 0 for equal
    boxes, up to 2 for boxes far apart. It is the same for objects of any size, where smooth L1
    depends on the default box. Beside a loss of classes it usually gets the weight 2.

    Call arguments:
        y_true: float [B, N, 5]: a box, relative yxyx, then 1 where the default box is positive.
        y_pred: float [B, N, 4]: decoded boxes.

    Example:

    >>> target = ops.array([[[0., 0., 0.5, 1., 1.]]])
    >>> float(GIoULoss()(target, ops.array([[[0.5, 0., 1., 1.]]])))  # 1 - (0 - (1 - 1) / 1)
    1.0
    """

    space: ClassVar[str] = "boxes"

    def per_box(self, target: Array, prediction: Array) -> Array:
        return 1.0 - giou(edges(target), edges(prediction), ops)


def smooth_l1(target: Array, prediction: Array) -> Array:
    """Returns the smooth L1 loss of each element (paper equation 2, after Fast R-CNN)."""
    distance = ops.abs(prediction - target)
    return ops.where(distance < 1.0, 0.5 * ops.square(distance), distance - 0.5)
