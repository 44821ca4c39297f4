"""Keras' torch backend computes TensorFlow's outputs, losses, gradients and detections."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from exports import lively_model

pytestmark = pytest.mark.consumers

ROOT = Path(__file__).resolve().parents[2]

# What TensorFlow computes in the test, from the same file, images and targets.
CODE = """
import keras, numpy
from ssd_keras.engine.detector import KerasDetector

assert keras.backend.backend() == "torch"
model = keras.models.load_model("model.keras")
model.compile()
given = dict(numpy.load("given.npz"))
images = given.pop("images")
found = KerasDetector(model)(images)
outputs = model(images, training=True)
for name, loss in model.loss.items():
    found[name + "_loss"] = loss(given[name], outputs[name])
total = model.compute_loss(images, given, outputs)
total.backward()
for weight in model.trainable_variables:
    found[weight.path] = weight.value.grad
found.update(outputs)
numpy.savez("found.npz", **{name: keras.ops.convert_to_numpy(x) for name, x in found.items()})
print(model.fit(images, given, batch_size=2, verbose=0).history["loss"][0], float(total))
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """What torch computes for a model with a batch norm, in found.npz."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("NOT TESTED: PyTorch is not installed")
    directory = tmp_path_factory.mktemp("torch")
    model = lively_model(class_names=["cat", "dog"], image_size=(64, 96), width=4)
    model.save(directory / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3)).astype("float32")
    boxes = np.array([[[0.1, 0.2, 0.7, 0.6], [0, 0.5, 0.3, 0.8]], [[0.2, 0.2, 0.5, 0.9], [-1] * 4]])
    targets = model.target_encoder()(boxes.astype("float32"), np.array([[1, 0], [1, -1]], "int32"))
    np.savez(directory / "given.npz", images=images, **targets)
    environment = {**os.environ, "KERAS_BACKEND": "torch", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=directory, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    trained, total = map(float, done.stdout.split())
    assert trained == pytest.approx(total, rel=1e-5)  # the first step of `fit` has the same loss
    return directory


def test_numbers_are_those_of_tensorflow(directory):
    import tensorflow as tf

    from ssd_keras.engine.detector import KerasDetector

    model = keras.models.load_model(directory / "model.keras")
    model.compile()
    given, found = dict(np.load(directory / "given.npz")), dict(np.load(directory / "found.npz"))
    images = given.pop("images")
    expected = KerasDetector(model)(images)
    assert expected["num_detections"].min() > 20
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        total = model.compute_loss(images, given, outputs)
    gradients = tape.gradient(total, model.trainable_variables)
    for name, loss in model.loss.items():
        expected[f"{name}_loss"] = loss(given[name], outputs[name])
    expected.update(outputs)
    weights = model.trainable_variables
    expected.update({x.path: value for x, value in zip(weights, gradients, strict=True)})
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        limit = 1e-4 * float(np.abs(value).max())
        np.testing.assert_allclose(found[name], value, rtol=0, atol=limit, err_msg=name)


def test_several_devices_are_refused(directory):
    code = (
        "from ssd_keras.engine.distributed.devices import Devices\n"
        "from ssd_keras.engine.distributed.process_group import ProcessGroup\n"
        "with Devices(2).scope(2, ProcessGroup()): pass"
    )
    environment = {**os.environ, "KERAS_BACKEND": "torch", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    message = "several devices need Keras' JAX or TensorFlow backend, this is torch: set"
    assert message in done.stderr.splitlines()[-1]
