"""The batches of a training from worker processes, through tf.data's service."""

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.data.experimental import service

from ssd_keras.core.addresses import check_free, split_address
from ssd_keras.data.endless import ENDLESS
from ssd_keras.data.workers.ordered import Arrival, in_order
from ssd_keras.data.workers.processes import WorkerProcesses

STEP = "step"
SILENCE = 300.0  # seconds without a batch after which a training ends
END_SECONDS = 10.0

BatchBuilder = Callable[[tf.data.Dataset], tf.data.Dataset]
"""Turns steps, int64, into their batches: dictionaries of tensors with the step as `STEP`."""


class DataWorkers:
    """Processes that read and augment the images of trainings; a context manager.

    They build the same batches in the same order as this process would. A worker that is lost is
    started again, and its batches are computed again. The processes end with the block, or with
    this process. They take orders from everybody who reaches their ports, without a password.

    Args:
        workers: number of processes to start on this host, or "HOST:PORT" of a dispatcher that
            `ssd-keras data serve` started; workers on other hosts read the images under the same
            paths. 0: none, the batches are built by threads of this process.

    Raises:
        ValueError: for a negative number, a text that is no address, or one that does not answer.

    Example:

        with DataWorkers(2) as workers:
            images = training_dataset(
                data, model.target_encoder(), model.image_size, batch_size=16, workers=workers
            )
            model.fit(images, epochs=8)
    """

    def __init__(self, workers: int | str) -> None:
        self.address = ""
        self.number = 0
        if isinstance(workers, str):
            split_address(workers)
            self.address = workers
        elif workers < 0:
            raise ValueError(f"data workers: {workers} must be 0 or more, or HOST:PORT.")
        else:
            self.number = workers
        self._processes: WorkerProcesses | None = None
        self._error: BaseException | None = None
        self._readers: list[_Reader] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "DataWorkers":
        if self.number:
            dispatcher = start_dispatcher()
            self._stack.callback(dispatcher._stop)
            self.address = dispatcher.target.partition("://")[2]
            self._processes = WorkerProcesses(self.address, self.number)
            self._stack.callback(self._processes.stop)
        elif self.address:
            check_reachable(self.address)
        self._stack.callback(self._close_readers)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, _trace: Any) -> None:
        self._stack.close()
        self._raise_cause(error)

    @property
    def process_ids(self) -> list[int]:
        """The ids of the processes that were started here."""
        return self._processes.process_ids if self._processes else []

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Context manager: raises what ended the stream, instead of TensorFlow's error of it.

        The end of the workers' block does the same.
        """
        try:
            yield
        except tf.errors.OpError as error:
            self._raise_cause(error)
            raise

    def _raise_cause(self, error: BaseException | None) -> None:
        if isinstance(error, tf.errors.OpError) and self._error is not None:
            raise self._error from error

    def batches(self, build: BatchBuilder, start: int) -> tf.data.Dataset:
        """Returns the batches of all steps from `start` on, without the steps.

        `training_dataset` calls it.

        Args:
            build: turns a data set of steps, int64, into that of their batches, dictionaries of
                tensors; each has its step under "step".
            start: the first step, from 0 on.

        Raises:
            ValueError: the workers have not started, or TensorFlow cannot send `build` to them.
        """
        built = build(tf.data.Dataset.range(start, ENDLESS))
        if self.number and not self._processes:
            raise ValueError("DataWorkers have not started; use them in a `with` block.")
        if not self.address:
            return built.map(_without_step)

        def recompute(steps: list[int]) -> Iterator[Arrival]:
            for batch in build(tf.data.Dataset.from_tensor_slices(tf.constant(steps, tf.int64))):
                yield _arrival(batch)

        distributed = self._distribute(built)

        def generate() -> Iterator[dict[str, tf.Tensor]]:
            reader = _Reader(distributed, self._check)
            self._readers.append(reader)
            try:
                yield from in_order(reader.receive, recompute, start)
            except _ClosedError:
                return
            except Exception as error:
                self._error = error
                raise
            finally:
                reader.close()
                self._readers.remove(reader)

        spec = _without_step(built.element_spec)
        return tf.data.Dataset.from_generator(generate, output_signature=spec)

    def _distribute(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        options = tf.data.Options()
        options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.FAIL
        # Each worker takes the next step that nobody has, when it has time for it.
        distribute = service.distribute(
            service.ShardingPolicy.DYNAMIC, f"grpc://{self.address}", compression=None
        )
        try:
            return dataset.with_options(options).apply(distribute)
        except tf.errors.FailedPreconditionError as error:
            raise ValueError(
                "an augmentation step cannot be sent to data workers, because it calls Python "
                "(tf.py_function, tf.numpy_function) or keeps a state between images; use "
                "TensorFlow's stateless operators, or train without data workers."
            ) from error

    def _check(self, silence: float) -> None:
        """Looks after the workers; `silence` is the time since the last batch in seconds."""
        if self._processes:
            self._processes.check()
        elif silence > 1:
            check_reachable(self.address)
        if silence > SILENCE:
            raise ValueError(
                f"the data workers of {self.address} sent nothing for {SILENCE:.0f} seconds; start "
                f"workers with `ssd-keras data serve --dispatcher {self.address}`, or train "
                "without --data-workers."
            )

    def _close_readers(self) -> None:
        for reader in list(self._readers):
            reader.close()


class _ClosedError(Exception):
    """The stream has ended, because nobody reads it any more."""


class _Reader:
    """Reads a data set in a thread, so that the caller need not wait for ever."""

    def __init__(self, dataset: Iterable, check: Callable[[float], None]) -> None:
        self._dataset: Any = dataset
        self._check = check
        self._queue: queue.Queue[Arrival | Exception] = queue.Queue(1)
        self._closed = threading.Event()
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def receive(self, seconds: float) -> Arrival | None:
        """Returns the next arrival, or None if there is none for some seconds."""
        if self._closed.is_set():
            raise _ClosedError
        try:
            arrived = self._queue.get(timeout=seconds)
        except queue.Empty:
            self._check(time.monotonic() - self._last)
            return None
        if isinstance(arrived, Exception):
            raise arrived
        self._last = time.monotonic()
        self._check(0.0)
        return arrived

    def close(self) -> None:
        self._closed.set()
        self._thread.join(END_SECONDS)

    def _read(self) -> None:
        try:
            for batch in self._dataset:
                if not self._put(_arrival(batch)):
                    break
        except Exception as error:
            self._put(error)
        del self._dataset

    def _put(self, arrived: Arrival | Exception) -> bool:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(arrived, timeout=0.1)
                return True
        return False


def _without_step(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in batch.items() if name != STEP}


def _arrival(batch: dict[str, tf.Tensor]) -> Arrival:
    return int(batch[STEP]), _without_step(batch)


def start_dispatcher(port: int = 0) -> Any:
    """Returns a running dispatcher; port 0 takes a free one."""
    if port:
        check_free(port)
    config = service.DispatcherConfig(
        port=port,
        worker_timeout_ms=10_000,
        job_gc_check_interval_ms=5_000,
        job_gc_timeout_ms=30_000,
    )
    return service.DispatchServer(config)


def check_reachable(address: str) -> None:
    """Raises ValueError if nothing answers at an address."""
    try:
        socket.create_connection(split_address(address), timeout=10).close()
    except OSError as error:
        raise ValueError(
            f"no dispatcher of data workers answers at {address} ({error.strerror or error}); "
            f"start one there with `ssd-keras data serve --port {address.rpartition(':')[2]}`, or "
            "correct the address."
        ) from error
