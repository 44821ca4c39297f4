"""SGD as Caffe computes it, the paper's optimizer."""

import keras
from keras import ops

from ssd_keras.optimizers.layer_rates import LayerRates


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
