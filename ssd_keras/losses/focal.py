"""Focal loss."""

import dataclasses
from typing import ClassVar

from keras import ops

from ssd_keras.boxes.formats import Array
from ssd_keras.core.parts import register_part
from ssd_keras.losses.classification import ClassLoss, one_hot_classes


@register_part("class_loss", "focal")
@dataclasses.dataclass(eq=False)
class FocalLoss(ClassLoss):
    """Sigmoid focal loss of all default boxes and classes, divided by the number of matches.

    Lin et al., "Focal Loss for Dense Object Detection", arXiv 1708.02002, equation 5: easy
    examples weigh little, so that no negatives are mined. Initialise the biases of the class
    layers so that scores start at 0.01 (`prior_probability` of the heads), or the many negatives
    outweigh everything in the first steps.

    Args:
        alpha: weight of the class that is there, 0..1; classes that are not get 1 - alpha.
            Default 0.25.
        gamma: exponent of the error, at least 0; 0 gives plain cross-entropy. Default 2.

    Call arguments:
        y_true: int [B, N]: 0 background, 1.. the class, -1 ignored.
        y_pred: float [B, N, 1 + classes]; the background's logit is ignored.

    Raises:
        ValueError: for a value out of range.

    Example:

    >>> logits = ops.zeros((1, 1, 3))  # two classes with the score 1/2
    >>> round(float(FocalLoss(alpha=0.75)(ops.array([[1]]), logits)), 4)  # log(2) / 4
    0.1733
    """

    activation: ClassVar[str] = "sigmoid"

    alpha: float = 0.25
    gamma: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.alpha <= 1 and self.gamma >= 0):
            raise ValueError(
                f"alpha={self.alpha} and gamma={self.gamma} are out of range; choose alpha in "
                "0..1 and gamma of at least 0."
            )

    def call(self, y_true: Array, y_pred: Array) -> Array:
        classes = ops.cast(y_true, "int32")
        target, logits = one_hot_classes(classes, y_pred)[..., 1:], y_pred[..., 1:]
        # Of the logit of the right answer, x or -x: -log(p) = softplus(-right), and the error
        # 1 - p = exp(-softplus(right)), whose power has a gradient at 0 too.
        right = logits * (2 * target - 1)
        weight = target * self.alpha + (1 - target) * (1 - self.alpha)
        loss = weight * ops.exp(-self.gamma * ops.softplus(right)) * ops.softplus(-right)
        is_used = ops.cast(classes >= 0, loss.dtype)
        sum_per_image = ops.sum(ops.sum(loss, axis=-1) * is_used, axis=-1)
        return self.normalize(sum_per_image, ops.sum(ops.cast(classes > 0, loss.dtype)))
