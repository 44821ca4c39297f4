"""Models: `SSD`, its backbones, and the builders that fix the papers' numbers."""

from ssd_keras.models.blocks import ConvStyle
from ssd_keras.models.builders import (
    BuilderOptions,
    MobileNetV1Options,
    MobileNetV2Options,
    ResNetOptions,
    SmallOptions,
    SSDLiteOptions,
    VGG16Options,
    ssd_mobilenet_v1,
    ssd_resnet,
    ssd_small,
    ssd_vgg16,
    ssdlite_mobilenet_v2,
    ssdlite_mobilenet_v3_large,
)
from ssd_keras.models.builders.any_backbone import build_ssd
from ssd_keras.models.heads import SharedHead, SSDHead
from ssd_keras.models.necks import FPN, PAN, ExtraLayer, ExtraLayers
from ssd_keras.models.ssd import SSD
from ssd_keras.models.transfer import keep_classes, with_classes

__all__ = [
    "FPN",
    "PAN",
    "SSD",
    "BuilderOptions",
    "ConvStyle",
    "ExtraLayer",
    "ExtraLayers",
    "MobileNetV1Options",
    "MobileNetV2Options",
    "ResNetOptions",
    "SSDHead",
    "SSDLiteOptions",
    "SharedHead",
    "SmallOptions",
    "VGG16Options",
    "build_ssd",
    "keep_classes",
    "ssd_mobilenet_v1",
    "ssd_resnet",
    "ssd_small",
    "ssd_vgg16",
    "ssdlite_mobilenet_v2",
    "ssdlite_mobilenet_v3_large",
    "with_classes",
]
