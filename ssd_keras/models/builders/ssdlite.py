"""SSDLite on MobileNetV2 and MobileNetV3-Large."""

import dataclasses
from collections.abc import Sequence

import keras

from ssd_keras.boxes.default_boxes import DefaultBoxes, Shapes
from ssd_keras.models.backbones import mobilenet
from ssd_keras.models.blocks import ConvStyle
from ssd_keras.models.builders.common import UNIT_PREPROCESSOR
from ssd_keras.models.necks import ExtraLayer
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


def ssdlite_mobilenet_v2(
    image_size: tuple[int, int],
    class_names: Sequence[str],
    *,
    feature_layers: Sequence[str] = mobilenet.MOBILENET_V2_FEATURE_LAYERS,
    extra_layers: Sequence[ExtraLayer | Sequence[int]] = SSDLITE_EXTRA_LAYERS,
    alpha: float = 1.0,
    batch_norm: bool = True,
    sizes: Sequence[float] | None = None,
    aspect_ratios: Sequence[Sequence[float]] | None = None,
    shapes: Shapes | None = None,
    post_process: PostProcess | None = None,
    backbone_weights: str | None = None,
    name: str = "ssdlite_mobilenet_v2",
) -> SSD:
    """SSDLite on MobileNetV2 (Sandler et al. 2018, section 6.2).

    Args:
        image_size: height and width in pixels.
        class_names: names of the classes without background.
        feature_layers: names of the backbone layers whose outputs are feature maps, finest first.
        extra_layers: `ExtraLayer`s, or tuples of their arguments.
        alpha: width multiplier of the backbone. Default 1.
        batch_norm: use batch normalisation in backbone, extra layers and heads. Default True.
        sizes: side of the default boxes of each feature map in pixels, and one more. Default
            scales from 0.2 to 0.95 of the shorter side, as in torchvision's SSDLite.
        aspect_ratios: for each feature map. Default (2, 3) everywhere.
        shapes: for each feature map the (height, width) of a cell's default boxes in pixels, in
            place of those of `sizes` and `aspect_ratios`. Default None.
        post_process: `PostProcess`. Default score threshold 0.001, IoU threshold 0.55, 500
            candidates of all classes, 300 detections.
        backbone_weights: None, "imagenet" or the path of a weights file. Default None, random.
        name: name of the model.

    Returns:
        `SSD`.
    """
    backbone = mobilenet.mobilenet_v2(
        image_size, feature_layers, alpha, batch_norm, backbone_weights
    )
    style = SSDLITE_STYLE
    if not batch_norm:
        style = ConvStyle(separable=True, activation="relu6", initializer="he_uniform")
    return _ssdlite(
        backbone, image_size, class_names, extra_layers, style, sizes, aspect_ratios,
        shapes, post_process, name,
    )  # fmt: skip


def ssdlite_mobilenet_v3_large(
    image_size: tuple[int, int],
    class_names: Sequence[str],
    *,
    extra_layers: Sequence[ExtraLayer | Sequence[int]] = SSDLITE_EXTRA_LAYERS,
    sizes: Sequence[float] | None = None,
    aspect_ratios: Sequence[Sequence[float]] | None = None,
    shapes: Shapes | None = None,
    post_process: PostProcess | None = None,
    backbone_weights: str | None = None,
    name: str = "ssdlite_mobilenet_v3_large",
) -> SSD:
    """SSDLite on MobileNetV3-Large with torchvision's layers (Howard et al. 2019, section 6.3).

    Args:
        image_size: height and width in pixels.
        class_names: names of the classes without background.
        extra_layers: `ExtraLayer`s, or tuples of their arguments.
        sizes: side of the default boxes of each feature map in pixels, and one more. Default
            scales from 0.2 to 0.95 of the shorter side.
        aspect_ratios: for each feature map. Default (2, 3) everywhere.
        shapes: for each feature map the (height, width) of a cell's default boxes in pixels, in
            place of those of `sizes` and `aspect_ratios`. Default None.
        post_process: `PostProcess`. Default score threshold 0.001, IoU threshold 0.55, 500
            candidates of all classes, 300 detections.
        backbone_weights: None or the path of a weights file. Default None, random.
        name: name of the model.

    Returns:
        `SSD`.
    """
    backbone = mobilenet.mobilenet_v3_large(image_size, backbone_weights)
    return _ssdlite(
        backbone, image_size, class_names, extra_layers, SSDLITE_STYLE, sizes, aspect_ratios,
        shapes, post_process, name,
    )  # fmt: skip


def _ssdlite(
    backbone: keras.Model,
    image_size: tuple[int, int],
    class_names: Sequence[str],
    extra_layers: Sequence[ExtraLayer | Sequence[int]],
    style: ConvStyle,
    sizes: Sequence[float] | None,
    aspect_ratios: Sequence[Sequence[float]] | None,
    shapes: Shapes | None,
    post_process: PostProcess | None,
    name: str,
) -> SSD:
    specs = [x if isinstance(x, ExtraLayer) else ExtraLayer(*x) for x in extra_layers]
    num_feature_maps = len(backbone.outputs) + len(specs)
    ratios = aspect_ratios or ((2.0, 3.0),) * num_feature_maps
    if sizes is None:
        # In torchvision the last size is the whole image.
        boxes = DefaultBoxes.from_scales(
            image_size, num_feature_maps, largest=0.95, last=1.0, aspect_ratios=ratios, clip="size"
        )
    else:
        boxes = DefaultBoxes.paper(sizes, ratios, clip="size")
    if shapes is not None:
        boxes = dataclasses.replace(boxes, shapes=shapes)
    return SSD(
        backbone,
        boxes,
        class_names,
        image_size,
        specs,
        style=style,
        preprocessor=UNIT_PREPROCESSOR,
        post_process=post_process or SSDLITE_POST_PROCESS,
        name=name,
    )
