"""Training: what it leaves behind, and that an interruption changes nothing."""

import csv
import dataclasses
import hashlib
import io
import itertools
import os
import random
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from trainings import (
    BY_PREDICTIONS,
    PLAIN,
    STEPS_PER_EPOCH,
    build_model,
    difference,
    finished_run,
    load,
    read_history,
    recipe,
    steps_of,
    train_data,
    validation_data,
)

from ssd_keras.assigners import ArgmaxAssigner
from ssd_keras.core.origin import read_origin
from ssd_keras.data.unions import relabel
from ssd_keras.engine import callbacks, training_logs, training_time
from ssd_keras.engine.distributed.devices import Devices
from ssd_keras.engine.recipes import load_recipe, override
from ssd_keras.engine.run_lock import run_lock
from ssd_keras.engine.train import initial_model, make_optimizer, origin_of, train
from ssd_keras.losses import GIoULoss, SigmoidLoss

# Between a training that was interrupted and one that was not. On one machine it is zero; threads
# of a busy machine are allowed to add in another order.
SAME = 1e-6


@pytest.fixture(scope="module")
def uninterrupted():
    return finished_run()


def interrupt_at(monkeypatch, step):
    """Makes the training stop, as by Ctrl-C, after the given number of steps in this process."""
    count = itertools.count(1)

    def on_train_batch_end(self, batch, logs=None):
        if next(count) == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(training_logs.Progress, "on_train_batch_end", on_train_batch_end)


def assert_same_history(rows, expected):
    assert [row["epoch"] for row in rows] == [row["epoch"] for row in expected]
    for row, twin in zip(rows, expected, strict=True):
        assert row.keys() == twin.keys()
        assert row["learning_rate"] == twin["learning_rate"]
        for name in row:
            assert row[name] == pytest.approx(twin[name], rel=SAME, abs=SAME), name


# What a run leaves behind


def test_run_directory_has_the_layout_of_the_design(uninterrupted):
    assert sorted(os.listdir(uninterrupted)) == [
        "class_names.txt",
        "curves.png",
        "history.csv",
        "model.keras",
        "origin.json",
        "recipe.toml",
        "state-5.keras",
        "state.json",
        "tensorboard",
    ]
    with open(os.path.join(uninterrupted, "class_names.txt")) as file:
        assert file.read() == "circle\nsquare\ntriangle\nstar\ncross\n"
    assert load_recipe(uninterrupted) == recipe()
    origin = read_origin(os.path.join(uninterrupted, "origin.json"))
    with open(os.path.join(uninterrupted, "recipe.toml"), "rb") as file:
        assert origin.recipe == f"sha256:{hashlib.sha256(file.read()).hexdigest()}"
    assert origin.data == train_data().origin and origin.data.num_images == 32
    assert load(os.path.join(uninterrupted, "model.keras")).origin == origin
    with open(os.path.join(uninterrupted, "curves.png"), "rb") as file:
        assert file.read(8) == b"\x89PNG\r\n\x1a\n"


def test_history_has_losses_each_epoch_and_ap_where_due(uninterrupted):
    rows = read_history(os.path.join(uninterrupted, "history.csv"))
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["epoch"] for row in rows if "val_AP" in row] == [2, 4, 5]
    assert [row["epoch"] for row in rows if "val_AP50" in row] == [2, 4, 5]
    for row in rows:
        assert row["loss"] == pytest.approx(row["box_loss"] + row["class_loss"], rel=1e-5)
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]


