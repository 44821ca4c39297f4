"""Backbones: shapes, published numbers of parameters, imported and folded weights."""

import functools

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from quick_weights import use_quick_weights

from ssd_keras.models import (
    ResNetOptions,
    VGG16Options,
    build_ssd,
    ssd_resnet,
    ssd_vgg16,
    ssdlite_mobilenet_v3_large,
)
from ssd_keras.models.backbones.mobilenet import mobilenet_v2, mobilenet_v3_large
from ssd_keras.models.backbones.mobilenet_v1 import mobilenet_v1
from ssd_keras.models.backbones.resnet import resnet18, resnet50, resnet_stages
from ssd_keras.models.backbones.surgery import (
    feature_extractor,
    fold_batch_norm,
    fold_padding,
    restride,
)
from ssd_keras.models.backbones.vgg import vgg16
from ssd_keras.models.backbones.weights import load_weights

NINETY = [f"class {index}" for index in range(90)]


@pytest.fixture(autouse=True)
def quick_weights(monkeypatch):
    use_quick_weights(monkeypatch)


def trainable(model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def feature_shapes(backbone) -> list[tuple]:
    return [feature_map.shape[1:] for feature_map in backbone.outputs]


def make_images(size: int = 64, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(2, size, size, channels)).astype("float32")


def outputs(model, images) -> list[np.ndarray]:
    found = model(images)
    found = found if isinstance(found, list) else [found]
    return [keras.ops.convert_to_numpy(each) for each in found]


def assert_same_outputs(model, other, images, **tolerance):
    for found, expected in zip(outputs(model, images), outputs(other, images), strict=True):
        assert np.ptp(expected) > 0
        np.testing.assert_allclose(found, expected, **tolerance)


def randomize(model, seed: int = 4) -> None:
    """Batch normalisation statistics and biases that no initialiser gives."""
    generator = np.random.default_rng(seed)
    ranges = {
        "gamma": (0.5, 1.5),
        "beta": (-0.5, 0.5),
        "moving_mean": (-0.3, 0.3),
        "moving_variance": (0.5, 2.0),
        "bias": (-0.1, 0.1),
    }
    for weight in model.weights:
        if weight.name in ranges:
            weight.assign(generator.uniform(*ranges[weight.name], weight.shape))


# VGG16


def test_vgg16_gives_the_papers_maps():
    backbone = vgg16((300, 300))
    assert feature_shapes(backbone) == [(38, 38, 512), (19, 19, 1024)]
    names = [layer.name for layer in backbone.layers if isinstance(layer, layers.Conv2D)]
    assert names == [
        "conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3",
        "conv4_1", "conv4_2", "conv4_3", "conv5_1", "conv5_2", "conv5_3", "fc6", "fc7",
    ]  # fmt: skip
    fc6, pool5 = backbone.get_layer("fc6"), backbone.get_layer("pool5")
    assert (fc6.kernel_size, fc6.dilation_rate) == ((3, 3), (6, 6))
    assert (pool5.pool_size, pool5.strides) == ((3, 3), (1, 1))


def test_full_vgg16_of_the_ablation():
    backbone = vgg16((300, 300), atrous=False)
    assert feature_shapes(backbone) == [(38, 38, 512), (19, 19, 512), (10, 10, 4096)]
    fc6 = backbone.get_layer("fc6")
    assert (fc6.kernel_size, fc6.dilation_rate) == ((7, 7), (1, 1))


@pytest.mark.slow
def test_ablation_without_atrous_keeps_the_default_boxes():
    model = ssd_vgg16((300, 300), ["cat"], VGG16Options(atrous=False))
    assert [rows for rows, _ in model.feature_sizes] == [38, 19, 10, 5, 3, 1]
    np.testing.assert_array_equal(
        model.default_box_array, ssd_vgg16((300, 300), ["cat"]).default_box_array
    )


def test_conv4_3_is_normalised_to_length_20():
    images = 50 * make_images(32)
    fine, _ = outputs(vgg16((32, 32)), images)
    np.testing.assert_allclose(np.linalg.norm(fine, axis=-1), np.full((2, 4, 4), 20.0), rtol=1e-4)
    fine, _ = outputs(vgg16((32, 32), normalize=False), images)
    assert np.abs(np.linalg.norm(fine, axis=-1) - 20).min() > 1


@pytest.fixture(scope="module")
def random_imagenet():
    """Keras' VGG16 with random weights instead of ImageNet's."""
    network = keras.applications.VGG16(weights=None)
    randomize(network)
    return network


@pytest.mark.slow
@pytest.mark.parametrize("atrous", [True, False])
def test_vgg16_takes_over_imagenet(monkeypatch, random_imagenet, atrous):
    monkeypatch.setattr(keras.applications, "VGG16", lambda weights, include_top: random_imagenet)
    backbone = vgg16((64, 64), atrous, weights="imagenet")

    def weights(layer):
        return (keras.ops.convert_to_numpy(weight) for weight in backbone.get_layer(layer).weights)

    def imagenet(layer):
        return random_imagenet.get_layer(layer).get_weights()

    pairs = {"conv1_1": "block1_conv1", "conv3_3": "block3_conv3", "conv5_2": "block5_conv2"}
    for name, source in pairs.items():
        for found, expected in zip(weights(name), imagenet(source), strict=True):
            np.testing.assert_array_equal(found, expected)

    (fc1, fc1_bias), (fc2, fc2_bias) = imagenet("fc1"), imagenet("fc2")
    (fc6, fc6_bias), (fc7, fc7_bias) = weights("fc6"), weights("fc7")
    fc1 = fc1.reshape(7, 7, 512, 4096)
    # Rows and columns 0, 3, 6 of 7; every fourth of 4096 channels: with 3x3 cells 6 apart, they
    # stand at two thirds of the distance that they had over the unpooled map.
    every, step = (np.array([0, 3, 6]), 4) if atrous else (np.arange(7), 1)
    np.testing.assert_array_equal(fc6, fc1[every[:, None], every][..., ::step])
    np.testing.assert_array_equal(fc6_bias, fc1_bias[::step])
    np.testing.assert_array_equal(fc7[0, 0], fc2[::step, ::step])
    np.testing.assert_array_equal(fc7_bias, fc2_bias[::step])
    if atrous:
        assert fc6[1, 2, 5, 7] == fc1[3, 6, 5, 28] and fc7[0, 0, 3, 5] == fc2[12, 20]


# Parameters as published


def test_resnets_have_the_published_parameters():
    # torchvision's resnet18 and resnet50 without the classifiers of 1000 * 512 and 1000 * 2048
    # weights and 1000 biases
    assert trainable(resnet_stages((64, 64), 18)) == 11_689_512 - 513_000
    assert trainable(resnet_stages((64, 64), 50)) == 25_557_032 - 2_049_000


def test_ssdlite_has_torchvisions_parameters():
    model = ssdlite_mobilenet_v3_large((320, 320), NINETY)
    assert trainable(model) == 3_440_060


def test_ssd300_has_torchvisions_parameters():
    assert trainable(ssd_vgg16((300, 300), NINETY)) == 35_641_826


def test_maps_of_the_other_backbones():
    assert feature_shapes(resnet18((300, 300))) == [(38, 38, 256)]
    assert feature_shapes(resnet50((300, 300))) == [(38, 38, 1024)]
    assert feature_shapes(mobilenet_v3_large((320, 320))) == [(20, 20, 672), (10, 10, 480)]
    assert feature_shapes(mobilenet_v1((300, 300))) == [(19, 19, 512), (10, 10, 1024)]
    default_maps = feature_shapes(mobilenet_v2((320, 320), alpha=0.35, batch_norm=False))
    assert default_maps == [(20, 20, 192), (10, 10, 1280)]


def test_kernels_start_as_caffes_xavier(monkeypatch):
    monkeypatch.undo()  # the weights of `quick_weights`
    model = ssd_vgg16((300, 300), ["cat"])
    # Uniform in +-sqrt(3 / fan_in); the largest of many is close to that.
    for name, fan_in in (("class_head1", 9 * 512), ("extra1_1", 1024), ("extra4_2", 9 * 128)):
        kernel, bias = model.get_layer(name).get_weights()
        limit = (3 / fan_in) ** 0.5
        assert 0.99 * limit < np.abs(kernel).max() <= limit
        assert kernel.std() == pytest.approx(limit / 3**0.5, rel=0.02)
        assert not bias.any()


# Folding and restriding


@functools.cache
def classifier():
    """Keras' MobileNetV2, small, with random weights and statistics."""
    network = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None)
    randomize(network)
    return network


