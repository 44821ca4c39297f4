"""The moving average of weights against NumPy, on both backends: in the step, saved, put to use."""

import keras
import numpy as np
import pytest

from ssd_keras import SSD, DefaultBoxes, ExtraLayer, ExtraLayers
from ssd_keras.core.precision import dtype_policy
from ssd_keras.models.blocks import ConvStyle
from ssd_keras.optimizers import AdamW, CaffeSGD, averaged_weights
from ssd_keras.optimizers.weight_average import averaging_optimizer

pytestmark = pytest.mark.backends


def learner(optimizer, is_frozen=False, run_eagerly=True):
    """A compiled model of two convolutions with batch normalisation, and a batch for it."""
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, 4, padding="same", use_bias=False)(image)
    backbone = keras.Model(image, [keras.layers.BatchNormalization(momentum=0.5)(x)])
    backbone.trainable = not is_frozen
    neck = ExtraLayers((ExtraLayer(4, 8),), style=ConvStyle(batch_norm=True))
    boxes = DefaultBoxes.from_scales((16, 16), 2)
    model = SSD(backbone, boxes, ["cat"], (16, 16), neck=neck)
    model.compile(optimizer, run_eagerly=run_eagerly)
    random = np.random.default_rng(3)
    num_boxes = len(model.default_box_array)
    labels = (random.random((2, num_boxes)) < 0.1).astype("int32")
    deltas = random.normal(size=(2, num_boxes, 4))
    targets = {
        "box_deltas": np.concatenate([deltas, labels[..., None]], axis=-1).astype("float32"),
        "class_logits": labels,
    }
    return model, random.integers(0, 256, (2, 16, 16, 3)).astype("uint8"), targets


def values(variables):
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_decay_rises_to_its_limit():
    optimizer = CaffeSGD(1.0, momentum=0.0, l2_decay=0.0, ema_decay=0.15)
    optimizer.statistics = list
    weight = keras.Variable(np.full((1, 1), -1.0, "float32"), name="kernel")
    optimizer.build([weight])
    averages = []
    for _ in range(4):
        optimizer.apply([keras.ops.full((1, 1), -2.0)], [weight])  # 1, 3, 5, 7
        optimizer.update_averages()
        averages += values(optimizer.averages)
    # The decays are 0 / 9, 1 / 10, and 0.15 in place of 2 / 11 and 3 / 12:
    # 1; 0.1 * 1 + 0.9 * 3 = 2.8; 0.15 * 2.8 + 0.85 * 5 = 4.67; 0.15 * 4.67 + 0.85 * 7 = 6.6505
    np.testing.assert_allclose(np.ravel(averages), [1, 2.8, 4.67, 6.6505], rtol=1e-6)


@pytest.mark.parametrize("is_frozen", [False, True])
def test_a_step_averages_weights_and_the_statistics_of_batch_normalisation(is_frozen):
    is_eager = keras.backend.backend() == "tensorflow" and is_frozen  # faster there, not on JAX
    model, images, targets = learner(AdamW(0.01, ema_decay=0.15), is_frozen, is_eager)
    layers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    weights = [
        *model.trainable_variables,
        *(x for layer in layers for x in (layer.moving_mean, layer.moving_variance)),
    ]
    assert len(model.weights) - len(weights) == 5 * is_frozen  # a kernel, four of the normalisation
    assert len(layers) == 3 - is_frozen
    expected = [0.0 * value for value in values(weights)]
    for decay in (0.0, 0.1, 0.15):
        model.train_on_batch(images, targets)
        steps = zip(expected, values(weights), strict=True)
        expected = [decay * average + (1 - decay) * value for average, value in steps]
    found = values(averaging_optimizer(model).averages)
    for weight, average, other in zip(weights, found, expected, strict=True):
        np.testing.assert_allclose(average, other, rtol=1e-5, atol=1e-6)
        (value,) = values([weight])
        assert np.abs(average - value).max() > 1e-5, weight.path


def test_the_averages_are_in_the_model_inside_a_block():
    model, images, targets = learner(CaffeSGD(0.01, ema_decay=0.9))
    start = values(model.weights)
    with averaged_weights(model):
        assert_equal(values(model.weights), start)  # nothing is averaged so far
    for _ in range(2):
        model.train_on_batch(images, targets)
    pairs = averaging_optimizer(model).pairs()
    weights = values(model.weights)
    averages = values(average for _, average in pairs)
    with pytest.raises(KeyError), averaged_weights(model):
        assert_equal(values(weight for weight, _ in pairs), averages)
        raise KeyError
    assert_equal(values(model.weights), weights)
    assert_equal(values(average for _, average in pairs), averages)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_fit_ends_with_the_averages_and_a_file_keeps_both(tmp_path, precision):
    with dtype_policy(precision):
        model, images, targets = learner(AdamW(0.01, ema_decay=0.25))
    optimizer = averaging_optimizer(model)
    assert (model.optimizer is not optimizer) == (precision == "mixed_float16")
    optimizer.overwrites_weights = False
    model.fit(images, targets, epochs=2, verbose=0)
    model.save(tmp_path / "raw.keras")
    loaded = keras.models.load_model(tmp_path / "raw.keras")
    assert averaging_optimizer(loaded).get_config()["ema_decay"] == 0.25
    assert_equal(values(loaded.weights), values(model.weights))
    assert_equal(values(loaded.optimizer.variables), values(model.optimizer.variables))
    assert averaging_optimizer(loaded).overwrites_weights
    loaded.run_eagerly = True
    loaded.fit(images, targets, verbose=0)
    pairs = averaging_optimizer(loaded).pairs()
    assert len(pairs) == len(optimizer.pairs()) == 23
    assert_equal(*(values(column) for column in zip(*pairs, strict=True)))
    # The third step went on from the averages of two: those of the model that kept its weights.
    model.fit(images, targets, verbose=0)
    for (_, one), (_, other) in zip(pairs, optimizer.pairs(), strict=True):
        np.testing.assert_allclose(*values([one, other]), rtol=1e-5, atol=1e-6)


def test_what_cannot_be_averaged_is_refused():
    with pytest.raises(ValueError, match=r"^ema_decay=1\.5 must be between 0, which is off, and 1"):
        AdamW(0.1, ema_decay=1.5)
    with pytest.raises(ValueError, match=r"^ema_decay=0\.5 is for an SSD, whose training step ave"):
        CaffeSGD(0.1, ema_decay=0.5).build([keras.Variable([1.0])])
