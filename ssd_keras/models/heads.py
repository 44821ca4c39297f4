"""Convolutions that predict box deltas and class logits."""

import keras
from keras import layers

from ssd_keras.models.blocks import ConvStyle, depthwise_conv


def head(x: keras.KerasTensor, channels: int, name: str, style: ConvStyle) -> keras.KerasTensor:
    """Predicts `channels` numbers at each position from its neighbourhood."""
    if style.separable:
        x = depthwise_conv(x, 3, f"{name}_depthwise", style, padding=1)
    return layers.Conv2D(
        channels,
        1 if style.separable else style.head_kernel,
        padding="same",
        kernel_initializer=style.initializer,
        name=name,
    )(x)
