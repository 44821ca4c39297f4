"""Random starting weights that take no time, for tests of models too big to start by the rules."""

import math

import keras
import numpy as np

NUMBERS = np.random.default_rng(8).uniform(-0.95, 0.95, 10_007).astype("float32")


def use_quick_weights(monkeypatch):
    """Repeats the same numbers through each kernel, nearly as wide as its initialiser spreads them.

    Drawing the numbers of a ResNet50 takes a second, more than anything else of building it.
    Kernels of more than ten million numbers, of which copies fill the memory, start as zeros.
    """

    def start(self, shape, dtype=None):
        if math.prod(shape) > 1e7:
            return keras.ops.zeros(shape, dtype)
        fan_in = max(1, math.prod(shape[:-1]))
        values = np.resize(NUMBERS * np.float32(math.sqrt(3 * self.scale / fan_in)), shape)
        return keras.ops.convert_to_tensor(values, dtype)

    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", start)
