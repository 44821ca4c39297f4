"""Trainings that are killed, starved or fed with rubbish: they end clearly, and what they had
finished stays. Resumed, they give the weights of an undisturbed training, bit for bit."""

import collections
import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import trainings
from trainings import (
    PLAIN,
    RECIPE_TEXT,
    STEPS_PER_EPOCH,
    TRAIN_DATA,
    VALIDATION_DATA,
    difference,
    finished_run,
    read_history,
    recipe,
    steps_of,
    train_data,
    validation_data,
)

from ssd_keras.core.files import PARTIAL_PREFIX
from ssd_keras.data.sources import load_data
from ssd_keras.engine import train as train_module
from ssd_keras.engine.callbacks import StopOnNaN
from ssd_keras.engine.run_directory import RunDirectory
from ssd_keras.engine.train import train

KILLS = 20
# Long enough that most kills come while it trains and saves, not while it starts.
LONG_RECIPE = RECIPE_TEXT.replace("epochs = 5", "epochs = 24")
FILES = ("state-5.keras", "model.keras")


@pytest.fixture(scope="module")
def uninterrupted():
    return Path(finished_run())


def assert_same(run, whole, files=FILES):
    """The weights, the optimizer's variables and the history are the same, every bit."""
    assert sorted(os.listdir(run)) == sorted(os.listdir(whole))
    for name in files:
        assert difference(run / name, whole / name) == 0.0
    assert read_history(str(run / "history.csv")) == read_history(str(whole / "history.csv"))


# Kills


def start_training(run, text=RECIPE_TEXT, resume=False):
    """Starts the command; its output goes to a file, so that it never waits for a reader."""
    (run.parent / "recipe.toml").write_text(text)
    words = ["--recipe", f"{run.parent}/recipe.toml", "--output", str(run)]
    words += ["--train-data", TRAIN_DATA, "--validation-data", VALIDATION_DATA]
    with open(run.parent / "log.txt", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ssd_keras", "train", *words, *["--resume"] * resume],
            stdout=log,
            stderr=log,
            start_new_session=True,  # so that all of its processes can be killed
        )


