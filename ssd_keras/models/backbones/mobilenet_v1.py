"""MobileNetV1 backbone."""

from collections.abc import Sequence

import keras

from ssd_keras.models.backbones.surgery import feature_extractor
from ssd_keras.models.backbones.weights import load_weights
from ssd_keras.models.blocks import SAME, ConvStyle, conv, depthwise_conv

CHANNELS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
"""Channels of the convolutions of MobileNetV1 (Howard et al. 2017, arXiv 1704.04861, table 1)."""


STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


SOURCES = (11, 13)
"""The convolutions that get heads, at stride 16 and 32."""


def mobilenet_v1(
    image_size: tuple[int, int],
    channels: Sequence[int] = CHANNELS,
    batch_norm: bool = True,
    weights: str | None = None,
) -> keras.Model:
    """MobileNetV1's feature maps.

    `keras.applications.MobileNet` pads odd maps in another way than the networks whose weights we
    load: 75 becomes 37 there and 38 here.
    """
    if len(channels) != len(CHANNELS):
        raise ValueError(f"channels has {len(channels)} numbers; expected {len(CHANNELS)}.")
    style = _style(batch_norm)
    image = keras.Input((*image_size, 3))
    x = conv(image, channels[0], 3, "conv0", style, strides=2, padding=SAME)
    for index in range(1, len(channels)):
        x = depthwise_conv(x, 3, f"conv{index}_depthwise", style, STRIDES[index], SAME)
        x = conv(x, channels[index], 1, f"conv{index}_pointwise", style)
    sources = [f"conv{index}_pointwise_relu6" for index in SOURCES]
    backbone = feature_extractor(keras.Model(image, x), sources, name="mobilenet_v1")
    if weights is not None:
        load_weights(backbone, weights)
    return backbone


def _style(batch_norm: bool) -> ConvStyle:
    return ConvStyle(
        batch_norm=batch_norm, activation="relu6", initializer="he_uniform", head_kernel=1
    )
