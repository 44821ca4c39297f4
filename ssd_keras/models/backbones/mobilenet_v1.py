"""MobileNetV1 backbone."""

from collections.abc import Sequence

import keras

from ssd_keras.models.backbones.surgery import feature_extractor
from ssd_keras.models.backbones.weights import is_random, load_weights
from ssd_keras.models.blocks import SAME, ConvStyle, conv, depthwise_conv

# Channels and strides of the convolutions (Howard et al. 2017, arXiv 1704.04861, table 1).
MOBILENET_V1_CHANNELS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
MOBILENET_V1_STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
# The convolutions that give feature maps, at strides 16 and 32.
MOBILENET_V1_FEATURE_LAYERS = (11, 13)


def mobilenet_v1(
    image_size: tuple[int, int],
    channels: Sequence[int] = MOBILENET_V1_CHANNELS,
    batch_norm: bool = True,
    weights: str | None = None,
    feature_layers: Sequence[int] = MOBILENET_V1_FEATURE_LAYERS,
    style: ConvStyle | None = None,
) -> keras.Model:
    """MobileNetV1 with the maps of the numbered convolutions, by default at strides 16 and 32."""
    # `keras.applications.MobileNet` pads odd maps unlike the networks whose weights are imported:
    # 75 becomes 37 there and 38 here.
    if len(channels) != len(MOBILENET_V1_CHANNELS):
        raise ValueError(
            f"channels has {len(channels)} numbers; expected {len(MOBILENET_V1_CHANNELS)}."
        )
    style = style or mobilenet_v1_style(batch_norm)
    image = keras.Input((*image_size, 3))
    x = conv(image, channels[0], 3, "conv0", style, strides=2, padding=SAME)
    for index in range(1, len(channels)):
        x = depthwise_conv(x, 3, f"conv{index}_depthwise", style, MOBILENET_V1_STRIDES[index], SAME)
        x = conv(x, channels[index], 1, f"conv{index}_pointwise", style)
    layer_names = [f"conv{index}_pointwise_{style.activation}" for index in feature_layers]
    backbone = feature_extractor(keras.Model(image, x), layer_names, name="mobilenet_v1")
    if not is_random(weights):
        load_weights(backbone, str(weights))
    return backbone


def mobilenet_v1_style(batch_norm: bool) -> ConvStyle:
    """Style of backbone, extra layers and heads."""
    return ConvStyle(
        batch_norm=batch_norm, activation="relu6", initializer="he_uniform", head_kernel=1
    )
