"""Losses of the classes whose targets are the qualities of the boxes: quality focal, varifocal."""

import dataclasses
from typing import ClassVar, Literal

from keras import ops

from ssd_keras.boxes.formats import Array
from ssd_keras.core.parts import register_part
from ssd_keras.core.records import check_ranges
from ssd_keras.losses.classification import ClassLoss, one_hot_classes

Quality = Literal["prediction", "assigner"]

# Of a score that is right: a power of 0 has no finite gradient for each exponent.
SMALLEST_ERROR = 1e-6


@dataclasses.dataclass(eq=False)
class QualityLoss(ClassLoss):
    """Base of cross-entropies of scores with the quality of the match as target."""

    activation: ClassVar[str] = "sigmoid"
    uses_quality: ClassVar[bool] = True

    quality: Quality = dataclasses.field(default="prediction", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.quality not in ("prediction", "assigner"):
            raise ValueError(
                f"quality={self.quality!r} is unknown; choose 'prediction' or 'assigner'."
            )

    @property
    def uses_predicted_iou(self) -> bool:
        return self.quality == "prediction"

    def weights(self, target: Array, logits: Array) -> Array:
        """Returns the weight of each cross-entropy, [B, N, classes] as both arguments are."""
        raise NotImplementedError(f"{type(self).__name__} must define weights.")

    def call(self, y_true: Array, y_pred: Array) -> Array:
        classes, quality = ops.cast(y_true[..., 0], "int32"), y_true[..., 1:]
        target, logits = quality * one_hot_classes(classes, y_pred)[..., 1:], y_pred[..., 1:]
        # -q log(p) - (1 - q) log(1 - p), because log(p) = x - softplus(x) and log(1 - p) =
        # -softplus(x) for the logit x.
        loss = self.weights(target, logits) * (ops.softplus(logits) - target * logits)
        is_used = ops.cast(classes >= 0, loss.dtype)
        sum_per_image = ops.sum(ops.sum(loss, axis=-1) * is_used, axis=-1)
        return self.normalize(sum_per_image, ops.sum(ops.cast(classes > 0, loss.dtype)))


@register_part("class_loss", "quality_focal")
@dataclasses.dataclass(eq=False)
class QualityFocalLoss(QualityLoss):
    """Focal loss whose target is the quality of the match, divided by the number of matches.

    Li et al., "Generalized Focal Loss", arXiv 2006.04388, equation 2: |q - p|^beta times the
    cross-entropy of the score p with the target q, which is the quality for the class that is there
    and 0 for the others. So the score tells how well the box fits, by which NMS chooses. Like
    `FocalLoss` it takes all default boxes and needs scores that start at 0.01.

    Args:
        beta: exponent of the error, at least 0; 0 gives plain cross-entropy. Default 2.
        quality: "prediction" (default, the paper's): the IoU of the predicted box with its object,
            without gradient; or "assigner": that of `Assigner.assign`, which is scaled alignment
            for `TaskAlignedAssigner`, and the IoU of the default box for most others.

    Call arguments:
        y_true: float [B, N, 2]: 0 background, 1.. the class, -1 ignored; then the quality, 0..1.
        y_pred: float [B, N, 1 + classes]; the background's logit is ignored.

    Raises:
        ValueError: for a value out of range.

    Example:

    >>> logits = ops.zeros((1, 1, 3))  # two classes with the score 1/2
    >>> loss = QualityFocalLoss()(ops.array([[[1., 0.75]]]), logits)
    >>> round(float(loss), 4)  # (1/4)^2 * log(2) + (1/2)^2 * log(2)
    0.2166
    """

    beta: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, not_negative=("beta",))

    def weights(self, target: Array, logits: Array) -> Array:
        error = ops.abs(target - ops.sigmoid(logits))
        return ops.power(ops.maximum(error, SMALLEST_ERROR), self.beta)


@register_part("class_loss", "varifocal")
@dataclasses.dataclass(eq=False)
class VarifocalLoss(QualityLoss):
    """Cross-entropy with the quality of the match as target and weight, with focal negatives.

    Zhang et al., "VarifocalNet", arXiv 2008.13367, equation 2, divided by the number of matches:
    where the quality q is above 0, q times the cross-entropy of the score p with the target q, so
    that good boxes weigh most; elsewhere, other classes included, -alpha * p^gamma * log(1 - p).
    Like `FocalLoss` it takes all default boxes and needs scores that start at 0.01.

    Args:
        alpha: weight of what is not there, at least 0. Default 0.75.
        gamma: exponent of the score of what is not there, at least 0. Default 2.
        quality: "prediction" (default, the paper's) or "assigner", see `QualityFocalLoss`.

    Call arguments:
        y_true: float [B, N, 2]: 0 background, 1.. the class, -1 ignored; then the quality, 0..1.
        y_pred: float [B, N, 1 + classes]; the background's logit is ignored.

    Raises:
        ValueError: for a value out of range.

    Example:

    >>> logits = ops.zeros((1, 1, 3))  # two classes with the score 1/2
    >>> loss = VarifocalLoss(alpha=0.5)(ops.array([[[1., 0.75]]]), logits)
    >>> round(float(loss), 4)  # 0.75 * log(2) + 0.5 * (1/2)^2 * log(2)
    0.6065
    """

    alpha: float = 0.75
    gamma: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, not_negative=("alpha", "gamma"))

    def weights(self, target: Array, logits: Array) -> Array:
        # p^gamma = exp(-gamma * softplus(-x)), which has a gradient at 0 too.
        negative = self.alpha * ops.exp(-self.gamma * ops.softplus(-logits))
        return ops.where(target > 0, target, negative)
