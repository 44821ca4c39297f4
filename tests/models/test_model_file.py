"""`.keras` files of strangers: what they may not do, and that a line keeps the reason."""

import json
import re
import zipfile

import keras
import numpy as np
import pytest

from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.models.model_file import (
    CONFIG,
    METADATA,
    WEIGHTS,
    load_ssd,
    replace_display_threshold,
)
from ssd_keras.models.ssd import SSD

PARSED = "cannot be read as a Keras model "


def small_model(name="ssd"):
    image = keras.Input((8, 8, 3))
    backbone = keras.Model(image, keras.layers.Conv2D(2, 1, 8, name="conv")(image))
    return SSD(backbone, DefaultBoxes.from_scales((8, 8), 1), ["dog", "cat"], (8, 8), name=name)


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """The entries of a good file."""
    path = tmp_path_factory.mktemp("good") / "good.keras"
    small_model().save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_thresholds_are_replaced_and_nothing_else(tmp_path, entries):
    path = write(tmp_path, entries, zipfile.ZIP_STORED)
    replace_display_threshold(path, (0.25, 0.75), ("dog", "cat"))
    assert load_ssd(path).display_threshold == (0.25, 0.75)
    with zipfile.ZipFile(path) as archive:
        after = {name: archive.read(name) for name in archive.namelist()}
    assert list(after) == list(entries) and after[WEIGHTS] == entries[WEIGHTS]
    config = {"display_threshold": {"dog": 0.25, "cat": 0.75}}
    assert json.loads(after[CONFIG]) == json.loads(with_config(entries, sets(**config))[CONFIG])
    with pytest.raises(ValueError, match="holds a model of other classes; try again"):
        replace_display_threshold(path, 0.5, ("cat", "dog"))
    assert load_ssd(path).display_threshold == (0.25, 0.75)


def write(tmp_path, entries, compression=zipfile.ZIP_DEFLATED):
    path = str(tmp_path / "a.keras")
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def with_config(entries, change):
    config = json.loads(entries[CONFIG])
    change(config["config"])
    return entries | {CONFIG: json.dumps(config).encode()}


def sets(**values):
    return lambda config: config.update(values)


def with_layer(class_name, module, config):
    """Puts a layer in the place of the backbone's."""
    layer = {"class_name": class_name, "module": module, "registered_name": None, "name": "x"}
    layer |= {"config": {"name": "x", **config}, "inbound_nodes": []}
    return lambda ssd: ssd["backbone"]["config"]["layers"].__setitem__(1, layer)


def function(module, name):
    config = {"class_name": "function", "module": module, "registered_name": name, "config": name}
    return with_layer("Lambda", "keras.layers", {"function": config})


def convolution(**values):
    return lambda ssd: ssd["backbone"]["config"]["layers"][1]["config"].update(values)


def large_input(ssd):
    ssd["image_size"] = [200_000, 200_000]
    ssd["backbone"]["config"]["layers"][0]["config"]["batch_shape"] = [None, 200_000, 200_000, 3]


CODE = {"class_name": "__lambda__", "config": {"value": "4wEA", "defaults": None, "closure": None}}
CONFIGS = {
    "a lambda": (
        with_layer("Lambda", "keras.layers", {"function": CODE}),
        r"\(.*`Lambda` layer.* is a Python",
    ),
    "os.system": (function("os", "system"), r"\(Could not locate function 'system'"),
    "eval": (function("builtins", "eval"), r"\(Could not locate function 'eval'"),
    "unsafe mode": (
        function("keras.config", "enable_unsafe_deserialization"),
        r"\(it calls the function keras\.config\.enable_unsafe_deserialization\)",
    ),
    "a program": (
        with_layer("Popen", "subprocess", {"args": ["true"]}), r"\(Could not locate class 'Popen'"
    ),
    "a SavedModel": (
        with_layer("TFSMLayer", "keras.layers", {"filepath": "/tmp"}),
        r"\(one of its layers reads a file outside of it\)",
    ),
    "a file": (
        with_layer("StringLookup", "keras.layers", {"vocabulary": "/etc/passwd"}),
        r"\(one of its layers reads a file outside of it\)",
    ),
    "many classes": (
        sets(class_names=[str(n) for n in range(400_000)]), r"\(its layers have more weights than"
    ),
    "many filters": (convolution(filters=2**31), r"\(its layers have more weights than the file"),
    "a large kernel": (
        convolution(kernel_size=[5000, 5000], padding="same"), r"\(its layers have more weights"
    ),
    "a large input": (large_input, r"\(the feature maps have \d+ default boxes; expected at most"),
    "escapes": (
        sets(class_names=["\x1b[2Ja", "\x1b]0;title\x07b"]), r"\(class_names holds '\\x1b\[2Ja'; ex"
    ),
    "turned text": (sets(class_names=["gpj\u202e", "b"]), r"\(class_names holds 'gpj\\u202e'; exp"),
    "two lines": (sets(class_names=["a\nb", "c"]), r"\(class_names holds 'a\\nb'; expected"),
    "a class twice": (sets(class_names=["a", "a"]), r"\(class_names holds 'a' twice"),
    "numbers": (sets(class_names=[1, 2]), r"\(class_names holds 1; expected"),
    "no name": (sets(class_names=["a", ""]), r"\(class_names holds ''; expected"),
    "a name without end": (
        sets(class_names=["a" * 1000, "b"]),
        r"\(class_names holds .aaa.* \.\.\. .*of at most 500 letters",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), CONFIGS.values(), ids=CONFIGS)
