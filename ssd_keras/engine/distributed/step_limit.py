"""Ends a process whose training step takes too long: another process, or its data, is stuck."""

import os
import sys
import threading
import time

import keras

from ssd_keras.core.exit_status import START_AGAIN
from ssd_keras.engine.distributed.process_group import ProcessGroup

FIRST_SECONDS = 1800.0  # the first step compiles


class StepLimit(keras.callbacks.Callback):
    """Watches the steps from a thread; what follows the last step of an epoch has no limit.

    JAX notices a process that is gone, not one that lives and is stuck.
    """

    def __init__(self, group: ProcessGroup, seconds: float) -> None:
        super().__init__()
        self.group, self.seconds = group, seconds
        self._deadline: float | None = None
        self._is_over = threading.Event()

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._limit = max(self.seconds, FIRST_SECONDS)
        self._is_over.clear()
        threading.Thread(target=self._watch, daemon=True).start()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch, self._step = epoch, 1
        self._start()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._limit, self._step = self.seconds, batch + 2
        is_last = self._step > (self.params["steps"] or self._step)
        self._deadline = None
        if not is_last:
            self._start()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._deadline = None

    def on_train_end(self, logs: dict | None = None) -> None:
        self._is_over.set()

    def _start(self) -> None:
        self._deadline = time.monotonic() + self._limit

    def _watch(self) -> None:
        while self.group.is_open and not self._is_over.wait(min(1.0, self.seconds / 10)):
            deadline = self._deadline
            if deadline is not None and time.monotonic() > deadline:
                self._end()

    def _end(self) -> None:
        print(
            f"ssd-keras: process {self.group.index} of {self.group.size}: step {self._step} of "
            f"epoch {self._epoch + 1} has taken more than {self._limit:g} s, so this process "
            "ends; a process or its data are stuck. Start all of them again with --resume, or "
            "allow more with --step-timeout.",
            file=sys.stderr,
            flush=True,
        )
        # The main thread waits for the stuck one forever. Every file is whole or absent.
        os._exit(START_AGAIN)