def test_folding_batch_norm_keeps_the_outputs():
    network = feature_extractor(classifier(), ["out_relu"])
    folded = fold_batch_norm(network)
    assert_same_outputs(folded, network, make_images(96), atol=1e-4, rtol=1e-4)
    # 52 convolutions: a kernel and four vectors of statistics each become a kernel and a bias.
    assert (len(network.weights), len(folded.weights)) == (52 * 5, 52 * 2)
    kinds = {type(layer).__name__ for layer in folded.layers}
    assert "BatchNormalization" not in kinds and "DepthwiseConv2D" in kinds
    cut = mobilenet_v2((64, 64), ["block_6_expand_relu"], 0.35, batch_norm=False)
    assert trainable(cut) == sum(int(np.prod(weight.shape)) for weight in cut.weights)


def test_folding_respects_biases_and_missing_scales():
    image = keras.Input((8, 8, 3))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(image)
    x = layers.BatchNormalization(scale=False, epsilon=0.1)(x)
    x = layers.Conv2D(4, 1)(x)
    network = keras.Model(image, layers.BatchNormalization(center=False)(x))
    randomize(network)
    assert_same_outputs(fold_batch_norm(network), network, make_images(8), atol=1e-5)


@pytest.mark.parametrize(
    "before",
    [layers.ReLU(name="before"), layers.Conv2D(3, 1, activation="relu", name="before")],
    ids=["no convolution", "activation inside"],
)
def test_folding_refuses_what_it_would_change(before):
    image = keras.Input((8, 8, 3))
    network = keras.Model(image, layers.BatchNormalization(name="norm")(before(image)))
    with pytest.raises(
        ValueError,
        match=r"batch normalisation 'norm' cannot be folded into 'before': expected a convolution",
    ):
        fold_batch_norm(network)


