"""Saves a training and ends it after a notice that its process will be stopped."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

import keras
import numpy as np

from ssd_keras.engine.distributed.process_group import ProcessGroup
from ssd_keras.engine.distributed.sync import single_process
from ssd_keras.engine.run_directory import RunDirectory
from ssd_keras.engine.training_state import TrainingState


class Preempted(Exception):
    """A training has saved its state and ended after a notice; `resume` continues it."""


@contextlib.contextmanager
def sigterm_notice() -> Iterator[Callable[[], bool]]:
    """Context manager: a function that says whether SIGTERM has come; the next one ends at once."""
    notice = threading.Event()

    def receive(number: int, _: object) -> None:
        notice.set()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    usual = signal.signal(signal.SIGTERM, receive)
    try:
        yield notice.is_set
    finally:
        signal.signal(signal.SIGTERM, usual)


class SaveOnNotice(keras.callbacks.Callback):
    """After a notice, saves the state behind the same step in all processes and ends `fit`.

    `has_notice` takes the number of steps since the start of the training. The sums of the epoch's
    losses are part of the state, so that its row of the history becomes that of a whole epoch.
    """

    def __init__(
        self,
        has_notice: Callable[[int], bool],
        run: RunDirectory,
        state: TrainingState,
        group: ProcessGroup,
        epochs: int,
        steps: int,
    ) -> None:
        super().__init__()
        self.has_notice, self.run, self.state, self.group = has_notice, run, state, group
        self.epochs, self.steps = epochs, steps
        self.is_due = False
        self.first = state.step  # steps of the first epoch that were run before
        self.sums = state.sums

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self.first and batch == 0:  # before a step TensorFlow's metrics have no variables
            for variable, value in zip(self.model.metrics_variables, self.sums, strict=True):
                variable.assign(variable + value)
        step = self.first + batch + 1
        self.is_due |= self.has_notice(self.epoch * self.steps + step)
        if self.is_due and step < self.steps:
            self._leave(self.epoch, step)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.first = 0
        if self.is_due and epoch + 1 < self.epochs:
            self._leave(epoch + 1, 0)

    def _leave(self, epoch: int, step: int) -> None:
        state = self.state
        if self.group.writes and (state.epoch, state.step) != (epoch, step):
            state.epoch, state.step = epoch, step
            values = self.model.metrics_variables if step else []
            state.sums = [float(np.asarray(keras.ops.convert_to_numpy(x))) for x in values]
            with single_process():
                self.run.save_state(self.model, state)
        self.group.barrier()
        self.group.ends_together = True
        within = f", step {step}" if step else ""
        raise Preempted(
            f"the training was saved after epoch {epoch}{within} and ended, as SIGTERM announced; "
            "it goes on with --resume."
        )
