"""Kills training, export, conversion and split at random moments, and gives them bad disks.

    make kills
    make kills ARGS="--kills 10 --kinds convert split"

After each kill the old output or the new one must be there, whole; a training resumes to the same
weights. Full and read-only disks need root, which mounts them in memory, and must end in one line.
"""

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROCESSES = multiprocessing.get_context("forkserver")
# Imported once: each command starts as a copy of that process.
PRELOADED = ("ssd_keras.engine.train", "ssd_keras.exporters.export", "ssd_keras.cli.parser")
RECIPE = """
model = {preset = "ssd192_small_shapes", options = {image_size = [64, 64], width = 4}}
schedule = {name = "cosine", epochs = 6}
optimizer = {name = "adamw"}
run = {batch_size = 4, validate_every = 1}
"""
TRAIN_DATA, VALIDATION_DATA = "synthetic:shapes@train[:8]", "synthetic:shapes@val[:4]"
NUM_IMAGES = 200
FULL = {"train": "150k", "export": "40k", "convert": "200k", "split": "200k"}
SECONDS = 300

State = Any  # what an output holds, to compare


@dataclass(frozen=True)
class Kind:
    """A command that is killed: its arguments for an output, and what is there afterwards."""

    arguments: Callable[[Path], Sequence[str]]
    state: Callable[[Path], State]  # None where there is no output


def work(arguments: Sequence[str], log: str) -> None:
    """Runs `ssd-keras` in a new process group, which can be killed as a whole."""
    os.setsid()
    stream = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    from ssd_keras.cli.parser import main

    sys.exit(main(arguments))


def start(arguments: Sequence[str], log: Path) -> Any:
    process = PROCESSES.Process(target=work, args=(list(map(str, arguments)), str(log)))
    process.start()
    return process


def run(arguments: Sequence[str], log: Path) -> tuple[int, str]:
    """Runs a command to its end; returns its exit status and last line."""
    process = start(arguments, log)
    process.join(SECONDS)
    lines = [line for line in log.read_text().splitlines() if line.startswith("ssd-keras:")]
    return process.exitcode, (lines or ["no line"])[-1]


def kill_after(process: Any, seconds: float) -> bool:
    """Kills a process and its children; returns whether it was still running."""
    process.join(seconds)
    was_running = process.exitcode is None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    return was_running


# What is written


