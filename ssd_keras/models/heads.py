"""Heads: convolutions that predict box deltas and class logits."""

from collections.abc import Sequence

import keras
from keras import layers

from ssd_keras.models.blocks import ConvStyle, depthwise_conv


def head(
    x: keras.KerasTensor, boxes_per_cell: int, num_columns: int, name: str, style: ConvStyle
) -> keras.KerasTensor:
    """Predicts [B, cells * boxes_per_cell, num_columns], in the order of the default boxes."""
    rows, columns = x.shape[1:3]
    if style.separable:
        x = depthwise_conv(x, 3, f"{name}_depthwise", style, padding=1)
    x = layers.Conv2D(
        boxes_per_cell * num_columns,
        1 if style.separable else style.head_kernel,
        padding="same",
        kernel_initializer=style.initializer,
        name=name,
    )(x)
    shape = (rows * columns * boxes_per_cell, num_columns)
    return layers.Reshape(shape, name=f"{name}_flat")(x)


def join_heads(outputs: Sequence[keras.KerasTensor], name: str) -> keras.KerasTensor:
    """Concatenates the outputs of all feature maps, in float32."""
    x = outputs[0]
    if len(outputs) > 1:
        x = layers.Concatenate(axis=1, name=f"{name}_join")(outputs)
    # Loss, softmax and decoding need float32's digits.
    return layers.Activation("linear", dtype="float32", name=name)(x)
