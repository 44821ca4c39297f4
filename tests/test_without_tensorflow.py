"""A machine with an accelerator may have JAX and no TensorFlow: training and detecting there."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssd_keras import from_preset
from ssd_keras.engine.detector import KerasDetector

OPTIONS = {"image_size": (64, 96), "width": 4}

CODE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ImportError("there is no TensorFlow here")

sys.meta_path.insert(0, Blocker())
import keras, numpy
import ssd_keras

# The import alone lets Keras load a detector with its optimizer.
model = keras.models.load_model("model.keras")
assert (type(model).__name__, model.class_names) == ("SSD", ("cat", "dog"))
assert model.optimizer.name == "caffe_sgd"

from ssd_keras.models.post_process import DetectionModel

given = dict(numpy.load("given.npz"))
numpy.savez("found.npz", **DetectionModel(model).predict_on_batch(given["images"]))
model.compile()
targets = {name: given[name] for name in ("box_deltas", "class_logits")}
losses = [model.train_on_batch(given["images"], targets) for _ in range(3)]
numpy.save("losses.npy", losses)
assert "tensorflow" not in sys.modules
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    pytest.importorskip("jax")
    directory = tmp_path_factory.mktemp("without_tensorflow")
    model = from_preset("ssd192_small_shapes", ["cat", "dog"], **OPTIONS)
    model.compile()
    model.save(directory / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3)).astype("float32")
    encoder = model.target_encoder()
    boxes, labels = np.array([[0.1, 0.2, 0.7, 0.6]], "float32"), np.array([1], "int32")
    one = {name: value.numpy() for name, value in encoder(boxes, labels).items()}
    targets = {name: np.stack([value, value]) for name, value in one.items()}
    np.savez(directory / "given.npz", images=images, **targets)
    root = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=directory, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    model.run_eagerly = True  # three steps: a graph takes longer to build than to run
    expected = KerasDetector(model)(images)
    losses = [model.train_on_batch(images, targets) for _ in range(3)]
    return directory, expected, losses


def test_detections_are_those_with_tensorflow(directory):
    directory, expected, _ = directory
    found = np.load(directory / "found.npz")
    assert expected["num_detections"].min() > 10
    np.testing.assert_array_equal(found["num_detections"], expected["num_detections"])
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-5)


def test_losses_of_three_steps_are_those_with_tensorflow(directory):
    directory, _, losses = directory
    found = np.load(directory / "losses.npy")
    assert not np.allclose(found[-1], found[0])
    np.testing.assert_allclose(found, losses, rtol=1e-3)
