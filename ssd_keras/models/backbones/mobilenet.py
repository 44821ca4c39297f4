"""MobileNetV2 of `keras.applications` and torchvision's MobileNetV3-Large as backbones."""

import dataclasses
from collections.abc import Sequence

import keras
from keras import layers

from ssd_keras.models.backbones.surgery import (
    feature_extractor,
    fold_batch_norm,
    fold_padding,
    rebuild,
)
from ssd_keras.models.backbones.weights import is_random, load_backbone, load_weights
from ssd_keras.models.blocks import SAME, ConvStyle, conv, depthwise_conv
from ssd_keras.models.layers import BatchNormalization

MOBILENET_V2_FEATURE_LAYERS = ("block_13_expand_relu", "out_relu")

# Expansion, channels, blocks, stride of each stage (Sandler et al. 2018, table 2).
MOBILENET_V2_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)

# Kernel size, expanded channels, channels, squeeze-and-excite, activation, stride of each block
# (Howard et al. 2019, arXiv 1905.02244, table 1). The last three blocks and the last convolution
# have half the paper's channels: the reduced tail of section 6.3, for detection.
MOBILENET_V3_LARGE_BLOCKS = (
    (3, 16, 16, False, "relu", 1),
    (3, 64, 24, False, "relu", 2),
    (3, 72, 24, False, "relu", 1),
    (5, 72, 40, True, "relu", 2),
    (5, 120, 40, True, "relu", 1),
    (5, 120, 40, True, "relu", 1),
    (3, 240, 80, False, "hard_swish", 2),
    (3, 200, 80, False, "hard_swish", 1),
    (3, 184, 80, False, "hard_swish", 1),
    (3, 184, 80, False, "hard_swish", 1),
    (3, 480, 112, True, "hard_swish", 1),
    (3, 672, 112, True, "hard_swish", 1),
    (5, 672, 80, True, "hard_swish", 2),
    (5, 480, 80, True, "hard_swish", 1),
    (5, 480, 80, True, "hard_swish", 1),
)


def mobilenet_v2(
    image_size: tuple[int, int],
    feature_layers: Sequence[str] = MOBILENET_V2_FEATURE_LAYERS,
    alpha: float = 1.0,
    batch_norm: bool = True,
    weights: str | None = None,
) -> keras.Model:
    """MobileNetV2 with the feature maps of the named layers.

    Sandler et al. 2018, arXiv 1801.04381. `batch_norm=False` folds batch normalisation into the
    convolutions.
    """

    def build(weights: str | None) -> keras.Model:
        # Keras builds networks with ImageNet weights for a few input sizes alone, or for an open
        # size, which leaves the feature maps' sizes open too.
        network = keras.applications.MobileNetV2(
            (*image_size, 3), alpha=alpha, include_top=False, weights=None
        )
        if weights is not None:
            source = keras.applications.MobileNetV2(
                (224, 224, 3), alpha=alpha, include_top=False, weights=weights
            )
            network.set_weights(source.get_weights())
        network = fold_padding(network)
        network = _with_fast_batch_norm(network) if batch_norm else fold_batch_norm(network)
        return feature_extractor(network, feature_layers, name="mobilenet_v2")

    return load_backbone(build, weights, takes_keras_files=True)


