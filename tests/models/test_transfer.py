"""A trained detector for other classes: the origin of each row of a head."""

import dataclasses
import functools

import exports
import keras
import numpy as np
import pytest
from trainings import build_model

from ssd_keras import DefaultBoxes, from_preset
from ssd_keras.engine.recipes import paper_recipe
from ssd_keras.engine.train import initial_model
from ssd_keras.models import FPN, SSD, ConvStyle, SharedHead, SSDHead
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.transfer import keep_classes, known_classes, with_classes
from ssd_keras.optimizers.adamw import AdamW
from ssd_keras.optimizers.caffe_sgd import CaffeSGD

OLD, NEW = ("tvmonitor", "dog", "person"), ("person", "moon", "tv", "star")


@functools.cache
def old_model():
    model = exports.lively_model(class_names=OLD, image_size=(64, 96), width=4)
    model.display_threshold = 0.3
    return model


def outputs_of(model, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (2, 64, 96, 3)).astype("float32")
    return {name: np.asarray(x) for name, x in model(images, training=False).items()}


def test_known_classes_by_name_and_alias():
    assert known_classes(old_model(), NEW) == {"person": "person", "tv": "tvmonitor"}


@pytest.mark.parametrize("new_rows", ["mean", "fresh"])
def test_logits_of_known_classes_are_kept(new_rows):
    old = old_model()
    new = with_classes(old, NEW, new_rows)
    assert new.class_names == NEW and old.class_names == OLD
    before, after = outputs_of(old), outputs_of(new)
    np.testing.assert_array_equal(after["box_deltas"], before["box_deltas"])
    # Background, person and tv; in the old model they are at 0, 3 and 1.
    logits, old_logits = after["class_logits"], before["class_logits"]
    np.testing.assert_allclose(logits[..., [0, 1, 3]], old_logits[..., [0, 3, 1]], atol=1e-5)
    # A head is linear: the mean of rows gives the mean of logits.
    mean = old_logits[..., 1:].mean(axis=-1)
    for column in (2, 4):
        is_mean = np.abs(logits[..., column] - mean).max() < 1e-4
        assert is_mean == (new_rows == "mean")


