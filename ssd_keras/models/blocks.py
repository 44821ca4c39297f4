"""Convolution blocks of necks, heads and small backbones."""

import dataclasses

import keras
from keras import layers

from ssd_keras.models.layers import BatchNormalization

SAME = "same"
"""Padding by TensorFlow's rule: just enough for an output of input / stride, rounded up, the odd
row below and the odd column on the right."""


@keras.saving.register_keras_serializable("ssd_keras")
@dataclasses.dataclass(frozen=True)
class ConvStyle:
    """How extra layers and heads are built.

    Args:
        separable: depthwise 3x3 followed by 1x1 (SSDLite, MobileNetV2 paper section 6.2)
            instead of full 3x3 convolutions. Default False.
        batch_norm: batch normalisation instead of biases. Default False, as VGG's.
        activation: Keras activation between convolutions. Default "relu".
        initializer: Keras initializer of the kernels. Default "lecun_uniform", which is what
            Caffe calls xavier.
        epsilon: batch normalisation's epsilon. Default 1e-3.
        momentum: share of the old running statistics, 0..1. Default 0.97.
        head_kernel: side of the kernel of heads that are not separable. Default 3.

    Example:

    >>> ConvStyle(separable=True, activation="relu6").separable
    True
    """

    separable: bool = False
    batch_norm: bool = False
    activation: str = "relu"
    initializer: str | dict = "lecun_uniform"
    epsilon: float = 1e-3
    momentum: float = 0.97
    head_kernel: int = 3

    def get_config(self) -> dict:
        """The constructor's arguments, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict) -> "ConvStyle":
        """Builds the record from `get_config`'s dictionary."""
        return cls(**config)


def pad(x: keras.KerasTensor, amount: int | str, name: str) -> keras.KerasTensor:
    """Adds zeros on all four sides.

    Keras' "same" padding is uneven where a stride meets an even size; the implementations whose
    weights we load pad evenly.
    """
    return x if amount in (0, SAME) else layers.ZeroPadding2D(amount, name=name)(x)


def _padded(x, padding, kernel_size, strides, name):
    """What a convolution takes so that it sees so many zeros: its input, and Keras' padding."""
    # At stride 1 Keras' rule is even, and pads in the convolution instead of in a copy.
    if padding == SAME or (padding and strides == 1 and kernel_size == 2 * int(padding) + 1):
        return x, "same"
    return pad(x, padding, f"{name}_pad"), "valid"


def conv(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    name: str,
    style: ConvStyle,
    strides: int = 1,
    padding: int | str = 0,
) -> keras.KerasTensor:
    """Convolution, then batch normalisation where the style has it, then activation."""
    x, rule = _padded(x, padding, kernel_size, strides, name)
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides,
        padding=rule,
        use_bias=not style.batch_norm,
        kernel_initializer=style.initializer,
        name=name,
    )(x)
    return finish(x, name, style)


def depthwise_conv(
    x: keras.KerasTensor,
    kernel_size: int,
    name: str,
    style: ConvStyle,
    strides: int = 1,
    padding: int | str = 0,
) -> keras.KerasTensor:
    """Depthwise convolution, then batch normalisation where the style has it, then activation."""
    x, rule = _padded(x, padding, kernel_size, strides, name)
    x = layers.DepthwiseConv2D(
        kernel_size,
        strides,
        padding=rule,
        use_bias=not style.batch_norm,
        depthwise_initializer=style.initializer,
        name=name,
    )(x)
    return finish(x, name, style)


def finish(x: keras.KerasTensor, name: str, style: ConvStyle) -> keras.KerasTensor:
    """Batch normalisation where the style has it, then the activation."""
    if style.batch_norm:
        x = BatchNormalization(epsilon=style.epsilon, momentum=style.momentum, name=f"{name}_bn")(x)
    return layers.Activation(style.activation, name=f"{name}_{style.activation}")(x)
