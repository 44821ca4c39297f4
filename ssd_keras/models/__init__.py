"""Models: `SSD`, its backbones, and the builders that fix the papers' numbers."""

from ssd_keras.models.blocks import ConvStyle as ConvStyle
from ssd_keras.models.builders.any_backbone import build_ssd as build_ssd
from ssd_keras.models.builders.mobilenet_v1 import ssd_mobilenet_v1 as ssd_mobilenet_v1
from ssd_keras.models.builders.resnet import ssd_resnet as ssd_resnet
from ssd_keras.models.builders.small import ssd_small as ssd_small
from ssd_keras.models.builders.ssdlite import ssdlite_mobilenet_v2 as ssdlite_mobilenet_v2
from ssd_keras.models.builders.ssdlite import (
    ssdlite_mobilenet_v3_large as ssdlite_mobilenet_v3_large,
)
from ssd_keras.models.builders.vgg import ssd_vgg16 as ssd_vgg16
from ssd_keras.models.necks import ExtraLayer as ExtraLayer
from ssd_keras.models.ssd import SSD as SSD
from ssd_keras.models.transfer import with_classes as with_classes
