"""Cross-entropy of classes with hard negative mining."""

from typing import Any

import keras
from keras import ops

from ssd_keras.boxes.formats import Array
from ssd_keras.losses.mining import mine_hard_negatives
from ssd_keras.losses.normalized import MatchNormalizedLoss

ACTIVATIONS = ("softmax", "sigmoid")


def check_activation(activation: str) -> None:
    """Raises a `ValueError` for an activation that is none of `ACTIVATIONS`."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation={activation!r} is unknown; choose 'softmax' or 'sigmoid'.")


@keras.saving.register_keras_serializable("ssd_keras")
class ClassLoss(MatchNormalizedLoss):
    """Cross-entropy over matched default boxes and each image's hardest negatives.

    Paper equation 3 and "Hard negative mining". Logged by `fit` as ``class_logits_loss``.

    Args:
        negatives_per_positive: negatives for one positive, at least 0. Default 3.
        min_negatives: minimum number of negatives per image. Default 0 as in the paper's
            implementation, where images without objects add nothing to the loss; above 0 such
            images teach what is background.
        name: name in logs. Default "class_loss".
        dtype: dtype of the computation. Default None: float32, under mixed precision too.
        activation: "softmax" (default) or "sigmoid", the model's activation. With "sigmoid" the
            binary cross-entropies of all classes are added; the background's logit is ignored.

    Call arguments:
        y_true: int [B, N]: 0 background, 1.. the class, -1 ignored.
        y_pred: float [B, N, 1 + classes], background first.

    Raises:
        ValueError: for negative arguments or an unknown activation.

    Example:

    >>> logits = ops.zeros((1, 4, 2))
    >>> round(float(ClassLoss()(ops.array([[1, 0, 0, 0]]), logits)), 4)  # 4 * log(2) / 1
    2.7726
    """

    def __init__(
        self,
        negatives_per_positive: float = 3.0,
        min_negatives: int = 0,
        name: str = "class_loss",
        dtype: str | None = None,
        activation: str = "softmax",
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if negatives_per_positive < 0 or min_negatives < 0:
            raise ValueError(
                f"negatives_per_positive={negatives_per_positive} and "
                f"min_negatives={min_negatives} must be 0 or more."
            )
        check_activation(activation)
        self.negatives_per_positive = negatives_per_positive
        self.min_negatives = min_negatives
        self.activation = activation

    def call(self, y_true: Array, y_pred: Array) -> Array:
        classes = ops.cast(y_true, "int32")
        is_positive = classes > 0
        if self.activation == "sigmoid":
            # -log(1 - sigmoid(x)) = softplus(x), and -log(sigmoid(x)) = softplus(x) - x: with 0
            # as the background's logit, the lines below hold for both activations.
            y_pred = ops.concatenate([ops.zeros_like(y_pred[..., :1]), y_pred[..., 1:]], axis=-1)
            log_sum = ops.sum(ops.softplus(y_pred[..., 1:]), axis=-1)
        else:
            log_sum = ops.logsumexp(y_pred, axis=-1)
        background_loss = ops.stop_gradient(log_sum - y_pred[..., 0])
        num_positives = ops.sum(ops.cast(is_positive, "int32"), axis=-1)
        limits = (self.negatives_per_positive, self.min_negatives)
        is_negative = mine_hard_negatives(background_loss, classes == 0, num_positives, *limits)
        is_used = ops.cast(ops.logical_or(is_positive, is_negative), y_pred.dtype)
        one_hot = ops.one_hot(ops.maximum(classes, 0), y_pred.shape[-1], dtype=y_pred.dtype)
        cross_entropy = log_sum - ops.sum(one_hot * y_pred, axis=-1)
        sum_per_image = ops.sum(cross_entropy * is_used, axis=-1)
        return self.normalize(sum_per_image, ops.cast(ops.sum(num_positives), sum_per_image.dtype))

    def get_config(self) -> dict[str, Any]:
        names = ("negatives_per_positive", "min_negatives", "name", "dtype", "activation")
        return {name: getattr(self, name) for name in names}
