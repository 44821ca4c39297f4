"""`fit` of an `SSD` in a notebook: epochs end, classes are compared by name."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from trainings import PLAIN, recipe, train_data, validation_data

from ssd_keras import ValidationAP, evaluate, from_preset, training_dataset
from ssd_keras.data.unions import relabel
from ssd_keras.engine import callbacks
from ssd_keras.evaluation.detection_table import DetectionTable

NAMES = ("star", "circle", "square", "cross", "triangle")


@pytest.fixture(scope="module")
def model():
    """A model whose classes are in another order than those of the data."""
    model = from_preset("ssd192_small_shapes", NAMES, image_size=(64, 64), width=4)
    model.compile("sgd", run_eagerly=True)
    return model


def batches(model, data, batch_size=16):
    augmentation = recipe(PLAIN).augmentation
    with pytest.warns(UserWarning, match="objects get the model's labels by name"):
        return training_dataset(
            data, model.target_encoder(), (64, 64), batch_size, augmentation=augmentation
        )


def objects_of(*names):
    """The validation images with the objects of some classes alone."""
    return relabel(validation_data(), names)


def test_an_epoch_is_one_look_at_the_data_and_ends(model):
    validation = ValidationAP(objects_of("triangle", "circle"))
    stream = batches(model, train_data())
    with pytest.warns(UserWarning, match=r"detections of star, square, cross, which the data lack"):
        history = model.fit(
            stream.map(lambda image, target: (image, target)).prefetch(1),
            epochs=2,
            validation_data=stream,
            callbacks=[validation],
            verbose=0,
        )
    assert int(model.optimizer.iterations) == 2 * 2  # 32 images in batches of 16
    assert model.origin.data == train_data().origin and model.origin.parent is None
    assert history.epoch == [0, 1] and len(history.history["val_loss"]) == 2
    assert 0 <= history.history["val_AP"][-1] <= 1
    assert model.evaluate(stream, verbose=0) == [
        history.history[f"val_{name}"][-1]
        for name in ("loss", "box_deltas_loss", "class_logits_loss")
    ]


def test_the_ap_of_each_class_in_the_data_by_choice(monkeypatch):
    """Circles are found exactly, stars at about half their height; there is no owl."""
    data = objects_of("circle", "star", "owl")
    objects = [
        (index, label, box * (1, 1, 1, 0.52 if label else 1))
        for index, one in enumerate(data.examples)
        for label, box in zip(one.labels, one.boxes, strict=True)
    ]
    rows, labels, boxes = (np.array(column) for column in zip(*objects, strict=True))
    found = DetectionTable(rows, labels, boxes, np.linspace(0.9, 0.5, len(rows)))
    monkeypatch.setattr(callbacks, "detect_shared", lambda *arguments: found)
    for by_class in (False, True):
        validation, logs = ValidationAP(data, ap_by_class=by_class), {"loss": 1.0}
        validation.set_model(from_preset("ssd192_small_shapes", data.class_names, width=4))
        validation.on_train_begin()
        validation.on_epoch_end(0, logs)
        # IoU 0.52 is a hit at 0.5 alone, one of the ten thresholds: AP 0.1. (1 + 0.1) / 2 = 0.55.
        assert logs["val_AP"] == pytest.approx(0.55) and logs["val_AP50"] == pytest.approx(1.0)
        scores = {"val_AP/circle": pytest.approx(1.0), "val_AP/star": pytest.approx(0.1)}
        rest = {name: x for name, x in logs.items() if name not in ("loss", "val_AP", "val_AP50")}
        assert rest == (scores if by_class else {})


def test_labels_of_the_data_become_those_of_the_model_by_name(model):
    data = dataclasses.replace(train_data(), examples=train_data().examples[:1])
    ((_, targets),) = batches(model, data, 1).take(1)
    found = {NAMES[label - 1] for label in np.unique(targets["class_logits"]) if label > 0}
    assert found == {data.class_names[label] for label in data.examples[0].labels}


def test_data_with_more_classes_than_the_model_are_refused_before_a_step():
    model = from_preset("ssd192_small_shapes", ["circle"], image_size=(64, 64), width=4)
    with pytest.raises(ValueError, match=r"^the data have objects of square, triangle, star, c"):
        training_dataset(train_data(), model.target_encoder(), (64, 64), 4)
    model.compile("sgd")
    with pytest.raises(ValueError, match=r"^the validation data have objects of star alone, the m"):
        model.fit(np.zeros((1, 64, 64, 3)), callbacks=[ValidationAP(objects_of("star"))], verbose=0)


def test_validation_data_without_objects_are_refused_at_once():
    with pytest.raises(ValueError, match=r"^the validation data \(.*\) have no object in 8 images"):
        ValidationAP(objects_of("owl"))


@pytest.mark.parametrize("labels", [[5], [1, 9]])
def test_labels_that_the_model_lacks_are_refused_by_its_encoder(model, labels):
    encoder, boxes = model.target_encoder(), np.array([[0.1, 0.1, 0.5, 0.5]] * len(labels))
    message = (
        r"a label is 5 or more, but the model has 5 classes \(star, circle, square, cross, "
        r"triangle\): labels count from 0, without background\."
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        encoder(boxes, np.array(labels))
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        tf.function(encoder)(tf.constant(boxes), tf.constant(labels))
    assert (encoder(boxes, np.array(labels) - 5)["class_logits"].numpy() <= 5).all()


def test_another_endless_data_set_is_refused(model):
    dataset = tf.data.Dataset.from_tensors(np.zeros((1, 64, 64, 3))).repeat()
    with pytest.raises(ValueError, match=r"^x has no end; pass steps_per_epoch, the number of bat"):
        model.fit(dataset)
    with pytest.raises(ValueError, match=r"^x has no end; pass steps, the number of batches"):
        model.evaluate(dataset)


def test_targets_that_are_not_the_models_are_refused(model):
    stream = batches(model, train_data())
    numbers = np.zeros((2, 64, 64, 3)), np.zeros(2)
    for others in (stream.map(lambda image, _: image), tf.data.Dataset.from_tensors(numbers)):
        with pytest.raises(ValueError, match=r"^the targets are not those of model\.target_encod"):
            model.fit(others, steps_per_epoch=1, shuffle=False, verbose=0)
    fewer = stream.map(lambda image, target: (image, {k: v[:, 1:] for k, v in target.items()}))
    with pytest.raises(ValueError, match=r"^the targets are of \d+ default boxes, the model"):
        model.fit(fewer, steps_per_epoch=1, verbose=0)
    with pytest.raises(ValueError, match=r"^batch_size=0; expected 1 or more"):
        training_dataset(train_data(), model.target_encoder(), (64, 64), 0)


REFUSED = {
    "a data set": (train_data, r"x is a DetectionData; .* pass ssd_keras\.training_dataset\(data"),
    "a path": (lambda: "voc:a@train", r"x is a text; .* pass ssd_keras\.training_dataset\(data"),
    "shares of 1": (
        lambda: np.linspace(0, 1, 64 * 64 * 3).reshape(1, 64, 64, 3),
        r"x has images with values from 0 to 1; .* expects 0\.\.255",
    ),
    "shares of 1 in a stream": (
        lambda: tf.data.Dataset.from_tensors((tf.fill([2, 64, 64, 3], 0.5), 0)),
        r"x has images with values from 0.5 to 0.5; .* expects 0\.\.255",
    ),
    "single images": (
        lambda: tf.data.Dataset.from_tensors((tf.zeros([64, 64, 3]), 0)),
        r"x has single images of the shape \(64, 64, 3\); .* add \.batch\(16\)",
    ),
    "another size": (
        lambda: tf.data.Dataset.from_tensors((tf.zeros([2, 96, 64, 3]), 0)),
        r"x has images of the shape \(2, 96, 64, 3\); expected \(B, 64, 64, 3\)",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_fit_cannot_use_is_one_line(model, make, message):
    with pytest.raises(ValueError, match=message):
        model.fit(make(), steps_per_epoch=1, verbose=0)


def test_what_only_detect_takes_is_refused_with_its_name(model):
    picture = Image.new("RGB", (64, 64))
    for images in ("a.jpg", Path("a.jpg"), [Path("a.jpg")], picture, [picture], b"\xff\xd8"):
        for call in (model.predict, model):
            with pytest.raises(ValueError, match=r"raw outputs: call model\.detect\("):
                call(images)
    with pytest.raises(ValueError, match=r"predict got a DetectionData; .*model\.evaluate\(data"):
        model.predict(train_data())
    raw = model.predict(np.full((1, 64, 64, 3), 128, np.uint8), verbose=0)
    called = model(np.full((1, 64, 64, 3), 128, np.uint8))
    np.testing.assert_allclose(raw["box_deltas"], called["box_deltas"], atol=1e-5)


def test_evaluate_of_annotated_images_gives_their_metrics(model):
    data = validation_data()
    metrics = model.evaluate(data, batch_size=3)
    assert metrics["coco"] == evaluate(model, data)["coco"]
    assert model.evaluate("synthetic:shapes@val[:2]")["num_images"] == 2
