"""AdamW with learning rates by layer."""

import keras

from ssd_keras.optimizers.layer_rates import LayerRates


@keras.saving.register_keras_serializable("ssd_keras")
class AdamW(LayerRates, keras.optimizers.AdamW):
    """Keras' AdamW that decays kernels alone: no biases, and nothing of batch normalisation.

    Keras forgets `exclude_from_weight_decay` when a model is saved; this class does not.

    Args:
        learning_rate: number or Keras schedule. Default 1e-3.
        weight_decay: share of a kernel taken off in each step, times the rate. Default 0.004.
        name: name of the optimizer. Default "adamw".
        **kwargs: `rates` of `LayerRates`, other arguments of `keras.optimizers.AdamW`.

    Example:

    >>> AdamW(learning_rate=0.003, weight_decay=1e-4).weight_decay
    0.0001
    """

    def __init__(self, learning_rate=1e-3, weight_decay=0.004, name="adamw", **kwargs):
        super().__init__(
            learning_rate=learning_rate, weight_decay=weight_decay, name=name, **kwargs
        )
        self.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "scale"])
