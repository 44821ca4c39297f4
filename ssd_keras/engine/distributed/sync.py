"""Keeps processes and batch normalisation in step while several devices train a model."""

import contextlib
from collections.abc import Iterator

import keras

from ssd_keras.engine.distributed.process_group import ProcessGroup


class EpochBarrier(keras.callbacks.Callback):
    """Waits after each epoch for process 0, which evaluates and saves."""

    def __init__(self, group: ProcessGroup) -> None:
        super().__init__()
        self.group = group

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.group.barrier()


class SyncBatchNorm(keras.callbacks.Callback):
    """Lets batch normalisation use the statistics of the whole batch on TensorFlow.

    The switch is on while a step runs or is traced, and off when a model is saved: JAX, which
    needs no switch, could not load it.
    """

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self._switch(True)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._switch(False)

    def _switch(self, is_on: bool) -> None:
        for layer in self.model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = is_on


class LocalModel:
    """A model that this process can call alone while several processes train it."""

    def __init__(self, model: keras.Model) -> None:
        self.trained = model
        self.is_shared = getattr(keras.distribution.distribution(), "num_processes", 1) > 1
        self.model = model
        if self.is_shared:
            with single_process():
                self.model = type(model).from_config(model.get_config())

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Gives `model` the current weights for calls inside the block."""
        with single_process():
            if self.is_shared:
                self.model.set_weights(self.trained.get_weights())
            yield


@contextlib.contextmanager
def single_process() -> Iterator[None]:
    """Lets one process create variables while the others wait.

    Without this, Keras would create even temporary variables on all processes.
    """
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)