@pytest.mark.parametrize("size", [(96, 64), (95, 77)])  # even sides are padded at the end alone
def test_folding_the_padding_keeps_the_outputs(size):
    network = keras.applications.MobileNetV2((*size, 3), 0.35, include_top=False, weights=None)
    randomize(network)
    folded = fold_padding(network)
    kinds = [type(layer).__name__ for layer in folded.layers]
    assert "ZeroPadding2D" not in kinds and kinds.count("Identity") == 4
    images = np.random.default_rng(2).uniform(-1, 1, (2, *size, 3)).astype("float32")
    assert_same_outputs(folded, network, images, atol=1e-5)


@pytest.mark.parametrize("zeros", [1, ((1, 0), (1, 0))])  # "same" pads 0 before and 1 after
def test_other_padding_stays(zeros):
    image = keras.Input((8, 8, 3))
    x = layers.ZeroPadding2D(zeros)(image)
    network = keras.Model(image, layers.Conv2D(4, 3, 2)(x))
    randomize(network)
    folded = fold_padding(network)
    assert isinstance(folded.layers[1], layers.ZeroPadding2D)
    assert_same_outputs(folded, network, make_images(8), atol=1e-6)


def test_restriding_keeps_the_weights():
    network = resnet_stages((64, 64), 18, num_stages=3)
    randomize(network)
    finer = restride(network, {"conv4_block1_0": 1, "conv4_block1_1": 1})
    assert (network.output.shape, finer.output.shape) == ((None, 4, 4, 256), (None, 8, 8, 256))
    for found, expected in zip(finer.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    built = resnet_stages((64, 64), 18, num_stages=3, strides=(1, 2, 1))
    built.set_weights(network.get_weights())
    assert_same_outputs(finer, built, make_images(), atol=1e-5)
    with pytest.raises(ValueError, match=r"backbone 'resnet18' has no layer 'conv9' to change"):
        restride(network, {"conv9": 1})


# Imported weights


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("VGG16", lambda: vgg16((64, 64), weights="imagenet")),
        ("ResNet50", lambda: resnet50((64, 64), weights="imagenet")),
        ("MobileNetV2", lambda: mobilenet_v2((64, 64), alpha=0.35, weights="imagenet")),
    ],
)
def test_imagenet_out_of_reach_is_an_error(monkeypatch, name, build):
    def offline(*arguments, weights="imagenet", **options):
        if weights == "imagenet":
            raise Exception("URL fetch failure on https://example.org:\n None -- no network")
        # No network otherwise: the failure comes before one is needed.

    monkeypatch.setattr(keras.applications, name, offline)
    with pytest.raises(
        ValueError,
        match=r"^ImageNet weights could not be downloaded \(URL fetch failure .* no network\); "
        r"download this file on another machine and pass --backbone-weights FILE, or "
        r"start from random weights: --backbone-weights random \(in Python backbone_weights=",
    ) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_backbones_without_imagenet_say_so():
    with pytest.raises(ValueError, match=r"no ImageNet weights of MobileNetV3-Large with the red"):
        mobilenet_v3_large((64, 64), "imagenet")
    with pytest.raises(ValueError, match=r"depth=34 is unknown; choose 18 or 50"):
        ssd_resnet((300, 300), ["cat"], ResNetOptions(depth=34))


