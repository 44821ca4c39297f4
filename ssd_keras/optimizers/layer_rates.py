"""Learning rates by layer."""

from keras import ops

from ssd_keras.core.all_reduce import num_replicas, sum_over_replicas


class LayerRates:
    """Mixin of optimizers: layers may learn slower or faster than the rest."""

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
        clipped = super()._clip_gradients(sum_over_replicas(list(gradients)))
        return [gradient / num_replicas() for gradient in clipped]

    def _own(self, variable):
        """Keras' variable: on TensorFlow a step gets a tf.Variable with another name."""
        return self._trainable_variables[self._get_variable_index(variable)]
