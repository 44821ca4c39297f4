"""Models of hubs, against stand-ins of Hugging Face and Kaggle on this machine."""

import dataclasses
import json
import re
import sys
import time

import keras
import numpy as np
import pytest
from hubs import hubs_on_this_machine, use_address

from ssd_keras import SSD, from_preset, load_detector
from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.cli.parser import main
from ssd_keras.core.hub import HubAddress, local_path
from ssd_keras.core.origin import DataOrigin, Origin
from ssd_keras.engine.recipe_groups import ModelRecipe
from ssd_keras.models.model_card import model_card
from ssd_keras.models.model_file import load_model_at

ORIGIN = Origin(
    "dogs",
    data=DataOrigin(("voc:dogs@train",), 40, 70, "CC-BY-4.0"),
    recipe="own_data",
    parent=Origin("mobilenet_v2", "https://weights", "CC-BY-4.0"),
)


@pytest.fixture(scope="module")
def model():
    image = keras.Input((8, 8, 3))
    backbone = keras.Model(image, keras.layers.Conv2D(2, 1, 8, name="conv")(image))
    boxes = DefaultBoxes.from_scales((8, 8), 1)
    return SSD(backbone, boxes, ["dog", "big_cat"], (8, 8), origin=ORIGIN, display_threshold=0.25)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """The files that Keras uploads, by name."""
    path = tmp_path_factory.mktemp("model")
    model.save(path, zipped=False)
    return {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}


@pytest.fixture(scope="module")
def keras_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "model.keras"
    model.save(path)
    return path.read_bytes()


@pytest.fixture
def hubs(monkeypatch, tmp_path):
    with hubs_on_this_machine(monkeypatch, tmp_path) as hubs:
        yield hubs


def equal_weights(one, other):
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


ADDRESSES = {
    "hf://a/b": ("a/b", None, ""),
    "hf://a/b-1.0@v1.2/run/model.keras": ("a/b-1.0", "v1.2", "run/model.keras"),
    "kaggle://a/b/keras/c": ("a/b/keras/c", None, ""),
    "kaggle://a/b/keras/c/7/": ("a/b/keras/c/7", None, ""),
    "kaggle://a/b/keras/c/7/x.tflite": ("a/b/keras/c/7", None, "x.tflite"),
    "kaggle://a/b/keras/c/x.tflite": ("a/b/keras/c", None, "x.tflite"),
}


@pytest.mark.parametrize(("text", "parts"), ADDRESSES.items())
def test_addresses_are_divided_into_their_parts(text, parts):
    address = HubAddress.parse(text)
    assert (address.model, address.revision, address.file) == parts


@pytest.mark.parametrize(
    "text", ["hf://a", "hf://a/b/../c", "hf://a/b@/c", "hf://a b/c", "kaggle://a/b/c", "hf://"]
)
def test_other_addresses_are_refused(text):
    form = re.escape("hf://OWNER/REPO[@REVISION][/FILE]")
    if text.startswith("kaggle"):
        form = re.escape("kaggle://OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION][/FILE]")
    with pytest.raises(ValueError, match=rf"^'.*' is no address of a model; expected {form}\.$"):
        local_path(text)


def test_a_folder_of_keras_is_read_with_all_checks(tmp_path, model, folder):
    for name, content in folder.items():
        (tmp_path / name).write_bytes(content)
    assert equal_weights(load_model_at(str(tmp_path), str(tmp_path)), model)
    config = json.loads(folder["config.json"])
    backbone = config["config"]["backbone"]["config"]["layers"]
    backbone[1]["config"]["filters"] = 2**31
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"^'hf://a/b' .* \(its layers have more weights than the"):
        load_model_at(str(tmp_path), "hf://a/b")
    (tmp_path / "config.json").write_bytes(b" " * (8 << 20) + b"{}")
    with pytest.raises(ValueError, match=r"its config\.json has 8388610 bytes; expected 8388608 "):
        load_model_at(str(tmp_path), "hf://a/b")
    (tmp_path / "model.weights.h5").unlink()
    (tmp_path / "config.json").write_bytes(b"{}")
    with pytest.raises(ValueError, match=r"\(it has no model\.weights\.h5\)"):
        load_model_at(str(tmp_path), "hf://a/b")


