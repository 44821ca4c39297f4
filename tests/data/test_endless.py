"""An epoch of an endless stream is one pass over the data."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ssd_keras.core.origin import DataOrigin
from ssd_keras.data.endless import Epoch, call_with_steps, data_of, mark_epoch, steps_of


def stream(batch_size=4, num_images=10):
    """A stream as `training_dataset` makes them: images, and a dictionary of targets."""
    images = tf.data.Dataset.range(np.iinfo(np.int64).max).map(lambda i: (tf.zeros([8, 8, 3]), i))
    epoch = Epoch(DataOrigin(("voc:a@b",), num_images, 30), num_images // batch_size)
    return mark_epoch(images.batch(batch_size, drop_remainder=True).prefetch(2), epoch)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: x.map(lambda image, target: (image / 255, target)).prefetch(3),
        lambda x: x.repeat().with_options(tf.data.Options()),
        lambda x: x.filter(lambda image, target: True),
        lambda x: x.shuffle(4).cache(),
    ],
)
def test_what_is_made_of_a_stream_has_its_epoch(change):
    assert steps_of(change(stream()), "x", "steps_per_epoch") == 2
    assert data_of(change(stream())) == DataOrigin(("voc:a@b",), 10, 30)


def test_what_has_an_end_is_left_alone():
    for value in (stream().take(3), tf.data.Dataset.range(5), np.zeros(3), None, [1, 2]):
        assert steps_of(value, "x", "steps_per_epoch") is None
    assert data_of(np.zeros(3)) is data_of(tf.data.Dataset.range(5)) is data_of(None) is None
    unknown = tf.data.Dataset.range(5).filter(lambda x: x > 2)
    assert steps_of(unknown, "x", "steps_per_epoch") is None


def test_other_endless_data_are_refused():
    message = r"^x has no end; pass steps_per_epoch, the number of batches of an epoch\.$"
    for dataset in (tf.data.Dataset.range(5).repeat(), tf.data.Dataset.zip((stream(), stream()))):
        with pytest.raises(ValueError, match=message):
            steps_of(dataset, "x", "steps_per_epoch")
    message = (
        r"^validation_data has no end, and other batches than training_dataset made; pass "
        r"validation_steps: an epoch is 10 images\.$"
    )
    for dataset in (stream().unbatch(), stream().unbatch().batch(2), stream().batch(2)):
        with pytest.raises(ValueError, match=message):
            steps_of(dataset, "validation_data", "validation_steps")


def test_given_steps_and_other_arguments_stay():
    def fit(self, x=None, epochs=1, validation_data=None, steps_per_epoch=None, **kwargs):
        return x, epochs, validation_data, steps_per_epoch, kwargs

    steps, x = {"x": "steps_per_epoch"}, stream()
    assert call_with_steps(fit, steps, (None, x, 3), {"verbose": 0}) == (
        x, 3, None, 2, {"verbose": 0}
    )  # fmt: skip
    assert call_with_steps(fit, steps, (None,), {"x": x, "steps_per_epoch": 7})[3] == 7
    with pytest.raises(TypeError, match="multiple values"):
        call_with_steps(fit, steps, (None, x), {"x": x})


def test_keras_has_the_arguments_that_ssd_fills_in():
    """Their names are Keras'; under another the stream would never end again."""
    import inspect

    parameters = inspect.signature(keras.Model.fit).parameters
    assert {"x", "steps_per_epoch", "validation_data", "validation_steps"} <= parameters.keys()
    assert {"x", "steps"} <= inspect.signature(keras.Model.evaluate).parameters.keys()
