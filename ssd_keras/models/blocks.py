"""Convolution blocks of necks, heads and small backbones."""

import dataclasses

import keras
from keras import layers

from ssd_keras.core.config_record import ConfigRecord
from ssd_keras.models.layers import BatchNormalization

# TensorFlow's padding: the output has input / stride cells, rounded up; an odd row of zeros goes
# below, an odd column to the right.
SAME = "same"


@keras.saving.register_keras_serializable("ssd_keras")
@dataclasses.dataclass(frozen=True)
class ConvStyle(ConfigRecord):
    """Style of the convolutions of necks and heads.

    Args:
        separable: use depthwise and 1x1 convolutions (SSDLite, MobileNetV2 paper section 6.2)
            instead of full ones. Default False.
        batch_norm: use batch normalisation instead of biases. Default False, as in VGG16.
        activation: Keras activation after each convolution that predicts nothing. Default "relu".
        initializer: Keras initializer of the kernels. Default "lecun_uniform", Caffe's "xavier".
        epsilon: epsilon of batch normalisation. Default 1e-3.
        momentum: momentum of the running statistics, 0..1. Default 0.97.
        head_kernel: kernel size of the paper's head. Default 3.
        norm_between: a separable convolution has batch normalisation and activation after its
            depthwise part too, as in MobileNets. Default True; False for those of the TF Object
            Detection API's feature pyramids.

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
    norm_between: bool = True


def pad(x: keras.KerasTensor, amount: int | str, name: str) -> keras.KerasTensor:
    """Adds `amount` zeros on all four sides; none for 0 and `SAME`."""
    # Keras' "same" is uneven where a stride meets an even size. The implementations whose weights
    # are imported pad evenly.
    return x if amount in (0, SAME) else layers.ZeroPadding2D(amount, name=name)(x)


def _pad_for(
    x: keras.KerasTensor, padding: int | str, kernel_size: int, strides: int, name: str
) -> tuple[keras.KerasTensor, str]:
    """Returns the input of a convolution, padded where needed, and its `padding` argument."""
    # At stride 1 Keras' "same" is even, and pads within the convolution instead of in a copy.
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
    """Convolution, batch normalisation if the style has it, activation."""
    x, keras_padding = _pad_for(x, padding, kernel_size, strides, name)
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides,
        padding=keras_padding,
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
    """Depthwise convolution, batch normalisation if the style has it, activation."""
    x = _depthwise(x, kernel_size, name, style, strides, padding)
    return finish(x, name, style)


def _depthwise(
    x: keras.KerasTensor,
    kernel_size: int,
    name: str,
    style: ConvStyle,
    strides: int,
    padding: int | str,
) -> keras.KerasTensor:
    x, keras_padding = _pad_for(x, padding, kernel_size, strides, name)
    return layers.DepthwiseConv2D(
        kernel_size,
        strides,
        padding=keras_padding,
        use_bias=not style.batch_norm,
        depthwise_initializer=style.initializer,
        name=name,
    )(x)


def styled_conv(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    names: tuple[str, str],
    style: ConvStyle,
    strides: int = 1,
    padding: int | str = 0,
) -> keras.KerasTensor:
    """A convolution, or a depthwise one and a 1x1 where the style is separable.

    `names` are those of the (1x1) convolution and of the depthwise one.
    """
    name, depthwise_name = names
    if style.separable:
        if style.norm_between:
            x = depthwise_conv(x, kernel_size, depthwise_name, style, strides, padding)
        else:
            bare = dataclasses.replace(style, batch_norm=True)  # no bias either
            x = _depthwise(x, kernel_size, depthwise_name, bare, strides, padding)
        return conv(x, filters, 1, name, style)
    return conv(x, filters, kernel_size, name, style, strides, padding)


def finish(x: keras.KerasTensor, name: str, style: ConvStyle) -> keras.KerasTensor:
    """Batch normalisation if the style has it, then the activation."""
    if style.batch_norm:
        x = BatchNormalization(epsilon=style.epsilon, momentum=style.momentum, name=f"{name}_bn")(x)
    return layers.Activation(style.activation, name=f"{name}_{style.activation}")(x)
