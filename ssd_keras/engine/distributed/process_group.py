"""The processes of a training: JAX's coordination service connects them, and ends them together."""

import atexit
import contextlib
import inspect
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ssd_keras.engine.distributed.launchers import Processes, check_coordinator

HEARTBEAT_SECONDS = 10
"""Silence after which JAX counts a process as lost; some seconds more pass until all have ended."""
SHUTDOWN_SECONDS = 10
WAIT_SECONDS = 6 * 3600
"""Longest wait at a barrier: process 0 scores a validation and saves meanwhile."""
SAME = "start all of them with the same arguments but --process-index."

_names = itertools.count()  # the service keeps each name, so that none may come twice


class ProcessGroup:
    """This process among those that train together; by default it is the only one."""

    def __init__(self, index: int = 0, size: int = 1, seconds: float = 300.0) -> None:
        self.index = index
        self.size = size
        self.seconds = seconds  # longest wait for the others at the start
        self.ends_together = False  # the processes have agreed on their end
        self.is_open = True

    @property
    def writes(self) -> bool:
        """Whether this process scores and writes: only process 0 does."""
        return self.index == 0

    def check_same(self, values: Mapping[str, Any]) -> None:
        """Raises a ValueError in all processes where values differ."""
        if self.size == 1:
            return
        name = f"ssd_keras/{next(_names)}"
        own = {key: str(value) for key, value in values.items()}
        _client().key_value_set(f"{name}/{self.index}", json.dumps(own))

        def check() -> None:
            for index in range(1, self.size):
                other = json.loads(self._value(f"{name}/{index}"))
                for key in own:
                    if other.get(key) != own[key]:
                        raise ValueError(
                            f"process {index} and process 0 do not agree on the {key} "
                            f"({other.get(key)} and {own[key]}); {SAME}"
                        )

        self.from_first(check)

    def from_first(self, function: Callable[[], Any]) -> Any:
        """Returns what process 0 returns, of JSON's types; a ValueError there ends all of them."""
        if self.size == 1:
            return function()
        name = f"ssd_keras/{next(_names)}"
        if self.index:
            answer = json.loads(self._value(name))
        else:
            answer = {}
            try:
                answer["value"] = function()
            except ValueError as error:
                answer["error"] = str(error)
            _client().key_value_set(name, json.dumps(answer))
        if "error" in answer:
            self.barrier()
            self.ends_together = True
            raise ValueError(answer["error"])
        return answer["value"]

    def barrier(self) -> None:
        """Waits until every process has come here."""
        if self.size > 1:
            _client().wait_at_barrier(f"ssd_keras/{next(_names)}", WAIT_SECONDS * 1000)

    def gather(self, data: bytes) -> list[bytes]:
        """Returns the bytes of each process."""
        if self.size == 1:
            return [data]
        from jax.experimental.multihost_utils import process_allgather

        lengths = np.ravel(process_allgather(np.array([len(data)], np.int32)))
        padded = np.zeros(lengths.max(), np.uint8)
        padded[: len(data)] = np.frombuffer(data, np.uint8)
        rows = np.asarray(process_allgather(padded)).reshape(self.size, -1)
        return [row[:length].tobytes() for row, length in zip(rows, lengths, strict=True)]

    def has_notice(self, step: int) -> bool:
        """Whether all processes, one of which has received SIGTERM, stop behind this step."""
        if self.size == 1:
            return False
        from jax.experimental.multihost_utils import reached_preemption_sync_point

        return reached_preemption_sync_point(step)

    def _value(self, name: str) -> str:
        return _client().blocking_key_value_get(name, int(self.seconds * 1000))


@contextlib.contextmanager
def connected(processes: Processes, seconds: float) -> Iterator[ProcessGroup]:
    """Context manager: the processes, which leave the block together, or all of them end."""
    import jax

    is_ours = not jax.distributed.is_initialized()
    if is_ours:
        _initialize(processes, seconds)
    group = ProcessGroup(jax.process_index(), jax.process_count(), seconds)
    try:
        yield group
        group.barrier()
    except BaseException as error:
        if group.size > 1 and not group.ends_together:
            if isinstance(error, RuntimeError) or "Gloo" in str(error):
                # Likely the echo of another one's end, of which JAX ends this one in that time.
                time.sleep(HEARTBEAT_SECONDS + 5)
            # At its end JAX would wait for the others.
            atexit.register(_end_at_once)
            is_ours = False
        raise
    finally:
        group.is_open = False
        if is_ours:
            jax.distributed.shutdown()


def is_initialized() -> bool:
    """Whether the program has connected JAX with other processes itself."""
    jax = sys.modules.get("jax")
    return bool(jax and jax.distributed.is_initialized() and jax.process_count() > 1)


def _initialize(processes: Processes, seconds: float) -> None:
    import jax

    limits: dict[str, Any] = {
        "initialization_timeout": int(seconds),
        "heartbeat_timeout_seconds": HEARTBEAT_SECONDS,
        "shutdown_timeout_seconds": SHUTDOWN_SECONDS,
    }
    known = inspect.signature(jax.distributed.initialize).parameters  # JAX 0.6 has fewer
    limits = {name: value for name, value in limits.items() if name in known}
    if processes.coordinator:
        check_coordinator(processes.coordinator)
        # Without it JAX would take one GPU for each process wherever Slurm's variables are.
        limits["cluster_detection_method"] = "deactivate"
    try:
        jax.distributed.initialize(
            processes.coordinator or None, processes.number, processes.index, **limits
        )
    except (RuntimeError, ValueError) as error:
        where = f"at {processes.coordinator}" if processes.coordinator else "by JAX's detection"
        raise ValueError(
            f"the processes cannot connect {where} ({' '.join(str(error).split())[:200]}); name "
            "an address of the host of process 0 and a free port: --coordinator HOST:PORT."
        ) from error


def _client() -> Any:
    """Returns JAX's client of its coordination service, for which it has no public name."""
    from jax._src import distributed

    return distributed.global_state.client


def _end_at_once() -> None:
    """Ends the process after its group failed, without what Python runs at an exit."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2)