KINDS = {
    "softmax, SSDHead": {},
    "sigmoid, SSDHead": {"activation": "sigmoid"},
    "sigmoid, separable SSDHead": {
        "activation": "sigmoid",
        "head": SSDHead(style=ConvStyle(separable=True)),
    },
    "sigmoid, SharedHead": {
        "activation": "sigmoid",
        "neck": FPN(filters=8),
        "head": SharedHead(8, 1),
    },
    "softmax, SharedHead": {
        "neck": FPN(filters=8),
        "head": SharedHead(8, 1, prior_probability=None),
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_kept_classes_have_the_columns_of_the_whole_detector(kind):
    keras.utils.set_random_seed(1)
    images = keras.Input((64, 96, 3))
    fine = keras.layers.Conv2D(8, 3, 8, padding="same", activation="relu")(images / 255)
    coarse = keras.layers.Conv2D(8, 3, 2, padding="same", activation="relu")(fine)
    boxes = DefaultBoxes.explicit([[(8, 8), (8, 16)], [(24, 24), (32, 16)]])
    backbone = keras.Model(images, [fine, coarse])
    whole = SSD(backbone, boxes, OLD, (64, 96), **KINDS[kind])
    cut = keep_classes(whole, ["tv", "dog"])
    assert cut.class_names == ("tvmonitor", "dog")
    assert type(cut.head) is type(whole.head) and cut.post_process == whole.post_process
    before, after = outputs_of(whole), outputs_of(cut)
    np.testing.assert_array_equal(after["box_deltas"], before["box_deltas"])
    np.testing.assert_allclose(
        after["class_logits"], before["class_logits"][..., [0, 1, 2]], atol=1e-5
    )


@pytest.mark.parametrize(
    "names, message",
    [
        (["dogg"], r"unknown.*did you mean 'dog'"),
        ([], "class_names is empty"),
        (["tv", "tvmonitor"], "holds 'tvmonitor' twice"),
    ],
)
def test_names_that_cannot_be_kept(names, message):
    with pytest.raises(ValueError, match=message):
        keep_classes(old_model(), names)


def test_display_thresholds_are_kept_by_name():
    old = SSD.from_config(old_model().get_config())
    old.display_threshold = {"tvmonitor": 0.2, "person": 0.9}
    old.post_process = PostProcess((0.3, 0.1, 0.2))
    # person, moon, tv and star: the two new classes have the default.
    new = with_classes(old, NEW)
    assert new.display_threshold == (0.9, 0.5, 0.2, 0.5)
    assert new.post_process.score_threshold == (0.2, 0.1, 0.3, 0.1)


def test_everything_else_of_the_model_stays():
    old = old_model()
    new = with_classes(old, ["one"])
    assert new.display_threshold == 0.3
    expected = {**old.get_config(), "class_names": ["one"]}
    for name in ("default_boxes", "image_size", "preprocessor", "post_process", "neck", "head"):
        assert new.get_config()[name] == expected[name]
    assert isinstance(new, SSD) and not new.compiled
    assert outputs_of(new)["class_logits"].shape[-1] == 2


def test_another_size_keeps_weights_and_grows_default_boxes():
    old = old_model()
    new = with_classes(old, OLD, image_size=(96, 160))
    # The shorter side grows from 64 to 96.
    shapes = [[(1.5 * h, 1.5 * w) for h, w in cell] for cell in old.default_boxes.shapes]
    built = from_preset("ssd192_small_shapes", OLD, image_size=(96, 160), width=4, shapes=shapes)
    assert new.default_boxes == built.default_boxes
    built.set_weights(old.get_weights())
    np.testing.assert_allclose(new.default_box_array, built.default_box_array, atol=1e-6)
    images = np.random.default_rng(1).integers(0, 256, (2, 96, 160, 3)).astype("float32")
    expected = built(images, training=False)
    for name, values in new(images, training=False).items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5)


def test_other_default_boxes_at_the_same_size(tmp_path):
    old = old_model()
    shapes = [[[10 * n, 7 * n], [9, 9], [20, 30], [n, 6]] for n in (1, 2, 3, 4)]
    old.save(tmp_path / "old.keras")
    recipe = paper_recipe(str(tmp_path / "old.keras")).replace({"model.options.shapes": shapes})
    new = initial_model(recipe, OLD)
    assert new.default_boxes == DefaultBoxes(shapes) and new.image_size == (64, 96)
    height, width = (new.default_box_array[2, 2:] - new.default_box_array[2, :2]) * (64, 96)
    assert (height, width) == pytest.approx((20, 30), abs=1e-3)
    for name, values in outputs_of(new).items():
        np.testing.assert_array_equal(values, outputs_of(old)[name])


def test_steps_belong_to_a_size():
    spec = DefaultBoxes((((20, 10),), ((40, 40),)), steps=(8, 16), variances=(0.1, 0.2, 0.3, 0.4))
    old = SSD(small_backbone((32, 32)), spec, ["cat"], (32, 32))
    new = with_classes(old, ["cat"], image_size=(64, 48))
    # The shorter side grows from 32 to 48.
    shapes = (((30, 15),), ((60, 60),))
    assert new.default_boxes == dataclasses.replace(spec, shapes=shapes, steps=None)
    same_size = with_classes(old, ["cat"], shapes=shapes).default_boxes
    assert same_size == dataclasses.replace(spec, shapes=shapes)


def small_backbone(image_size):
    image = keras.Input((*image_size, 3))
    first = keras.layers.Conv2D(4, 3, 8, padding="same")(image)
    return keras.Model(image, [first, keras.layers.Conv2D(4, 3, 2, padding="same")(first)])


def test_unknown_choices_are_refused():
    with pytest.raises(ValueError, match="new_rows='zero' is unknown; choose one of mean, fresh"):
        with_classes(old_model(), NEW, "zero")
    message = (
        r"shapes has \(1, 1\) boxes in the cells of the feature maps; expected \(4, 4, 4, 4\), "
    )
    with pytest.raises(ValueError, match=message):
        with_classes(old_model(), NEW, shapes=[[(10, 20)], [(30, 30)]])


def test_a_recipe_starts_from_a_trained_model(tmp_path):
    path = str(tmp_path / "old.keras")
    old_model().save(path)
    recipe = paper_recipe(path).replace({"optimizer.backbone_learning_rate": 0.0})
    model = build_model(recipe, NEW, total_steps=4)
    expected = outputs_of(with_classes(old_model(), NEW))
    for name, values in outputs_of(model).items():
        np.testing.assert_allclose(values, expected[name], atol=1e-6)
    assert model.class_names == NEW and model.backbone.trainable_variables == []
    with pytest.raises(ValueError, match=r"precision='mixed_bfloat16' does not fit '.*old"):
        initial_model(recipe.replace({"run.precision": "mixed_bfloat16"}), NEW)
    with pytest.raises(ValueError, match=r"model\.options has 'width', but '.*old\.keras' is a"):
        recipe.replace({"model.options": {"width": 8}})
    with pytest.raises(
        ValueError, match=r"'gone\.keras' is unknown; `ssd-keras info presets` lists"
    ):
        recipe.replace({"model.preset": "gone.keras"})


def change_by_a_step(path, backbone_learning_rate, optimizer):
    """What one training step adds to each weight, by path."""
    changes = {
        "optimizer.name": optimizer,
        "optimizer.weight_decay": 0.0,
        "optimizer.backbone_learning_rate": backbone_learning_rate,
    }
    recipe = paper_recipe(path).replace(changes)
    model = build_model(recipe, NEW, total_steps=4)
    rng = np.random.default_rng(1)
    count = len(model.default_box_array)
    labels = rng.integers(0, 5, (2, count)).astype("int32")
    deltas = rng.normal(size=(2, count, 4))
    targets = {
        "box_deltas": np.concatenate([deltas, labels[..., None] > 0], axis=-1).astype("float32"),
        "class_logits": labels,
    }
    model.run_eagerly = True  # one step: a graph takes longer to build than to run
    before = {x.path: np.array(x) for x in model.variables}
    model.train_on_batch(rng.integers(0, 256, (2, 64, 96, 3)).astype("float32"), targets)
    backbone = {x.path for x in model.backbone.variables}
    changes = {x.path: np.array(x) - before[x.path] for x in model.variables}
    return changes, backbone


@pytest.mark.parametrize("optimizer", ["caffe_sgd", "adamw"])
def test_the_backbone_learns_at_its_own_rate(optimizer, tmp_path):
    path = str(tmp_path / "old.keras")
    old_model().save(path)
    changes, backbone = change_by_a_step(path, 1.0, optimizer)
    slow, _ = change_by_a_step(path, 0.25, optimizer)
    frozen, _ = change_by_a_step(path, 0.0, optimizer)
    assert len(backbone) > 10 and len(changes) > len(backbone) + 10
    for name, change in changes.items():
        assert np.abs(change).max() > 0
        if name in backbone:
            assert np.abs(frozen[name]).max() == 0, name  # statistics too
        is_slow = name in backbone and "moving" not in name
        scale = 0.25 if is_slow else 1.0
        np.testing.assert_allclose(slow[name], scale * change, rtol=2e-3, atol=2e-6, err_msg=name)


def test_rates_are_saved():
    for kind in (CaffeSGD, AdamW):
        optimizer = kind(0.1, rates={"conv1": 0.5})
        assert optimizer.get_config()["rates"] == {"conv1": 0.5}
        assert kind.from_config(optimizer.get_config()).rates == {"conv1": 0.5}
