"""`fit` of an `SSD` in a notebook: epochs end, classes are compared by name."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from trainings import PLAIN, recipe, train_data, validation_data

from ssd_keras import ValidationAP, from_preset, training_dataset
from ssd_keras.data.unions import relabel

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
