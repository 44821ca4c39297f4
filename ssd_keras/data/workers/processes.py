"""Starts worker processes of tf.data's service, and starts those again that end."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from typing import IO

READY = "ready"
MOST_FAILED_STARTS = 3


class WorkerProcesses:
    """Worker processes of this host; they end with this process, however it ends.

    `dispatcher` is "HOST:PORT"; `host` is the address under which trainings reach the workers.
    """

    def __init__(self, dispatcher: str, number: int, host: str = "localhost") -> None:
        self._dispatcher, self._host, self._number = dispatcher, host, number
        self._failed_starts = 0
        self._stack = contextlib.ExitStack()
        logs = [tempfile.TemporaryFile() for _ in range(number)]  # noqa: SIM115 closed by stop()
        self._logs: list[IO[bytes]] = [self._stack.enter_context(log) for log in logs]
        self._processes = [self._start(index) for index in range(number)]

    @property
    def process_ids(self) -> list[int]:
        """The ids of the processes."""
        return [process.pid for process in self._processes]

    def check(self) -> None:
        """Starts ended workers again, with a warning.

        Raises:
            ValueError: workers end before they are ready, several times in a row.
        """
        for index, process in enumerate(self._processes):
            if process.poll() is None:
                continue
            has_failed, reason = self._end_of(index)
            self._failed_starts = self._failed_starts + 1 if has_failed else 0
            name = f"data worker {index} (process {process.pid})"
            if self._failed_starts >= MOST_FAILED_STARTS:
                raise ValueError(
                    f"{name} cannot start: {reason}; the last {MOST_FAILED_STARTS} starts of "
                    "workers failed. Mend the cause, or train without data workers."
                )
            self._processes[index] = self._start(index)
            warnings.warn(
                f"{name} ended ({reason}); another one starts, and what it had begun is "
                "computed again.",
                stacklevel=2,
            )

    def stop(self) -> None:
        """Ends the workers."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            _wait(process)
        self._stack.close()

    def _start(self, index: int) -> subprocess.Popen:
        log = self._logs[index]
        log.seek(0)
        log.truncate()
        words = [self._dispatcher, self._host, *map(str, self._cores(index))]
        return subprocess.Popen(
            [sys.executable, "-m", "ssd_keras.data.workers.processes", *words],
            stdin=subprocess.PIPE,  # its end is the end of this process
            stdout=log,
            stderr=log,
            # A worker that saw a GPU would take its memory.
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"},
        )

    def _cores(self, index: int) -> list[int]:
        """Returns the cores of a worker, an equal share: threads on two cores hinder each other."""
        if not hasattr(os, "sched_getaffinity"):
            return []
        cores = sorted(os.sched_getaffinity(0))
        return cores[index % len(cores) :: self._number]

    def _end_of(self, index: int) -> tuple[bool, str]:
        """Returns whether a worker ended by an error before it was ready, and why it ended."""
        log, process = self._logs[index], self._processes[index]
        _wait(process)
        log.seek(0)
        lines = log.read().decode(errors="replace").strip().splitlines() or ["no message"]
        code = process.returncode
        reason = f"signal {-code}" if code < 0 else f"exit status {code}: {lines[-1][:300]}"
        return READY not in lines and code != -signal.SIGKILL, reason


def _wait(process: subprocess.Popen) -> None:
    process.wait()
    if process.stdin:
        process.stdin.close()


def main() -> None:
    """Is a worker until stdin ends. Arguments: address of the dispatcher, own host, cores."""
    dispatcher, host, *cores = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started it decides
    parent = threading.Thread(target=_end_with_parent, daemon=True)
    parent.start()
    if cores:
        os.sched_setaffinity(0, map(int, cores))
    from tensorflow.data.experimental import service

    server = service.WorkerServer(  # noqa: F841 it works until the process ends
        service.WorkerConfig(
            dispatcher_address=dispatcher,
            worker_address=f"{host}:%port%",
            heartbeat_interval_ms=1000,
            dispatcher_timeout_ms=30_000,
        )
    )
    print(READY, flush=True)
    parent.join()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    # Without the server's own end, which waits for requests that nobody answers any more.
    os._exit(0)


if __name__ == "__main__":
    main()
