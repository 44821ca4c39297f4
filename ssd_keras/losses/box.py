"""Smooth L1 loss on box deltas."""

from typing import Any

import keras
from keras import ops

from ssd_keras.boxes.formats import Array
from ssd_keras.losses.normalized import MatchNormalizedLoss


def smooth_l1(target: Array, prediction: Array) -> Array:
    """Returns the smooth L1 loss of each element (paper equation 2, after Fast R-CNN)."""
    distance = ops.abs(prediction - target)
    return ops.where(distance < 1.0, 0.5 * ops.square(distance), distance - 0.5)


@keras.saving.register_keras_serializable("ssd_keras")
class BoxLoss(MatchNormalizedLoss):
    """Smooth L1 over the matched default boxes, divided by their number in the batch.

    Paper equations 1 and 2. Logged by `fit` as ``box_deltas_loss``.

    Args:
        name: name in logs. Default "box_loss".
        dtype: dtype of the computation. Default None: float32, under mixed precision too.

    Call arguments:
        y_true: float [B, N, 5]: four deltas, then 1 where the default box is positive, else 0.
        y_pred: float [B, N, 4].

    Example:

    >>> target = ops.array([[[0., 0., 0., 0., 1.], [9., 9., 9., 9., 0.]]])
    >>> float(BoxLoss()(target, ops.zeros((1, 2, 4)) + 0.5))
    0.5
    """

    def __init__(self, name: str = "box_loss", dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def call(self, y_true: Array, y_pred: Array) -> Array:
        is_positive = y_true[..., 4]
        per_box = ops.sum(smooth_l1(y_true[..., :4], y_pred), axis=-1)
        return self.normalize(ops.sum(per_box * is_positive, axis=-1), ops.sum(is_positive))

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype}
