"""Layers against numbers worked by hand and plain NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from ssd_keras.models import layers
from ssd_keras.models.layers import (
    AtrousConv2D,
    BatchNormalization,
    L2Normalize,
    Preprocessor,
)

pytestmark = pytest.mark.backends


def numbers(tensor) -> np.ndarray:
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_preprocessor_subtracts_scales_and_turns_to_bgr(dtype):
    layer = Preprocessor(mean=(10, 120, 30), scale=(0.5, 2.0, 0.1), channel_order="bgr")
    images = np.array([[[[200, 100, 50], [0, 255, 30]]]], dtype)
    # (200 - 10) * 0.5 = 95, (100 - 120) * 2 = -40 (no wrap below 0), (50 - 30) * 0.1 = 2;
    # (0 - 10) * 0.5 = -5, (255 - 120) * 2 = 270, 0; each with blue first
    expected = [[[[2.0, -40.0, 95.0], [0.0, 270.0, -5.0]]]]
    np.testing.assert_allclose(numbers(layer(images)), expected, rtol=1e-6)


def test_preprocessor_keeps_rgb_and_values_by_default():
    images = np.array([[[[200.25, 100.5, 50.0]]]], "float32")
    np.testing.assert_array_equal(numbers(Preprocessor()(images)), images)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_preprocessor_subtracts_in_float32_under_mixed_precision(policy):
    layer = Preprocessor(mean=(200.5, 100.25, 0.0), dtype=policy)
    result = layer(np.array([[[[201, 100, 255]]]], "uint8"))
    assert keras.backend.standardize_dtype(result.dtype) == policy.removeprefix("mixed_")
    # bfloat16 has neither 200.5 nor 100.25: it would give 1 or 0, and 0
    np.testing.assert_array_equal(numbers(result), [[[[0.5, -0.25, 255.0]]]])


def test_preprocessor_config_is_its_arguments():
    arguments = {"mean": (1.0, 2.5, 3.0), "scale": (0.1, 0.2, 0.3), "channel_order": "bgr"}
    layer = Preprocessor(**arguments, name="mine")
    config = layer.get_config()
    assert {name: config[name] for name in arguments} == arguments
    images = np.array([[[[9.0, 8.0, 7.0]]]], "float32")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.name == "mine"
    # (7 - 3) * 0.3, (8 - 2.5) * 0.2, (9 - 1) * 0.1
    np.testing.assert_allclose(numbers(again(images)), [[[[1.2, 1.1, 0.8]]]], rtol=1e-6)


def test_preprocessor_names_the_channel_orders():
    with pytest.raises(ValueError, match=r"channel_order='BGR' is unknown; choose 'rgb' or 'bgr'"):
        Preprocessor(channel_order="BGR")


def test_l2_normalize_equals_its_formula():
    generator = np.random.default_rng(3)
    features = generator.normal(scale=50.0, size=(2, 3, 4, 5)).astype("float32")
    scale = generator.uniform(1.0, 30.0, size=5).astype("float32")
    layer = L2Normalize()
    layer.build(features.shape)
    layer.scale.assign(scale)
    expected = features / np.sqrt((features**2).sum(axis=-1, keepdims=True)) * scale
    np.testing.assert_allclose(numbers(layer(features)), expected, rtol=1e-5)


def test_l2_normalize_starts_from_the_initial_scale_in_every_channel():
    layer = L2Normalize(initial_scale=7.0)
    # 3, 4 and 0: length 5
    np.testing.assert_allclose(
        numbers(layer(np.array([[[[3.0, 4.0, 0.0]]]], "float32"))), [[[[4.2, 5.6, 0.0]]]], rtol=1e-6
    )
    np.testing.assert_array_equal(
        numbers(L2Normalize()(np.eye(2)[None, None])), 20 * np.eye(2)[None, None]
    )
    assert [weight.name for weight in layer.trainable_weights] == ["scale"]


def test_l2_normalize_of_nothing_is_nothing():
    np.testing.assert_array_equal(
        numbers(L2Normalize()(np.zeros((1, 2, 2, 3), "float32"))), np.zeros((1, 2, 2, 3))
    )


def test_l2_normalize_sums_squares_in_float32_under_mixed_precision():
    layer = L2Normalize(dtype="mixed_float16")
    result = layer(np.full((1, 1, 1, 512), 300.0, "float16"))
    assert keras.backend.standardize_dtype(result.dtype) == "float16"
    # 512 * 300^2 is far above float16's 65504; 20 / sqrt(512) = 0.88388
    np.testing.assert_allclose(numbers(result), np.full((1, 1, 1, 512), 0.88388), rtol=1e-3)


def test_l2_normalize_config_is_its_arguments():
    layer = L2Normalize(initial_scale=11.0, name="conv4_3_norm")
    assert layer.get_config()["initial_scale"] == 11.0
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    result = numbers(again(np.array([[[[0.6, 0.8]]]], "float32")))
    np.testing.assert_allclose(result, [[[[6.6, 8.8]]]], rtol=1e-6)
    assert again.name == "conv4_3_norm"


def training_step(layer, images, weights):
    """Outputs, weights after the step and, on TensorFlow, gradients of weighted outputs."""
    if keras.backend.backend() != "tensorflow":
        return numbers(layer(images, training=True)), layer.get_weights(), []
    import tensorflow as tf

    images = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images, training=True)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * weights)
    gradients = tape.gradient(loss, [images, *layer.trainable_variables])
    return numbers(outputs), layer.get_weights(), [numbers(one) for one in gradients]


ODD = {"momentum": 0.7, "epsilon": 1e-5}


@pytest.mark.parametrize("shape", [(4, 5, 6, 3), (1, 1, 1, 2), (2, 1, 2, 1), (7, 3)])
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}])
def test_batch_normalization_trains_as_keras_layer(shape, options):
    generator = np.random.default_rng(5)
    pair = [
        kind(**ODD, **options) for kind in (keras.layers.BatchNormalization, BatchNormalization)
    ]
    for layer in pair:
        layer.build(shape)
    start = [generator.uniform(0.5, 2, weight.shape) for weight in pair[0].weights]
    for layer in pair:
        layer.set_weights(start)
    for _ in range(2):
        images = generator.normal(3, 4, shape).astype("float32")
        weights = generator.normal(size=shape).astype("float32")
        expected, found = (training_step(layer, images, weights) for layer in pair)
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-4, atol=1e-5)
        for ours, theirs in zip(found[1], expected[1], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
        for ours, theirs in zip(found[2], expected[2], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    # The statistics of two steps moved, and inference uses them.
    assert not np.allclose(pair[1].get_weights()[-1], start[-1], rtol=1e-2)
    np.testing.assert_allclose(numbers(pair[1](images)), numbers(pair[0](images)), atol=1e-5)


def test_batch_normalization_in_bfloat16_keeps_float32_statistics():
    layer = BatchNormalization(momentum=0.5, dtype="mixed_bfloat16")
    images = np.array([1.0, 3.0, 5.0, 7.0], "float32").reshape(1, 2, 2, 1)
    result = layer(images, training=True)
    assert keras.backend.standardize_dtype(result.dtype) == "bfloat16"
    # Mean 4, squares of distances 9, 1, 1, 9: variance 5; half of each, and of 0 and 1 before.
    np.testing.assert_allclose(layer.get_weights()[2:], [[2.0], [3.0]], rtol=1e-6)
    expected = (images - 4) / np.sqrt(5.001)
    np.testing.assert_allclose(numbers(result), expected, atol=0.01)


def test_a_frozen_batch_normalization_keeps_its_statistics():
    layer = BatchNormalization(trainable=False)
    images = np.array([1.0, 3.0, 5.0, 7.0], "float32").reshape(1, 2, 2, 1)
    result = numbers(layer(images, training=True))
    np.testing.assert_allclose(result, images / np.sqrt(1.001), rtol=1e-6)
    np.testing.assert_array_equal(layer.get_weights()[2:], [[0.0], [1.0]])


@pytest.mark.parametrize("rate", [(2, 2), (2, 3), (6, 6)])
def test_atrous_convolution_equals_its_sum(rate):
    generator = np.random.default_rng(5)
    features = generator.normal(size=(2, 7, 5, 3)).astype("float32")
    layer = AtrousConv2D(4, 3, padding="same", dilation_rate=rate)
    layer.build(features.shape)
    kernel = generator.normal(size=(3, 3, 3, 4)).astype("float32")
    layer.kernel.assign(kernel)
    padded = np.pad(features, [(0, 0), (rate[0],) * 2, (rate[1],) * 2, (0, 0)])
    expected = sum(
        padded[:, y * rate[0] : y * rate[0] + 7, x * rate[1] : x * rate[1] + 5] @ kernel[y, x]
        for y in range(3)
        for x in range(3)
    )
    np.testing.assert_allclose(numbers(layer(features)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("has_gradient", [True, False])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_atrous_convolution_learns_what_keras_layer_does(padding, has_gradient, monkeypatch):
    if not has_gradient:  # as on a CPU without oneDNN
        monkeypatch.setattr(layers, "_has_atrous_gradient", lambda: False)
    generator = np.random.default_rng(6)
    features = generator.normal(size=(2, 9, 8, 3)).astype("float32")
    kernel = generator.normal(size=(3, 3, 3, 4)).astype("float32")
    learned = []
    for layer_class in (keras.layers.Conv2D, AtrousConv2D):
        first = keras.layers.Conv2D(3, 1, kernel_initializer="ones")  # sees the inputs' gradient
        layer = layer_class(4, 3, padding=padding, dilation_rate=(2, 3))
        model = keras.Sequential([keras.Input((9, 8, 3)), first, layer])
        layer.kernel.assign(kernel)
        model.compile(keras.optimizers.SGD(0.01), "mse")
        targets = np.ones((2, *model.output_shape[1:]), "float32")
        model.train_on_batch(features, targets)
        learned.append([numbers(weight) for weight in model.trainable_weights])
    assert np.abs(learned[0][2] - kernel).max() > 1e-3
    for keras_weight, weight in zip(*learned, strict=True):
        np.testing.assert_allclose(weight, keras_weight, rtol=1e-4, atol=1e-5)


def test_atrous_convolution_is_saved(tmp_path):
    model = keras.Sequential(
        [keras.Input((9, 8, 3)), AtrousConv2D(4, 3, dilation_rate=(2, 3), name="fc6")]
    )
    model.save(tmp_path / "model.keras")
    layer = keras.models.load_model(tmp_path / "model.keras").layers[0]
    assert type(layer) is AtrousConv2D and layer.dilation_rate == (2, 3) and layer.name == "fc6"
    np.testing.assert_array_equal(numbers(layer.kernel), numbers(model.layers[0].kernel))