def kill(process) -> int:
    """Kills the process and all that it started; returns its exit status."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def kill_when(process, happened):
    """Kills the process by SIGKILL at the first moment at which `happened` is true."""
    try:
        deadline = time.monotonic() + 300
        while True:
            assert process.poll() is None, f"ended with {process.returncode} before it was killed"
            assert time.monotonic() < deadline
            if happened():
                # Stopped, it cannot leave the moment that we wait for.
                process.send_signal(signal.SIGSTOP)
                if happened():
                    return
                process.send_signal(signal.SIGCONT)
            time.sleep(0.0005)
    finally:
        kill(process)


def state_epoch(run) -> int:
    path = run / "state.json"
    return json.loads(path.read_text())["epoch"] if path.exists() else 0


def test_resume_after_a_kill_changes_nothing(uninterrupted, tmp_path):
    run = tmp_path / "run"
    kill_when(start_training(run), lambda: state_epoch(run) == 2)
    assert state_epoch(run) == 2
    train(recipe(), train_data(), validation_data(), str(run), resume=True)
    assert_same(run, uninterrupted)


@pytest.mark.slow
def test_resume_after_a_kill_keeps_raw_and_averaged_weights(tmp_path):
    text = RECIPE_TEXT.replace("[optimizer]", "[optimizer]\nema_decay = 0.998")
    assert start_training(tmp_path / "whole", text).wait() == 0
    run = tmp_path / "run"
    kill_when(start_training(run, text), lambda: state_epoch(run) == 2)
    assert start_training(run, text, resume=True).wait() == 0, (tmp_path / "log.txt").read_text()
    assert_same(run, tmp_path / "whole")
    assert difference(run / "state-5.keras", run / "model.keras") > 0  # raw and averaged


@pytest.mark.slow
@pytest.mark.parametrize(
    "happened",
    [
        pytest.param(lambda run: (run / "recipe.toml").exists(), id="before the first state"),
        pytest.param(lambda run: (run / ".writing-state-2.keras").exists(), id="first state"),
        pytest.param(lambda run: (run / ".writing-model.keras").exists(), id="writing the model"),
        pytest.param(lambda run: (run / ".writing-state-4.keras").exists(), id="second state"),
    ],
)
def test_resume_after_a_kill_at_a_bad_moment(uninterrupted, tmp_path, happened):
    run = tmp_path / "run"
    kill_when(start_training(run), lambda: happened(run))
    assert happened(run)
    assert start_training(run, resume=True).wait() == 0, (tmp_path / "log.txt").read_text()
    assert_same(run, uninterrupted)


def place_of_a_kill(run) -> str:
    """Where a training was when it died."""
    if not (run / "recipe.toml").exists():
        return "before its first file"
    if names := [name for name in os.listdir(run) if name.startswith(PARTIAL_PREFIX)]:
        return f"writing {names[0].removeprefix(PARTIAL_PREFIX).replace('-', '.').split('.')[0]}"
    return "training" if state_epoch(run) else "before its first state"


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_nothing(tmp_path):
    """One training after the other, each killed until it is done."""
    began = time.monotonic()
    assert start_training(tmp_path / "whole", LONG_RECIPE).wait() == 0
    duration = time.monotonic() - began
    moments, places = random.Random(5), collections.Counter()
    runs = [tmp_path / "run1"]

    def start_or_resume():
        run = runs[-1]
        return start_training(run, LONG_RECIPE, resume=(run / "recipe.toml").exists())

    def finish(process):
        assert process.wait() == 0, (tmp_path / "log.txt").read_text()
        assert_same(runs[-1], tmp_path / "whole", ("state-24.keras", "model.keras"))

    while places.total() < KILLS:
        process = start_or_resume()
        time.sleep(moments.uniform(0, duration))
        if process.poll() is None and kill(process) == -signal.SIGKILL:
            places[place_of_a_kill(runs[-1])] += 1
        else:  # it was done before
            finish(process)
            runs.append(tmp_path / f"run{len(runs) + 1}")
    finish(start_or_resume())
    where = ", ".join(f"{count} {place}" for place, count in places.most_common())
    print(f"kills: tried {KILLS}, survived {places.total()}, lost 0 ({where}; {len(runs)} runs)")
    assert places["training"] >= KILLS // 4  # else they came too early to mean something


# Disks that refuse


@contextlib.contextmanager
def largest_file(size):
    """As on a full disk, no file can grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill_disk_after(epoch, disk, monkeypatch):
    """Fills the disk between the history of an epoch and its state."""
    write_history = RunDirectory.write_history

    def fill_up(self, history):
        write_history(self, history)
        if len(history) == epoch:
            disk.enter_context(largest_file(20_000))

    monkeypatch.setattr(RunDirectory, "write_history", fill_up)
    # The curves come between the two; their file is larger than that.
    monkeypatch.setattr("ssd_keras.engine.callbacks.plot_history", lambda rows, path: None)


def plant_nan_in_step(step, monkeypatch):
    """Makes the images of one step, counted from 0, something that is no number."""
    training_dataset = train_module.training_dataset

    def poisoned(*arguments, start_step, **options):
        def poison(number, batch):
            images, targets = batch
            images = tf.cast(images, tf.float32)
            return tf.where(number + start_step == step, images * np.nan, images), targets

        return (
            training_dataset(*arguments, start_step=start_step, **options).enumerate().map(poison)
        )

    monkeypatch.setattr(train_module, "training_dataset", poisoned)


@pytest.mark.slow
def test_a_full_disk_and_an_image_of_nan_leave_the_last_state(uninterrupted, tmp_path, monkeypatch):
    """Both strike in epoch 4, one after the other; the last state is of epoch 2."""
    run = tmp_path / "run"

    def train_on(resume):
        train(recipe(), train_data(), validation_data(), str(run), resume=resume)

    message = r"^'.*run/state-4\.keras' cannot be written \(File too large\); make room there, or "
    with monkeypatch.context() as context, contextlib.ExitStack() as disk:
        fill_disk_after(4, disk, context)
        with pytest.raises(ValueError, match=message):
            train_on(resume=False)
    assert state_epoch(run) == 2 and (run / "state-2.keras").exists()
    assert not [name for name in os.listdir(run) if name.startswith(PARTIAL_PREFIX)]
    message = r"^the loss became nan in step 2 of the epoch; lower learning_rate, or set gradient_"
    with monkeypatch.context() as context, pytest.raises(ValueError, match=message):
        plant_nan_in_step(3 * STEPS_PER_EPOCH + 1, context)
        train_on(resume=True)
    assert state_epoch(run) == 2
    train_on(resume=True)
    assert_same(run, uninterrupted)


