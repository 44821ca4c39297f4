"""Optimizer and schedule against plain NumPy and numbers worked by hand."""

import keras
import numpy as np
import pytest

from ssd_keras.optimizers.caffe_sgd import CaffeSGD
from ssd_keras.optimizers.warm_up import WarmUp

pytestmark = pytest.mark.backends


def caffe_update(weight, gradients, learning_rate, momentum, decay):
    """Caffe's SGD: v = m v + lr (g + wd w), w = w - v."""
    velocity = np.zeros_like(weight)
    for gradient in gradients:
        velocity = momentum * velocity + learning_rate * (gradient + decay * weight)
        weight = weight - velocity
    return weight


def test_caffe_sgd_equals_caffes_update():
    generator = np.random.default_rng(5)
    shapes = {"kernel": (2, 3), "bias": (3,), "scale": (3,)}
    start = {name: generator.normal(size=shape) for name, shape in shapes.items()}
    gradients = {name: generator.normal(size=(3, *shape)) for name, shape in shapes.items()}
    variables = [
        keras.Variable(start[name].astype("float32"), name=name, dtype="float32") for name in shapes
    ]
    optimizer = CaffeSGD(learning_rate=0.02, momentum=0.7, l2_decay=0.3, bias_factor=3.0)
    optimizer.build(variables)
    for step in range(3):
        optimizer.apply(
            [keras.ops.array(gradients[name][step], "float32") for name in shapes], variables
        )
    expected = {
        "kernel": caffe_update(start["kernel"], gradients["kernel"], 0.02, 0.7, 0.3),
        "bias": caffe_update(start["bias"], gradients["bias"], 3 * 0.02, 0.7, 0.0),
        "scale": caffe_update(start["scale"], gradients["scale"], 0.02, 0.7, 0.0),
    }
    for variable in variables:
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(variable), expected[variable.name], atol=1e-6
        )


def test_caffe_sgd_follows_its_schedule():
    variable = keras.Variable(np.ones((1, 1), "float32"), name="kernel")
    optimizer = CaffeSGD(WarmUp(0.1, 10, boundaries=[1]), momentum=0.0, l2_decay=0.0)
    optimizer.build([variable])
    for _ in range(2):
        optimizer.apply([keras.ops.ones((1, 1))], [variable])
    # 1 - 0.1 - 0.01
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), [[0.89]], rtol=1e-6)


def test_caffe_sgd_defaults_are_the_papers():
    config = CaffeSGD().get_config()
    names = ("learning_rate", "momentum", "l2_decay", "bias_factor", "weight_decay", "nesterov")
    values = tuple(config[name] for name in names)
    assert values == (pytest.approx(1e-3), 0.9, 5e-4, 2.0, None, False)


def test_caffe_sgd_config_is_its_arguments():
    arguments = {
        "momentum": 0.8,
        "l2_decay": 1e-4,
        "bias_factor": 1.5,
        "name": "mine",
        "global_clipnorm": 5.0,
    }
    optimizer = CaffeSGD(learning_rate=WarmUp(0.3, 50, 7), **arguments)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert isinstance(again, CaffeSGD)
    for config in (optimizer.get_config(), again.get_config()):
        assert {name: config[name] for name in arguments} == arguments
    # 0.3 * 3 / 7
    assert float(again._learning_rate(2)) == pytest.approx(0.9 / 7)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.02),  # 0.4 * 1 / 20
        (9, 0.2),  # 0.4 * 10 / 20
        (19, 0.4),  # the rise ends
        (20, 0.4),
        (40, 0.3414214),  # a quarter of the cosine: 0.2 * (1 + cos(45 degrees))
        (60, 0.2),  # its middle, 40 of 80 steps
        (100, 0.0),
        (150, 0.0),  # and no new rise
    ],
)
def test_warm_up_then_cosine(step, rate):
    schedule = WarmUp(0.4, total_steps=100, warmup_steps=20)
    assert float(schedule(step)) == pytest.approx(rate, abs=1e-7)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (4, 0.1),  # 0.4 * 5 / 20
        (20, 0.4),
        (50, 0.4),
        (60, 0.3618034),  # a fifth of the cosine: 0.2 * (1 + cos(36 degrees))
        (75, 0.2),
        (100, 0.0),
    ],
)
def test_warm_up_then_flat_then_cosine(step, rate):
    schedule = WarmUp(0.4, total_steps=100, warmup_steps=20, flat_steps=50)
    assert float(schedule(step)) == pytest.approx(rate, abs=1e-7)


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.1), (3, 0.4), (49, 0.4), (50, 0.2), (79, 0.2), (80, 0.1), (500, 0.1)],
)
def test_warm_up_then_boundaries(step, rate):
    schedule = WarmUp(0.4, 100, warmup_steps=4, boundaries=[50, 80], factor=0.5)
    assert float(schedule(step)) == pytest.approx(rate, rel=1e-6)


def test_warm_up_config_is_its_arguments():
    arguments = {
        "peak": 0.4,
        "total_steps": 100,
        "warmup_steps": 4,
        "boundaries": (50, 80),
        "factor": 0.5,
        "flat_steps": 30,
    }
    schedule = WarmUp(**arguments)
    assert schedule.get_config() == arguments
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert again.get_config() == arguments
