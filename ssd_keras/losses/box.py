"""Smooth L1 loss on box deltas."""

import keras
from keras import ops

from ssd_keras.losses.normalized import Tensor, _MatchNormalizedLoss


def smooth_l1(target: Tensor, prediction: Tensor) -> Tensor:
    """Smooth L1 with its bend at 1 (paper equation 2, after Fast R-CNN)."""
    distance = ops.abs(prediction - target)
    return ops.where(distance < 1.0, 0.5 * ops.square(distance), distance - 0.5)


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
