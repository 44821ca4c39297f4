"""Optimizers and learning-rate schedules of the recipes."""

import math

import keras
from keras import ops

from ssd_keras.replicas import num_replicas, over_replicas


class LayerRates:
    """Mixin of optimizers: layers may learn slower or faster than the rest.

    Args:
        rates: learning rate relative to the rest, by name of a layer. Default: none differs.
            Decoupled weight decay (AdamW's) goes on at the common rate.
        **kwargs: arguments of the optimizer.
    """

    def __init__(self, rates=None, **kwargs):
        super().__init__(**kwargs)
        self.rates = dict(rates or {})

    def update_step(self, gradient, variable, learning_rate):
        layer_path, _, _ = self._own(variable).path.rpartition("/")
        rate = self.rates.get(layer_path.split("/")[-1], 1.0)
        if rate != 1.0:
            learning_rate = ops.cast(learning_rate, variable.dtype) * rate
        super().update_step(gradient, variable, learning_rate)

    def get_config(self):
        return {**super().get_config(), "rates": self.rates}

    def _clip_gradients(self, gradients):
        # Keras would clip what each replica has, and add that up.
        if num_replicas() == 1 or not (self.clipnorm or self.global_clipnorm or self.clipvalue):
            return super()._clip_gradients(gradients)
        clipped = super()._clip_gradients(over_replicas(list(gradients)))
        return [gradient / num_replicas() for gradient in clipped]

    def _own(self, variable):
        """Keras' variable: on TensorFlow a step gets a tf.Variable with another name."""
        return self._trainable_variables[self._get_variable_index(variable)]


@keras.saving.register_keras_serializable("ssd_keras")
class CaffeSGD(LayerRates, keras.optimizers.SGD):
    """SGD with momentum as the paper's implementation runs it.

    Weight decay is a part of the gradient and so of the momentum (Keras' own `weight_decay`
    stands outside of it), biases have no decay and learn twice as fast.

    Args:
        learning_rate: number or Keras schedule. Default 1e-3.
        momentum: 0..1. Default 0.9.
        l2_decay: added to a kernel's gradient for each unit of the kernel. Default 5e-4.
        bias_factor: learning rate of biases relative to the rest. Default 2.
        name: name of the optimizer. Default "caffe_sgd".
        **kwargs: `rates` of `LayerRates`, other arguments of `keras.optimizers.SGD`.

    Example:

    >>> CaffeSGD(learning_rate=0.004, l2_decay=1e-4).l2_decay
    0.0001
    """

    def __init__(
        self,
        learning_rate=1e-3,
        momentum=0.9,
        l2_decay=5e-4,
        bias_factor=2.0,
        name="caffe_sgd",
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, momentum=momentum, name=name, **kwargs)
        self.l2_decay = l2_decay
        self.bias_factor = bias_factor

    def update_step(self, gradient, variable, learning_rate):
        name = self._own(variable).name
        # Biases, batch normalisation's offsets and scales, and L2Normalize's scale are vectors.
        if len(variable.shape) > 1:
            decay = ops.cast(self.l2_decay, variable.dtype)
            gradient = ops.cast(gradient, variable.dtype) + decay * ops.convert_to_tensor(variable)
        elif name == "bias":
            learning_rate = ops.cast(learning_rate, variable.dtype) * self.bias_factor
        super().update_step(gradient, variable, learning_rate)

    def get_config(self):
        return {
            **super().get_config(),
            "l2_decay": self.l2_decay,
            "bias_factor": self.bias_factor,
        }


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


@keras.saving.register_keras_serializable("ssd_keras")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then cosine decay to zero or decay by steps.

    Args:
        peak: learning rate after the warm-up.
        total_steps: steps of the whole training.
        warmup_steps: steps of the linear rise from 0. Default 0, none.
        boundaries: steps at which the rate is multiplied by `factor`. Default none: cosine.
        factor: see `boundaries`. Default 0.1.

    Example:

    >>> rate = WarmUp(0.1, 1000, boundaries=[800])
    >>> [round(float(rate(step)), 4) for step in (0, 799, 800)]
    [0.1, 0.1, 0.01]
    """

    def __init__(self, peak, total_steps, warmup_steps=0, boundaries=(), factor=0.1):
        self.peak = peak
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.boundaries = tuple(boundaries)
        self.factor = factor

    def __call__(self, step):
        step = ops.cast(step, "float32")
        if self.boundaries:
            passed = ops.cast(step[..., None] >= ops.array(self.boundaries, "float32"), "float32")
            decay = self.factor ** ops.sum(passed, axis=-1)
        else:
            length = max(1, self.total_steps - self.warmup_steps)
            progress = ops.clip((step - self.warmup_steps) / length, 0.0, 1.0)
            decay = 0.5 * (1.0 + ops.cos(math.pi * progress))
        # The first step is not wasted at rate 0.
        rise = ops.minimum(1.0, (step + 1.0) / max(1, self.warmup_steps))
        return self.peak * rise * decay

    def get_config(self):
        return {
            "peak": self.peak,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "boundaries": self.boundaries,
            "factor": self.factor,
        }