BACKBONES = {
    "vgg16": lambda weights: vgg16((64, 64), weights=weights),
    "resnet50": lambda weights: resnet50((64, 64), weights),
    "mobilenet_v3_large": lambda weights: mobilenet_v3_large((64, 64), weights),
    "mobilenet_v2 folded": lambda weights: mobilenet_v2(
        (64, 64), alpha=0.35, batch_norm=False, weights=weights
    ),
    "mobilenet_v2": lambda weights: mobilenet_v2((64, 64), alpha=0.35, weights=weights),
    "resnet18": lambda weights: resnet18((64, 64), weights),
}


@functools.lru_cache(maxsize=3)
def random_backbone(name):
    backbone = BACKBONES[name](None)
    randomize(backbone)
    return backbone


@pytest.mark.parametrize("name", BACKBONES)
def test_saved_backbone_gives_the_same_features(tmp_path, name):
    backbone = random_backbone(name)
    path = str(tmp_path / "backbone.weights.h5")
    backbone.save_weights(path)
    assert_same_outputs(BACKBONES[name](path), backbone, make_images(), atol=0)


def test_whole_model_file_serves_as_backbone_weights(tmp_path):
    backbone = random_backbone("resnet18")
    backbone.save(tmp_path / "backbone.keras")
    again = resnet18((64, 64), tmp_path / "backbone.keras")
    assert_same_outputs(again, backbone, make_images(), atol=0)


def test_files_of_keras_applications_serve_as_backbone_weights(tmp_path):
    """Their names end in .h5, and they have no classifier: "no_top"."""
    source = keras.applications.MobileNetV2((64, 64, 3), 0.35, include_top=False, weights=None)
    randomize(source)
    path = str(tmp_path / "mobilenet_v2_weights_0.35_224_no_top.h5")
    save_weights_as_keras_applications_do(path, source)
    backbone = mobilenet_v2((64, 64), alpha=0.35, weights=path)
    for layer in ("Conv1", "Conv_1"):
        kernel = source.get_layer(layer).get_weights()[0]
        np.testing.assert_array_equal(backbone.get_layer(layer).get_weights()[0], kernel)
    with pytest.raises(
        ValueError, match=r"^'.*no_top\.h5' does not hold weights of 'this backbone'"
    ):
        resnet50((64, 64), path)
    with pytest.raises(FileNotFoundError, match=r"backbone weights '.*/gone\.h5' do not exist; pa"):
        mobilenet_v2((64, 64), weights=str(tmp_path / "gone.h5"))


def save_weights_as_keras_applications_do(path, network):
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in network.layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.0"
        for layer in network.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{number}:0" for number in range(len(layer.weights))]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weights in zip(names, layer.get_weights(), strict=True):
                group[name] = weights


