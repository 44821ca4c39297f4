"""ResNet backbones: Keras' ResNet50 cut, and ResNet18, 34 and 50 written out as torchvision's."""

import keras
from keras import layers

from ssd_keras.models.backbones.surgery import feature_extractor, restride
from ssd_keras.models.backbones.weights import load_backbone
from ssd_keras.models.blocks import ConvStyle, conv, pad
from ssd_keras.models.layers import BatchNormalization

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
RESNET50_VARIANTS = ("keras", "torchvision")
STYLE = ConvStyle(batch_norm=True, initializer="he_normal", epsilon=1e-5, momentum=0.9)


def resnet18(image_size: tuple[int, int], weights: str | None = None) -> keras.Model:
    """ResNet18 up to its fourth stage, which keeps stride 8: one map of 38x38x256 at 300x300.

    The fifth stage is dropped, as the SSD300-ResNet of the literature does.
    """

    def build(weights):
        network = basic_resnet(image_size, 18, num_stages=3, strides=(1, 2, 1))
        backbone = feature_extractor(network, ["conv4_block2_out"], name="resnet18")
        return _with_torchvision_weights(backbone) if weights == "imagenet" else backbone

    return load_backbone(build, weights)


def resnet50(
    image_size: tuple[int, int], weights: str | None = None, variant: str = "keras"
) -> keras.Model:
    """ResNet50 up to its fourth stage at stride 8: one map of 38x38x1024 at 300x300."""
    if variant not in RESNET50_VARIANTS:
        raise ValueError(f"variant={variant!r} is unknown; choose 'keras' or 'torchvision'.")

    def build(weights):
        if variant == "torchvision":
            network = basic_resnet(image_size, 50, num_stages=3, strides=(1, 2, 1))
            backbone = feature_extractor(network, ["conv4_block6_out"], name="resnet50")
            return _with_torchvision_weights(backbone) if weights == "imagenet" else backbone
        network = keras.applications.ResNet50(
            include_top=False, weights=weights, input_shape=(*image_size, 3)
        )
        cut = feature_extractor(network, ["conv4_block6_out"], name="resnet50")
        return restride(cut, {"conv4_block1_0_conv": 1, "conv4_block1_1_conv": 1})

    return load_backbone(build, weights)


def _with_torchvision_weights(backbone):
    # Importers build on the models; here alone a model wants an importer.
    from ssd_keras.importers.import_file import import_published_backbone

    backbone.set_weights(import_published_backbone(backbone.name).get_weights())
    return backbone


def basic_resnet(
    image_size: tuple[int, int],
    depth: int = 18,
    num_stages: int = 4,
    strides: tuple[int, ...] = (1, 2, 2, 2),
) -> keras.Model:
    """ResNet (He et al. 2015, arXiv 1512.03385, table 1) without classifier, as torchvision's."""
    image = keras.Input((*image_size, 3))
    x = conv(image, 64, 7, "conv1", STYLE, strides=2, padding=3)
    x = layers.MaxPooling2D(3, 2, name="pool1")(pad(x, 1, "pool1_pad"))
    for stage in range(num_stages):
        for block in range(BLOCKS[depth][stage]):
            stride = strides[stage] if block == 0 else 1
            build = _bottleneck if depth == 50 else _basic_block
            x = build(x, 64 * 2**stage, stride, f"conv{stage + 2}_block{block + 1}")
    return keras.Model(image, x, name=f"resnet{depth}")


def _basic_block(x, filters, stride, name):
    shortcut = x
    if stride != 1 or x.shape[-1] != filters:
        shortcut = _conv_bn(x, filters, 1, f"{name}_0", stride)
    x = conv(x, filters, 3, f"{name}_1", STYLE, strides=stride, padding=1)
    x = _conv_bn(x, filters, 3, f"{name}_2")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.Activation("relu", name=f"{name}_out")(x)


def _bottleneck(x, filters, stride, name):
    shortcut = x
    if stride != 1 or x.shape[-1] != 4 * filters:
        shortcut = _conv_bn(x, 4 * filters, 1, f"{name}_0", stride)
    x = conv(x, filters, 1, f"{name}_1", STYLE)
    x = conv(x, filters, 3, f"{name}_2", STYLE, strides=stride, padding=1)
    x = _conv_bn(x, 4 * filters, 1, f"{name}_3")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.Activation("relu", name=f"{name}_out")(x)


def _conv_bn(x, filters, kernel_size, name, strides=1):
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides,
        padding="same",  # as even as zeros around it: 3x3 at stride 1, or 1x1
        use_bias=False,
        kernel_initializer=STYLE.initializer,
        name=f"{name}_conv",
    )(x)
    return BatchNormalization(epsilon=STYLE.epsilon, momentum=STYLE.momentum, name=f"{name}_bn")(x)
