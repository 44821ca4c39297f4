"""Learning rate schedule with warm-up."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ssd_keras.boxes.formats import Array


@keras.saving.register_keras_serializable("ssd_keras")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to `peak`, then decay by `factor` at each boundary, or along a cosine to 0.

    `total_steps`, `warmup_steps`, `boundaries` and `flat_steps` are numbers of training steps.
    Without boundaries the rate follows the cosine, which begins at `flat_steps`, or at the end of
    the warm-up where that is later (RTMDet, arXiv 2212.07784: in the middle of the training).
    """

    def __init__(
        self,
        peak: float,
        total_steps: int,
        warmup_steps: int = 0,
        boundaries: Sequence[int] = (),
        factor: float = 0.1,
        flat_steps: int = 0,
    ) -> None:
        self.peak = peak
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.boundaries = tuple(boundaries)
        self.factor = factor
        self.flat_steps = flat_steps

    def __call__(self, step: Any) -> Array:
        step = ops.cast(step, "float32")
        if self.boundaries:
            passed = ops.cast(step[..., None] >= ops.array(self.boundaries, "float32"), "float32")
            decay = self.factor ** ops.sum(passed, axis=-1)
        else:
            start = max(self.warmup_steps, self.flat_steps)
            progress = ops.clip((step - start) / max(1, self.total_steps - start), 0.0, 1.0)
            decay = 0.5 * (1.0 + ops.cos(math.pi * progress))
        # From step + 1: a first step at rate 0 would be wasted.
        rise = ops.minimum(1.0, (step + 1.0) / max(1, self.warmup_steps))
        return self.peak * rise * decay

    def get_config(self) -> dict[str, Any]:
        names = ("peak", "total_steps", "warmup_steps", "boundaries", "factor", "flat_steps")
        return {name: getattr(self, name) for name in names}
