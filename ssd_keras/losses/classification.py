"""Losses of the classes: cross-entropies with hard negative mining, and their base."""

import dataclasses
from typing import ClassVar

from keras import ops

from ssd_keras.boxes.formats import Array
from ssd_keras.core.parts import register_part
from ssd_keras.losses.mining import mine_hard_negatives
from ssd_keras.losses.normalized import MatchNormalizedLoss

ACTIVATIONS = ("softmax", "sigmoid")


def check_activation(activation: str) -> None:
    """Raises a `ValueError` for an activation that is none of `ACTIVATIONS`."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation={activation!r} is unknown; choose 'softmax' or 'sigmoid'.")


@dataclasses.dataclass(eq=False)
class ClassLoss(MatchNormalizedLoss):
    """Base of the losses of "class_logits", which `fit` logs as ``class_logits_loss``.

    A subclass defines `call`, which returns `normalize(sum_per_image, num_positives)`, and says
    which `activation` its scores need: "softmax" (default) or "sigmoid". With `uses_quality` the
    targets hold the quality of matches too: the assigner's, or with `uses_predicted_iou` the IoU of
    the predicted box with its object. Its dataclass fields are its options. With `register_part`
    recipes find it by name.

    Call arguments:
        y_true: [B, N]: 0 background, 1.. the class, -1 ignored. With `uses_quality` [B, N, 2]:
            this, then the quality, 0..1.
        y_pred: float [B, N, 1 + classes], background first; "sigmoid" ignores the background.

    Returns of a call:
        the loss; NaN for a class that has no logit, which would else be learned as none.

    Example:

    >>> class PlainLoss(ClassLoss):
    ...     def call(self, y_true, y_pred):
    ...         classes = ops.cast(y_true, "int32")
    ...         loss = ops.sparse_categorical_crossentropy(classes, y_pred, from_logits=True)
    ...         return self.normalize(ops.sum(loss, axis=-1), ops.sum(classes > 0))
    >>> round(float(PlainLoss()(ops.array([[1, 0]]), ops.zeros((1, 2, 2)))), 4)  # 2 * log(2) / 1
    1.3863
    """

    activation: ClassVar[str] = "softmax"
    uses_quality: ClassVar[bool] = False

    @property
    def uses_predicted_iou(self) -> bool:
        """Whether the quality of a match is that of the prediction. Default False."""
        return False

    def __call__(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> Array:
        loss = super().__call__(y_true, y_pred, sample_weight)
        classes = y_true[..., 0] if self.uses_quality else y_true
        has_logits = ops.max(classes) < y_pred.shape[-1]
        return ops.where(has_logits, loss, float("nan"))


@dataclasses.dataclass(eq=False)
class HardNegativeLoss(ClassLoss):
    """Base of cross-entropies over positives and each image's hardest negatives."""

    negatives_per_positive: float = 3.0
    min_negatives: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.negatives_per_positive < 0 or self.min_negatives < 0:
            raise ValueError(
                f"negatives_per_positive={self.negatives_per_positive} and "
                f"min_negatives={self.min_negatives} must be 0 or more."
            )

    def mined(self, classes: Array, logits: Array, log_sum: Array) -> Array:
        """Returns the loss of each image from cross-entropies log_sum [B, N] - logit."""
        is_positive = classes > 0
        background_loss = ops.stop_gradient(log_sum - logits[..., 0])
        num_positives = ops.sum(ops.cast(is_positive, "int32"), axis=-1)
        limits = (self.negatives_per_positive, self.min_negatives)
        is_negative = mine_hard_negatives(background_loss, classes == 0, num_positives, *limits)
        is_used = ops.cast(ops.logical_or(is_positive, is_negative), logits.dtype)
        cross_entropy = log_sum - ops.sum(one_hot_classes(classes, logits) * logits, axis=-1)
        sum_per_image = ops.sum(cross_entropy * is_used, axis=-1)
        return self.normalize(sum_per_image, ops.sum(num_positives))


@register_part("class_loss", "softmax")
@dataclasses.dataclass(eq=False)
class SoftmaxLoss(HardNegativeLoss):
    """Softmax cross-entropy over matched default boxes and each image's hardest negatives.

    Paper equation 3 and "Hard negative mining".

    Args:
        negatives_per_positive: negatives for one positive, at least 0. Default 3.
        min_negatives: minimum number of negatives per image. Default 0 as in the paper's
            implementation, where images without objects add nothing to the loss; above 0 such
            images teach what is background.

    Call arguments:
        y_true: int [B, N]: 0 background, 1.. the class, -1 ignored.
        y_pred: float [B, N, 1 + classes], background first.

    Raises:
        ValueError: for negative arguments.

    Example:

    >>> logits = ops.zeros((1, 4, 2))
    >>> round(float(SoftmaxLoss()(ops.array([[1, 0, 0, 0]]), logits)), 4)  # 4 * log(2) / 1
    2.7726
    """

    def call(self, y_true: Array, y_pred: Array) -> Array:
        return self.mined(ops.cast(y_true, "int32"), y_pred, ops.logsumexp(y_pred, axis=-1))


@register_part("class_loss", "sigmoid")
@dataclasses.dataclass(eq=False)
class SigmoidLoss(HardNegativeLoss):
    """Binary cross-entropies of all classes, added, with the hard negatives of `SoftmaxLoss`.

    Args:
        negatives_per_positive: negatives for one positive, at least 0. Default 3.
        min_negatives: minimum number of negatives per image. Default 0.

    Call arguments:
        y_true: int [B, N]: 0 background, 1.. the class, -1 ignored.
        y_pred: float [B, N, 1 + classes]; the background's logit is ignored.

    Raises:
        ValueError: for negative arguments.

    Example:

    >>> logits = ops.zeros((1, 4, 3))
    >>> round(float(SigmoidLoss()(ops.array([[1, 0, 0, 0]]), logits)), 4)  # 4 * 2 * log(2) / 1
    5.5452
    """

    activation: ClassVar[str] = "sigmoid"

    def call(self, y_true: Array, y_pred: Array) -> Array:
        # -log(1 - sigmoid(x)) = softplus(x), and -log(sigmoid(x)) = softplus(x) - x: with 0 as the
        # background's logit, a cross-entropy is the sum of all softplus less the class's logit.
        classes = y_pred[..., 1:]
        logits = ops.concatenate([ops.zeros_like(y_pred[..., :1]), classes], axis=-1)
        log_sum = ops.sum(ops.softplus(classes), axis=-1)
        return self.mined(ops.cast(y_true, "int32"), logits, log_sum)


def one_hot_classes(classes: Array, logits: Array) -> Array:
    """Returns the one-hot rows of int classes [B, N], in the form of the logits."""
    return ops.one_hot(ops.maximum(classes, 0), logits.shape[-1], dtype=logits.dtype)
