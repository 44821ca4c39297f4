"""Losses of the boxes: smooth L1 of the deltas, kinds of IoU of the boxes themselves."""

import dataclasses
from typing import ClassVar

from keras import ops

from ssd_keras.boxes.formats import Array
from ssd_keras.boxes.iou import ciou, diou, edges, giou
from ssd_keras.core.parts import register_part
from ssd_keras.losses.normalized import MatchNormalizedLoss


@dataclasses.dataclass(eq=False)
class BoxLoss(MatchNormalizedLoss):
    """Base of the losses of "box_deltas", which `fit` logs as ``box_deltas_loss``.

    A subclass defines `per_box`, and says in `space` what it compares: "deltas" (default), or
    "boxes", for which `SSD` decodes both sides to yxyx in pixels of its input. Its dataclass fields
    are its options. With `register_part` recipes find it by name.

    Args:
        quality_weight: each positive default box weighs as much as the highest score that the
            model predicts there, and the sum is divided by that of the weights, as in the official
            code of generalized focal loss (Li et al., arXiv 2006.04388). Default False.

    Call arguments:
        y_true: float [B, N, 5]: four deltas or edges, then the weight of the default box, 0..1: 1
            where it is positive, else 0.
        y_pred: float [B, N, 4].

    Example:

    >>> class L2Loss(BoxLoss):
    ...     def per_box(self, target, prediction):
    ...         return ops.sum(ops.square(prediction - target), axis=-1)
    >>> float(L2Loss()(ops.array([[[0., 0., 0., 0., 1.]]]), ops.ones((1, 1, 4))))
    4.0
    """

    space: ClassVar[str] = "deltas"

    quality_weight: bool = False

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
        target, prediction, weight = y_true[..., :4], y_pred, y_true[..., 4]
        if self.space == "boxes":
            # Both sides of other default boxes are one box of area 1: no division by an area of
            # 0, no gradient, and no infinity that a factor of 0 would turn into NaN.
            stand_in = ops.array([0.0, 0.0, 1.0, 1.0])
            target, prediction = (
                ops.where(weight[..., None] > 0, side, stand_in) for side in (target, prediction)
            )
        per_box = self.per_box(target, prediction) * weight
        return self.normalize(ops.sum(per_box, axis=-1), ops.sum(weight))


@register_part("box_loss", "smooth_l1")
@dataclasses.dataclass(eq=False)
class SmoothL1Loss(BoxLoss):
    """Smooth L1 of the deltas of matched default boxes, divided by their number in the batch.

    Paper equations 1 and 2.

    Args:
        quality_weight: weighs positives by the model's scores, see `BoxLoss`. Default False.

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

    Args:
        quality_weight: weighs positives by the model's scores, see `BoxLoss`. Default False.

    Call arguments:
        y_true: float [B, N, 5]: a box, yxyx in pixels, then 1 where the default box is positive.
        y_pred: float [B, N, 4]: decoded boxes in pixels.

    Example:

    >>> target = ops.array([[[0., 0., 5., 10., 1.]]])
    >>> float(GIoULoss()(target, ops.array([[[5., 0., 10., 10.]]])))  # 1 - (0 - (100 - 100) / 100)
    1.0
    """

    space: ClassVar[str] = "boxes"

    def per_box(self, target: Array, prediction: Array) -> Array:
        return 1.0 - giou(edges(target), edges(prediction), ops)


@register_part("box_loss", "diou")
@dataclasses.dataclass(eq=False)
class DIoULoss(BoxLoss):
    """1 - DIoU of the decoded boxes of matched default boxes, divided by their number.

    Zheng et al., "Distance-IoU Loss", arXiv 1911.08287, equation 7: 1 less the IoU, plus the
    squared distance of the centres as a share of the squared diagonal of the rectangle around both
    boxes. Unlike GIoU it draws the centres together where one box lies inside the other.

    Args:
        quality_weight: weighs positives by the model's scores, see `BoxLoss`. Default False.

    Call arguments:
        y_true: float [B, N, 5]: a box, yxyx in pixels, then 1 where the default box is positive.
        y_pred: float [B, N, 4]: decoded boxes in pixels.

    Example:

    >>> target = ops.array([[[0., 0., 6., 8., 1.]]])  # the prediction is its right half
    >>> loss = DIoULoss()(target, ops.array([[[0., 4., 6., 8.]]]))
    >>> round(float(loss), 4)  # 1 - 1 / 2 + 2^2 / (6^2 + 8^2)
    0.54
    """

    space: ClassVar[str] = "boxes"

    def per_box(self, target: Array, prediction: Array) -> Array:
        return 1.0 - diou(edges(target), edges(prediction), ops)


@register_part("box_loss", "ciou")
@dataclasses.dataclass(eq=False)
class CIoULoss(BoxLoss):
    """1 - CIoU of the decoded boxes of matched default boxes, divided by their number.

    Zheng et al., "Distance-IoU Loss", arXiv 1911.08287, equations 8 to 11: the loss of `DIoULoss`
    plus a * v, where v = (2 / pi * difference of arctan(width / height))^2 and a = v / (1 - IoU +
    v). As in the official code, a has no gradient.

    Args:
        quality_weight: weighs positives by the model's scores, see `BoxLoss`. Default False.

    Call arguments:
        y_true: float [B, N, 5]: a box, yxyx in pixels, then 1 where the default box is positive.
        y_pred: float [B, N, 4]: decoded boxes in pixels.

    Example:

    >>> target = ops.array([[[0., 0., 4., 4., 1.]]])  # equal shapes: v = 0, and DIoU's loss
    >>> float(CIoULoss()(target, ops.array([[[1., 1., 3., 3.]]])))  # 1 - 4 / 16
    0.75
    """

    space: ClassVar[str] = "boxes"

    def per_box(self, target: Array, prediction: Array) -> Array:
        return 1.0 - ciou(edges(target), edges(prediction), ops)


def smooth_l1(target: Array, prediction: Array) -> Array:
    """Returns the smooth L1 loss of each element (paper equation 2, after Fast R-CNN)."""
    distance = ops.abs(prediction - target)
    return ops.where(distance < 1.0, 0.5 * ops.square(distance), distance - 0.5)
