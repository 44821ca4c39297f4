"""AdamW with learning rates by layer."""

from typing import Any

import keras

from ssd_keras.optimizers.layer_rates import LayerRates
from ssd_keras.optimizers.weight_average import WeightAverage


@keras.saving.register_keras_serializable("ssd_keras")
class AdamW(LayerRates, WeightAverage, keras.optimizers.AdamW):
    """Keras' AdamW that decays kernels alone: no biases, no weights of batch normalisation.

    Keras does not save `exclude_from_weight_decay`, which this class sets itself. `kwargs` are
    `rates` of `LayerRates`, `ema_decay` of `WeightAverage` and arguments of
    `keras.optimizers.AdamW`.
    """

    def __init__(
        self, learning_rate: Any = 1e-3, weight_decay: float = 4e-3, **kwargs: Any
    ) -> None:
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, **kwargs)
        self.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "scale"])
