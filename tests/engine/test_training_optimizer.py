"""Averaged weights, frozen layers and learning rates by layer in a training and its RUN folder."""

import itertools

import numpy as np
import pytest
from trainings import PLAIN, difference, load, recipe, train_data, validation_data

from ssd_keras import from_preset
from ssd_keras.core.random_state import kept_random_state
from ssd_keras.engine import callbacks, training_logs, training_time
from ssd_keras.engine.preemption import Preempted
from ssd_keras.engine.train import initial_model, train
from ssd_keras.engine.training_optimizer import backbone_rates, freeze_backbone, make_optimizer
from ssd_keras.optimizers.weight_average import averaging_optimizer

# Its backbone has convolutions of 32, 16, 8 and 4 cells a side.
FROZEN = ("conv1", "conv1_bn", "conv2")
CHANGES = {
    **PLAIN,
    "optimizer.ema_decay": 0.998,
    "optimizer.frozen_until": "conv2",
    "optimizer.layer_decay": 0.5,
    "schedule.name": "flat_cosine",
}


@pytest.fixture
def scored(monkeypatch):
    """The weights of each validation, whose AP is 0.5 in all."""
    weights = []

    def detect(detector, *_):
        weights.append(detector.model.get_weights())
        return True

    monkeypatch.setattr(callbacks, "detect_shared", detect)
    scores = {"val_AP": 0.5, "val_AP50": 0.5}
    monkeypatch.setattr(callbacks.ValidationAP, "_scores", lambda _: dict(scores))
    monkeypatch.setattr(training_logs, "detection_sheets", lambda validation: [])
    return weights


@pytest.mark.slow
def test_a_training_resumes_within_an_epoch_with_its_averages(tmp_path, scored):
    by_epochs, steps = recipe({**CHANGES, "schedule.epochs": 2}), itertools.count(1)
    run, whole = str(tmp_path / "run"), str(tmp_path / "whole")
    with pytest.raises(Preempted, match=r"^the training was saved after epoch 0, step 3 and ended"):
        train(by_epochs, train_data(), None, run, stop_when=lambda: next(steps) == 3)
    train(by_epochs, train_data(), validation_data(), run, resume=True)
    train(by_epochs, train_data(), validation_data(), whole)
    for name in ("model.keras", "state-2.keras"):
        assert difference(f"{run}/{name}", f"{whole}/{name}") == 0.0
    assert_averages_are_used(whole, scored)
    assert_frozen_layers_are_those_of_the_start(by_epochs, whole)


@pytest.mark.slow
def test_a_training_by_time_begins_with_its_own_averages(tmp_path, scored, monkeypatch):
    # Each look at the clock is a second later: of 27.5 s, 18 are over when the length is known (see
    # test_train.py). A step and a validation take 1 s each, so that 9.5 s are 8 steps and one.
    ticks = itertools.count(1)
    monkeypatch.setattr(training_time, "clock", lambda: float(next(ticks)))
    by_time, by_epochs = str(tmp_path / "time"), str(tmp_path / "epochs")
    minutes = recipe({**CHANGES, "schedule.minutes": 27.5 / 60})
    train(minutes, train_data(), validation_data(), by_time)
    epochs = recipe({**CHANGES, "schedule.epochs": 2})
    train(epochs, train_data(), validation_data(), by_epochs)
    assert difference(f"{by_time}/state-2.keras", f"{by_epochs}/state-2.keras") == 0.0


def assert_averages_are_used(run, scored):
    """The model is the averages that the last validation saw; the state has both weights."""
    state, best = load(f"{run}/state-2.keras"), load(f"{run}/model.keras")
    pairs = averaging_optimizer(state).pairs()
    distances = [np.abs(np.array(weight) - np.array(average)).max() for weight, average in pairs]
    assert len(pairs) > 50 and np.mean(np.array(distances) > 1e-4) > 0.5
    twin = dict(zip((x.path for x in state.weights), best.weights, strict=True))
    for weight, average in pairs:
        np.testing.assert_array_equal(twin[weight.path], average)
    for value, weight in zip(scored[-1], best.get_weights(), strict=True):
        np.testing.assert_array_equal(value, weight)


def assert_frozen_layers_are_those_of_the_start(by_epochs, run):
    state = load(f"{run}/state-2.keras")
    with kept_random_state(by_epochs.run.seed):
        start = initial_model(by_epochs, train_data().class_names)
    names = [layer.name for layer in start.backbone.layers if layer.weights]
    assert names[:3] == list(FROZEN)
    for name in names[:4]:
        before, after = (model.backbone.get_layer(name) for model in (start, state))
        assert after.trainable == (name not in FROZEN)
        for one, other in zip(before.weights, after.weights, strict=True):
            assert np.array_equal(one, other) == (name in FROZEN)


# Learning rates


def small_backbone():
    return from_preset("ssd192_small_shapes", ["cat"], image_size=(64, 64), width=4).backbone


def test_finer_stages_learn_more_slowly():
    changes = {"optimizer.backbone_learning_rate": 0.4, "optimizer.layer_decay": 0.5}
    rates = backbone_rates(small_backbone(), recipe(changes).optimizer)
    # The last stage learns at 0.4, that before it at 0.4 * 0.5, ...
    stages = {"conv1": 0.05, "conv2": 0.1, "conv3_1": 0.2, "conv3_2": 0.2, "conv4_2_bn": 0.4}
    assert {name: rates[name] for name in stages} == pytest.approx(stages)
    assert "conv1_relu" not in rates
    assert make_optimizer(recipe(changes), 20, small_backbone()).rates == rates
    assert make_optimizer(recipe(), 20, small_backbone()).rates == {}


def test_the_rate_is_constant_for_half_of_a_training():
    optimizer = make_optimizer(recipe({"schedule.name": "flat_cosine"}), total_steps=40)
    # The recipe warms up for 3 steps to 3e-3; the cosine takes the last 20.
    expected = {0: 1e-3, 2: 3e-3, 20: 3e-3, 30: 1.5e-3, 40: 0.0}
    found = {step: float(optimizer._learning_rate(step)) for step in expected}
    assert found == pytest.approx(expected, abs=1e-9)


# Frozen layers


def test_a_frozen_layer_that_the_backbone_lacks():
    message = (
        r"^optimizer\.frozen_until='conv3' is no layer of the backbone 'small'; did you mean "
        r"'conv3_\w+'\? model\.backbone\.summary\(\) lists them\.$"
    )
    with pytest.raises(ValueError, match=message):
        freeze_backbone(small_backbone(), recipe({"optimizer.frozen_until": "conv3"}).optimizer)


def test_a_backbone_thaws_again():
    backbone = small_backbone()
    number = len(backbone.trainable_variables)
    for name, left in (("conv1_bn", number - 3), ("", number)):
        freeze_backbone(backbone, recipe({"optimizer.frozen_until": name}).optimizer)
        assert len(backbone.trainable_variables) == left  # a kernel, scales and offsets
