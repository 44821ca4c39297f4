"""VGG16 as SSD's backbone: fc6 and fc7 as (dilated) convolutions, conv4_3 normalised."""

import functools

import h5py
import keras
import numpy as np
from keras import layers

from ssd_keras.models.backbones.surgery import feature_extractor
from ssd_keras.models.backbones.weights import (
    check_exists,
    is_keras_applications_file,
    is_random,
    load_backbone,
    load_weights,
    weight_errors,
)
from ssd_keras.models.layers import AtrousConv2D, L2Normalize

VGG16_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def vgg16(
    image_size: tuple[int, int],
    atrous: bool = True,
    normalize: bool = True,
    weights: str | None = None,
) -> keras.Model:
    """VGG16 with fc6 and fc7 as convolutions (paper section 3, "Base network").

    `atrous=False` is the ablation of the paper: fc6 and fc7 with all their channels, pool5 at
    stride 2 and conv5_3 as a third feature map.
    """
    image = keras.Input((*image_size, 3))
    x = image
    for block, (filters, count) in enumerate(VGG16_BLOCKS, start=1):
        for index in range(1, count + 1):
            x = _conv(x, filters, 3, f"conv{block}_{index}")
        if block < 5:
            # "same" rounds odd sizes up, as Caffe's pooling does: 75 becomes 38.
            x = layers.MaxPooling2D(2, 2, padding="same", name=f"pool{block}")(x)
    if atrous:
        x = layers.MaxPooling2D(3, 1, padding="same", name="pool5")(x)
        x = _conv(x, 1024, 3, "fc6", dilation_rate=6)
        x = _conv(x, 1024, 1, "fc7")
    else:
        x = layers.MaxPooling2D(2, 2, padding="same", name="pool5")(x)
        x = _conv(x, 4096, 7, "fc6")
        x = _conv(x, 4096, 1, "fc7")
    network = keras.Model(image, x, name="vgg16")
    is_keras_file = not is_random(weights) and is_keras_applications_file(str(weights))
    if weights == "imagenet" or is_keras_file:
        _copy_imagenet(network, str(weights))
    outputs = ["conv4_3", "fc7"] if atrous else ["conv4_3", "conv5_3", "fc7"]
    backbone = feature_extractor(network, outputs)
    if normalize:
        conv4_3, *others = backbone.outputs
        scaled = L2Normalize(name="conv4_3_norm")(conv4_3)
        backbone = keras.Model(image, [scaled, *others], name="vgg16")
    if weights != "imagenet" and not is_random(weights) and not is_keras_file:
        load_weights(backbone, str(weights))
    return backbone


def _conv(
    x: keras.KerasTensor, filters: int, kernel_size: int, name: str, dilation_rate: int = 1
) -> keras.KerasTensor:
    layer = layers.Conv2D if dilation_rate == 1 else AtrousConv2D
    return layer(
        filters,
        kernel_size,
        padding="same",
        activation="relu",
        dilation_rate=dilation_rate,
        kernel_initializer="lecun_uniform",
        name=name,
    )(x)


def _copy_imagenet(network: keras.Model, weights: str) -> None:
    """Copies the weights of Keras' ImageNet VGG16; fc layers become convolutions.

    `weights` is "imagenet" or the path of Keras' file; fc layers that it lacks stay random.
    """
    # Keras' network expects BGR images without the ImageNet mean, as the paper's does.
    has_top = weights == "imagenet" or _has_top(weights)
    source = load_backbone(
        functools.partial(keras.applications.VGG16, include_top=has_top), weights, True
    )
    for block, (_, count) in enumerate(VGG16_BLOCKS, start=1):
        for index in range(1, count + 1):
            weights = source.get_layer(f"block{block}_conv{index}").get_weights()
            network.get_layer(f"conv{block}_{index}").set_weights(weights)
    if not has_top:
        return
    kernel, bias = source.get_layer("fc1").get_weights()
    fc6 = network.get_layer("fc6")
    fc6.set_weights(_decimate(kernel.reshape(7, 7, 512, 4096), bias, fc6.kernel.shape))
    kernel, bias = source.get_layer("fc2").get_weights()
    fc7 = network.get_layer("fc7")
    fc7.set_weights(_decimate(kernel.reshape(1, 1, 4096, 4096), bias, fc7.kernel.shape))


def _has_top(path: str) -> bool:
    check_exists(path)
    with weight_errors(path, "vgg16"), h5py.File(path) as file:
        return "fc1" in file


def _decimate(kernel: np.ndarray, bias: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Takes every n-th entry along each axis, so that the kernel has `shape` (as in DeepLab)."""
    steps = [-(-size // new_size) for size, new_size in zip(kernel.shape, shape, strict=True)]
    slices = tuple(slice(None, None, step) for step in steps)
    return [kernel[slices], bias[:: steps[-1]]]
