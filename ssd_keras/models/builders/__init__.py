"""Builders: a file for each family, with the numbers of its paper."""

from collections.abc import Callable, Mapping

from ssd_keras.models.builders.common import BuilderOptions
from ssd_keras.models.builders.mobilenet_v1 import MobileNetV1Options, ssd_mobilenet_v1
from ssd_keras.models.builders.resnet import ResNetOptions, ssd_resnet
from ssd_keras.models.builders.small import SmallOptions, ssd_small
from ssd_keras.models.builders.ssd_pan import SSDPANOptions, ssd_pan_mobilenet_v2
from ssd_keras.models.builders.ssdlite import (
    MobileNetV2Options,
    SSDLiteOptions,
    ssdlite_mobilenet_v2,
    ssdlite_mobilenet_v3_large,
)
from ssd_keras.models.builders.vgg import VGG16Options, ssd_vgg16

# A preset's builder and its options.
BUILDERS: Mapping[str, tuple[Callable, type[BuilderOptions]]] = {
    "ssd_vgg16": (ssd_vgg16, VGG16Options),
    "ssd_resnet": (ssd_resnet, ResNetOptions),
    "ssd_mobilenet_v1": (ssd_mobilenet_v1, MobileNetV1Options),
    "ssdlite_mobilenet_v2": (ssdlite_mobilenet_v2, MobileNetV2Options),
    "ssdlite_mobilenet_v3_large": (ssdlite_mobilenet_v3_large, SSDLiteOptions),
    "ssd_pan_mobilenet_v2": (ssd_pan_mobilenet_v2, SSDPANOptions),
    "ssd_small": (ssd_small, SmallOptions),
}
