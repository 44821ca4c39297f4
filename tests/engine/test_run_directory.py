"""The RUN folder: when it may be written, what resumes, and what a kill leaves behind."""

import dataclasses
import json
import os
import re

import keras
import numpy as np
import pytest
from trainings import recipe

from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.core.files import replacing
from ssd_keras.engine.recipes import load_recipe
from ssd_keras.engine.run_directory import RunDirectory, TrainingState
from ssd_keras.models.ssd import SSD

NAMES = ("dog", "traffic light")


def small_model(value=0.0):
    image = keras.Input((8, 8, 3))
    backbone = keras.Model(image, keras.layers.Conv2D(1, 1, 8)(image))
    model = SSD(backbone, DefaultBoxes.from_scales((8, 8), 1), NAMES, (8, 8))
    model.compile(keras.optimizers.SGD())
    model.set_weights([np.full(weight.shape, value) for weight in model.weights])
    return model


def history_of(epochs):
    return [{"epoch": epoch, "loss": 2.5} for epoch in range(1, epochs + 1)]


def started(tmp_path, name="run"):
    run = RunDirectory(str(tmp_path / name))
    run.start(recipe(), NAMES)
    return run


def test_start_writes_the_choices(tmp_path):
    run = RunDirectory(str(tmp_path / "deep" / "run"))
    assert run.open(recipe(), NAMES, resume=False) == TrainingState()
    assert not os.path.exists(run.path)  # a check alone writes nothing
    run.start(recipe(), NAMES)
    assert sorted(os.listdir(run.path)) == ["class_names.txt", "recipe.toml"]
    assert run.read_text("class_names.txt") == "dog\ntraffic light\n"
    assert load_recipe(run.path) == recipe()


@pytest.mark.parametrize("kind", ["file", "full directory"])
def test_a_taken_output_is_refused(tmp_path, kind):
    path = tmp_path / "run"
    if kind == "file":
        path.write_text("mine")
    else:
        path.mkdir()
        (path / "notes.txt").write_text("mine")
    message = (
        r"^output '.*run' is not an empty folder; choose another, or pass --resume to "
        r"continue the training in it\.$"
    )
    with pytest.raises(ValueError, match=message):
        RunDirectory(str(path)).open(recipe(), NAMES, resume=False)


def test_what_a_kill_during_the_first_file_leaves_does_not_take_the_output(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    (path / ".writing-recipe.toml").write_text("{")
    assert RunDirectory(str(path)).open(recipe(), NAMES, resume=False) == TrainingState()


def test_resume_starts_where_nothing_is(tmp_path):
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "training.lock").write_text("process 1 on host")
    for name in ("nothing", "killed"):
        run = RunDirectory(str(tmp_path / name))
        assert run.open(recipe(), NAMES, resume=True) == TrainingState()


def test_resume_in_a_folder_of_another_kind_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    message = r"^output '.*' is no RUN folder, and not empty; choose another\.$"
    with pytest.raises(ValueError, match=message):
        RunDirectory(str(tmp_path)).open(recipe(), NAMES, resume=True)


def test_a_state_within_an_epoch_comes_back(tmp_path):
    run = started(tmp_path)
    run.save_state(small_model(7.0), TrainingState(step=3, sums=[1.5, 24.0]))
    state = run.open(recipe(), NAMES, resume=True)
    assert (state.step, state.sums, state.model_file) == (3, (1.5, 24.0), "state-0-3.keras")
    assert (run.load_state_model(state).get_weights()[0] == 7.0).all()
    run.save_state(small_model(1.0), TrainingState(1, history=history_of(1)))
    assert not (tmp_path / "run" / "state-0-3.keras").exists()


def test_a_state_of_an_older_version_has_no_step(tmp_path):
    run = started(tmp_path)
    run.write_text(
        "state.json", '{"epoch": 0, "best": null, "model_file": "", "history": [], "length": []}'
    )
    assert run.open(recipe(), NAMES, resume=True) == TrainingState()


