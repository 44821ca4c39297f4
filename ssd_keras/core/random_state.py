"""The random state of Python and NumPy for the time of a `with` block."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def kept_random_state(seed: int | None = None) -> Iterator[None]:
    """Puts back the states of Python's and NumPy's generators, which it may seed.

    Keras takes the seeds of weights and layers from Python's.
    """
    states = random.getstate(), np.random.get_state()
    if seed is not None:
        random.seed(seed)
        np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
