"""The files of training/launch, each run with two processes here.

What starts processes elsewhere (`srun`, `ssh`, Kubernetes) is replaced by a few lines that start
them here and set the same variables.
"""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from test_several_processes import RECIPE, ROOT, TRAIN_DATA, free_address

LAUNCH = ROOT / "training" / "launch"
SRUN = """#!/bin/bash
trap 'kill -TERM $pids' TERM
for index in 0 1; do
    SLURM_STEP_NUM_TASKS=2 SLURM_NTASKS=2 SLURM_STEP_NODELIST=localhost SLURM_PROCID=$index \\
        SLURM_LOCALID=$index "$@" &
    pids="$pids $!"
done
result=0
for pid in $pids; do wait $pid; status=$?; [ $status -gt $result ] && result=$status; done
exit $result
"""
SCONTROL = """#!/bin/bash
echo "$@" >>requeued
"""
SSH = """#!/bin/bash
echo "$1" >>hosts
shift
exec bash -c "$*"
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a recipe and the programs that the launch files call."""
    programs = {"srun": SRUN, "scontrol": SCONTROL, "ssh": SSH}
    command = f'#!/bin/bash\nexec {sys.executable} -m ssd_keras "$@"\n'
    for name, text in {**programs, "ssd-keras": command}.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    text = RECIPE.replace("epochs = 3", "epochs = 1")
    (tmp_path / "recipe.toml").write_text(text)
    return tmp_path


def environment(folder, **variables):
    kept = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    return {
        **kept,
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=1",
        **variables,
    }


def arguments(folder):
    return ["--recipe", str(folder / "recipe.toml"), "--train-data", TRAIN_DATA,
            "--output", str(folder / "run")]  # fmt: skip


def run(folder, *words, **variables):
    return subprocess.run(
        words,
        cwd=folder,
        env=environment(folder, **variables),
        capture_output=True,
        text=True,
        timeout=600,
    )


def check_run(folder):
    assert json.loads((folder / "run" / "state.json").read_text())["epoch"] == 1


@pytest.mark.slow
def test_slurm(folder):
    words = ["bash", str(LAUNCH / "slurm.sbatch"), *arguments(folder)]
    # JAX's port is 61440 and the rest of the job's number by 4096.
    done = run(folder, *words, SLURM_JOB_ID=str(os.getpid()))
    assert done.returncode == 0, done.stderr
    check_run(folder)
    assert not (folder / "requeued").exists()


@pytest.mark.parametrize(("status", "restarts", "requeued"), [(75, 0, 1), (75, 20, 0), (2, 0, 0)])
def test_slurm_starts_again_where_that_helps(folder, status, restarts, requeued):
    (folder / "bin" / "ssd-keras").write_text(f"#!/bin/bash\nexit {status}\n")
    done = run(folder, "bash", str(LAUNCH / "slurm.sbatch"), SLURM_JOB_ID="77",
               SLURM_RESTART_COUNT=str(restarts))  # fmt: skip
    assert done.returncode == status
    assert (folder / "requeued").exists() == bool(requeued)


@pytest.mark.slow
def test_hosts(folder):
    port = free_address().rpartition(":")[2]
    words = ["bash", str(LAUNCH / "hosts.sh"), "localhost localhost", *arguments(folder)]
    done = run(folder, *words, PORT=port)
    assert done.returncode == 0, done.stderr
    check_run(folder)
    assert (folder / "hosts").read_text() == "localhost\nlocalhost\n"


@pytest.mark.parametrize(("statuses", "expected", "starts"), [((75, 0), 0, 4), ((75, 2), 2, 4)])
def test_hosts_start_again_where_that_helps(folder, statuses, expected, starts):
    """The first try ends with the first status in both processes, the next with the second."""
    (folder / "bin" / "ssd-keras").write_text(
        "#!/bin/bash\n"
        'echo x >>"count-${@: -1}"\n'
        f'[ $(wc -l <"count-${{@: -1}}") -eq 1 ] && exit {statuses[0]}\nexit {statuses[1]}\n'
    )
    done = run(folder, "bash", str(LAUNCH / "hosts.sh"), "a b", "--output", "with a space")
    assert done.returncode == expected
    assert len((folder / "hosts").read_text().split()) == starts
    assert "try 2 of 20" in done.stderr


def jobset():
    return yaml.safe_load((LAUNCH / "jobset.yaml").read_text())


def container(spec):
    [job] = spec["spec"]["replicatedJobs"]
    [found] = job["template"]["spec"]["template"]["spec"]["containers"]
    return job, found


def test_jobset_says_what_kubernetes_does():
    spec = jobset()
    job, train = container(spec)
    variables = {each["name"]: each["value"] for each in train["env"]}
    name = spec["metadata"]["name"]
    assert variables["COORDINATOR"] == f"{name}-{job['name']}-0-0.{name}:7890"
    template = job["template"]["spec"]
    assert template["completions"] == template["parallelism"] == int(variables["NUM_PROCESSES"])
    assert template["completionMode"] == "Indexed"
    [rule] = template["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["containerName"] == train["name"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [2])


@pytest.mark.slow
def test_jobset(folder):
    _, train = container(jobset())
    variables = {each["name"]: each["value"] for each in train["env"]}
    variables["COORDINATOR"] = free_address()
    processes = [
        subprocess.Popen(
            [*train["command"], *arguments(folder)],
            cwd=folder,
            env=environment(folder, **variables, JOB_COMPLETION_INDEX=str(index)),
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    check_run(folder)
    # The example's own arguments name flags that exist.
    assert all(re.search(rf"{flag}\b", help_of_train()) for flag in train["args"][::2])


def help_of_train() -> str:
    words = [sys.executable, "-m", "ssd_keras", "train", "--help"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout
