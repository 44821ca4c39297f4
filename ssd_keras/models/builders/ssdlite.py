"""SSDLite on MobileNetV2 and MobileNetV3-Large."""

import dataclasses
from collections.abc import Sequence

import keras

from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.models.backbones import mobilenet
from ssd_keras.models.blocks import ConvStyle
from ssd_keras.models.builders.common import UNIT_PREPROCESSOR, BuilderOptions
from ssd_keras.models.heads import SSDHead
from ssd_keras.models.necks import ExtraLayer, ExtraLayers
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

SSDLITE_STYLE = ConvStyle(
    separable=True,
    batch_norm=True,
    activation="relu6",
    initializer={
        "class_name": "RandomNormal",
        "config": {"mean": 0.0, "stddev": 0.03},
        "module": "keras.initializers",
        "registered_name": None,
    },
)
SSDLITE_EXTRA_LAYERS = (
    ExtraLayer(256, 512),
    ExtraLayer(128, 256),
    ExtraLayer(128, 256),
    ExtraLayer(64, 128),
)
# torchvision's thresholds. Candidates of each class, as in torchvision, would double the time of
# post-processing on a phone.
SSDLITE_POST_PROCESS = PostProcess(
    score_threshold=0.001,
    iou_threshold=0.55,
    max_candidates=500,
    max_detections=300,
    candidates_per_class=False,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SSDLiteOptions(BuilderOptions):
    """Options of SSDLite.

    Args:
        extra_layers: `ExtraLayer`s, or tuples of their arguments. Default those of torchvision.
        sizes: side of the default boxes of each feature map in pixels, and one more. Default
            None: scales from 0.2 to 0.95 of the shorter side, as in torchvision's SSDLite.
        aspect_ratios: for each feature map. Default None: (2, 3) everywhere.
    """

    extra_layers: Sequence[ExtraLayer | Sequence[int]] = SSDLITE_EXTRA_LAYERS
    sizes: Sequence[float] | None = None
    aspect_ratios: Sequence[Sequence[float]] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class MobileNetV2Options(SSDLiteOptions):
    """Options of `ssdlite_mobilenet_v2`.

    Args:
        feature_layers: names of the backbone layers whose outputs are feature maps, finest first.
            Default those at strides 16 and 32.
        alpha: width multiplier of the backbone. Default 1.
        batch_norm: use batch normalisation in backbone, extra layers and heads. Default True.
    """

    feature_layers: Sequence[str] = mobilenet.MOBILENET_V2_FEATURE_LAYERS
    alpha: float = 1.0
    batch_norm: bool = True


def ssdlite_mobilenet_v2(
    image_size: tuple[int, int],
    class_names: Sequence[str],
    options: MobileNetV2Options | None = None,
    *,
    name: str = "ssdlite_mobilenet_v2",
) -> SSD:
    """SSDLite on MobileNetV2 (Sandler et al. 2018, section 6.2).

    Post-processing is torchvision's: score threshold 0.001, IoU threshold 0.55, 500 candidates of
    all classes, 300 detections.

    Args:
        image_size: height and width in pixels.
        class_names: names of the classes without background.
        options: `MobileNetV2Options`. Default `MobileNetV2Options()`.
        name: name of the model.

    Returns:
        `SSD`.
    """
    options = options or MobileNetV2Options()
    backbone = mobilenet.mobilenet_v2(
        image_size,
        options.feature_layers,
        options.alpha,
        options.batch_norm,
        options.backbone_weights,
    )
    style = SSDLITE_STYLE
    if not options.batch_norm:
        style = ConvStyle(separable=True, activation="relu6", initializer="he_uniform")
    return _ssdlite(backbone, image_size, class_names, options, style, name)


def ssdlite_mobilenet_v3_large(
    image_size: tuple[int, int],
    class_names: Sequence[str],
    options: SSDLiteOptions | None = None,
    *,
    name: str = "ssdlite_mobilenet_v3_large",
) -> SSD:
    """SSDLite on MobileNetV3-Large with torchvision's layers (Howard et al. 2019, section 6.3).

    Args:
        image_size: height and width in pixels.
        class_names: names of the classes without background.
        options: `SSDLiteOptions`. Default `SSDLiteOptions()`.
        name: name of the model.

    Returns:
        `SSD`.
    """
    options = options or SSDLiteOptions()
    backbone = mobilenet.mobilenet_v3_large(image_size, options.backbone_weights)
    return _ssdlite(backbone, image_size, class_names, options, SSDLITE_STYLE, name)


def _ssdlite(
    backbone: keras.Model,
    image_size: tuple[int, int],
    class_names: Sequence[str],
    options: SSDLiteOptions,
    style: ConvStyle,
    name: str,
) -> SSD:
    neck = ExtraLayers(options.extra_layers, style)
    num_feature_maps = len(backbone.outputs) + len(neck.layers)
    ratios = options.aspect_ratios or ((2.0, 3.0),) * num_feature_maps
    if options.sizes is None:  # in torchvision the last size is the whole image
        boxes = DefaultBoxes.from_scales(
            image_size, num_feature_maps, largest=0.95, last=1.0, aspect_ratios=ratios, clip="size"
        )
    else:
        boxes = DefaultBoxes.paper(options.sizes, ratios, clip="size")
    return options.build(
        backbone,
        class_names,
        image_size,
        neck=neck,
        head=SSDHead(style),
        default_boxes=boxes,
        preprocessor=UNIT_PREPROCESSOR,
        post_process=SSDLITE_POST_PROCESS,
        name=name,
    )
