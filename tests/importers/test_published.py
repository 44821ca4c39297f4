"""Published weights: their records, and presets that fetch and read them."""

import dataclasses
import hashlib
import io
import json
import re
import tarfile
from pathlib import Path

import numpy as np
import object_detection_api as api
import pytest
from gold import torch_weights
from http_files import serving
from pth_files import pth_file

from ssd_keras import cli, presets
from ssd_keras.core.class_names import COCO_CLASSES
from ssd_keras.engine.detector import load_model
from ssd_keras.importers import SOURCES, published
from ssd_keras.importers.import_file import import_published
from ssd_keras.importers.object_detection_api import import_object_detection_api
from ssd_keras.models.backbones import resnet
from ssd_keras.presets import PRESETS, from_preset

NAME = "object_detection_api_ssd300_mobilenet_v1_coco"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of a small detector, which the preset NAME is led to."""
    monkeypatch.setenv("SSD_KERAS_CACHE", str(tmp_path / "cache"))
    content = api.detector_file()
    with serving() as server:
        server.files["/ssd.tflite"] = content
        weights = dataclasses.replace(
            PRESETS[NAME].weights,
            address=f"{server.address}/ssd.tflite",
            sha256=hashlib.sha256(content).hexdigest(),
        )
        preset = dataclasses.replace(PRESETS[NAME], weights=weights)
        monkeypatch.setitem(presets.PRESETS, NAME, preset)
        yield server


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "ssd.tflite"
    path.write_bytes(api.detector_file())
    return str(path)


def outputs(model):
    image = np.random.default_rng(0).integers(0, 256, (1, *model.image_size, 3))
    found = model(image.astype("float32"), training=False)
    return {name: np.asarray(values) for name, values in found.items()}


@pytest.mark.parametrize("name", [*published.DETECTORS, *published.BACKBONES])
def test_records_are_complete(name):
    weights = {**published.DETECTORS, **published.BACKBONES}[name]
    assert weights.source in SOURCES
    assert weights.address.startswith("https://")
    assert re.fullmatch(r"[0-9a-f]{64}", weights.sha256)
    assert weights.licence in ("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause")
    # PyTorch's file names end in the first digits of the checksum; only archives have members.
    if "pytorch.org" in weights.address:
        assert weights.address.endswith(f"-{weights.sha256[:8]}.pth")
    assert weights.address.endswith(".tar.gz") == weights.member.endswith(".caffemodel")


def test_each_detector_is_a_preset():
    found = {name: preset.weights for name, preset in PRESETS.items() if preset.weights}
    assert found == published.DETECTORS
    with pytest.raises(ValueError, match=r"preset 'caffe_ssd300_vgg16_voc' has no option 'atrous'"):
        from_preset("caffe_ssd300_vgg16_voc", atrous=False)


def test_checksum_is_that_of_the_real_file(shared):
    content = (shared / "weights/coco_ssd_mobilenet_v1_quant.tflite").read_bytes()
    assert hashlib.sha256(content).hexdigest() == PRESETS[NAME].weights.sha256
    path = str(shared / "weights/coco_ssd_mobilenet_v1_quant.tflite")
    model = import_object_detection_api(path)
    assert (model.class_names, model.image_size) == (COCO_CLASSES, (300, 300))
    assert len(model.default_box_array) == PRESETS[NAME].num_default_boxes


def test_preset_fetches_its_weights_once(server, file):
    expected = import_object_detection_api(file)
    for model in (from_preset(NAME), load_model(NAME)):
        assert model.class_names == expected.class_names == ("circle", "square", "star")
        for name, values in outputs(expected).items():
            np.testing.assert_array_equal(outputs(model)[name], values)
    assert len(server.requests) == 1


def test_preset_with_other_classes_keeps_those_it_knows(server, file):
    expected = outputs(import_object_detection_api(file))
    found = outputs(from_preset(NAME, ["star", "moon", "circle"]))
    np.testing.assert_array_equal(found["box_deltas"], expected["box_deltas"])
    logits = expected["class_logits"]
    np.testing.assert_allclose(
        found["class_logits"],
        np.stack(
            [logits[..., 0], logits[..., 3], logits[..., 1:].mean(-1), logits[..., 1]], axis=-1
        ),
        atol=1e-4,
    )


def test_info_needs_no_download(server, capsys):
    assert cli.main(["info", NAME]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"{NAME}: 300x300, 80 classes, 1917 default boxes; reported: ")
    assert printed[0].endswith("; weights: Apache-2.0")
    assert printed[1:] == [
        f"from {server.address}/ssd.tflite",
        f"SHA-256 {hashlib.sha256(api.detector_file()).hexdigest()}",
    ]
    assert server.requests == []


def archive_of(members):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in members.items():
            record = tarfile.TarInfo(name)
            record.size = len(data)
            archive.addfile(record, io.BytesIO(data))
    return content.getvalue()


def test_weights_inside_an_archive(server, file, tmp_path):
    content = archive_of({"models/readme": b"no", "models/ssd.tflite": api.detector_file()})
    server.files["/models.tar.gz"] = content
    weights = published.Published(
        "object-detection-api",
        f"{server.address}/models.tar.gz",
        hashlib.sha256(content).hexdigest(),
        len(content),
        "Apache-2.0",
        "models/ssd.tflite",
    )
    found, expected = outputs(import_published(weights)), outputs(import_object_detection_api(file))
    np.testing.assert_array_equal(found["class_logits"], expected["class_logits"])
    # Neither a member's own path nor a link leads out of the directory.
    content = archive_of({"../escaped.tflite": b"x"})
    server.files["/models.tar.gz"] = content
    weights = dataclasses.replace(
        weights, sha256=hashlib.sha256(content).hexdigest(), member="../escaped.tflite"
    )
    with pytest.raises(tarfile.OutsideDestinationError):
        import_published(weights)
    assert not list(tmp_path.rglob("escaped*"))


def test_imagenet_of_resnet_is_torchvisions(tmp_path, monkeypatch):
    monkeypatch.setenv("SSD_KERAS_CACHE", str(tmp_path / "cache"))
    with np.load(Path(__file__).parents[1] / "gold/import_resnet18.npz") as gold:
        arrays = torch_weights.random_state(json.loads(str(gold["shapes"])))
    content = pth_file(arrays)
    with serving() as server:
        server.files["/resnet18.pth"] = content
        weights = dataclasses.replace(
            published.BACKBONES["resnet18"],
            address=f"{server.address}/resnet18.pth",
            sha256=hashlib.sha256(content).hexdigest(),
        )
        monkeypatch.setitem(published.BACKBONES, "resnet18", weights)
        backbone = resnet.resnet18((64, 96), "imagenet")
    stem = backbone.get_layer("conv1").get_weights()[0]
    np.testing.assert_array_equal(stem, arrays["conv1.weight"].transpose(2, 3, 1, 0))
    last = backbone.get_layer("conv4_block2_2_bn").get_weights()[2]
    np.testing.assert_array_equal(last, arrays["layer3.1.bn2.running_mean"])
    # The server is gone, the cache is not.
    assert resnet.resnet18((64, 96), "imagenet").count_params() == backbone.count_params()
    monkeypatch.setenv("SSD_KERAS_CACHE", str(tmp_path / "other"))
    with pytest.raises(ValueError, match=r"ImageNet weights could not be downloaded \(http://127"):
        resnet.resnet18((64, 96), "imagenet")
