"""The devices of a training: one, several of this host, or those of several hosts.

Every device has the whole model and a part of each batch. The gradients of a batch are equal on
any number of devices, up to the order in which floats are added. JAX runs one program over
all devices of all hosts, TensorFlow (`MirroredStrategy`) one on each device of a host.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator

from ssd_keras.engine.distributed.launchers import (
    AUTO,
    Processes,
    check_coordinator,
    find_processes,
)
from ssd_keras.engine.distributed.process_group import ProcessGroup, connected, is_initialized

ALL = "all"


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices that share a training.

    Several processes, for example one on each host, start with the same arguments except their
    index. Process 0 alone scores and writes; all processes see the `output` folder. Where one is
    lost, JAX ends the others; from Python without a line of ours, by its messages and an abort.
    """

    # Devices of this process, or "all": GPUs, or where there are none, CPUs.
    number: int | str = 1
    # "HOST:PORT" of process 0; "" for one process, or where a launcher's variables or JAX say it;
    # "auto" always lets JAX find it.
    coordinator: str = ""
    num_processes: int | None = None  # None: a launcher's, else 1
    process_index: int | None = None
    seconds: float = 300.0  # longest wait for the other processes at the start
    step_seconds: float = 600.0  # longest step of several processes, the first apart

    def __post_init__(self) -> None:
        if self.number != ALL and (isinstance(self.number, str) or self.number < 1):
            raise ValueError(f"devices={self.number!r} must be a number of 1 or more, or 'all'.")
        if self.coordinator and self.coordinator != AUTO:
            check_coordinator(self.coordinator)
        if self.num_processes is None:
            if self.process_index is not None:
                raise ValueError(
                    f"process_index={self.process_index} needs num_processes; give both, or "
                    "neither under a launcher."
                )
            return
        if self.num_processes < 1:
            raise ValueError(f"num_processes={self.num_processes} must be 1 or more.")
        if not 0 <= (self.process_index or 0) < self.num_processes:
            raise ValueError(
                f"process_index={self.process_index} must be from 0 to {self.num_processes - 1}, "
                f"for num_processes={self.num_processes}."
            )
        if bool(self.coordinator) != (self.num_processes > 1):
            raise ValueError(
                f"coordinator={self.coordinator!r} and num_processes={self.num_processes}: "
                "several processes need both, one process neither."
            )

    def processes(self) -> Processes:
        """Returns the processes, which the arguments say or the variables of a launcher."""
        if is_initialized():
            return Processes(None, None)
        return find_processes(os.environ, self.coordinator, self.num_processes, self.process_index)

    @property
    def is_one_process(self) -> bool:
        """Whether one process trains alone."""
        return self.processes().number == 1

    @contextlib.contextmanager
    def connect(self, batch_size: int) -> Iterator[ProcessGroup]:
        """Connects the processes, which share each batch."""
        import keras

        if self.is_one_process:
            yield ProcessGroup()
            return
        backend = keras.backend.backend()
        if backend != "jax":
            number = self.processes().number
            raise ValueError(
                f"{number or 'several'} processes need Keras' JAX backend, this is {backend}: set "
                "the environment variable KERAS_BACKEND=jax (pip install 'ssd_keras[jax]'), or "
                "train on the devices of one host."
            )
        with connected(self.processes(), self.seconds) as group:
            check_batch(batch_size, group.size, "processes")
            if self.number != ALL:
                check_batch(batch_size, group.size * int(self.number), "devices")
            yield group

    def scope(self, batch_size: int, group: ProcessGroup) -> contextlib.AbstractContextManager:
        """Returns the Keras context in which a model is on all devices."""
        import keras
        import tensorflow as tf

        backend = keras.backend.backend()
        if backend == "jax":
            # TensorFlow reads images on the CPU; without this it would take the memory of the GPUs.
            with contextlib.suppress(RuntimeError):  # TensorFlow is initialised already
                tf.config.set_visible_devices([], "GPU")
        if self.number == 1 and group.size == 1:
            return contextlib.nullcontext()
        names = {"jax": _jax_devices, "tensorflow": _tensorflow_devices}.get(backend)
        if names is None:
            raise ValueError(
                f"several devices need Keras' JAX or TensorFlow backend, this is {backend}: set "
                "the environment variable KERAS_BACKEND."
            )
        chosen = names(self.number)
        check_batch(batch_size, len(chosen), "devices")
        if backend == "jax":
            return keras.distribution.DataParallel(devices=chosen, auto_shard_dataset=False).scope()
        # TensorFlow's default, collective operations, mixed up the sums of batch normalisation and
        # losses within a step (TF 2.21).
        return tf.distribute.MirroredStrategy(
            chosen, cross_device_ops=tf.distribute.ReductionToOneDevice()
        ).scope()


def check_batch(batch_size: int, parts: int, what: str) -> None:
    """Refuses a batch that cannot be shared evenly."""
    if batch_size % parts:
        below = batch_size // parts * parts
        raise ValueError(
            f"batch_size={batch_size} cannot be shared evenly by {parts} {what}; set batch_size="
            f"{below or parts} or {below + parts}."
        )


def _jax_devices(number: int | str) -> list[str]:
    """Returns names of the devices of all processes, `number` of each process."""
    import jax

    of_process: dict[int, list[str]] = {}
    for device in jax.devices():
        of_process.setdefault(device.process_index, []).append(f"{device.platform}:{device.id}")
    counts = {len(names) for names in of_process.values()}
    if number == ALL and len(counts) > 1:
        raise ValueError(
            f"the processes have different numbers of devices ({sorted(counts)}); pass the same "
            "--devices N to all."
        )
    for names in of_process.values():
        _check_number(number, names)
    return [name for i in sorted(of_process) for name in _first(of_process[i], number)]


def _tensorflow_devices(number: int | str) -> list[str]:
    import tensorflow as tf

    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    names = [device.name for device in found]
    _check_number(number, names)
    return _first(names, number)


def _first(names: list[str], number: int | str) -> list[str]:
    return names[:number] if isinstance(number, int) else names


def _check_number(number: int | str, names: list[str]) -> None:
    if isinstance(number, int) and number > len(names):
        raise ValueError(
            f"devices={number}: there are {len(names)} ({', '.join(names)}); pass at most "
            f"{len(names)}, or 'all'."
        )
