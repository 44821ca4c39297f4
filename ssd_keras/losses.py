"""The two losses of SSD: smooth L1 on box deltas, cross-entropy with mined negatives on classes.

Both are normalised by the number of matched default boxes of the whole batch, as the paper's
implementation does, and both are 0 with finite gradients when nothing is matched.
"""

from typing import Any, TypeAlias

import keras
from keras import ops

from ssd_keras.replicas import over_replicas
from ssd_keras.settings import check_score_activation

Tensor: TypeAlias = Any
"""An array or a tensor of the backend in use."""


def smooth_l1(target: Tensor, prediction: Tensor) -> Tensor:
    """Smooth L1 with its bend at 1 (paper equation 2, after Fast R-CNN).

    Args:
        target: any shape.
        prediction: same shape.

    Returns:
        same shape: ``0.5 d^2`` where ``|d| < 1``, else ``|d| - 0.5``.

    Example:

    >>> [float(v) for v in smooth_l1(ops.array([0., 0.]), ops.array([0.5, -3.]))]
    [0.125, 2.5]
    """
    distance = ops.abs(prediction - target)
    return ops.where(distance < 1.0, 0.5 * ops.square(distance), distance - 0.5)


def mine_hard_negatives(
    background_loss: Tensor,
    is_negative: Tensor,
    num_positives: Tensor,
    negatives_per_positive: float,
    min_negatives: int = 0,
) -> Tensor:
    """Selects each picture's negatives of the highest loss (paper section 2.2).

    Args:
        background_loss: float [B, N], cross-entropy of each default box against background.
        is_negative: bool [B, N], the default boxes that may be selected.
        num_positives: int [B], matched default boxes of each picture.
        negatives_per_positive: how many negatives for one positive, 3 in the paper. A picture's
            product with its positives is rounded down.
        min_negatives: at least so many, even for a picture without objects. Default 0, as in
            the paper's implementation.

    Returns:
        bool [B, N], true for the selected negatives. Ties go to the lower default box.

    Example:

    >>> losses, free = ops.array([[3., 9., 1., 2.]]), ops.array([[True, False, True, True]])
    >>> ops.convert_to_numpy(mine_hard_negatives(losses, free, ops.array([1]), 2))
    array([[ True, False, False,  True]])
    """
    background_loss = ops.where(is_negative, background_loss, -1.0)
    # The rank of each entry is the inverse permutation of the sort, which is a sort again.
    rank = ops.argsort(ops.argsort(-background_loss, axis=-1), axis=-1)
    wanted = ops.maximum(
        ops.floor(ops.cast(num_positives, "float32") * negatives_per_positive),
        float(min_negatives),
    )
    return ops.logical_and(is_negative, ops.cast(rank, "float32") < wanted[:, None])


class _MatchNormalizedLoss(keras.losses.Loss):
    """A loss that is a sum over default boxes divided by the matches of the batch.

    Keras averages what `call` returns over the batch, so each picture's sum is scaled by
    batch / matches: the average is then the sum over the batch divided by its matches. The batch
    is that of all devices.
    """

    def __init__(self, name: str, dtype: str | None) -> None:
        super().__init__(name=name, reduction="sum_over_batch_size", dtype=dtype)

    @staticmethod
    def _normalize(sum_per_picture: Tensor, num_matches: Tensor) -> Tensor:
        batch = ops.cast(ops.shape(sum_per_picture)[0], sum_per_picture.dtype)
        batch, num_matches = over_replicas(batch), over_replicas(num_matches)
        return sum_per_picture * (batch / ops.maximum(num_matches, 1))