def test_history_csv_leaves_cells_empty_that_are_not_due(uninterrupted):
    with open(os.path.join(uninterrupted, "history.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["val_AP"] == "" and rows[1]["val_AP"] != ""


def test_learning_rate_follows_the_cosine(uninterrupted):
    # 20 steps: a rise over 3, then half a cosine over 17. After epoch 2 the next step is 8:
    # 0.003 * 0.5 * (1 + cos(pi * 5 / 17)) = 0.0024039
    rows = read_history(os.path.join(uninterrupted, "history.csv"))
    assert rows[1]["learning_rate"] == pytest.approx(0.0024039, abs=2e-7)
    assert rows[-1]["learning_rate"] == pytest.approx(0.0, abs=1e-9)


def test_tensorboard_has_every_scalar_of_the_history(uninterrupted):
    folder = os.path.join(uninterrupted, "tensorboard")
    files = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    found, images = {}, {}
    for record in tf.data.TFRecordDataset(files):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            if value.HasField("image"):
                images[event.step, value.tag] = value.image
            else:
                found[event.step, value.tag] = value.simple_value
    expected = {
        (int(row["epoch"]), name): value
        for row in read_history(os.path.join(uninterrupted, "history.csv"))
        for name, value in row.items()
        if name not in ("epoch", "learning_rate")
    }
    assert found == pytest.approx(expected, rel=1e-6)
    # Four of the validation images after each validation: objects, and detections beside them.
    assert set(images) == {(e, f"validation/{i}") for e in (2, 4, 5) for i in range(4)}
    image = images[5, "validation/0"]
    pixels = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)))
    assert pixels.shape == (image.height, image.width, 3)
    left, right = np.split(pixels[:320], [pixels.shape[1] // 2], axis=1)
    assert (left != right[:, : left.shape[1]]).any()


class Probe(keras.callbacks.Callback):
    """Notes what callbacks see of the validations."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append((epoch + 1, "val_AP" in logs))


def test_a_training_that_a_callback_stops_is_whole_and_resumes(tmp_path, capsys):
    # An AP never rises by 2: the second validation, after epoch 4, is one without a rise.
    stop = keras.callbacks.EarlyStopping("val_AP", mode="max", min_delta=2.0, patience=1)
    probe, run = Probe(), str(tmp_path / "run")
    states = random.getstate(), np.random.get_state()[1].copy()
    history = train(
        recipe(PLAIN), train_data(), validation_data(), run, callbacks=[probe, stop], progress=False
    )
    assert random.getstate() == states[0] and (np.random.get_state()[1] == states[1]).all()
    assert probe.seen == [(1, False), (2, True), (3, False), (4, True)]
    assert [row["epoch"] for row in history] == [1, 2, 3, 4] and stop.stopped_epoch == 3
    assert {"model.keras", "state-4.keras", "history.csv", "curves.png"} <= set(os.listdir(run))
    assert capsys.readouterr() == ("", "")
    resumed = train(recipe(PLAIN), train_data(), validation_data(), run, resume=True)
    assert [row["epoch"] for row in resumed] == [1, 2, 3, 4, 5]
    line = capsys.readouterr().err.splitlines()[-1]  # a busy machine prints one each minute
    assert re.fullmatch(r"epoch 5/5: loss \d+\.\d\d, AP 0\.\d{3}, AP50 0\.\d{3}", line)


@pytest.mark.parametrize(
    ("monitor", "mode", "has_validation", "message"),
    [
        ("val_AP", "max", False, r"callback EarlyStopping monitors val_AP, and there are no val"),
        (
            "val_loss",
            "min",
            True,
            r"EarlyStopping monitors val_loss, which .*; monitor val_AP",
        ),
        ("val_AP50", "auto", True, r"val_AP50 with mode='auto'; a higher .*: pass mode='max'\.$"),
    ],
)
def test_a_callback_that_would_wait_in_vain_is_refused(
    monitor, mode, has_validation, message, tmp_path
):
    data = validation_data() if has_validation else None
    stop = keras.callbacks.EarlyStopping(monitor, mode=mode)
    with pytest.raises(ValueError, match=message):
        train(recipe(), train_data(), data, str(tmp_path / "run"), callbacks=[stop])
    assert not (tmp_path / "run").exists()


class StopAt(keras.callbacks.Callback):
    """Stops after an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.epoch:
            self.model.stop_training = True


def test_a_stop_between_validations_keeps_the_best_model(tmp_path):
    options = recipe({**PLAIN, "run.ap_by_class": True})
    history = train(options, train_data(), validation_data(), str(tmp_path), callbacks=[StopAt(3)])
    assert [row.get("val_AP") is None for row in history] == [True, False, True]
    by_class = {name: x for name, x in history[1].items() if name.startswith("val_AP/")}
    names = {f"val_AP/{name}" for name in train_data().class_names}
    assert by_class.keys() == names and not names & history[0].keys()
    assert history[1]["val_AP"] == pytest.approx(np.mean([*by_class.values()]))
    assert names < read_history(str(tmp_path / "history.csv"))[1].keys()
    best, state = (load(str(tmp_path / name)) for name in ("model.keras", "state-3.keras"))
    assert int(best.optimizer.iterations) == 2 * STEPS_PER_EPOCH
    assert int(state.optimizer.iterations) == 3 * STEPS_PER_EPOCH


def test_callbacks_are_for_one_host(tmp_path):
    hosts = Devices(1, "localhost:1", 2, 0)
    with pytest.raises(
        ValueError, match=r"callbacks would run on one of several hosts alone; train"
    ):
        train(recipe(), train_data(), None, str(tmp_path), devices=hosts, callbacks=[Probe()])


def test_long_epochs_print_a_line_a_minute(monkeypatch, capsys):
    # The first step ends at 50 s, each next one takes 25 s; a line reads the clock again.
    clock = iter([0.0, 50.0, 50.0, 75.0, 75.0, 75.0])
    monkeypatch.setattr(training_logs.time, "monotonic", lambda: next(clock))
    progress = training_logs.Progress(total_steps=10, done_steps=2, show="lines")
    progress.set_params({"epochs": 2, "steps": 5})
    progress.on_train_begin()
    progress.on_epoch_begin(0)
    progress.on_train_batch_end(2, {"loss": 3.0})  # 50 s: no line
    progress.on_train_batch_end(3, {"loss": 2.0})  # 75 s: one step of 25 s, 6 more are 2.5 min
    out, err = capsys.readouterr()
    assert (out, err) == ("", "step 4 of 5 in epoch 1/2: loss 2.00; about 2 min left\n")


def test_bfloat16_without_validation_keeps_the_last_model(tmp_path):
    output = str(tmp_path / "run")
    history = train(
        recipe(
            {
                "run.precision": "mixed_bfloat16",
                "optimizer.name": "caffe_sgd",
                "schedule.epochs": 2,
                **PLAIN,
            }
        ),
        train_data(),
        None,
        output,
    )
    assert keras.config.dtype_policy().name == "float32"
    assert all(np.isfinite(list(row.values())).all() for row in history)
    assert "val_AP" not in history[-1]
    model = load(os.path.join(output, "model.keras"))
    assert int(model.optimizer.iterations) == 2 * STEPS_PER_EPOCH
    assert model.get_layer("class_head1").compute_dtype == "bfloat16"
    assert model.get_layer("class_head1").variable_dtype == "float32"
    outputs = model(np.full((1, 64, 64, 3), 90, np.uint8))
    assert {value.dtype.name for value in outputs.values()} == {"float32"}


def test_a_model_that_cannot_be_built_leaves_no_trace(tmp_path):
    output = tmp_path / "run"
    wrong = recipe({"run.precision": "mixed_bfloat16", "model.options": {"widht": 4}})
    with pytest.raises(ValueError, match=r"option 'widht' is unknown; did you mean 'width'"):
        train(wrong, train_data(), None, str(output))
    assert keras.config.dtype_policy().name == "float32"
    assert not output.exists()


@pytest.mark.parametrize(
    ("train_names", "validation_names", "message"),
    [
        (
            ["owl"],
            ["star"],
            r"^the training data \(synthetic:shapes@train\[:32\]\) have no object in 32 images; ",
        ),
        (
            ["star"],
            ["owl"],
            r"^the validation data \(synthetic:.*\) have no object in 8 images; the first problem",
        ),
        (["star"], ["cross"], r"^the validation data have objects of cross alone, the model dete"),
    ],
)
def test_data_that_cannot_be_used_are_refused_before_anything_is_written(
    tmp_path, train_names, validation_names, message
):
    datasets = relabel(train_data(), train_names), relabel(validation_data(), validation_names)
    with pytest.raises(ValueError, match=message):
        train(recipe(), *datasets, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_wrong_number_of_weights_is_refused_before_anything_is_written(tmp_path):
    weighted = recipe({"data.source_weights": [1, 2]})
    with pytest.raises(
        ValueError, match=r"^source_weights=\[1\.0, 2\.0\] for 1 data set; give one"
    ):
        train(weighted, train_data(), None, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_resuming_with_other_images_is_refused(uninterrupted):
    fewer = dataclasses.replace(train_data(), examples=train_data().examples[:30])
    message = (
        r"^the training in '.*' was started with 32 images and \d+ objects, but the data have 30 "
        r"and \d+; resume with the same data, or choose another output\.$"
    )
    with pytest.raises(ValueError, match=message):
        train(recipe(), fewer, None, uninterrupted, resume=True)


def test_the_origin_of_a_trained_model_becomes_the_parent(uninterrupted):
    start = recipe({"model.preset": uninterrupted, "model.options": {}})
    model = initial_model(start, ["star", "owl"])
    assert model.display_threshold == 0.5
    own = read_origin(os.path.join(uninterrupted, "origin.json"))
    assert model.origin == own
    assert origin_of(start, train_data(), model).parent == own
    assert origin_of(load_recipe("shapes"), train_data(), model).recipe == "shapes"
    model.origin = None
    assert origin_of(start, train_data(), model).parent.name == os.path.basename(uninterrupted)


def test_a_directory_in_which_another_training_runs_is_refused(tmp_path):
    with run_lock(str(tmp_path / "run")):
        for resume in (False, True):
            with pytest.raises(ValueError, match=r"^output '.*run' is in use: process \d+ on"):
                train(recipe(), train_data(), None, str(tmp_path / "run"), resume=resume)


def test_optimizer_of_a_recipe_survives_saving():
    # Keras itself forgets which variables have no weight decay.
    model = build_model(recipe(), ["dog"], total_steps=20)
    copy = type(model.optimizer).from_config(model.optimizer.get_config())
    copy.build(model.trainable_variables)
    decays = {v.name: copy._use_weight_decay(v) for v in model.trainable_variables}
    assert decays == {"kernel": True, "gamma": False, "beta": False, "bias": False}


def test_losses_and_assigner_by_name():
    changes = {"assigner": {"type": "argmax", "unmatched_threshold": 0.4}}
    settings = [
        "loss.classes.type=quality_focal", "loss.classes.quality=assigner", "loss.classes.beta=1.5",
        "loss.boxes.type=ciou", "loss.boxes.quality_weight=true",
    ]  # fmt: skip
    model = build_model(override(recipe(changes), settings), ["dog"], total_steps=20)
    assert model.activation == "sigmoid" and model.assigner == ArgmaxAssigner(0.5, 0.4)
    assert repr(model.loss["class_logits"]) == "QualityFocalLoss(quality='assigner', beta=1.5)"
    assert repr(model.loss["box_deltas"]) == "CIoULoss(quality_weight=True)"
    assert model.target_encoder().with_quality
    changes = {"loss.classes": {"type": "varifocal", "alpha": 0.5}}
    model = build_model(recipe(changes), ["dog"], total_steps=20)
    assert model.loss["class_logits"].get_config() == {
        "quality": "prediction", "alpha": 0.5, "gamma": 2.0,
    }  # fmt: skip
    assert not model.target_encoder().with_quality
    message = "^loss.classes.quality 'iou' is unknown; "
    with pytest.raises(ValueError, match=message):
        build_model(override(recipe(changes), ["loss.classes.quality=iou"]), ["dog"], 20)


def test_the_loss_of_classes_decides_the_activation(tmp_path):
    changes = {"loss.classes": "focal", "loss.classes.gamma": 1.5, "loss.box_weight": 2.0}
    model = build_model(recipe({**changes, "loss.boxes": "giou"}), ["dog"], total_steps=20)
    losses, weights = model.loss, model.get_compile_config()["loss_weights"]
    assert model.activation == "sigmoid" and losses["class_logits"].gamma == 1.5
    assert isinstance(losses["box_deltas"], GIoULoss)
    assert weights == {"box_deltas": 2.0, "class_logits": 1.0}
    model.save(tmp_path / "old.keras")
    # The paper's loss follows a trained model; another must have its activation.
    table = {"model.preset": str(tmp_path / "old.keras"), "model.options": {}}
    changes = {"loss.classes.min_negatives": 4}
    follows = build_model(recipe({**table, **changes}), ["dog"], total_steps=20)
    assert isinstance(follows.loss["class_logits"], SigmoidLoss)
    assert follows.loss["class_logits"].min_negatives == 4
    build_model(recipe({}), ["dog"], total_steps=20).save(tmp_path / "old.keras")
    message = (
        r"^loss\.classes='focal' is for sigmoid scores, but those of '.*old\.keras' are softmax; "
        r"set loss\.classes to one of softmax\.$"
    )
    with pytest.raises(ValueError, match=message):
        build_model(recipe({**table, "loss.classes": "focal"}), ["dog"], total_steps=20)


@pytest.mark.parametrize(
    ("changes", "expected"),
    # Rates before the steps 0, 1, 9, 10, 19 of 20.
    [
        # decay at 0.5 * 20 = step 10 to a tenth
        ({"schedule.name": "steps", "schedule.decay_steps": (0.5,)}, [0.5, 1.0, 1.0, 0.1, 0.1]),
        # no decay at all
        ({"schedule.name": "steps"}, [0.5, 1.0, 1.0, 1.0, 1.0]),
        # 0.5 * (1 + cos(pi * (step - 2) / 18)); before step 2 the rise
        ({"schedule.name": "cosine"}, [0.5, 1.0, 0.67101, 0.58682, 0.0075961]),
    ],
)
def test_schedule_of_a_recipe(changes, expected):
    start = {"optimizer.learning_rate": 1.0, "schedule.warmup_steps": 2}
    chosen = recipe({**start, **changes})
    optimizer = make_optimizer(chosen, total_steps=20)
    rates = []
    for step in (0, 1, 9, 10, 19):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    assert rates == pytest.approx(expected, rel=1e-4)


def test_a_warm_up_longer_than_the_training_is_cut():
    """50 of 12 steps: 4 rise instead, and the fourth has the whole rate."""
    changes = {
        "optimizer.learning_rate": 1.0,
        "schedule.warmup_steps": 50,
        "schedule.name": "steps",
    }
    optimizer = make_optimizer(recipe(changes), total_steps=12)
    rates = []
    for step in range(12):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    assert rates == pytest.approx([0.25, 0.5, 0.75] + [1.0] * 9)


# Resuming


def test_resume_in_the_middle_of_an_epoch_keeps_weights_and_the_best_model(
    uninterrupted, tmp_path, monkeypatch
):
    output = str(tmp_path / "run")
    series = iter([0.1, 0.5, 0.3])  # AP after epochs 2, 4 and 5
    monkeypatch.setattr(callbacks, "detect_shared", lambda *arguments: arguments)
    monkeypatch.setattr(training_logs, "detection_sheets", lambda validation: [])
    monkeypatch.setattr(
        callbacks.ValidationAP, "_scores", lambda _: {"val_AP": next(series), "val_AP50": 0.0}
    )
    weights = {}
    original = callbacks.SaveRun.on_epoch_end

    def remember(self, epoch, logs=None):
        weights[epoch + 1] = self.model.get_weights()
        original(self, epoch, logs)

    monkeypatch.setattr(callbacks.SaveRun, "on_epoch_end", remember)
    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        interrupt_at(context, 4 * STEPS_PER_EPOCH + 2)  # in epoch 5; the last state is of 4
        train(recipe(), train_data(), validation_data(), output)
    assert steps_of(os.path.join(output, "state-4.keras")) == 4 * STEPS_PER_EPOCH
    for name in (".writing-state-5.keras", ".writing-state.json", ".writing-curves.png"):
        with open(os.path.join(output, name), "w") as file:
            file.write("half of it")
    history = train(recipe(), train_data(), validation_data(), output, resume=True)
    assert sorted(os.listdir(output)) == sorted(os.listdir(uninterrupted))
    # The same weights and losses as without the interruption; AP is the series above.
    assert difference(f"{output}/state-5.keras", f"{uninterrupted}/state-5.keras") <= SAME
    expected = read_history(os.path.join(uninterrupted, "history.csv"))
    given = {2: 0.1, 4: 0.5, 5: 0.3}
    for row in expected:
        row |= {"val_AP": given[row["epoch"]], "val_AP50": 0.0} if row["epoch"] in given else {}
    assert_same_history(history, expected)
    assert_same_history(read_history(os.path.join(output, "history.csv")), expected)
    # The best model is that of epoch 4, from before the interruption.
    kept = load(os.path.join(output, "model.keras")).get_weights()
    for value, best, last in zip(kept, weights[4], weights[5], strict=True):
        np.testing.assert_array_equal(value, best)
        assert not np.array_equal(value, last)


def test_a_training_by_time_is_one_of_as_many_steps(uninterrupted, tmp_path, monkeypatch):
    # Each look at the clock is a second later. The 17 until the length is known: 1 at the start, 11
    # around 10 steps, 4 around 2 validations, 1 at the end. A step, a validation and the two starts
    # take 1 s each. Of 41.5 s, 41.5 - 16 - 2 = 23.5 are left: two times 2 epochs of 4 steps and a
    # validation (9 s each), 5.5 for a last validation and 4 steps. 8 + 8 + 4 = 5 epochs of 4.
    ticks = itertools.count(1)
    monkeypatch.setattr(training_time, "clock", lambda: float(next(ticks)))
    by_time, output = recipe({"schedule.minutes": 41.5 / 60}), str(tmp_path / "run")
    history = train(by_time, train_data(), validation_data(), output)
    assert next(ticks) == 18
    assert_same_history(history, read_history(os.path.join(uninterrupted, "history.csv")))
    assert difference(f"{output}/state-5.keras", f"{uninterrupted}/state-5.keras") <= SAME
    # The length is that of the state: nothing is measured again, and nothing is left to do.
    monkeypatch.setattr(keras.Model, "fit", None)
    assert len(train(by_time, train_data(), validation_data(), output, resume=True)) == 5


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_resume_of_a_training_that_assigns_by_predictions(tmp_path, monkeypatch, precision):
    by_predictions = recipe({**BY_PREDICTIONS, "schedule.epochs": 4, "run.precision": precision})
    whole, stopped = str(tmp_path / "whole"), str(tmp_path / "stopped")
    expected = train(by_predictions, train_data(), validation_data(), whole)
    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        interrupt_at(context, 3 * STEPS_PER_EPOCH + 1)  # the last state is of epoch 2
        train(by_predictions, train_data(), validation_data(), stopped)
    history = train(by_predictions, train_data(), validation_data(), stopped, resume=True)
    assert difference(f"{stopped}/state-4.keras", f"{whole}/state-4.keras") <= SAME
    assert_same_history(history, expected)


def test_resume_of_a_finished_run_returns_at_once(uninterrupted, monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", None)  # a call would fail
    before = os.stat(os.path.join(uninterrupted, "model.keras")).st_mtime_ns
    history = train(recipe(), train_data(), validation_data(), uninterrupted, resume=True)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5]
    assert os.stat(os.path.join(uninterrupted, "model.keras")).st_mtime_ns == before


# What ends it


def test_too_little_time_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(
        training_time, "measure", lambda *arguments: training_time.Durations(60.0, 0.5, 29.5)
    )
    monkeypatch.setattr(training_time, "clock", lambda: 0.0)
    output = tmp_path / "run"
    # 60 s to start, 0.5 s a step, 29.5 s a validation
    message = r"schedule\.minutes=1\.4 is too short: .* validation take 1\.5 minutes; allow more"
    with pytest.raises(ValueError, match=message):
        train(recipe({"schedule.minutes": 1.4}), train_data(), None, str(output))
    assert not output.exists()
    hosts = Devices(1, "localhost:7890", num_processes=2)
    with pytest.raises(ValueError, match=r"schedule\.minutes=1\.4 is measured on one host; set sc"):
        train(recipe({"schedule.minutes": 1.4}), train_data(), None, str(output), devices=hosts)


def test_an_image_damaged_between_its_ends_is_named(tmp_path):
    """Readers look at both ends of a file; this damage shows only when it is decoded."""
    from PIL import Image

    from ssd_keras.data.records import DetectionData

    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), "uint8")
    good = train_data().examples[0]
    Image.fromarray(noise).save(tmp_path / "bad.png")
    data = bytearray((tmp_path / "bad.png").read_bytes())
    data[2000:2600] = bytes(600)
    (tmp_path / "bad.png").write_bytes(data)
    bad = dataclasses.replace(good, image=str(tmp_path / "bad.png"), height=80, width=80)
    examples = (good, bad) * 4
    images = DetectionData(train_data().class_names, examples)
    with pytest.raises(ValueError, match=r"bad\.png: the image cannot be decoded \(.*replace"):
        train(recipe(PLAIN), images, None, str(tmp_path / "run"))


def test_a_loss_that_is_no_number_ends_the_training(tmp_path):
    output = str(tmp_path / "run")
    changes = {"optimizer.learning_rate": 1e30, "optimizer.gradient_norm": 0.0, **PLAIN}
    with pytest.raises(ValueError, match=r"loss became (nan|inf) in step \d of the epoch; lower"):
        train(recipe(changes), train_data(), None, output)
    assert not os.path.exists(os.path.join(output, "model.keras"))
