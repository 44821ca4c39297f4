"""Kills one of two processes that train together at random moments, resumes, and compares.

    python tests/process_kills.py
    python tests/process_kills.py --kills 2 --signals TERM

It first compares two processes with one, after 20 steps. Each kill hits process 0 or 1, the parent
or its child (the parent alone with TERM, as a launcher does). Rows go to stdout.
"""

import argparse
import contextlib
import csv
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))
RECIPE = """
model = {preset = "ssd192_small_shapes", options = {image_size = [64, 64], width = 4}}
schedule = {name = "cosine", epochs = 5}
optimizer = {name = "caffe_sgd", learning_rate = 3e-3}
run = {batch_size = 8, validate_every = 1, seed = 3}
"""
TRAIN_DATA, VALIDATION_DATA = "synthetic:shapes@train[:32]", "synthetic:shapes@val[:40]"
SECONDS = 900


def start(folder: Path, *words: str) -> subprocess.Popen:
    """Starts `ssd-keras train` into a folder; its output goes to a file there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_text(RECIPE)
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=1",
        "PYTHONPATH": str(ROOT),
    }
    index = words[words.index("--process-index") + 1] if "--process-index" in words else "0"
    with open(folder / f"log{index}.txt", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ssd_keras", "train", "--recipe", str(folder / "recipe.toml"),
             "--train-data", TRAIN_DATA, "--validation-data", VALIDATION_DATA,
             "--output", str(folder / "run"), "--resume", *words],
            env=environment, stdout=log, stderr=log,
        )  # fmt: skip


def start_two(folder: Path, *words: str) -> list[subprocess.Popen]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    group = ["--coordinator", address, "--num-processes", "2", "--process-index"]
    return [start(folder, *group, str(index), *words) for index in range(2)]


def finish(folder: Path, *processes: subprocess.Popen) -> None:
    for index, process in enumerate(processes):
        status = process.wait(SECONDS)
        log = (folder / f"log{index}.txt").read_text()
        assert status == 0, f"status {status}: {log[-2000:]}"


def end(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        process.kill()  # its child ends with it
        process.wait()


def epoch_of(folder: Path) -> str:
    """Returns what state.json says of the progress."""
    import json

    with contextlib.suppress(OSError):
        state = json.loads((folder / "run" / "state.json").read_text())
        return f"epoch {state['epoch']} step {state['step']}"
    return "the start"


def kill(processes: list[subprocess.Popen], victim: int, role: str, name: str) -> None:
    pid = processes[victim].pid
    if role == "child":
        children = psutil.Process(pid).children()
        pid = children[0].pid if children else pid
    os.kill(pid, getattr(signal, f"SIG{name}"))


def compare(folder: Path, other: Path) -> str:
    """Returns the differences of last weights, optimizers included, and of histories."""
    from trainings import difference

    weights = difference(str(folder / "run/state-5.keras"), str(other / "run/state-5.keras"))
    rows = [read_rows(each / "run/history.csv") for each in (folder, other)]
    largest = max(abs(a[name] - b[name]) for a, b in zip(*rows, strict=True) for name in a)
    return f"largest difference of weights {weights:.3g}, of history {largest:.3g}"


def read_rows(path: Path) -> list[dict[str, float]]:
    with open(path, newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def kill_once(folder: Path, undisturbed: Path, moment: float, choice: tuple[int, str, str]) -> str:
    victim, role, name = choice
    processes = start_two(folder)
    try:
        deadline = time.monotonic() + moment
        while time.monotonic() < deadline and all(p.poll() is None for p in processes):
            time.sleep(0.05)
        before = epoch_of(folder)
        kill(processes, victim, role, name)
        began = time.monotonic()
        status = processes[1 - victim].wait(SECONDS)
        seconds = time.monotonic() - began
        with contextlib.suppress(subprocess.TimeoutExpired):
            processes[victim].wait(30)
    finally:
        end(processes)
    log = (folder / f"log{1 - victim}.txt").read_text()
    line = ([x for x in log.splitlines() if x.startswith("ssd-keras:")] or ["no line"])[-1]
    finish(folder, *start_two(folder))
    return (
        f"SIG{name} to the {role} of process {victim} after {moment:.1f} s ({before}): the other "
        f"ended after {seconds:.1f} s with status {status}; resumed: "
        f"{compare(folder, undisturbed)}\n    {line}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signals", nargs="+", default=["KILL", "TERM"], choices=["KILL", "TERM"])
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        one, two = Path(name, "one"), Path(name, "two")
        finish(one, start(one))
        began = time.monotonic()
        finish(two, *start_two(two))
        duration = time.monotonic() - began
        print(f"two processes and one: {compare(two, one)}; {duration:.1f} s", flush=True)
        for index in range(options.kills):
            signal_name = draw.choice(options.signals)
            role = "parent" if signal_name == "TERM" else draw.choice(["parent", "child"])
            choice = (draw.randrange(2), role, signal_name)
            moment = draw.uniform(0.1, 0.9) * duration
            print(kill_once(Path(name, str(index)), two, moment, choice), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