@keras.saving.register_keras_serializable("ssd_keras")
class BoxLoss(_MatchNormalizedLoss):
    """Smooth L1 over the matched default boxes, divided by their number in the batch.

    Paper equations 1 and 2. Logged by `fit` as ``box_deltas_loss``.

    Args:
        name: name in logs. Default "box_loss".
        dtype: dtype of the computation. Default float32, under mixed precision too.

    Call arguments:
        y_true: float [B, N, 5], four deltas and 1 where the default box is positive.
        y_pred: float [B, N, 4].

    Example:

    >>> target = ops.array([[[0., 0., 0., 0., 1.], [9., 9., 9., 9., 0.]]])
    >>> float(BoxLoss()(target, ops.zeros((1, 2, 4)) + 0.5))
    0.5
    """

    def __init__(self, name: str = "box_loss", dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        is_positive = y_true[..., 4]
        per_box = ops.sum(smooth_l1(y_true[..., :4], y_pred), axis=-1)
        return self._normalize(ops.sum(per_box * is_positive, axis=-1), ops.sum(is_positive))

    def get_config(self) -> dict:
        return {"name": self.name, "dtype": self.dtype}


@keras.saving.register_keras_serializable("ssd_keras")
class ClassLoss(_MatchNormalizedLoss):
    """Cross-entropy over matched default boxes and each picture's hardest negatives.

    Paper equation 3 and "Hard negative mining". Logged by `fit` as ``class_logits_loss``.

    Args:
        negatives_per_positive: negatives for one positive, at least 0. Default 3.
        min_negatives: negatives of a picture with few or no objects. Default 0 as in the
            paper's implementation, where a picture without objects adds nothing to the loss;
            a number above 0 lets such pictures teach what is background.
        name: name in logs. Default "class_loss".
        dtype: dtype of the computation. Default float32, under mixed precision too.
        score_activation: "softmax" (default) or "sigmoid", the model's own. With "sigmoid" each
            class has a cross-entropy of its own, they are added up, and the background's logit
            is not looked at.

    Call arguments:
        y_true: int [B, N]: 0 background, 1.. the class, -1 to be ignored.
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
        score_activation: str = "softmax",
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if negatives_per_positive < 0 or min_negatives < 0:
            raise ValueError(
                f"negatives_per_positive={negatives_per_positive} and "
                f"min_negatives={min_negatives} must be 0 or more."
            )
        check_score_activation(score_activation)
        self.negatives_per_positive = negatives_per_positive
        self.min_negatives = min_negatives
        self.score_activation = score_activation

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        classes = ops.cast(y_true, "int32")
        is_positive = classes > 0
        if self.score_activation == "sigmoid":
            # -log(1 - sigmoid(x)) = softplus(x), and -log(sigmoid(x)) = softplus(x) - x: with 0
            # as background's logit the lines below are right for both activations.
            y_pred = ops.concatenate([ops.zeros_like(y_pred[..., :1]), y_pred[..., 1:]], axis=-1)
            log_sum = ops.sum(ops.softplus(y_pred[..., 1:]), axis=-1)
        else:
            log_sum = ops.logsumexp(y_pred, axis=-1)
        background_loss = ops.stop_gradient(log_sum - y_pred[..., 0])
        num_positives = ops.sum(ops.cast(is_positive, "int32"), axis=-1)
        is_negative = mine_hard_negatives(
            background_loss,
            classes == 0,
            num_positives,
            self.negatives_per_positive,
            self.min_negatives,
        )
        is_used = ops.cast(ops.logical_or(is_positive, is_negative), y_pred.dtype)
        one_hot = ops.one_hot(ops.maximum(classes, 0), y_pred.shape[-1], dtype=y_pred.dtype)
        cross_entropy = log_sum - ops.sum(one_hot * y_pred, axis=-1)
        sum_per_picture = ops.sum(cross_entropy * is_used, axis=-1)
        return self._normalize(
            sum_per_picture, ops.cast(ops.sum(num_positives), sum_per_picture.dtype)
        )

    def get_config(self) -> dict:
        return {
            "negatives_per_positive": self.negatives_per_positive,
            "min_negatives": self.min_negatives,
            "name": self.name,
            "dtype": self.dtype,
            "score_activation": self.score_activation,
        }
