"""SGD as Caffe computes it, the paper's optimizer."""

from typing import Any

import keras
from keras import ops

from ssd_keras.boxes.formats import Array
from ssd_keras.optimizers.layer_rates import LayerRates
from ssd_keras.optimizers.weight_average import WeightAverage


@keras.saving.register_keras_serializable("ssd_keras")
class CaffeSGD(LayerRates, WeightAverage, keras.optimizers.SGD):
    """SGD with momentum as the paper's implementation runs it.

    The gradient of L2 regularisation (`l2_decay` times the kernel) is part of the momentum, while
    Keras' `weight_decay` is not. Biases are not decayed and learn `bias_factor` times as fast.
    `kwargs` are `rates` of `LayerRates`, `ema_decay` of `WeightAverage` and arguments of
    `keras.optimizers.SGD`.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        momentum: float = 0.9,
        l2_decay: float = 5e-4,
        bias_factor: float = 2.0,
        name: str = "caffe_sgd",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, momentum=momentum, name=name, **kwargs)
        self.l2_decay = l2_decay
        self.bias_factor = bias_factor

    def update_step(self, gradient: Array, variable: Any, learning_rate: Any) -> None:
        # Biases, batch normalisation's offsets and scales, and L2Normalize's scale are vectors.
        if len(variable.shape) > 1:
            decay = ops.cast(self.l2_decay, variable.dtype)
            gradient = ops.cast(gradient, variable.dtype) + decay * ops.convert_to_tensor(variable)
        elif self.keras_variable(variable).name == "bias":
            learning_rate = ops.cast(learning_rate, variable.dtype) * self.bias_factor
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        own = {"l2_decay": self.l2_decay, "bias_factor": self.bias_factor}
        return {**super().get_config(), **own}
