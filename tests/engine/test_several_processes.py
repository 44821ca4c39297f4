"""Two processes train as one, end together, and resume as if nothing had happened."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import trainings
from trainings import TRAIN_DATA, difference, read_history

ROOT = Path(__file__).resolve().parents[2]
# 40 images in batches of 16: three, of which process 0 has one and process 1 two.
VALIDATION_DATA = "synthetic:shapes@val[:40]"
# Adaptive optimizers turn the sign of a gradient near zero into a whole step: no such here.
RECIPE = (
    trainings.RECIPE_TEXT.replace('"adamw"', '"caffe_sgd"')
    .replace("validate_every = 2", "validate_every = 1")
    .replace("epochs = 5", "epochs = 3")
    + "\n[augmentation]\n"
    + "".join(f"{name.partition('.')[2]} = false\n" for name in trainings.PLAIN)
)


def start(folder, index, *words, data=TRAIN_DATA, validation=VALIDATION_DATA):
    """Starts one process of `ssd-keras train`; what it prints goes to a file."""
    recipe = folder / "recipe.toml"
    if not recipe.exists():
        recipe.write_text(RECIPE)
    with open(folder / f"log{index}.txt", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ssd_keras", "train", "--recipe", str(recipe),
             "--train-data", data, "--output", str(folder / "run"), *words,
             *(["--validation-data", validation] if validation else [])],
            env={
                **os.environ,
                "KERAS_BACKEND": "jax",
                "XLA_FLAGS": "--xla_force_host_platform_device_count=1",
                "PYTHONPATH": str(ROOT),
            },
            stdout=log,
            stderr=log,
        )  # fmt: skip


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def start_two(folder, *words, **data):
    group = ["--coordinator", free_address(), "--num-processes", "2", "--process-index"]
    return [start(folder, index, *group, str(index), *words, **data) for index in range(2)]


def log_of(folder, index) -> str:
    return (folder / f"log{index}.txt").read_text()


def finish(folder, *processes):
    for index, process in enumerate(processes):
        assert process.wait(600) == 0, log_of(folder, index)


@contextlib.contextmanager
def ended(processes):
    """Ends processes, and with them their children, when the block ends, also by an error."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def wait_for_epoch(folder, processes, epoch):
    while True:
        with contextlib.suppress(FileNotFoundError):
            if json.loads((folder / "run" / "state.json").read_text())["epoch"] >= epoch:
                return
        for index, process in enumerate(processes):
            assert process.poll() is None, log_of(folder, index)
        time.sleep(0.02)


def check_equal_runs(folder, other):
    """Checks weights, optimizer and history of finished runs, up to the order of sums."""
    assert difference(folder / "run/state-3.keras", other / "run/state-3.keras") < 1e-5
    rows, others = (read_history(str(each / "run/history.csv")) for each in (folder, other))
    for row, twin in zip(rows, others, strict=True):
        assert row.keys() == twin.keys()
        np.testing.assert_allclose(list(row.values()), list(twin.values()), rtol=1e-5, atol=1e-7)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of a run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    finish(folder, start(folder, 0))
    return folder


@pytest.mark.slow
def test_two_processes_learn_what_one_does(alone, tmp_path):
    processes = start_two(tmp_path)
    finish(tmp_path, *processes)
    check_equal_runs(tmp_path, alone)
    assert sorted(os.listdir(tmp_path / "run")) == sorted(os.listdir(alone / "run"))
    assert "this process is done; process 0 wrote the model" in log_of(tmp_path, 1)
    for index in range(2):  # compiled code is silent
        assert "Gloo" not in log_of(tmp_path, index)
    # Once more: nothing is left to do.
    finish(tmp_path, *start_two(tmp_path, "--resume"))
    assert "is finished: nothing is left to do" in log_of(tmp_path, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "role", "number", "line"),
    [
        (0, "parent", signal.SIGKILL, r"process 0 of 2 ended or its host does not answer"),
        (1, "child", signal.SIGKILL, r"process 1 of 2 ended or its host does not answer"),
        (1, "child", signal.SIGSTOP, r"process 1 of 2 ended or its host does not answer"),
    ],
)
def test_a_lost_process_ends_the_other_and_they_resume(alone, victim, role, number, line, tmp_path):
    processes = start_two(tmp_path, "--resume")
    with ended(processes):
        wait_for_epoch(tmp_path, processes, 1)
        pid = processes[victim].pid
        os.kill(psutil.Process(pid).children()[0].pid if role == "child" else pid, number)
        began = time.monotonic()
        assert processes[1 - victim].wait(120) == 75
        assert time.monotonic() - began < 30
    assert re.search(
        rf"^ssd-keras: {line}, so all of them stop; start all of them again with --resume: the "
        r"training goes on from epoch \d\.$",
        log_of(tmp_path, 1 - victim),
        re.MULTILINE,
    )
    finish(tmp_path, *start_two(tmp_path, "--resume"))
    check_equal_runs(tmp_path, alone)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_a_notice_saves_within_the_epoch(alone, count, tmp_path):
    processes = start_two(tmp_path) if count == 2 else [start(tmp_path, 0)]
    with ended(processes):
        wait_for_epoch(tmp_path, processes, 1)
        processes[-1].send_signal(signal.SIGTERM)
        for index, process in enumerate(processes):
            assert process.wait(120) == 75, log_of(tmp_path, index)
    line = r"^ssd-keras: the training was saved after epoch \d(, step \d)? and ended, as SIGTERM"
    assert re.search(line, log_of(tmp_path, count - 1), re.MULTILINE)
    processes = start_two(tmp_path, "--resume") if count == 2 else [start(tmp_path, 0, "--resume")]
    finish(tmp_path, *processes)
    check_equal_runs(tmp_path, alone)


@pytest.mark.slow
def test_processes_that_disagree_are_refused(tmp_path):
    group = ["--coordinator", free_address(), "--num-processes", "2", "--process-index"]
    processes = [
        start(tmp_path, 0, *group, "0"),
        start(tmp_path, 1, *group, "1", data="synthetic:shapes@train[:24]"),
    ]
    for index, process in enumerate(processes):
        assert process.wait(300) == 2
        assert log_of(tmp_path, index).splitlines()[-1] == (
            "ssd-keras: process 1 and process 0 do not agree on the number of images (24 and 32); "
            "start all of them with the same arguments but --process-index."
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_stuck_process_ends_all_by_the_limit_of_a_step(tmp_path):
    # FIFOs take the place of the images: TensorFlow waits for what is written into them, forever.
    folder = tmp_path / "data"
    spec = trainings.write_voc(folder, count=8)
    values = ("schedule.epochs=200", "run.batch_size=2")
    words = ["--step-timeout", "10", *(word for value in values for word in ("--set", value))]
    processes = start_two(tmp_path, *words, data=spec, validation=None)
    with ended(processes):
        wait_for_epoch(tmp_path, processes, 1)
        for image in (folder / "JPEGImages").iterdir():
            image.unlink()
            os.mkfifo(image)
        for index, process in enumerate(processes):
            assert process.wait(120) == 75, log_of(tmp_path, index)
    line = r"^ssd-keras: process \d of 2: step \d of epoch \d+ has taken more than 10 s, so this"
    assert any(re.search(line, log_of(tmp_path, i), re.MULTILINE) for i in range(2))
