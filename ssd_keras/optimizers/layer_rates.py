"""Learning rates by layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from ssd_keras.boxes.formats import Array
from ssd_keras.core.all_reduce import num_replicas, sum_over_replicas


class LayerRates(keras.optimizers.Optimizer):
    """Base beside a Keras optimizer: `rates` maps layer names to factors of the learning rate."""

    def __init__(self, rates: Mapping[str, float] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rates = dict(rates or {})

    def update_step(self, gradient: Array, variable: Any, learning_rate: Any) -> None:
        layer_path, _, _ = self.keras_variable(variable).path.rpartition("/")
        rate = self.rates.get(layer_path.split("/")[-1], 1.0)
        if rate != 1.0:
            learning_rate = ops.cast(learning_rate, variable.dtype) * rate
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rates": self.rates}

    def keras_variable(self, variable: Any) -> Any:
        """Returns Keras' variable: TensorFlow's steps get a tf.Variable with another name."""
        return self._trainable_variables[self._get_variable_index(variable)]

    def _clip_gradients(self, gradients: Sequence[Array]) -> Sequence[Array]:
        # Keras would clip the gradients of each replica, and then add them.
        if num_replicas() == 1 or not (self.clipnorm or self.global_clipnorm or self.clipvalue):
            return super()._clip_gradients(gradients)
        clipped = super()._clip_gradients(sum_over_replicas(list(gradients)))
        return [gradient / num_replicas() for gradient in clipped]
