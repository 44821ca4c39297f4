"""Neck: the extra layers between backbone and heads."""

import dataclasses

import keras

from ssd_keras.core.config_record import ConfigRecord
from ssd_keras.models.blocks import SAME, ConvStyle, conv, depthwise_conv


@keras.saving.register_keras_serializable("ssd_keras")
@dataclasses.dataclass(frozen=True)
class ExtraLayer(ConfigRecord):
    """A coarser feature map: a 1x1 bottleneck, then a convolution that shrinks the map.

    Args:
        bottleneck: channels of the 1x1 convolution.
        filters: channels of the new feature map.
        kernel_size: kernel size of the shrinking convolution. Default 3.
        strides: stride of the shrinking convolution. Default 2.
        padding: zeros added on each side, or "same" for TensorFlow's rule. Default 1.

    Example:

    >>> ExtraLayer(128, 256, strides=1, padding=0).kernel_size
    3
    """

    bottleneck: int
    filters: int
    kernel_size: int = 3
    strides: int = 2
    padding: int | str = 1


def extra_layer(
    x: keras.KerasTensor, spec: ExtraLayer, name: str, style: ConvStyle
) -> keras.KerasTensor:
    """Applies an `ExtraLayer` to a feature map."""
    min_side = 1 if spec.padding == SAME else spec.kernel_size - 2 * int(spec.padding)
    if min(x.shape[1:3]) < min_side:
        raise ValueError(
            f"{name} needs a feature map of {min_side}x{min_side} or more but gets "
            f"{x.shape[1]}x{x.shape[2]}; use a larger image_size or fewer extra layers."
        )
    x = conv(x, spec.bottleneck, 1, f"{name}_1", style)
    if style.separable:
        x = depthwise_conv(
            x, spec.kernel_size, f"{name}_depthwise", style, spec.strides, spec.padding
        )
        return conv(x, spec.filters, 1, f"{name}_2", style)
    return conv(x, spec.filters, spec.kernel_size, f"{name}_2", style, spec.strides, spec.padding)
