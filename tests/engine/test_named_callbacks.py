"""Callbacks by name: options, trackers of other packages, functions of the user."""

import sys
import types

import keras
import pytest

from ssd_keras.engine.named_callbacks import parse_callback

RECIPE = {"schedule": {"epochs": 3}}


def test_early_stopping_watches_the_ap():
    callback = parse_callback("early_stopping:patience=7,min_delta=0.25").make(RECIPE)
    assert isinstance(callback, keras.callbacks.EarlyStopping)
    assert (callback.monitor, callback.mode) == ("val_AP", "max")
    assert (callback.patience, callback.min_delta) == (7, 0.25)
    assert parse_callback("early_stopping").make(RECIPE).patience == 5


@pytest.fixture
def trackers(monkeypatch):
    """Stand-ins of wandb and mlflow, which note their calls."""
    calls = []

    def note(name):
        return lambda *words, **options: calls.append((name, words, options))

    class Logger(keras.callbacks.Callback):
        pass

    modules = {
        "wandb": {"init": note("init")},
        "wandb.integration": {},
        "wandb.integration.keras": {"WandbMetricsLogger": Logger},
        "mlflow": {name: note(name) for name in ("set_experiment", "start_run", "log_dict")},
        "mlflow.keras": {"MlflowCallback": Logger},
    }
    for name, members in modules.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return calls, Logger


def test_trackers_record_the_recipe(trackers):
    calls, logger = trackers
    assert isinstance(parse_callback("wandb:project=cells,mode=offline").make(RECIPE), logger)
    assert isinstance(parse_callback("mlflow:experiment=cells,name=a").make(RECIPE), logger)
    assert calls == [
        ("init", (), {"config": RECIPE, "project": "cells", "mode": "offline"}),
        ("set_experiment", ("cells",), {}),
        ("start_run", (), {"run_name": "a"}),
        ("log_dict", (RECIPE, "recipe.json"), {}),
    ]


def test_a_function_in_the_current_folder_makes_a_callback(tmp_path, monkeypatch):
    code = "import keras\ndef stop():\n    return keras.callbacks.TerminateOnNaN()\nten = int\n"
    (tmp_path / "my_callbacks_of_a_test.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    callback = parse_callback("my_callbacks_of_a_test:stop").make(RECIPE)
    assert isinstance(callback, keras.callbacks.TerminateOnNaN) and sys.path == path
    with pytest.raises(ValueError, match=r"returned a int; expected a Keras callback"):
        parse_callback("my_callbacks_of_a_test:ten").make(RECIPE)
    with pytest.raises(ValueError, match=r"'my_callbacks_of_a_test:go' cannot be imported \(.*go"):
        parse_callback("my_callbacks_of_a_test:go").make(RECIPE)


WRONG = {
    "early_stoping": r"callback 'early_stoping' is unknown; did you mean 'early_stopping'\? choose",
    "early_stopping:patiense=5": r"option of callback early_stopping 'patiense' is unknown; did",
    "early_stopping:patience=five": r"patience='five' is no number; write early_stopping:p",
    "early_stopping:5": r"option of callback early_stopping '5' is unknown; choose one of patience",
    "a b:c": r"callback 'a b:c' cannot be imported",
}


@pytest.mark.parametrize(("text", "message"), WRONG.items(), ids=WRONG)
def test_what_is_unknown_is_one_line(text, message):
    with pytest.raises(ValueError, match=message):
        parse_callback(text).make(RECIPE)


def test_a_missing_tracker_names_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"needs .* load \(.*wandb.*\); run: pip install wandb$"):
        parse_callback("wandb").make(RECIPE)
