"""ResNet backbones: Keras' ResNet50, and ResNet18 and ResNet50 with torchvision's layers."""

import dataclasses

import keras
from keras import layers

from ssd_keras.models.backbones.surgery import feature_extractor, restride
from ssd_keras.models.backbones.weights import load_backbone, load_registered_imagenet
from ssd_keras.models.blocks import SAME, ConvStyle, conv, pad

RESNET_BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
RESNET50_VARIANTS = ("keras", "torchvision")
RESNET_STYLE = ConvStyle(batch_norm=True, initializer="he_normal", epsilon=1e-5, momentum=0.9)


def resnet18(image_size: tuple[int, int], weights: str | None = None) -> keras.Model:
    """ResNet18 up to its fourth stage at stride 8: one map of 38x38x256 at 300x300.

    The fifth stage is dropped, as in the SSD300-ResNet of the literature.
    """
    return _torchvision_variant(image_size, 18, "conv4_block2_out", weights)


def resnet50(
    image_size: tuple[int, int], weights: str | None = None, variant: str = "keras"
) -> keras.Model:
    """ResNet50 up to its fourth stage at stride 8: one map of 38x38x1024 at 300x300."""
    if variant not in RESNET50_VARIANTS:
        raise ValueError(f"variant={variant!r} is unknown; choose 'keras' or 'torchvision'.")
    if variant == "torchvision":
        return _torchvision_variant(image_size, 50, "conv4_block6_out", weights)

    def build(weights: str | None) -> keras.Model:
        network = keras.applications.ResNet50(
            include_top=False, weights=weights, input_shape=(*image_size, 3)
        )
        cut = feature_extractor(network, ["conv4_block6_out"], name="resnet50")
        return restride(cut, {"conv4_block1_0_conv": 1, "conv4_block1_1_conv": 1})

    return load_backbone(build, weights, takes_keras_files=True)


def _torchvision_variant(
    image_size: tuple[int, int], depth: int, layer_name: str, weights: str | None
) -> keras.Model:
    def build(weights: str | None) -> keras.Model:
        network = resnet_stages(image_size, depth, num_stages=3, strides=(1, 2, 1))
        backbone = feature_extractor(network, [layer_name])
        return load_registered_imagenet(backbone) if weights == "imagenet" else backbone

    return load_backbone(build, weights)


def resnet_stages(
    image_size: tuple[int, int],
    depth: int = 18,
    num_stages: int = 4,
    strides: tuple[int, ...] = (1, 2, 2, 2),
    style: ConvStyle = RESNET_STYLE,
    variant: str = "torchvision",
) -> keras.Model:
    """A ResNet without classifier, with torchvision's layers or the TF Object Detection API's.

    He et al. 2015, arXiv 1512.03385, table 1. The variant "object_detection_api" has the paper's
    strides, in the first 1x1 convolution of a stage, and pads the pooling as TensorFlow does.
    """
    image = keras.Input((*image_size, 3))
    x = conv(image, 64, 7, "conv1", style, strides=2, padding=3)
    is_torchvision = variant == "torchvision"
    padding, x = ("valid", pad(x, 1, "pool1_pad")) if is_torchvision else (SAME, x)
    x = layers.MaxPooling2D(3, 2, padding=padding, name="pool1")(x)
    for stage in range(num_stages):
        for block in range(RESNET_BLOCKS[depth][stage]):
            stride = strides[stage] if block == 0 else 1
            name = f"conv{stage + 2}_block{block + 1}"
            block_strides = (1, stride) if is_torchvision else (stride, 1)
            x = _block(x, 64 * 2**stage, block_strides, name, style, is_bottleneck=depth >= 50)
    return keras.Model(image, x, name=f"resnet{depth}")


def _block(
    x: keras.KerasTensor,
    filters: int,
    strides: tuple[int, int],
    name: str,
    style: ConvStyle,
    is_bottleneck: bool,
) -> keras.KerasTensor:
    """A block; `strides` are those of the first 1x1 and of the 3x3 convolution."""
    linear, stride = dataclasses.replace(style, activation="linear"), max(strides)
    shortcut, outputs = x, 4 * filters if is_bottleneck else filters
    if stride != 1 or x.shape[-1] != outputs:
        shortcut = conv(x, outputs, 1, f"{name}_0", linear, stride)
    if is_bottleneck:
        x = conv(x, filters, 1, f"{name}_1", style, strides[0])
        x = conv(x, filters, 3, f"{name}_2", style, strides[1], padding=1)
        x = conv(x, outputs, 1, f"{name}_3", linear)
    else:
        x = conv(x, filters, 3, f"{name}_1", style, stride, padding=1)
        x = conv(x, filters, 3, f"{name}_2", linear, padding=1)
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.Activation(style.activation, name=f"{name}_out")(x)
