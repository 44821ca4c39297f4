"""Models: `SSD`, its backbones, and the builders that fix the papers' numbers."""

from ssd_keras.models.blocks import ConvStyle
from ssd_keras.models.builders.any_backbone import build_ssd
from ssd_keras.models.builders.mobilenet_v1 import ssd_mobilenet_v1
from ssd_keras.models.builders.resnet import ssd_resnet
from ssd_keras.models.builders.small import ssd_small
from ssd_keras.models.builders.ssdlite import ssdlite_mobilenet_v2, ssdlite_mobilenet_v3_large
from ssd_keras.models.builders.vgg import ssd_vgg16
from ssd_keras.models.necks import ExtraLayer
from ssd_keras.models.ssd import SSD
from ssd_keras.models.transfer import with_classes

__all__ = [
    "SSD",
    "ConvStyle",
    "ExtraLayer",
    "build_ssd",
    "ssd_mobilenet_v1",
    "ssd_resnet",
    "ssd_small",
    "ssd_vgg16",
    "ssdlite_mobilenet_v2",
    "ssdlite_mobilenet_v3_large",
    "with_classes",
]
