"""A loss that is normalised by the matched default boxes of the whole batch."""

from typing import Any, TypeAlias

import keras
from keras import ops

from ssd_keras.core.all_reduce import sum_over_replicas

Tensor: TypeAlias = Any
"""An array or a tensor of the backend in use."""


class _MatchNormalizedLoss(keras.losses.Loss):
    """A loss that is a sum over default boxes divided by the matches of the batch.

    Keras averages what `call` returns over the batch, so each image's sum is scaled by
    batch / matches: the average is then the sum over the batch divided by its matches. The batch
    is that of all devices.
    """

    def __init__(self, name: str, dtype: str | None) -> None:
        super().__init__(name=name, reduction="sum_over_batch_size", dtype=dtype)

    @staticmethod
    def _normalize(sum_per_image: Tensor, num_matches: Tensor) -> Tensor:
        batch = ops.cast(ops.shape(sum_per_image)[0], sum_per_image.dtype)
        batch, num_matches = sum_over_replicas(batch), sum_over_replicas(num_matches)
        return sum_per_image * (batch / ops.maximum(num_matches, 1))
