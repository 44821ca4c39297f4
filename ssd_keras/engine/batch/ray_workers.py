"""Processes of Ray Data that work on tasks: on this machine, or on a cluster."""

import contextlib
import io
import logging
import os
import pickle
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from ssd_keras.core.extras import import_extra
from ssd_keras.core.terminal import Output, silence_stderr
from ssd_keras.core.text import first_cause, one_line, words_of

LOCAL, AUTO = "local", "auto"
CLIENT = "ray://"  # of a cluster's door for programs outside
ANSWER_SECONDS = 10
MESSAGES_THREAD = "ray_listen_error_messages"  # in it Ray prints about workers that have ended
WORKER_MEMORY = 2 << 30  # bytes: TensorFlow, a model of 100 MB and a batch of photographs
OBJECT_STORE = 256 << 20  # bytes of shared memory; tasks and results beyond it go to the disk
TASKS_AHEAD = 2  # of each worker, so that it never waits for the next one
MAX_STARTS = 5  # of a task: a worker that is killed starts again, but an image may be what kills it
VARIABLES = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
VARIABLES |= {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}  # else Ray warns of its next default

Work = Callable[[Any], Any]


class _WithoutMessages(Output):
    """An output that drops what Ray prints: the task is done again, and that is all."""

    def write(self, text: str) -> int:
        if threading.current_thread().name == MESSAGES_THREAD:
            return len(text)
        return super().write(text)


class TaskError(ValueError):
    """An error of a worker, in its words."""


class _Starts:
    """Counts how often each task was started; lives in a process beside the workers."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def add(self, number: int) -> int:
        """Returns how often a task was started, this time included."""
        self.counts[number] += 1
        return self.counts[number]


class _Worker:
    """What runs in each process: makes its function once, and calls it for each task."""

    def __init__(self, make_work: bytes, num_threads: int, starts: Any) -> None:
        self.make_work, self.num_threads, self.starts = make_work, num_threads, starts
        self.work: Work | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        # Ray would put its own frames around an error, and try to make the worker once more.
        try:
            self._count(row)
            if self.work is None:
                self.work = self._start()
            result, error = self.work(pickle.loads(row["task"])), ""
        except Exception as cause:
            if os.environ.get("SSD_KERAS_TRACEBACK"):
                raise
            result, error = None, str(cause) or type(cause).__name__
        return {"number": row["number"], "result": pickle.dumps(result), "error": error}

    def _count(self, row: dict[str, Any]) -> None:
        import ray

        # Ray Data itself would start a task again without an end.
        if ray.get(self.starts.add.remote(row["number"])) > MAX_STARTS:
            raise ValueError(
                f"{MAX_STARTS} workers ended at {row['name']}; see that there is memory for all "
                "(--workers takes fewer), or leave these images out."
            )

    def _start(self) -> Work:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(self.num_threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        return pickle.loads(self.make_work)(self.num_threads)


@contextlib.contextmanager
def ray_workers(
    make_work: Callable[[int], Work],
    name: Callable[[int], str],
    address: str = LOCAL,
    num_workers: int | None = None,
) -> Iterator[Callable[[dict[int, Any]], Iterator[tuple[int, Any]]]]:
    """Yields a function from tasks by number to pairs of number and result, as they are done.

    `make_work` gets the number of threads that a worker may use and returns what does a task; both
    are pickled. `name` says in messages which images a task has.
    """
    ray = import_extra("ray", "ray", "batch prediction with Ray")
    ray_data = import_extra("ray.data", "ray", "batch prediction with Ray")
    with contextlib.ExitStack() as stack:
        if not ray.is_initialized():
            stack.enter_context(_ray_session(ray, address))
        stack.enter_context(_quiet_ray_data(ray_data))
        resources = ray.cluster_resources()
        num_gpus = int(resources.get("GPU", 0))
        num_cores = max(1, int(resources.get("CPU", 1)))
        count = num_workers or num_gpus or _num_workers(num_cores, resources.get("memory", 0))
        starts = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Starts).remote()
        worker = ray.cloudpickle.dumps(make_work), max(1, num_cores // count), starts

        def run(tasks: dict[int, Any]) -> Iterator[tuple[int, Any]]:
            rows = [
                {"number": number, "name": name(number), "task": pickle.dumps(task)}
                for number, task in tasks.items()
            ]
            data = ray_data.from_items(rows, override_num_blocks=len(rows)).map(
                _Worker,
                fn_constructor_args=worker,
                compute=ray_data.ActorPoolStrategy(
                    size=min(count, len(rows)), max_tasks_in_flight_per_actor=TASKS_AHEAD
                ),
                num_cpus=min(1, num_cores / count),
                num_gpus=min(1, num_gpus / count) if num_gpus else None,
            )
            yield from _results(ray, data)

        yield run


def _num_workers(num_cores: int, memory: float) -> int:
    """Returns one worker for each core that has memory for it."""
    return max(1, min(num_cores, int(memory // WORKER_MEMORY)))


def _results(ray: Any, data: Any) -> Iterator[tuple[int, Any]]:
    try:
        for row in data.iter_rows():
            if row["error"]:
                raise TaskError(row["error"])
            yield row["number"], pickle.loads(row["result"])
    except ray.exceptions.RayError as error:
        raise ValueError(
            f"the workers of Ray have ended ({first_cause(error)}); see that there is memory for "
            "all, or pass fewer (--workers); what is finished stays."
        ) from error


@contextlib.contextmanager
def _ray_session(ray: Any, address: str) -> Iterator[None]:
    """Starts Ray on this machine or joins a cluster, silently and without its dashboard."""
    _check_answer(address)
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == LOCAL:
        options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE}
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update({name: value for name, value in VARIABLES.items() if before[name] is None})
    try:
        with silence_stderr():
            ray.init(address=address, **options)
    except Exception as error:  # of many kinds, by the form of the address
        raise ValueError(
            f"Ray does not start at {one_line(repr(address))} ({first_cause(error)}); pass the "
            "address of a cluster that runs, HOST:PORT, or leave it out for this machine; one that "
            "asks for a token needs RAY_AUTH_MODE=token."
        ) from error
    finally:
        for name in [name for name, value in before.items() if value is None]:
            del os.environ[name]
    try:
        with contextlib.redirect_stdout(_WithoutMessages(sys.stdout)):
            yield
    finally:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it has held back
            ray.shutdown()


def _check_answer(address: str) -> None:
    """Raises a `ValueError` where nothing answers at HOST:PORT; Ray itself waits for minutes."""
    host, colon, port = address.removeprefix(CLIENT).rpartition(":")
    if not colon and address not in (LOCAL, AUTO):
        raise ValueError(
            f"{one_line(repr(address))} is no address of a Ray cluster; pass HOST:PORT, {AUTO!r}, "
            "or leave it out for this machine."
        )
    if colon:
        try:
            socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
        except (OSError, ValueError, OverflowError) as error:
            raise ValueError(
                f"no Ray cluster answers at {one_line(repr(address))} ({words_of(error)}); start "
                "it with `ray start --head`, or correct HOST:PORT."
            ) from error


@contextlib.contextmanager
def _quiet_ray_data(ray_data: Any) -> Iterator[None]:
    """Leaves the progress to the caller, and the settings of Ray Data as they were."""
    context = ray_data.DataContext.get_current()
    before = context.enable_progress_bars
    context.enable_progress_bars = False
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = before
        logger.setLevel(level)
