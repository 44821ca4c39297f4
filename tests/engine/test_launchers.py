"""The processes that launchers' variables mean, as Slurm, Open MPI and Kubernetes set them."""

import importlib.util
import re

import pytest

from ssd_keras.engine.distributed.launchers import Processes, find_processes

SLURM_STEP = {
    "SLURM_JOB_ID": "4711",
    "SLURM_NTASKS": "2",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NODELIST": "node[01-02]",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}
OPEN_MPI = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"}
OPEN_MPI_5 = {**OPEN_MPI, "OMPI_COMM_WORLD_LOCAL_SIZE": "4", "PMIX_NAMESPACE": "prterun-host-1@1"}
INDEXED_JOB = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "1"}
KERAS = {
    "KERAS_DISTRIBUTION_JOB_ADDRESSES": "10.0.0.1:1234,10.0.0.2:2345",
    "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
    "KERAS_DISTRIBUTION_PROCESS_ID": "0",
}
ONE = Processes(1, 0, "")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ONE),
        (SLURM_STEP, Processes(2, 1, "")),
        # `srun -n 1`, and a shell in an allocation of two tasks
        ({**SLURM_STEP, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, ONE),
        ({"SLURM_JOB_ID": "4711", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, ONE),
        ({**OPEN_MPI, "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1:34911"},
         Processes(4, 3, "")),
        ({"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}, ONE),
        # crc32 of the job's name is 2949545878, whose rest of 4096 is 3990
        (OPEN_MPI_5, Processes(4, 3, "localhost:65430")),
        (KERAS, Processes(2, 0, "10.0.0.1:1234")),
        ({**KERAS, "KERAS_DISTRIBUTION_NUM_PROCESSES": "1"}, ONE),
        ({**SLURM_STEP, **KERAS}, Processes(2, 0, "10.0.0.1:1234")),
        ({"TPU_WORKER_HOSTNAMES": "host-0,host-1", "TPU_WORKER_ID": "1"}, Processes(None, None)),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, ONE),
        # a notebook in Kubernetes
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, ONE),
    ],
)  # fmt: skip
def test_variables_of_launchers(environment, expected):
    assert find_processes(environment) == expected


def test_arguments_go_before_variables():
    assert find_processes(SLURM_STEP, number=1) == ONE
    assert find_processes(SLURM_STEP, "a:1", 3, 2) == Processes(3, 2, "a:1")
    assert find_processes(SLURM_STEP, "a:1") == Processes(2, 1, "a:1")
    assert find_processes({**OPEN_MPI_5, "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, "a:1") == Processes(
        4, 3, "a:1"
    )
    assert find_processes({}, "auto") == Processes(None, None)


def test_an_indexed_job_needs_the_package_that_counts_its_pods(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"^this is a pod of an Indexed Job .* or --num-processes"):
        find_processes(INDEXED_JOB)
    assert find_processes(INDEXED_JOB, number=1) == ONE
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "kubernetes")
    assert find_processes(INDEXED_JOB) == Processes(None, None)


@pytest.mark.parametrize(
    ("environment", "arguments", "message"),
    [
        (
            {**SLURM_STEP, "SLURM_STEP_NUM_TASKS": "two"},
            {},
            "SLURM_STEP_NUM_TASKS='two' must be",
        ),
        ({**SLURM_STEP, "SLURM_PROCID": "2"}, {}, "Slurm sets SLURM_STEP_NUM_TASKS=2, but SLURM_P"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, {}, "Open MPI sets OMPI_COMM_WORLD_SIZE=2, but OMPI_COMM_"),
        (OPEN_MPI, {}, "Open MPI started 4 processes on several hosts and does not say where proc"),
        ({}, {"coordinator": "a:1"}, "coordinator='a:1' without num_processes, and no launcher sa"),
    ],
)
def test_what_variables_do_not_say(environment, arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        find_processes(environment, **arguments)