def test_vgg16_without_top_gives_its_convolutions(tmp_path):
    image = keras.Input((64, 64, 3))
    path = str(tmp_path / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5")
    source = keras.applications.VGG16(include_top=False, weights=None, input_tensor=image)
    save_weights_as_keras_applications_do(path, source)
    backbone = vgg16((64, 64), weights=path)
    for name, theirs in {"conv1_1": "block1_conv1", "conv5_3": "block5_conv3"}.items():
        kernel = source.get_layer(theirs).get_weights()[0]
        np.testing.assert_array_equal(backbone.get_layer(name).get_weights()[0], kernel)
    assert np.isfinite(backbone.get_layer("fc6").get_weights()[0]).all()


def test_wrong_weights_are_an_error(tmp_path):
    network = random_backbone("resnet18")
    with pytest.raises(
        FileNotFoundError, match=r"backbone weights '.*none.weights.h5' do not exist"
    ):
        load_weights(network, str(tmp_path / "none.weights.h5"))
    text = tmp_path / "text.weights.h5"
    text.write_text("no weights")
    message = r"'.*{}' does not hold weights of '{}' \(.*\); pass a .weights.h5 or .keras file"
    with pytest.raises(ValueError, match=message.format("text.weights.h5", "resnet18")) as caught:
        load_weights(network, str(text))
    assert "\n" not in str(caught.value)
    other = tmp_path / "other.weights.h5"
    random_backbone("mobilenet_v2").save_weights(other)
    for build, name in (
        (lambda: load_weights(network, other), "resnet18"),
        (lambda: load_weights(random_backbone("mobilenet_v2 folded"), other), "mobilenet_v2"),
        (lambda: mobilenet_v2((64, 64), alpha=0.5, weights=other), "mobilenet_v2"),
    ):
        with pytest.raises(ValueError, match=message.format("other.weights.h5", name)):
            build()


# Any network


def test_feature_extractor_suggests_layers():
    network = classifier()
    with pytest.raises(
        ValueError,
        # the last layers of the maps of 48, 24, 12, 6 and 3 cells
        match=r"the backbone '\S+' has no layer 'block_6'; choose from those with a feature map, "
        r"for example block_1_expand_relu, block_3_expand_relu, block_6_expand_relu, "
        r"block_13_expand_relu, out_relu\.",
    ):
        feature_extractor(network, ["block_3_expand_relu", "block_6"])
    with pytest.raises(
        ValueError,
        match=r"layer 'predictions' of the backbone '\S+' has the output shape \(None, 1000\); "
        r"expected a feature map \[B, H, W, C\]: name another layer",
    ):
        feature_extractor(network, ["predictions"])


def test_feature_extractor_gives_the_named_layers_in_order():
    network = resnet_stages((64, 64), 18, num_stages=2)
    backbone = feature_extractor(network, ["conv2_block2_out", "conv3_block2_out"], name="mine")
    assert backbone.name == "mine"
    assert feature_shapes(backbone) == [(16, 16, 64), (8, 8, 128)]
    coarse = outputs(network, make_images())[0]
    np.testing.assert_allclose(outputs(backbone, make_images())[1], coarse, atol=1e-5)


NETWORKS = {
    "EfficientNetB0": (
        keras.applications.EfficientNetB0,
        ["block6a_expand_activation", "top_activation"],
        ((6, 8), (3, 4), (2, 2), (1, 1)),
    ),
    "MobileNetV3Small": (
        keras.applications.MobileNetV3Small,
        ["expanded_conv_7_project_bn", "named below"],
        ((6, 8), (3, 4), (2, 2), (1, 1)),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_build_ssd_on_any_network(tmp_path, name):
    build, feature_layers, feature_sizes = NETWORKS[name]
    network = build(input_shape=(96, 128, 3), weights=None, include_top=False)
    if name == "MobileNetV3Small":  # Keras numbers its activations through the process
        feature_layers = [feature_layers[0], network.layers[-1].name]
    model = build_ssd(network, feature_layers, ["cat", "dog"], smallest=0.2, largest=0.8)
    assert model.feature_sizes == feature_sizes
    # The default is six maps, but the fourth has one cell. Sizes: 20 to 80 % of 96 pixels.
    sides = [cell[0][0] for cell in model.default_boxes.shapes]
    assert sides == pytest.approx((19.2, 38.4, 57.6, 76.8))
    assert len(model.default_box_array) == 6 * (48 + 12 + 4 + 1)
    images = np.random.default_rng(6).integers(0, 256, (2, 96, 128, 3)).astype("uint8")
    model.save(tmp_path / "model.keras")
    found = keras.models.load_model(tmp_path / "model.keras")(images)
    for key, value in model(images).items():
        assert value.shape[:2] == (2, 390) and np.ptp(value) > 0
        np.testing.assert_array_equal(found[key], value)


def test_build_ssd_needs_a_fixed_size():
    image = keras.Input((None, None, 3))
    network = keras.Model(image, layers.ReLU(name="out_relu")(image))
    with pytest.raises(
        ValueError, match=r"has an open input size \(None, None\); build it with input_shape=\(h"
    ):
        build_ssd(network, ["out_relu"], ["cat"])


def test_running_statistics_of_mobilenet_v2_follow_within_a_small_training():
    # After 300 steps 0.97 keeps 1e-4 of the start; Keras' own 0.999 keeps 74 %.
    backbone = mobilenet_v2((64, 96), ("block_6_expand_relu", "out_relu"), batch_norm=True)
    assert feature_shapes(backbone) == [(8, 12, 192), (2, 3, 1280)]
    found = {layer.momentum for layer in backbone.layers if hasattr(layer, "momentum")}
    assert found == {0.97}
    assert keras.models.clone_model(backbone).get_layer("bn_Conv1").momentum == 0.97
