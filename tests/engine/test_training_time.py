"""Trainings by time: how many steps fit, and how they are measured."""

import pytest

from ssd_keras.engine import training_time
from ssd_keras.engine.training_time import Durations, StepTimes, steps_within, whole_epochs


@pytest.mark.parametrize(
    ("seconds", "every", "expected"),
    [
        # A step takes 0.5 s, a validation 3 s; epochs of 10 steps.
        (8.0, 1, 10),  # 10 steps and a validation
        (16.0, 1, 20),
        (19.9, 1, 21),  # 8 + 8, then 3 and one step of 0.5; 0.4 s are left
        (18.9, 1, 20),  # 2.9 s hold no validation
        (23.0, 2, 34),  # 20 steps and 3 s, then 14 and 3 s
        (3.4, 1, 0),
        (-5.0, 1, 0),
    ],
)
def test_steps_that_fit_with_their_validations(seconds, every, expected):
    assert steps_within(seconds, Durations(60.0, 0.5, 3.0), 10, every) == expected


@pytest.mark.parametrize(
    ("steps", "steps_per_epoch", "expected"),
    [
        (1000, 12, (83, 12)),  # 996; 84 epochs of 11 are 924
        (1500, 1000, (2, 750)),  # one epoch of 1000 leaves a third
        (7, 3664, (1, 7)),
        (20, 4, (5, 4)),
    ],
)
def test_steps_are_divided_into_epochs(steps, steps_per_epoch, expected):
    assert whole_epochs(steps, steps_per_epoch) == expected


def test_a_step_is_measured_without_the_first_ones(monkeypatch):
    # The first step compiles for 30 s, four more take what was read meanwhile in 1 s each.
    ends = iter([0.0, 30.0, 31.0, 32.0, 33.0, 34.0, 36.0, 38.0, 40.0, 42.0, 45.0, 48.0])
    monkeypatch.setattr(training_time, "clock", lambda: next(ends))

    class Model:
        stop_training = False

    times = StepTimes(seconds=12.0)
    times.set_model(Model())
    times.on_train_begin()
    batch = 0
    while not times.model.stop_training:
        times.on_train_batch_end(batch)
        batch += 1
    # Ten steps were enough, but ended 11 s after the warm-up; the eleventh 14 s after it.
    assert batch == 11
    assert times.durations() == (30.0, pytest.approx(14.0 / 6))
