"""Learning rate schedule with warm-up."""

import math

import keras
from keras import ops


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
