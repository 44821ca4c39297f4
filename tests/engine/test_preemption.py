"""A training that is stopped by a notice goes on as if nothing had happened."""

import itertools
import json
import os
import signal

import numpy as np
import pytest
from trainings import (
    STEPS_PER_EPOCH,
    difference,
    finished_run,
    read_history,
    recipe,
    steps_of,
    train_data,
    validation_data,
)

from ssd_keras.engine.preemption import Preempted, sigterm_notice
from ssd_keras.engine.train import train

SAME = 1e-6  # threads add in any order


def stop_after(steps):
    """Returns a function that says so when it is called for the given time."""
    counter = itertools.count(1)
    return lambda: next(counter) == steps


def test_a_notice_stops_within_an_epoch_and_between_epochs(tmp_path):
    run = str(tmp_path / "run")
    call = {"resume": True}  # safe to give always

    def learn(**options):
        return train(recipe(), train_data(), validation_data(), run, **call, **options)

    # After 5 steps, the first of epoch 2; then 7 more, to the end of epoch 3, which saves nothing.
    with pytest.raises(Preempted, match=r"^the training was saved after epoch 1, step 1 and ended"):
        learn(stop_when=stop_after(5))
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    assert (state["epoch"], state["step"], state["model_file"]) == (1, 1, "state-1-1.keras")
    assert steps_of(os.path.join(run, "state-1-1.keras")) == STEPS_PER_EPOCH + 1
    with pytest.raises(Preempted, match=r"^the training was saved after epoch 3 and ended, as"):
        learn(stop_when=stop_after(7))
    assert steps_of(os.path.join(run, "state-3.keras")) == 3 * STEPS_PER_EPOCH
    # In the last step nothing is left to save.
    history = learn(stop_when=stop_after(2 * STEPS_PER_EPOCH))
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5]
    whole = finished_run()
    assert sorted(os.listdir(run)) == sorted(os.listdir(whole))
    assert difference(f"{run}/state-5.keras", f"{whole}/state-5.keras") <= SAME
    rows, expected = (read_history(f"{folder}/history.csv") for folder in (run, whole))
    for row, other in zip(rows, expected, strict=True):
        assert row.keys() == other.keys()
        np.testing.assert_allclose(list(row.values()), list(other.values()), rtol=1e-5, atol=1e-6)


def test_sigterm_is_a_notice_once():
    usual = signal.getsignal(signal.SIGTERM)
    with sigterm_notice() as has_notice:
        assert not has_notice()
        os.kill(os.getpid(), signal.SIGTERM)
        assert has_notice()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # the next one ends the process
    assert signal.getsignal(signal.SIGTERM) == usual