def test_a_hostile_description_is_refused_with_its_reason(tmp_path, entries, change, words):
    path = write(tmp_path, with_config(entries, change))
    with pytest.raises(ValueError, match=rf"^'.*a\.keras' {PARSED}{words}") as refusal:
        load_ssd(path)
    assert str(refusal.value).isprintable() and "safe_mode=False" not in str(refusal.value)


ARCHIVES = {
    "above": ({"../../x": b""}, r"\(its entry '\.\./\.\./x' leads out of it"),
    "above assets": ({"assets/../../x": b""}, r"\(its entry 'assets/\.\./\.\./x' leads out"),
    "absolute": ({"/tmp/x": b""}, r"\(its entry '/tmp/x' leads out of it"),
    "with backslashes": ({"..\\x": b""}, r"\(its entry '\.\.\\\\x' leads out of it"),
    "a bomb": ({"assets/a": bytes(40 << 20)}, r"\(its entry 'assets/a' unpacks to 41943040 bytes"),
    "a large description": ({METADATA: b" " * (9 << 20)}, r"\(its (entry 'm|m)etadata\.json'? "),
    "a deep description": ({CONFIG: b"[" * 100_000}, r"\(maximum recursion depth exceeded"),
    "no JSON": ({CONFIG: b"\xff{"}, r"\('utf-8' codec can't decode"),
    "a list": ({CONFIG: b"[1]"}, r"\("),
    "no HDF5": ({WEIGHTS: b"weights"}, r"\("),
    "many entries": (dict.fromkeys(map(str, range(2000)), b""), r"\(it has 200\d entries"),
}


@pytest.mark.parametrize(("changes", "words"), ARCHIVES.values(), ids=ARCHIVES)
def test_a_hostile_archive_is_refused(tmp_path, entries, changes, words):
    with pytest.raises(ValueError, match=rf"^'.*a\.keras' {PARSED}{words}"):
        load_ssd(write(tmp_path, entries | changes))


def test_missing_entries_and_other_models_are_refused(tmp_path, entries):
    for name in (CONFIG, WEIGHTS):
        others = {key: value for key, value in entries.items() if key != name}
        with pytest.raises(ValueError, match=rf"{PARSED}\(it has no {re.escape(name)}\)"):
            load_ssd(write(tmp_path, others))
    path = str(tmp_path / "other.keras")
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).save(path)
    with pytest.raises(ValueError, match=r"^'.*' holds a Sequential, not an SSD; pass a file that"):
        load_ssd(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_with_their_layer(tmp_path, value):
    path = str(tmp_path / "nan.keras")
    model = small_model()
    weight = model.backbone.get_layer("conv").kernel
    weight.assign(np.full(weight.shape, value))
    model.save(path)
    message = (
        r"^'.*nan\.keras' has weights that are not finite \(conv\); train again or take an older "
        r"file\.$"
    )
    with pytest.raises(ValueError, match=message):
        load_ssd(path)
    with pytest.raises(ValueError, match=r"^the model has weights that are not finite \(conv\)"):
        model.export(str(tmp_path / "nan.tflite"), format="litert")


def test_an_optimizer_that_is_not_finite_is_refused_where_it_is_loaded(tmp_path):
    path = str(tmp_path / "nan.keras")
    model = small_model()
    model.compile()
    model.optimizer.build(model.trainable_variables)
    slot = model.optimizer.variables[-1]
    slot.assign(np.full(slot.shape, np.nan))
    model.save(path)
    assert load_ssd(path).class_names == ("dog", "cat")
    with pytest.raises(ValueError, match=r"has weights that are not finite \(caffe_?sgd"):
        load_ssd(path, compile=True)


def test_a_good_file_is_loaded_compressed_or_not(tmp_path, entries):
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        model = load_ssd(write(tmp_path, entries, compression))
        assert model.class_names == ("dog", "cat")


# HDF5

UNREADABLE = "would hold an SSD that Keras cannot read again; save the model as a .keras file, or"


@pytest.mark.parametrize("name", ["a.h5", "a.hdf5", "a.weights.h5", "a.tf", "a"])
def test_a_format_that_cannot_be_read_again_is_refused_when_saving(tmp_path, name):
    path = tmp_path / name
    path.write_text("old")
    for each in (path, str(path)):
        with pytest.raises(ValueError, match=rf"^'.*{re.escape(name)}' {UNREADABLE}"):
            small_model().save(each)
    assert path.read_text() == "old"


def test_keras_save_model_refuses_hdf5_too(tmp_path):
    for name in ("a.h5", "a.hdf5"):
        with pytest.raises(ValueError, match=f"^an HDF5 file {UNREADABLE}"):
            keras.saving.save_model(small_model(), tmp_path / name)
    keras.saving.save_model(small_model(), tmp_path / "a.keras")
    assert load_ssd(str(tmp_path / "a.keras")).name == "ssd"


def test_a_checkpoint_of_hdf5_is_refused_before_anything_is_trained():
    checkpoint = keras.callbacks.ModelCheckpoint("best-{epoch}.h5")
    for callbacks in (checkpoint, [checkpoint], keras.callbacks.CallbackList([checkpoint])):
        with pytest.raises(ValueError, match=rf"^'best-\{{epoch\}}\.h5' {UNREADABLE}"):
            small_model().fit(None, callbacks=callbacks)
    weights = keras.callbacks.ModelCheckpoint("best.weights.h5", save_weights_only=True)
    with pytest.raises(ValueError, match=r"call `compile\(\)`"):  # Keras' own, which comes next
        small_model().fit(None, callbacks=[weights])