def digest(path: Path) -> State:
    """Returns a checksum of a file, or those of all files of a folder; None where nothing is."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): digest(file) for file in files} or None


def trained(path: Path) -> State:
    """Returns the last weights and the history of a run that is done; None before."""
    import keras

    if not (path / "state-6.keras").exists() or not (path / "state.json").exists():
        return None
    files = [path / "state-6.keras", path / "model.keras"]
    weights = [w.tobytes() for f in files for w in keras.models.load_model(f).get_weights()]
    history = json.loads((path / "state.json").read_text())["history"]
    return hashlib.sha256(b"".join(weights)).hexdigest(), history, sorted(os.listdir(path))


def kinds(folder: Path) -> dict[str, Kind]:
    """Returns the commands, whose inputs lie in a folder."""
    voc = f"voc:{folder}/data@train"
    recipe, models = folder / "recipe.toml", folder / "new.keras"

    def train(output: Path) -> list[Any]:
        words = ["train", "--recipe", recipe, "--train-data", TRAIN_DATA, "--output", output]
        resume = ["--resume"] * (output / "recipe.toml").exists()
        return [*words, "--validation-data", VALIDATION_DATA, *resume]

    return {
        "train": Kind(train, trained),
        "export": Kind(
            lambda out: ["export", models, "--format", "tflite", "--output", out], digest
        ),
        "convert": Kind(
            lambda out: ["data", "convert", voc, "--format", "coco", "--output", out], digest
        ),
        "split": Kind(lambda out: ["data", "split", voc, "--output", out], digest),
    }


def write_inputs(folder: Path) -> None:
    """Writes a recipe, a VOC folder and two models."""
    import keras

    from ssd_keras import from_preset, load_data
    from ssd_keras.data.splits import Split
    from ssd_keras.data.writers.write_splits import write_splits

    (folder / "recipe.toml").write_text(RECIPE)
    data = load_data(f"synthetic:shapes@train[:{NUM_IMAGES}]")
    write_splits([Split("train", data)], str(folder / "data"), "voc")
    for seed, name in enumerate(("old", "new")):
        keras.utils.set_random_seed(seed)
        model = from_preset("ssd192_small_shapes", image_size=(64, 64), width=4)
        model.save(folder / f"{name}.keras")


def write_old(name: str, output: Path, folder: Path) -> State:
    """Writes an older artefact where a command replaces one."""
    if name == "export":
        words = ["export", folder / "old.keras", "--format", "tflite", "--output", output]
        assert run(words, folder / "log")[0] == 0, (folder / "log").read_text()
    return digest(output)


def kill_often(name: str, kind: Kind, folder: Path, count: int) -> str:
    """Kills a command again and again; returns a line of figures."""
    log, whole = folder / "log", folder / f"{name}-whole"
    whole, output = (Path(f"{path}.tflite" if name == "export" else path) for path in (
        folder / f"{name}-whole", folder / f"{name}-out"))  # fmt: skip
    began = time.monotonic()
    assert run(kind.arguments(whole), log)[0] == 0, log.read_text()
    duration, expected = time.monotonic() - began, kind.state(whole)
    allowed = [write_old(name, output, folder), expected]
    moments, num_killed, num_late, num_half = random.Random(7), 0, 0, 0
    while num_killed < count:
        if kill_after(start(kind.arguments(output), log), moments.uniform(0, duration)):
            num_killed += 1
            left = [p for p in output.parent.rglob(".writing-*") if p.name.find(output.stem) > 0]
            num_half += bool(left or list(output.glob(".writing-*")))
        else:
            num_late += 1
        state = kind.state(output)
        assert name == "train" or state in allowed, f"{name}: neither old nor new after a kill"
        if state == expected:  # done: once more from the start
            subprocess.run(["rm", "-rf", output], check=True)
            allowed = [write_old(name, output, folder), expected]
    if kind.state(output) != expected:
        assert run(kind.arguments(output), log)[0] == 0, log.read_text()
    assert kind.state(output) == expected, f"{name}: another result after kills"
    assert not list(output.parent.glob(f".writing-{output.name}*")), "something is left over"
    return f"{count} kills, {num_half} with half-written files, {num_late} too late: 0 lost"


# Disks


@contextlib.contextmanager
def disk(place: Path, options: str) -> Iterator[Path]:
    """Mounts a disk in memory."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def bad_disk(name: str, kind: Kind, folder: Path, options: str, words: str) -> str:
    """Runs a command on a bad disk; it ends in one line and leaves nothing but what was there."""
    with disk(folder / "disk", options) as place:
        output = place / ("out.tflite" if name == "export" else "out")
        status, line = run(kind.arguments(output), folder / "log")
        pattern = rf"^ssd-keras: '{re.escape(str(place))}.*' cannot be written \({words}\); make "
        assert status == 2 and re.match(pattern, line), (status, line)
        left = [path.name for path in place.rglob(".writing-*")]
        assert not left, f"{name}: {left} is left"
    return line.replace(str(folder), "...")


def two_trainings(kind: Kind, folder: Path) -> str:
    """Starts a second training in a folder into which one trains."""
    output = folder / "twice"
    first = start(kind.arguments(output), folder / "first")
    while not (output / "recipe.toml").exists():
        time.sleep(0.05)
    status, line = run(kind.arguments(output), folder / "log")
    first.join(SECONDS)
    assert status == 2 and "is in use" in line and first.exitcode == 0, (status, line)
    assert kind.state(output) is not None
    return line.replace(str(folder), "...")


def main() -> int:
    parser = argparse.ArgumentParser(prog="kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="of each kind; default 30")
    parser.add_argument("--kinds", nargs="+", choices=FULL, default=list(FULL))
    options = parser.parse_args()
    PROCESSES.set_forkserver_preload(list(PRELOADED))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder)
        rows = kinds(folder)
        for name in options.kinds:
            print(f"{name}: {kill_often(name, rows[name], folder, options.kills)}", flush=True)
        if os.getuid() != 0:
            print("NOT TESTED: full and read-only disks, which only root can mount")
        for name in options.kinds if os.getuid() == 0 else ():
            line = bad_disk(
                name, rows[name], folder, f"size={FULL[name]}", "No space left on device"
            )
            print(f"{name}, full disk: {line}", flush=True)
            line = bad_disk(name, rows[name], folder, "ro", "Read-only file system")
            print(f"{name}, read-only disk: {line}", flush=True)
        if "train" in options.kinds:
            print(f"two trainings: {two_trainings(rows['train'], folder)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
