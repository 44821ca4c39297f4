"""The devices of a training: one, several of this host, or those of several hosts.

Every device has the whole model and a part of each batch. The gradients of a batch are equal on
any number of devices, up to the order in which floats are added. JAX runs one program over
all devices of all hosts, TensorFlow (`MirroredStrategy`) one on each device of a host.
"""

import contextlib
import dataclasses
import socket
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ssd_keras.engine.distributed.process_group import Team, gather, host_and_port

if TYPE_CHECKING:
    import keras

ALL = "all"


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices that share a training.

    Several processes, one on each host, start with the same arguments except their index. Process
    0 alone evaluates and writes; all processes see the `output` folder.
    """

    # Devices of this process, or "all": GPUs, or where there are none, CPUs.
    number: int | str = 1
    coordinator: str = ""  # "HOST:PORT" of process 0; "" for one process
    num_processes: int = 1
    process_index: int = 0
    seconds: float = 300.0  # longest wait for the other processes at the start

    def __post_init__(self) -> None:
        if self.number != ALL and (isinstance(self.number, str) or self.number < 1):
            raise ValueError(f"devices={self.number!r} must be a number of 1 or more, or 'all'.")
        if self.num_processes < 1:
            raise ValueError(f"num_processes={self.num_processes} must be 1 or more.")
        if not 0 <= self.process_index < self.num_processes:
            raise ValueError(
                f"process_index={self.process_index} must be from 0 to {self.num_processes - 1}, "
                f"for num_processes={self.num_processes}."
            )
        if bool(self.coordinator) != (self.num_processes > 1):
            raise ValueError(
                f"coordinator={self.coordinator!r} and num_processes={self.num_processes}: "
                "several processes need both, one process neither."
            )
        if self.coordinator:
            host_and_port(self.coordinator)

    @property
    def writes(self) -> bool:
        """Whether this process evaluates and writes: only process 0 does."""
        return self.process_index == 0

    @contextlib.contextmanager
    def open(
        self, batch_size: int, card: Mapping[str, Any], welcome: Any = None
    ) -> Iterator["DeviceSession"]:
        """Connects the devices; models built and trained in the block are on all of them."""
        import keras

        backend = keras.backend.backend()
        if self.num_processes > 1 and backend != "jax":
            raise ValueError(
                f"{self.num_processes} processes need Keras' JAX backend, this is {backend}: set "
                "the environment variable KERAS_BACKEND=jax (pip install 'ssd_keras[jax]'), or "
                "train on the devices of one host."
            )
        if self.num_processes == 1:
            with self._scope(backend, batch_size):
                yield DeviceSession(self, welcome)
            return
        check_batch(batch_size, self.num_processes, "processes")
        if self.number != ALL:
            check_batch(batch_size, self.num_processes * int(self.number), "devices")
        # Process 0 sends to all: the port of JAX's coordinator, and the state to start from.
        offer = {"port": _free_port(self.coordinator) if self.writes else None, "state": welcome}
        card = {"batch size": batch_size, "devices": self.number, **card}
        team = gather(
            self.coordinator, self.num_processes, self.process_index, card, offer, self.seconds
        )
        with team.work():
            self._start_jax(team.welcome["port"])
            with self._scope(backend, batch_size):
                yield DeviceSession(self, team.welcome["state"], team)
        _stop_jax()

    def _start_jax(self, port: int) -> None:
        """Connects JAX with all processes. The team notices a lost one long before JAX does."""
        import jax

        # This service would catch SIGTERM, with which batch systems and users stop a process.
        jax.config.update("jax_enable_preemption_service", False)
        host = self.coordinator.rpartition(":")[0]
        jax.distributed.initialize(
            f"{host}:{port}",
            self.num_processes,
            self.process_index,
            initialization_timeout=int(self.seconds),
            shutdown_timeout_seconds=10,
            cluster_detection_method="deactivate",
        )

    def _scope(self, backend: str, batch_size: int) -> contextlib.AbstractContextManager:
        """Returns the Keras context in which a model is on all devices."""
        import keras
        import tensorflow as tf

        if backend == "jax":
            # TensorFlow reads images on the CPU; without this it would take the memory of the GPUs.
            with contextlib.suppress(RuntimeError):  # TensorFlow is initialised already
                tf.config.set_visible_devices([], "GPU")
        if self.number == 1 and self.num_processes == 1:
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


class DeviceSession:
    """Devices that are connected."""

    def __init__(self, devices: Devices, welcome: Any, team: Team | None = None) -> None:
        self.devices = devices
        self.welcome = welcome
        self.team = team

    @property
    def part(self) -> tuple[int, int]:
        """Index of this process and number of processes: its part of each batch."""
        return self.devices.process_index, self.devices.num_processes

    def callbacks(self) -> list["keras.callbacks.Callback"]:
        """Returns callbacks for `fit`, to run after all that evaluate or write."""
        import tensorflow as tf

        from ssd_keras.engine.distributed.sync import EpochBarrier, SyncBatchNorm

        barrier: list[keras.callbacks.Callback] = [EpochBarrier(self.team)] if self.team else []
        return barrier + [SyncBatchNorm()] * tf.distribute.has_strategy()


def check_batch(batch_size: int, parts: int, what: str) -> None:
    """Refuses a batch that cannot be shared evenly."""
    if batch_size % parts:
        below = batch_size // parts * parts
        raise ValueError(
            f"batch_size={batch_size} cannot be shared evenly by {parts} {what}; set batch_size="
            f"{below or parts} or {below + parts}."
        )


def _stop_jax() -> None:
    import jax

    jax.distributed.shutdown()


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


def _free_port(coordinator: str) -> int | None:
    """Returns a free port of this host."""
    host, port = host_and_port(coordinator)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.create_server((host, 0), family=family) as server:
            return server.getsockname()[1]
    except OSError:
        return None  # `gather` names the fault of that address
