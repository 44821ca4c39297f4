"""`ssd-keras import`: the command, what it writes, and what it refuses."""

import os
import re

import exports
import numpy as np
import object_detection_api as api
import pytest
from quick_weights import use_quick_weights

from ssd_keras import cli
from ssd_keras.engine.detector import load_model
from ssd_keras.importers import import_file as importer
from ssd_keras.importers.object_detection_api import import_object_detection_api
from ssd_keras.models.backbones.vgg import vgg16


def test_the_command_writes_a_model(tmp_path, capsys):
    source, output = tmp_path / "ssd.tflite", str(tmp_path / "ssd.keras")
    labels = tmp_path / "labels.txt"
    source.write_bytes(api.detector_file(names=None))
    labels.write_text("one\n???\ntwo\nthree\n")
    words = ["import", "object-detection-api", str(source), "--output", output]
    assert cli.main([*words, "--labels", str(labels)]) == 0
    printed = capsys.readouterr().out
    model = load_model(output)
    assert printed == f"wrote {output}: {model.name}, 3 classes\n"
    assert model.class_names == ("one", "two", "three") and model.activation == "sigmoid"
    expected = import_object_detection_api(str(source), str(labels))
    image = np.random.default_rng(0).integers(0, 256, (1, *expected.image_size, 3))
    ours, theirs = (x(image.astype("float32"), training=False) for x in (model, expected))
    np.testing.assert_array_equal(ours["class_logits"], theirs["class_logits"])


def test_a_backbone_becomes_weights(tmp_path, monkeypatch):
    use_quick_weights(monkeypatch)
    backbone = vgg16((300, 300))
    calls = []

    def import_backbone(*arguments):
        calls.append(arguments)
        return backbone

    monkeypatch.setattr(importer, "import_caffe_backbone", import_backbone)
    output = str(tmp_path / "vgg16.weights.h5")
    line = importer.import_file("caffe", "vgg.caffemodel", output)
    assert (
        line == f"wrote {output}: the backbone {backbone.name}, for the argument backbone_weights"
    )
    assert calls == [("vgg.caffemodel", (300, 300))]
    loaded = vgg16((300, 300), weights=output)
    for ours, theirs in zip(loaded.get_weights(), backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_classes_cut_a_keras_file(tmp_path, capsys):
    whole = exports.lively_model(class_names=["dog", "car", "person"], image_size=(64, 96), width=4)
    source, output = str(tmp_path / "whole.keras"), str(tmp_path / "cut.keras")
    whole.save(source)
    cli.main(["import", "keras", source, "--classes", "person, dog", "--output", output])
    assert capsys.readouterr().out.endswith(f"wrote {output}: {whole.name}, 2 classes\n")
    cut = load_model(output)
    assert cut.class_names == ("person", "dog")
    assert cut.origin == whole.origin
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3)).astype("float32")
    ours, theirs = (np.asarray(x(images)["class_logits"]) for x in (cut, whole))
    np.testing.assert_allclose(ours, theirs[..., [0, 3, 1]], atol=1e-5)
    with pytest.raises(ValueError, match="class 'dgo' is unknown; did you mean 'dog'"):
        importer.import_file("keras", source, str(tmp_path / "none.keras"), classes=["dgo"])
    assert not (tmp_path / "none.keras").exists()


BAD = {
    "ending": (
        ["caffe", "a.caffemodel", "--output", "{folder}/model.h5"],
        r"output '.*model\.h5' must end in \.keras for a detector or in \.weights\.h5 for .*",
    ),
    "no folder": (
        ["caffe", "a.caffemodel", "--output", "{folder}/gone/model.keras"],
        r"the folder '.*gone' does not exist; create it first\.",
    ),
    "no backbone": (
        ["object-detection-api", "{folder}/empty.pth", "--output", "{folder}/a.weights.h5"],
        r"'.*empty\.pth' is not a TFLite file \(it begins with b'<html>404</html>'\); expected .*",
    ),
    "no labels": (
        ["caffe", "a.caffemodel", "--output", "{folder}/a.keras", "--labels", "gone.txt"],
        r"the labels 'gone\.txt' do not exist; pass a text file of names\.",
    ),
    "a web page": (
        ["torchvision", "{folder}/empty.pth", "--output", "{folder}/a.keras"],
        r"'.*empty\.pth' is a web page, not weights; .*",
    ),
    "no file": (
        ["torchvision", "{folder}/gone.pth", "--output", "{folder}/a.keras"],
        r"'.*gone\.pth' does not exist; pass the path of a \.pth file\.",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_writes_nothing(name, tmp_path, capsys):
    words, message = BAD[name]
    (tmp_path / "empty.pth").write_text("<html>404</html>")
    assert cli.main(["import", *(word.format(folder=tmp_path) for word in words)]) == 2
    assert re.fullmatch(f"ssd-keras: {message}\n", capsys.readouterr().err)
    assert os.listdir(tmp_path) == ["empty.pth"]


def test_an_unknown_source_is_refused(tmp_path):
    with pytest.raises(ValueError, match="source 'darknet' is unknown; choose one of torchvision"):
        importer.import_model("darknet", str(tmp_path))
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\n\ndog\n")
    with pytest.raises(
        ValueError, match=r"the labels '.*' have an empty line; expected one name a"
    ):
        importer.import_model("caffe", "a.caffemodel", str(labels))
