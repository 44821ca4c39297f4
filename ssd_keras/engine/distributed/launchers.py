"""Finds the processes of a training in the variables that a launcher sets."""

import dataclasses
import importlib.util
import zlib
from collections.abc import Mapping

from ssd_keras.core.addresses import split_address

AUTO = "auto"
FLAGS = "--coordinator HOST:PORT --num-processes N --process-index I"


@dataclasses.dataclass(frozen=True)
class Processes:
    """How many processes train together, which one this is, and the address of process 0."""

    number: int | None = 1  # None: JAX finds it
    index: int | None = 0
    coordinator: str = ""  # "": JAX finds it


@dataclasses.dataclass(frozen=True)
class Launcher:
    """The variables of a launcher; a count of more than one process makes them count."""

    name: str
    count: str
    index: str
    coordinator: str = ""


# JAX asks for more of them. `srun -n 1`, and a shell or batch script of an allocation, are steps
# of one task, for all that SLURM_NTASKS says.
LAUNCHERS = (
    Launcher(
        "Keras",
        "KERAS_DISTRIBUTION_NUM_PROCESSES",
        "KERAS_DISTRIBUTION_PROCESS_ID",
        "KERAS_DISTRIBUTION_JOB_ADDRESSES",
    ),
    Launcher("Slurm", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    Launcher("Open MPI", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
)


def find_processes(
    environment: Mapping[str, str],
    coordinator: str = "",
    number: int | None = None,
    index: int | None = None,
) -> Processes:
    """Returns the processes of arguments, and of a launcher what the arguments leave out."""
    if coordinator == AUTO:
        return Processes(None, None)
    if number is not None:
        return Processes(number, index or 0, coordinator)
    found = _of_variables(environment, coordinator)
    if coordinator and found.number == 1:
        raise ValueError(
            f"coordinator={coordinator!r} without num_processes, and no launcher says how many "
            f"processes there are; give all three: {FLAGS}."
        )
    return found


def _of_variables(environment: Mapping[str, str], coordinator: str) -> Processes:
    for launcher in LAUNCHERS:
        number = _whole(environment, launcher.count, 1)
        if number < 2:
            continue
        index = _whole(environment, launcher.index, -1)
        if not 0 <= index < number:
            raise ValueError(
                f"{launcher.name} sets {launcher.count}={number}, but {launcher.index} is "
                f"{environment.get(launcher.index)!r}; expected 0 to {number - 1}: start the "
                f"processes by the launcher, or give {FLAGS}."
            )
        address = coordinator or environment.get(launcher.coordinator, "").split(",")[0]
        if not address and launcher.name == "Open MPI":
            address = _open_mpi_address(environment, number)
        return Processes(number, index, address)
    if "," in environment.get("TPU_WORKER_HOSTNAMES", ""):
        return Processes(None, None)
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return _kubernetes()
    return Processes()


def _open_mpi_address(environment: Mapping[str, str], number: int) -> str:
    """Returns the address of process 0: "" where JAX finds it, which Open MPI 5 does not allow."""
    if "OMPI_MCA_orte_hnp_uri" in environment:
        return ""
    job = environment.get("PMIX_NAMESPACE", "")
    if environment.get("OMPI_COMM_WORLD_LOCAL_SIZE") == str(number) and job:
        return f"localhost:{61440 + zlib.crc32(job.encode()) % 4096}"
    raise ValueError(
        f"Open MPI started {number} processes on several hosts and does not say where process 0 "
        "is; give --coordinator HOST:PORT, an address of its host."
    )


def _kubernetes() -> Processes:
    """Lets JAX ask the cluster for the number of pods, which no variable says."""
    if importlib.util.find_spec("kubernetes"):
        return Processes(None, None)
    raise ValueError(
        "this is a pod of an Indexed Job of Kubernetes, whose number of pods only the package "
        f"kubernetes can find: pip install 'jax[k8s]', give {FLAGS}, or --num-processes 1 if each "
        "pod trains alone."
    )


def _whole(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name}={text!r} must be a whole number; correct or unset it.") from None


def check_coordinator(address: str) -> None:
    """Raises ValueError for what is no address."""
    try:
        split_address(address)
    except ValueError as error:
        raise ValueError(
            f"coordinator={address!r} must be HOST:PORT of process 0, for example 10.0.0.1:7890."
        ) from error
