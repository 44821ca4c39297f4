"""Trains for a time: measures a training, and fixes the number of its steps before it begins.

The measurement takes real steps, then a validation, and puts the weights back. What it takes counts
as part of the time.
"""

import dataclasses
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from ssd_keras.data.records import DetectionData
from ssd_keras.engine.callbacks import SaveRun, StopOnNaN, ValidationAP
from ssd_keras.engine.run_directory import RunDirectory, TrainingState

WARM_UP_STEPS = 5  # the first compiles, the next take images that were read meanwhile
MIN_STEPS = 5  # of the measurement, after the warm-up
SHARE = 0.05  # of the time that the measured steps take
MAX_SECONDS = 60.0
MAX_STEPS = 1_000_000  # more than a measurement takes
FIRST_IMAGES = 16  # of the validation that compiles

clock = time.monotonic


class Durations(NamedTuple):
    """Seconds that the parts of a training take."""

    start: float  # compilation of the step and of the validation
    step: float
    validation: float  # with saving


class StepTimes(keras.callbacks.Callback):
    """Records the time after each step, and stops `fit` when enough are measured."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.times = [clock()]

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.times.append(clock())
        is_enough = batch + 1 >= WARM_UP_STEPS + MIN_STEPS
        if is_enough and self.times[-1] - self.times[WARM_UP_STEPS] >= self.seconds:
            self.model.stop_training = True

    def durations(self) -> tuple[float, float]:
        """Returns the seconds of the first step, and of one after the warm-up."""
        measured = self.times[WARM_UP_STEPS:]
        return self.times[1] - self.times[0], (measured[-1] - measured[0]) / (len(measured) - 1)


def measure(
    model: keras.Model,
    dataset: tf.data.Dataset,
    validation_data: DetectionData | None,
    seconds: float,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Durations:
    """Measures a training of `seconds` with a compiled model, whose weights are put back."""
    weights = [keras.ops.convert_to_numpy(variable) for variable in model.variables]
    variables = model.variables
    times = StepTimes(min(SHARE * seconds, MAX_SECONDS))
    model.fit(
        dataset,
        steps_per_epoch=MAX_STEPS,
        callbacks=[StopOnNaN(), times, *callbacks],
        shuffle=False,
        verbose=0,
    )
    first_step, step = times.durations()
    first_validation, validation = _measure_validation(model, validation_data)
    for variable, value in zip(variables, weights, strict=True):
        variable.assign(value)
    return Durations(first_step + first_validation, step, validation)


def _measure_validation(
    model: keras.Model, validation_data: DetectionData | None
) -> tuple[float, float]:
    """Returns the seconds of the end of an epoch: the first, of a few images, and the next."""
    durations = []
    with tempfile.TemporaryDirectory() as folder:
        save = SaveRun(RunDirectory(folder), TrainingState(), every=1, last_epoch=1)
        callbacks: list[keras.callbacks.Callback] = [save]
        if validation_data is not None:
            callbacks.insert(0, ValidationAP(_first_images(validation_data)))
        for callback in callbacks:
            callback.set_model(model)
            callback.on_train_begin()
        for _ in range(2):
            began = clock()
            for callback in callbacks:
                callback.on_epoch_end(0, {"loss": 1.0})
            durations.append(clock() - began)
            if validation_data is not None:
                callbacks[0].data = validation_data
    return durations[0], durations[1]


def _first_images(data: DetectionData) -> DetectionData:
    return dataclasses.replace(data, examples=data.examples[:FIRST_IMAGES])


def steps_within(
    seconds: float, durations: Durations, steps_per_epoch: int, validate_every: int
) -> int:
    """Returns the largest number of steps that fits with its validations; 0 if none does."""
    steps = steps_per_epoch * validate_every  # from one validation to the next
    full, rest = divmod(max(0.0, seconds), steps * durations.step + durations.validation)
    return int(full) * steps + max(0, int((rest - durations.validation) / durations.step))


def whole_epochs(steps: int, steps_per_epoch: int) -> tuple[int, int]:
    """Returns epochs and steps of each: as many as fit, epochs at most as long as given."""
    epochs = max(1, steps // steps_per_epoch)
    more = -(-steps // steps_per_epoch)
    choices = [(epochs, min(steps, steps_per_epoch)), (more, steps // more)]
    return max(choices, key=lambda choice: choice[0] * choice[1])
