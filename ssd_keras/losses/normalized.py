"""Base of losses that are normalised by the matched default boxes of the whole batch."""

import dataclasses
from typing import Any

import keras
from keras import ops

from ssd_keras.boxes.formats import Array
from ssd_keras.core.all_reduce import sum_over_replicas


@dataclasses.dataclass(eq=False)
class MatchNormalizedLoss(keras.losses.Loss):
    """A sum over default boxes, divided by the number of matches in the batch of all replicas.

    The fields of a subclass are its options, and its configuration. It computes in float32, under
    mixed precision too.
    """

    def __post_init__(self) -> None:
        super().__init__(name=type(self).__name__, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the options."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @staticmethod
    def normalize(sum_per_image: Array, num_matches: Array) -> Array:
        """Scales each image's sum by batch / matches, of which Keras takes the mean."""
        # The mean over a batch of B images takes the factor B out again:
        #   mean(sum_per_image * B / matches) = sum(sum_per_image) / matches
        # Of R replicas, each takes the mean over its B / R images, Keras divides that by R, and
        # the gradients are added: B / R * R = B again, if B and matches are those of all replicas.
        batch = ops.cast(ops.shape(sum_per_image)[0], sum_per_image.dtype)
        num_matches = ops.cast(num_matches, sum_per_image.dtype)
        batch, num_matches = sum_over_replicas(batch), sum_over_replicas(num_matches)
        return sum_per_image * (batch / ops.maximum(num_matches, 1))
