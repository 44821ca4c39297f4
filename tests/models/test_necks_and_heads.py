"""FPN, PAN and shared head against NumPy; parts by name; other classes with a shared head."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.core.parts import make_part
from ssd_keras.models import (
    FPN,
    PAN,
    SSD,
    ConvStyle,
    ExtraLayer,
    ExtraLayers,
    SharedHead,
    SSDHead,
    with_classes,
)

pytestmark = pytest.mark.backends

PLAIN = ConvStyle(activation="linear")
SIZES = ((5, 7), (3, 4))  # the coarse map, enlarged twice, is cut to 5 x 7


def random_maps(channels):
    generator = np.random.default_rng(4)
    sizes = zip(SIZES, channels, strict=True)
    return [generator.normal(size=(2, *size, count)).astype("float32") for size, count in sizes]


def part_model(part, maps, *arguments):
    """A model of a neck or head, with weights that no initialiser gives."""
    inputs = [keras.Input(x.shape[1:]) for x in maps]
    model = keras.Model(inputs, part(inputs, *arguments))
    generator = np.random.default_rng(5)
    model.set_weights([generator.uniform(0.1, 1.0, weight.shape) for weight in model.weights])
    return model


def run(model, maps):
    return keras.tree.map_structure(ops.convert_to_numpy, model(maps))


def pointwise(x, layer):
    kernel, *bias = layer.get_weights()
    return np.einsum("bhwc,cf->bhwf", x, kernel[0, 0]) + (bias[0] if bias else 0)


# FPN


def test_fpn_is_laterals_plus_the_enlarged_coarser_sum():
    maps = random_maps((3, 6))
    model = part_model(FPN(4, kernel_size=1, style=PLAIN), maps)
    fine, coarse = (
        pointwise(x, model.get_layer(f"fpn{n}_lateral")) for n, x in enumerate(maps, start=1)
    )
    # Cell (row, column) of the fine map lies in cell (row // 2, column // 2) of the coarse one.
    rows, columns = np.meshgrid(np.arange(5) // 2, np.arange(7) // 2, indexing="ij")
    expected = fine + coarse[:, rows, columns]
    found = run(model, maps)
    np.testing.assert_allclose(found[0], pointwise(expected, model.get_layer("fpn1")), rtol=1e-5)
    np.testing.assert_allclose(found[1], pointwise(coarse, model.get_layer("fpn2")), rtol=1e-5)


def test_extra_levels_halve_the_last_map():
    model = part_model(FPN(4, 2, kernel_size=1, style=PLAIN), random_maps((3, 6)))
    maps = random_maps((3, 6))
    *_, third, fourth, fifth = [*run(model, maps)]
    assert [x.shape[1:] for x in (third, fourth, fifth)] == [(3, 4, 4), (2, 2, 4), (1, 1, 4)]
    # A 1x1 convolution of stride 2 looks at each second cell.
    halved = pointwise(third[:, ::2, ::2], model.get_layer("fpn3"))
    np.testing.assert_allclose(fourth, halved, rtol=1e-5)
    np.testing.assert_allclose(fifth, pointwise(fourth[:, :1, :1], model.get_layer("fpn4")), 1e-5)


# PAN


def test_pan_adds_the_halved_finer_result():
    maps = random_maps((4, 4))
    model = part_model(PAN(kernel_size=1, style=PLAIN), maps)
    found = run(model, maps)
    np.testing.assert_array_equal(found[0], maps[0])
    # 5 x 7 cells, of which a 1x1 convolution of stride 2 takes each second: 3 x 4.
    halved = pointwise(maps[0][:, ::2, ::2], model.get_layer("pan2_reduced"))
    expected = pointwise(maps[1] + halved, model.get_layer("pan2"))
    np.testing.assert_allclose(found[1], expected, rtol=1e-5)


def test_a_path_of_three_maps_starts_from_the_smoothed_sum():
    maps = [*random_maps((4, 4)), np.full((2, 2, 2, 4), 0.5, "float32")]
    model = part_model(PAN(kernel_size=1, style=PLAIN), maps)
    found = run(model, maps)
    halved = pointwise(found[1][:, ::2, ::2], model.get_layer("pan3_reduced"))
    expected = pointwise(maps[2] + halved, model.get_layer("pan3"))
    np.testing.assert_allclose(found[2], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(8, 8, 4), (4, 4, 5)], r"got 4, 5: put an FPN before it"),
        ([(8, 8, 4), (2, 2, 4)], r"to 4x4 cells, and the next has 2x2; use feature maps"),
    ],
)
def test_pan_needs_equal_channels_and_neighbouring_strides(shapes, message):
    with pytest.raises(ValueError, match=message):
        PAN()([keras.Input(shape) for shape in shapes])


# Shared head


def test_shared_head_has_one_kernel_and_its_own_normalisation_on_each_map():
    maps = random_maps((6, 6))
    style = ConvStyle(batch_norm=True, activation="relu", epsilon=0.25)
    head = SharedHead(4, 1, 1, is_tower_shared=True, style=style)
    model = part_model(head, maps, [2, 2], 3)
    deltas, logits = run(model, maps)
    for index, x in enumerate(maps):
        x = pointwise(x, model.get_layer("tower1"))
        gamma, beta, mean, variance = model.get_layer(f"tower1_map{index + 1}_bn").get_weights()
        x = np.maximum(gamma * (x - mean) / np.sqrt(variance + 0.25) + beta, 0)
        np.testing.assert_allclose(deltas[index], pointwise(x, model.get_layer("box_head")), 1e-4)
        np.testing.assert_allclose(logits[index], pointwise(x, model.get_layer("class_head")), 1e-4)
        assert deltas[index].shape[-1] == 2 * 4 and logits[index].shape[-1] == 2 * 3


def test_towers_apart_and_separable_are_counted():
    model = part_model(SharedHead(8, 2, 3), random_maps((6, 6)), [1, 1], 4)
    # A tower: depthwise 9 * 6 and 1x1 6 * 8, then 9 * 8 and 8 * 8; for each of two maps and
    # convolutions scale and offset of 8 channels. Predictions: 9 * 8, then 8 * 4 + 4 for boxes
    # and as many for classes.
    tower = 9 * 6 + 6 * 8 + 9 * 8 + 8 * 8 + 2 * 2 * 2 * 8
    prediction = 9 * 8 + 8 * 4 + 4
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == 2 * (tower + prediction)


def test_towers_may_have_kernels_of_their_own_on_each_map():
    maps = random_maps((6, 6))
    head = SharedHead(
        4, 2, 1, True, ConvStyle(activation="relu"), prior_probability=None, has_map_kernels=True
    )
    model = part_model(head, maps, [2, 2], 3)
    deltas, _ = run(model, maps)
    for index, x in enumerate(maps, start=1):
        for number in (1, 2):
            x = np.maximum(pointwise(x, model.get_layer(f"tower{number}_map{index}")), 0)
        expected = pointwise(x, model.get_layer("box_head"))
        np.testing.assert_allclose(deltas[index - 1], expected, 1e-4, 1e-6)
    # Two layers on two maps, and two predictions that all maps share.
    assert len(model.trainable_weights) == 2 * (2 * 2 + 2)
    config = keras.saving.serialize_keras_object(head)
    again = keras.saving.deserialize_keras_object(config)
    assert again == head and again.has_map_kernels
    del config["config"]["has_map_kernels"]  # as in older files
    assert not keras.saving.deserialize_keras_object(config).has_map_kernels


def test_shared_head_needs_equal_maps():
    maps = [keras.Input((4, 4, 6)), keras.Input((2, 2, 8))]
    message = r"got 2, 2 boxes per cell and 6, 8 channels: use other default boxes, or an FPN"
    with pytest.raises(ValueError, match=message):
        SharedHead()(maps, [2, 2], 3)
    with pytest.raises(ValueError, match=r"got 2, 3 boxes per cell and 6, 6 channels"):
        SharedHead()([maps[0], keras.Input((2, 2, 6))], [2, 3], 3)


@pytest.mark.parametrize("head", [SSDHead(prior_probability=0.02), SharedHead(4, 0)])
def test_prior_probability_is_the_first_score(head):
    maps = [np.zeros((1, *size, 4), "float32") for size in SIZES]
    inputs = [keras.Input(x.shape[1:]) for x in maps]
    logits = run(keras.Model(inputs, head(inputs, [2, 2], 4)[1]), maps)
    prior = head.prior_probability  # of images of zeros the bias alone is left
    scores = 1 / (1 + np.exp(-logits[0].reshape(-1, 4)))
    np.testing.assert_allclose(scores, np.tile([0.5, prior, prior, prior], (70, 1)), rtol=1e-5)
    with pytest.raises(ValueError, match=r"^prior_probability=1 must be between 0 and 1"):
        SSDHead(prior_probability=1)(inputs, [1, 1], 2)


# In a model


def pyramid_model(class_names=("cat", "dog", "cow")) -> SSD:
    image = keras.Input((32, 48, 3))
    fine = layers.Conv2D(6, 3, 8, padding="same", activation="relu")(image)
    coarse = layers.Conv2D(5, 3, 2, padding="same", activation="relu")(fine)
    return SSD(
        keras.Model(image, [fine, coarse]),
        DefaultBoxes.explicit([[(8, 8), (8, 16)], [(16, 16), (20, 9)], [(30, 30), (32, 48)]]),
        class_names,
        (32, 48),
        neck=[ExtraLayers((ExtraLayer(3, 7),)), FPN(8), PAN(3)],
        head=SharedHead(8, 1),
        activation="sigmoid",
    )


def test_necks_in_a_row_and_shared_head_are_saved(tmp_path):
    model = pyramid_model()
    assert model.feature_sizes == ((4, 6), (2, 3), (1, 2))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert (loaded.neck, loaded.head) == (model.neck, model.head)
    images = np.random.default_rng(6).integers(0, 256, (2, 32, 48, 3)).astype("uint8")
    found, expected = run(loaded, images), run(model, images)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    assert found["box_deltas"].shape == (2, 2 * (24 + 6 + 2), 4)


def test_other_classes_of_a_shared_head():
    old = pyramid_model()
    new = with_classes(old, ["cow", "moon", "cat"], new_rows="mean")
    images = np.random.default_rng(7).integers(0, 256, (2, 32, 48, 3)).astype("uint8")
    before, after = run(old, images), run(new, images)
    np.testing.assert_array_equal(after["box_deltas"], before["box_deltas"])
    logits = before["class_logits"]
    np.testing.assert_allclose(after["class_logits"][..., [0, 1, 3]], logits[..., [0, 3, 1]], 1e-4)
    mean = logits[..., 1:].mean(axis=-1)
    np.testing.assert_allclose(after["class_logits"][..., 2], mean, rtol=1e-4)


def test_another_size_that_needs_another_cut():
    # Maps of 4x6, 2x3 and 1x2: the third, enlarged to 2x3, is cut; at 64x64 maps of 8, 4 and 2
    # cells need no cut.
    new = with_classes(pyramid_model(), ["cat"], image_size=(64, 64))
    assert new.feature_sizes == ((8, 8), (4, 4), (2, 2))
    old_kernel = pyramid_model().get_layer("fpn1").get_weights()[0]
    assert new.get_layer("fpn1").get_weights()[0].shape == old_kernel.shape
    again = with_classes(new, ["cat"], image_size=(32, 48))  # and back
    found = run(again, np.ones((1, 32, 48, 3), "uint8"))["box_deltas"]
    assert found.shape == (1, 64, 4) and np.ptp(found) > 0
    for one, other in zip(again.get_weights(), new.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ExtraLayers([[1]]), r"^\[1\] is not an extra layer; expected bottleneck, filters"),
        (lambda: ExtraLayers([["a", 2]]), r"^bottleneck='a' must be a whole number of 1 or more"),
        (lambda: FPN(0), r"^filters=0 must be a whole number of 1 or more"),
        (lambda: PAN(0), r"^kernel_size=0 must be a whole number of 1 or more"),
        (lambda: FPN(extra_levels=-1), r"^extra_levels=-1 must be a whole number of 0 or more"),
        (lambda: SharedHead(depth=-1), r"^depth=-1 must be a whole number of 0 or more"),
    ],
)
def test_impossible_parts_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_parts_by_name():
    table = {"type": "extra_layers", "layers": [[6, 10], [5, 7, 2]], "feature_maps": [0, 2]}
    expected = ExtraLayers((ExtraLayer(6, 10), ExtraLayer(5, 7, 2)), feature_maps=(0, 2))
    assert make_part("neck", table) == expected
    assert make_part("head", {"type": "shared", "depth": 2}) == SharedHead(depth=2)
    with pytest.raises(ValueError, match=r"^neck 'fpm' is unknown; did you mean 'fpn'\?"):
        make_part("neck", {"type": "fpm"})
    with pytest.raises(ValueError, match=r"^head: option 'dept' is unknown; did you mean 'depth'"):
        make_part("head", {"type": "shared", "dept": 2})