def test_hugging_face_gives_a_model_by_any_of_its_names(
    hubs, model, folder, keras_file, monkeypatch, tmp_path
):
    files = {"run/model.keras": keras_file, "best.keras": keras_file, "README.md": b"x" * 99}
    hubs.repositories = {"a/b": folder | files, "a/run": {"model.keras": keras_file}}
    for name in (
        "hf://a/b",
        "hf://a/b@main/run",
        "hf://a/b/best.keras",
        "hf://a/run",
    ):
        found = from_preset(name)
        assert equal_weights(found, model) and found.class_names == ("dog", "big_cat")
    assert not any("README" in request for request in hubs.requests)
    assert equal_weights(load_detector("hf://a/b").model, model)
    assert equal_weights(keras.saving.load_model("hf://a/b"), model)
    # What is in the cache is read without the hub.
    use_address(monkeypatch, "http://127.0.0.1:9", tmp_path)
    assert equal_weights(from_preset("hf://a/run"), model)
    other = SSD.from_preset("hf://a/b", ["big_cat", "bird"], image_size=(16, 16))
    assert (other.class_names, other.image_size) == (("big_cat", "bird"), (16, 16))
    assert equal_weights(other.backbone, model.backbone)
    assert ModelRecipe("hf://a/b").preset == "hf://a/b"


def test_kaggle_gives_a_model_by_any_of_its_names(hubs, model, folder, keras_file):
    hubs.repositories = {"a/b/keras/c": folder, "a/b/keras/run": {"model.keras": keras_file}}
    for name in ("kaggle://a/b/keras/c/3", "kaggle://a/b/keras/run"):
        assert equal_weights(from_preset(name), model)


NO_SSD = json.dumps({"class_name": "Gemma\nBackbone"}).encode()
REFUSALS = {
    "hf://a/none": (ValueError, "cannot be read: there is no such repository, or it is private; c"),
    "hf://a/b@v9": (ValueError, "cannot be read: it has no such revision; check the address"),
    "hf://a/b/x.keras": (FileNotFoundError, "holds no 'x.keras' of a model; check the address, or"),
    "hf://a/b/run": (FileNotFoundError, "holds neither config.json nor model.keras of a model; c"),
    "hf://a/gated": (ValueError, "cannot be read: its owner gives access on request: ask for it o"),
    "hf://a/large": (ValueError, r"holds Gemma\nBackbone (config.json), not an SSD; pass the addr"),
    "hf://a/text": (ValueError, "holds no Keras model (config.json), not an SSD; pass the address"),
    "kaggle://a/none/keras/c": (FileNotFoundError, "holds neither config.json nor model.keras of"),
    "kaggle://a/b/keras/d/3": (ValueError, "cannot be read: there is no such model, or it is not "),
    "kaggle://a/large/keras/c": (ValueError, r"holds Gemma\nBackbone (config.json), not an SSD;"),
}


@pytest.mark.parametrize(("name", "error"), REFUSALS.items())
def test_what_holds_no_ssd_is_refused_in_one_line(hubs, folder, name, error):
    hubs.repositories = {
        "a/b": {"README.md": b""},
        "a/large": {"config.json": NO_SSD, "model.weights.h5": b"large"},
        "a/large/keras/c": {"config.json": NO_SSD},
        "a/text": {"config.json": b"not JSON"},
    }
    hubs.refusals = {"a/gated": (403, "GatedRepo"), "a/b/keras/d": (403, "")}
    kind, words = error
    with pytest.raises(kind, match=f"^{re.escape(repr(name))} {re.escape(words)}") as refusal:
        load_detector(name)
    assert str(refusal.value).isprintable() and not refusal.value.args[1:]
    assert not any("weights" in request for request in hubs.requests)


@pytest.mark.parametrize("name", ["hf://a/b", "kaggle://a/b/keras/c", "kaggle://a/b/keras/c/3"])
def test_hubs_out_of_reach_are_named_at_once(monkeypatch, tmp_path, name):
    use_address(monkeypatch, "http://127.0.0.1:9", tmp_path)
    start = time.monotonic()
    line = rf"^{re.escape(repr(name))} cannot be reached \(.*refused.*\), and is not in the cache; "
    with pytest.raises(ValueError, match=line) as refusal:
        load_detector(name)
    assert time.monotonic() - start < 5 and str(refusal.value).isprintable()