def test_resume_before_the_first_state_starts_afresh(tmp_path):
    run = started(tmp_path)
    os.remove(run.file("class_names.txt"))  # the kill came between the two files
    assert run.open(recipe(), NAMES, resume=True) == TrainingState()


@pytest.mark.parametrize("changes", [{"run.seed": 4}, {"model.options": {"width": 8}}])
def test_resume_with_another_recipe_is_refused(tmp_path, changes):
    message = (
        r"^the training in '.*run' was started with another recipe \(see its recipe\.toml\); "
        r"resume with --recipe '.*run', or choose another output\.$"
    )
    with pytest.raises(ValueError, match=message):
        started(tmp_path).open(recipe(changes), NAMES, resume=True)


def test_resume_with_other_classes_is_refused(tmp_path):
    message = (
        r"^the training in '.*run' has other classes \(see its class_names\.txt\) than the "
        r"training data; resume with the same data\.$"
    )
    with pytest.raises(ValueError, match=message):
        started(tmp_path).open(recipe(), NAMES[::-1], resume=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not TOML (Invalid statement (at line 1, column 1)); correct it."),
        ("", ": model is missing; add it."),
        ("version = 2", "has the version 2; expected 1: another version of ssd_keras wrote it."),
        ("[model]\npreset = 'gone'", ": model.preset 'gone' is unknown; `ssd-keras info presets`"),
    ],
)
def test_a_recipe_of_another_kind_is_refused(tmp_path, text, message):
    run = started(tmp_path)
    run.write_text("recipe.toml", text)
    with pytest.raises(ValueError, match=r"^recipe '.*recipe\.toml'.*" + re.escape(message)):
        run.open(recipe(), NAMES, resume=True)


def test_a_state_comes_back_whole(tmp_path):
    run = started(tmp_path)
    history = [{"epoch": 1, "loss": 2.5}, {"epoch": 2, "loss": 1.25, "val_AP": 0.1}]
    run.save_state(small_model(7.0), TrainingState(2, 0.1, history, length=(5, 4)))
    run.save_model(small_model())
    state = run.open(recipe(), NAMES, resume=True)
    assert dataclasses.astuple(state) == (2, 0.1, history, "state-2.keras", (5, 4), 0, ())
    assert (run.load_state_model(state).get_weights()[0] == 7.0).all()
    for text in ("", "version https://git-lfs.github.com/spec/v1\n"):
        run.write_text("model.keras", text)
        with pytest.raises(
            ValueError, match=r"model\.keras', the best model so far, is missing or"
        ):
            run.open(recipe(), NAMES, resume=True)


def test_the_length_of_a_training_by_time_outlives_a_kill_in_the_first_epoch(tmp_path):
    run = started(tmp_path)
    run.write_state(TrainingState(length=(5, 4)))
    assert run.open(recipe(), NAMES, resume=True) == TrainingState(length=(5, 4))


def test_a_new_state_replaces_the_old_one(tmp_path):
    run = started(tmp_path, "run [1]")  # brackets mean something in file patterns
    run.save_state(small_model(1.0), TrainingState(1, history=history_of(1)))
    run.save_state(small_model(2.0), TrainingState(2, history=history_of(2)))
    assert [n for n in sorted(os.listdir(run.path)) if "state" in n] == [
        "state-2.keras",
        "state.json",
    ]


def test_resume_removes_what_kills_left(tmp_path):
    run = started(tmp_path)
    run.save_state(small_model(), TrainingState(2, history=history_of(2)))
    for name in (".writing-state-4.keras", "state-4.keras", ".writing-curves.png", "notes.txt"):
        run.write_text(name, "")
    run.open(recipe(), NAMES, resume=True)
    assert sorted(os.listdir(run.path)) == [
        "class_names.txt",
        "notes.txt",
        "recipe.toml",
        "state-2.keras",
        "state.json",
    ]


