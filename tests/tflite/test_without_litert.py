"""Without the extra `tflite`, TensorFlow's own schema and interpreter serve."""

import importlib
import os
import sys

import exports
import numpy as np
import pytest

from ssd_keras import load_detector
from ssd_keras.data.images import resize_image
from ssd_keras.engine.detector import KerasDetector
from ssd_keras.exporters.tflite import tflite_model

FLATBUFFER = "ssd_keras.tflite.flatbuffer"


@pytest.fixture
def without_litert(tmp_path, monkeypatch):
    """Hides LiteRT here and in new processes; modules that use it are imported anew."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "ai_edge_litert.py").write_text("raise ImportError('hidden')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(hidden), os.getenv("PYTHONPATH", "")]))
    for name in [*sys.modules]:
        if name.startswith(("ai_edge_litert", "ssd_keras.tflite", "ssd_keras.exporters.tflite")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)


def test_a_file_is_exported_checked_and_loaded(without_litert, tmp_path, capsys):
    model = exports.lively_model(image_size=(64, 96), width=4)
    path = str(tmp_path / "model.tflite")
    model.export(path, format="litert")
    assert "detections agree with Keras" in capsys.readouterr().out
    module = importlib.import_module(FLATBUFFER)
    assert module.schema.__name__ == "tensorflow.lite.python.schema_py_generated"
    with open(path, "rb") as file:
        assert file.read() == tflite_model(model)  # with LiteRT's schema
    resized = resize_image(exports.images()[0], model.image_size)
    image = np.rint(resized.numpy()).astype("uint8")
    expected, found = KerasDetector(model)(image[None]), load_detector(path)(image[None])
    assert expected["num_detections"] > 5
    np.testing.assert_array_equal(found["labels"], expected["labels"])
    np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=2e-4)


def test_without_tensorflows_as_well_the_extra_is_named(without_litert, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow.lite.python", None)
    message = (
        r"^reading and writing TFLite files needs the package ai_edge_litert, which is not "
        r"installed or does not load; run: pip install 'ssd_keras\[tflite\]'$"
    )
    with pytest.raises(ImportError, match=message):
        importlib.import_module(FLATBUFFER)