def test_packages_of_hubs_are_named(monkeypatch):
    for package, name in {"huggingface_hub": "hf://a/b", "kagglehub": "kaggle://a/b/c/d"}.items():
        monkeypatch.setitem(sys.modules, package, None)
        line = rf"^loading {name[:4]}.*\.\.\. needs the package {package}, .*'ssd_keras\[hub\]'$"
        with pytest.raises(ImportError, match=line):
            local_path(name)


# httpx2 of huggingface_hub's own call
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_a_model_is_saved_with_its_card_in_one_commit(hubs, model, capsys):
    model.save("hf://a/b")
    (commit,) = hubs.commits
    assert sorted(commit["files"]) == [
        "README.md", "config.json", "metadata.json", "model.weights.h5"
    ]  # fmt: skip
    assert commit["title"].startswith("Save a model with ssd_keras ")
    assert hubs.repositories["a/b"]["README.md"].decode() == model_card(model, "hf://a/b")
    assert f"saved to {hubs.address}/a/b; load it with SSD.from_pre" in capsys.readouterr().out
    assert equal_weights(from_preset("hf://a/b"), model)


UNSAVED = {
    "hf://a/b/c.keras": r"a model is saved to a whole repository; expected hf://OWNER/REPO\.$",
    "hf://a/b@v1": r"a model is saved to a whole repository; expected hf://OWNER/REPO\.$",
    "kaggle://a/b/keras/c": r"models are not saved to Kaggle directly; write model\.save\('FOLDER'",
}


@pytest.mark.parametrize(("name", "words"), UNSAVED.items())
def test_what_cannot_be_saved_says_what_can(model, name, words):
    with pytest.raises(ValueError, match=rf"^'{name}': {words}"):
        model.save(name)


def test_a_refused_upload_says_why(hubs, model, monkeypatch):
    hubs.refusals["create"] = (401, "")
    with pytest.raises(ValueError, match=r"^'hf://a/b' cannot be written: .* sign in with hugging"):
        model.save("hf://a/b")


def test_the_card_says_what_the_model_holds(model):
    card = model_card(model, "hf://a/dogs")
    header, _, text = card.removeprefix("---\n").partition("---\n")
    assert "license: cc-by-4.0\n" in header and "library_name: keras\n" in header
    for line in (
        "# dogs",
        "| input | 8x8 pixels, RGB; `detect` resizes images of any size |",
        r"| classes | 2: dog, big\_cat |",
        # 1x1 cell with a square of each of two scales and two ratios
        f"| default boxes | {len(model.default_box_array)} |",
        "| operating point | display threshold: 0.25 |",
        'model = SSD.from_preset("hf://a/dogs")',
        r"- data: voc:dogs@train (40 images, 70 objects); licence: CC-BY-4.0",
        r"- parent weights: mobilenet\_v2 (https://weights); licence: CC-BY-4.0",
    ):
        assert f"\n{line}\n" in text, line


@pytest.mark.parametrize("licence", ["not stated", "CC-BY-4.0 or worse\nlicense: mit", "MIT"])
def test_the_card_names_no_licence_where_they_differ(model, monkeypatch, licence):
    parent = dataclasses.replace(ORIGIN.parent, licence=licence)
    monkeypatch.setattr(model, "origin", dataclasses.replace(ORIGIN, parent=parent))
    card = model_card(model, "hf://a/dogs")
    assert "license:" not in card.split("---")[1]
    assert card.count("\nlicense") == 0


def test_commands_take_addresses(hubs, folder, capsys, tmp_path):
    hubs.repositories = {"a/b": folder}
    assert main(["info", "hf://a/b"]) == 0
    assert "2 classes: dog, big_cat" in capsys.readouterr().out
    output = ["--format", "tflite", "--output", str(tmp_path / "x.tflite")]
    assert main(["export", "hf://a/none", *output]) == 2
    line = "ssd-keras: 'hf://a/none' cannot be read: there is no such repository, or it is private"
    assert capsys.readouterr().err.startswith(line)
