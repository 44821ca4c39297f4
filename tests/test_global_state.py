"""What belongs to the user stays as it was: policy, log levels, random states, filters."""

import logging
import os
import random
import warnings

import keras
import matplotlib
import numpy as np
import pytest
import tensorflow as tf
from trainings import PLAIN, recipe, train_data, validation_data

import ssd_keras
from ssd_keras import cli


def state():
    """What a call must not change, by name."""
    generator = keras.src.random.seed_generator
    attributes = keras.src.backend.common.global_state
    return {
        "dtype policy": keras.config.dtype_policy().name,
        "backend": keras.config.backend(),
        "image data format": keras.config.image_data_format(),
        "epsilon": keras.config.epsilon(),
        "Keras' seed": keras.utils.get_random_seed()
        if hasattr(keras.utils, "get_random_seed")
        else attributes.get_global_attribute("global_random_seed"),
        "Keras' generator": attributes.get_global_attribute(generator.GLOBAL_SEED_GENERATOR),
        "Python's generator": random.getstate(),
        "NumPy's generator": [str(part) for part in np.random.get_state()],
        "loggers": {name: logging.getLogger(name).level for name in ("", "tensorflow", "absl")},
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "warnings": list(warnings.filters),
        "format of warnings": warnings.formatwarning,
        "matplotlib": dict(matplotlib.rcParams),
        "eager": tf.executing_eagerly(),
        "run eagerly": tf.config.functions_run_eagerly(),
        "jit": tf.config.optimizer.get_jit(),
        "determinism": tf.config.experimental.is_op_determinism_enabled()
        if hasattr(tf.config.experimental, "is_op_determinism_enabled")
        else None,
    }


@pytest.fixture(scope="module")
def model():
    return ssd_keras.from_preset("ssd192_small_shapes", image_size=(64, 64), width=4)


def train(model, folder):
    changes = {**PLAIN, "schedule.epochs": 1, "run.precision": "mixed_bfloat16"}
    ssd_keras.train(recipe(changes), train_data(), validation_data(), str(folder), progress=False)


def fit(model, folder):
    model.compile("sgd", run_eagerly=True)
    images = ssd_keras.training_dataset(
        validation_data(), model.target_encoder(), model.image_size, 8
    )
    model.fit(images, verbose=0, callbacks=[ssd_keras.ValidationAP(validation_data())])


CALLS = {
    "load_data": lambda model, folder: ssd_keras.load_data("synthetic:shapes@val[:3]"),
    "detect": lambda model, folder: model.detect(np.zeros((9, 9, 3), np.uint8)).plot(),
    "evaluate": lambda model, folder: model.evaluate(validation_data(), plots=str(folder)),
    "fit": fit,
    "train": train,
    "save": lambda model, folder: ssd_keras.load_detector(
        str(model.save(folder / "a.keras") or folder / "a.keras")
    ),
    "command": lambda model, folder: cli.main(["info", "recipes"]),
    "wrong command": lambda model, folder: cli.main(["info", "nothing"]),
    "data show": lambda model, folder: cli.main(
        ["data", "show", "synthetic:shapes@val[:2]", "--preset", "ssd192_small_shapes"]
        + ["--output", str(folder / "sheet.png")]
    ),
    "check_data": lambda model, folder: str(
        ssd_keras.doctor.data_report.check_data(
            ssd_keras.data.splits.load_splits(["synthetic:shapes@val[:3]"])
        )
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_leaves_everything_as_it_was(call, model, tmp_path):
    import ssd_keras.data.splits
    import ssd_keras.doctor.data_report  # noqa: F401

    before = state()
    call(model, tmp_path)
    after = state()
    assert {name for name in before if before[name] != after[name]} == set()