STATE = {
    "epoch": 2,
    "best": 0.5,
    "history": history_of(2),
    "model_file": "state-2.keras",
    "length": [],
}
DAMAGES = {
    "cut off": ('{"epoch": 2, "his', r"Unterminated string"),
    "empty": ("", r"Expecting value"),
    "another table": ("[]", r"it is not a table"),
    "an empty table": ("{}", r"it has no epoch, best, history, model_file, length"),
    "deep": ("[" * 100_000, r"it is nested too deeply"),
    "an unknown name": ({"epochs": 3}, r"state: option 'epochs' is unknown; did you mean 'epoch'"),
    "a text": ({"epoch": "2"}, r"state\.epoch is '2'; expected a whole number\."),
    "too few entries": ({"epoch": 3}, r"epoch 3 has 2 entries of history"),
    "no entry": ({"history": [1, 2]}, r"history holds 1, expected numbers by name"),
    "a name of escapes": ({"history": [{"\x1b[2J": 1}] * 2}, r"history holds \{'\\x1b\[2J': 1\}"),
    "outside": ({"model_file": "../outside.keras"}, r"model_file is '../outside\.keras', expected"),
    "absolute": ({"model_file": "/tmp/outside.keras"}, r"model_file is '/tmp/outside\.keras', exp"),
    "an older model": ({"model_file": "state-1.keras"}, r"model_file is 'state-1\.keras', expect"),
    "no length": ({"length": [0, 10**30]}, r"length is \(0, 1000.*, expected epochs and steps"),
    "no text": (b"\xff{}", r"'utf-8' codec"),
}


@pytest.mark.parametrize(("change", "words"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_is_named(tmp_path, change, words):
    run = started(tmp_path)
    (tmp_path / "run" / "state-2.keras").write_bytes(b"the last model")
    text = json.dumps(STATE | change) if isinstance(change, dict) else change
    (tmp_path / "run" / "state.json").write_bytes(
        text if isinstance(text, bytes) else text.encode()
    )
    message = (
        rf"^'.*run/state\.json' is damaged \({words}.*\); the training cannot go on from it: start "
        r"again in another output, or put back a copy of the file\.$"
    )
    with pytest.raises(ValueError, match=message):
        run.open(recipe(), NAMES, resume=True)
    assert (tmp_path / "run" / "state-2.keras").read_bytes() == b"the last model"


def test_damaged_class_names_and_models_are_named(tmp_path):
    run = started(tmp_path)
    state = TrainingState(2, history=history_of(2))
    run.save_state(small_model(), state)
    (tmp_path / "run" / "class_names.txt").write_bytes(b"\xff\n")
    with pytest.raises(ValueError, match=r"^'.*class_names\.txt' is damaged \('utf-8' codec"):
        run.open(recipe(), NAMES, resume=True)
    run.start(recipe(), NAMES)
    (tmp_path / "run" / "state-2.keras").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"^'.*state-2\.keras' cannot be read as a Keras model \("):
        run.load_state_model(run.open(recipe(), NAMES, resume=True))
    (tmp_path / "run" / "state-2.keras").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"^'.*state-2\.keras', from which the training resumes"):
        run.open(recipe(), NAMES, resume=True)
    (tmp_path / "run" / "state-2.keras").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"^'.*state-2\.keras' is a symbolic link that leads out"):
        run.open(recipe(), NAMES, resume=True)


def test_a_failure_while_writing_keeps_the_old_file(tmp_path):
    run = started(tmp_path)
    run.write_text("history.csv", "old")
    with pytest.raises(RuntimeError), replacing(run.file("history.csv")) as path:
        with open(path, "w") as file:
            file.write("half of the n")
        raise RuntimeError
    assert run.read_text("history.csv") == "old"
    assert not os.path.exists(path)


def test_history_has_a_column_for_whatever_any_epoch_has(tmp_path):
    run = started(tmp_path)
    run.write_history([{"epoch": 1, "loss": 2.5}, {"epoch": 2, "loss": 1.25, "val_AP": 0.1}])
    assert run.read_text("history.csv").split() == ["epoch,loss,val_AP", "1,2.5,", "2,1.25,0.1"]