def test_an_output_that_cannot_be_made_is_told_before_the_training(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(keras.Model, "fit", None)  # a call would fail
    message = (
        r"^'.*file/run' cannot be written \(Not a directory\); make room there, or choose "
        r"another path\.$"
    )
    with pytest.raises(ValueError, match=message):
        train(recipe(), train_data(), None, str(tmp_path / "file" / "run"))
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.slow
def test_five_kills_of_data_workers_change_nothing(tmp_path):
    long, threads, workers = recipe({"schedule.epochs": 40}), tmp_path / "a", tmp_path / "b"
    train(long, train_data(), None, str(threads), progress=False)
    stop, killed = threading.Event(), []

    def kill_workers():
        chance = random.Random(5)
        while len(killed) < 5 and not stop.wait(chance.uniform(0.5, 3)):
            ids = worker_ids()
            if len(ids) == 2:  # one that was killed has a successor
                killed.append(chance.choice(ids))
                os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill_workers)
    killer.start()
    try:
        with pytest.warns(UserWarning, match=r"^data worker \d .* ended \(signal 9\)"):
            train(long, train_data(), None, str(workers), progress=False, data_workers=2)
    finally:
        stop.set()
        killer.join()
    assert len(killed) == 5 and not worker_ids()
    assert_same(workers, threads, ("model.keras", "state-40.keras"))


def worker_ids() -> list[int]:
    """The worker processes that this process started and that have not ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            is_worker = b"data.workers.processes" in (folder / "cmdline").read_bytes()
            if is_worker and state != "Z" and int(parent) == os.getpid():
                found.append(int(folder.name))
    return found


# Images that go bad


def test_an_image_that_vanishes_ends_the_training(tmp_path, monkeypatch):
    spec, run = trainings.write_voc(tmp_path / "voc", count=32), tmp_path / "run"
    image = tmp_path / "voc/JPEGImages/p7.jpg"
    write_text = RunDirectory.write_text

    def take_away(self, name, text):
        write_text(self, name, text)
        if name == "state.json":
            image.unlink(missing_ok=True)

    monkeypatch.setattr(RunDirectory, "write_text", take_away)
    message = (
        r"^.*p7\.jpg: the image cannot be read \(No such file or directory\); replace the "
        r"file, or remove it from the data\.$"
    )
    # Images are read ahead: how many epochs it takes until one is missed is not known.
    with pytest.raises(ValueError, match=message):
        train(
            recipe({"schedule.epochs": 50, "run.validate_every": 1, **PLAIN}),
            load_data(spec),
            None,
            str(run),
        )
    epoch = state_epoch(run)
    assert 1 <= epoch < 50 and steps_of(run / f"state-{epoch}.keras") == epoch * STEPS_PER_EPOCH
    # What is loaded now has one image less, and says so.
    data = load_data(spec)
    assert len(data) == 31 and [problem.location for problem in data.problems] == [str(image)]


def test_weights_that_are_no_numbers_are_never_saved():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="head")])
    guard = StopOnNaN()
    guard.set_model(model)
    guard.on_epoch_end(0)
    model.set_weights([np.array([[1.0], [np.inf]]), np.zeros(1)])
    message = (
        r"^the weights of '.*head' are not finite after epoch 3; lower learning_rate, "
        r"or set gradient_norm=10, and start again\.$"
    )
    with pytest.raises(ValueError, match=message):
        guard.on_epoch_end(2)


def test_numbers_that_are_none_in_annotations_are_counted(tmp_path):
    spec = trainings.write_voc(tmp_path / "voc", count=3)
    path = tmp_path / "voc/Annotations/p1.xml"
    path.write_text(path.read_text().replace("<ymin>21<", "<ymin>NaN<"))
    data = load_data(spec)
    assert [len(example.labels) for example in data.examples] == [1, 0, 1]
    (problem,) = data.problems
    assert str(problem).startswith(f"{path}: object 1") and "is not four numbers" in str(problem)
