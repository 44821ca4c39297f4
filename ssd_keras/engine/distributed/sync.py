"""What a model needs while several devices or processes train it."""

import contextlib
from collections.abc import Iterator

import keras

from ssd_keras.engine.distributed.process_group import Team


class Together(keras.callbacks.Callback):
    """Lets processes wait after each epoch for process 0, which evaluates and saves."""

    def __init__(self, team: Team):
        super().__init__()
        self.team = team

    def on_epoch_end(self, epoch, logs=None):
        self.team.meet(f"epoch {epoch + 1}")


class JointStatistics(keras.callbacks.Callback):
    """Lets batch normalisation see the whole batch on TensorFlow, as on one device.

    The switch is on while a step runs or is traced, and off when a model is saved: JAX, which
    needs no switch, could not load it.
    """

    def on_train_batch_begin(self, batch, logs=None):
        self._switch(True)

    def on_train_batch_end(self, batch, logs=None):
        self._switch(False)

    def _switch(self, is_on):
        for layer in self.model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = is_on


class OwnModel:
    """A model as this process can call it alone, though several processes train it."""

    def __init__(self, model: keras.Model):
        self.trained = model
        self.is_shared = getattr(keras.distribution.distribution(), "num_processes", 1) > 1
        self.model = model
        if self.is_shared:
            with alone():
                self.model = type(model).from_config(model.get_config())

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Around calls of `model`: it has the weights of the moment."""
        with alone():
            if self.is_shared:
                self.model.set_weights(self.trained.get_weights())
            yield


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Around what one process does while the others wait for it.

    Keras would have all of them take part in every variable that is made, were it only for a
    moment, as in saving.
    """
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)