def slim_mobilenet_v2(
    image_size: tuple[int, int],
    alpha: float,
    min_depth: int,
    feature_layers: Sequence[str],
    style: ConvStyle,
) -> keras.Model:
    """MobileNetV2 as the TF Object Detection API scales and pads it.

    Channels are at least `min_depth`, the last convolution is scaled too, and every convolution has
    TensorFlow's padding. A block keeps its shortcut where its channels equal the next block's
    before that limit.
    """
    image = keras.Input((*image_size, 3))
    x = conv(image, max(_round_to_eight(32 * alpha), min_depth), 3, "conv1", style, 2, SAME)
    number = 0
    for expansion, channels, count, first_stride in MOBILENET_V2_STAGES:
        scaled = _round_to_eight(channels * alpha)
        for index in range(count):
            stride, name, before = first_stride if index == 0 else 1, f"block{number}", x
            if expansion > 1:
                x = conv(x, expansion * x.shape[-1], 1, f"{name}_expand", style)
            x = depthwise_conv(x, 3, f"{name}_depthwise", style, stride, SAME)
            linear = dataclasses.replace(style, activation="linear")
            x = conv(x, max(scaled, min_depth), 1, f"{name}_project", linear)
            if stride == 1 and before.shape[-1] == scaled:
                x = layers.Add(name=f"{name}_add")([before, x])
            x = layers.Identity(name=f"{name}_out")(x)
            number += 1
    x = conv(x, max(_round_to_eight(1280 * alpha), min_depth), 1, "last", style)
    return feature_extractor(keras.Model(image, x), feature_layers, name="mobilenet_v2")


def _with_fast_batch_norm(network: keras.Model) -> keras.Model:
    """Copies a network with this package's batch normalisation and its momentum."""

    def change(layer: keras.Layer, config: dict) -> tuple[type[keras.Layer], dict]:
        if isinstance(layer, layers.BatchNormalization):
            # With Keras' 0.999 the statistics take thousands of steps to follow the images.
            return BatchNormalization, {**config, "momentum": ConvStyle.momentum}
        return type(layer), config

    return rebuild(network, change)


def mobilenet_v3_large(image_size: tuple[int, int], weights: str | None = None) -> keras.Model:
    """MobileNetV3-Large with the reduced tail, as in torchvision's SSDLite."""
    if weights == "imagenet":
        raise ValueError(
            "Keras has no ImageNet weights of MobileNetV3-Large with the reduced tail; pass the "
            "path of a weights file, random, or use "
            "keras.applications.MobileNetV3Large as the backbone of `build_ssd`."
        )
    image = keras.Input((*image_size, 3))
    x = conv(image, 16, 3, "stem", _style("hard_swish"), strides=2, padding=1)
    for index, block in enumerate(MOBILENET_V3_LARGE_BLOCKS, start=1):
        x = _inverted_residual(x, *block, name=f"block{index}")
    network = keras.Model(image, conv(x, 480, 1, "last", _style("hard_swish")))
    layer_names = ["block13_expand_hard_swish", "last_hard_swish"]
    backbone = feature_extractor(network, layer_names, name="mobilenet_v3_large")
    if not is_random(weights):
        load_weights(backbone, str(weights))
    return backbone


def _style(activation: str) -> ConvStyle:
    return ConvStyle(batch_norm=True, activation=activation, initializer="he_normal")


def _inverted_residual(
    x: keras.KerasTensor,
    kernel_size: int,
    expanded: int,
    filters: int,
    has_squeeze: bool,
    activation: str,
    stride: int,
    name: str,
) -> keras.KerasTensor:
    shortcut, style = x, _style(activation)
    if expanded != x.shape[-1]:
        x = conv(x, expanded, 1, f"{name}_expand", style)
    x = depthwise_conv(x, kernel_size, f"{name}_depthwise", style, stride, kernel_size // 2)
    if has_squeeze:
        x = _squeeze_excite(x, name)
    x = conv(x, filters, 1, f"{name}_project", _style("linear"))
    if stride == 1 and shortcut.shape[-1] == filters:
        x = layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def _squeeze_excite(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    channels = x.shape[-1]
    squeezed = _round_to_eight(channels / 4)
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    gate = layers.Conv2D(squeezed, 1, activation="relu", name=f"{name}_squeeze_1")(gate)
    gate = layers.Conv2D(channels, 1, activation="hard_sigmoid", name=f"{name}_squeeze_2")(gate)
    return layers.Multiply(name=f"{name}_excite")([x, gate])


def _round_to_eight(value: float) -> int:
    """Rounds to a multiple of 8, down by a tenth at most."""
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded
