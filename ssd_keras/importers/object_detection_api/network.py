"""Builds the network that a `pipeline.config` describes, of this package's own parts."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras

from ssd_keras.assigners.argmax import ArgmaxAssigner
from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.importers.object_detection_api.pipeline_config import TOP_LEVEL, value_of
from ssd_keras.models.backbones.mobilenet import slim_mobilenet_v2
from ssd_keras.models.backbones.mobilenet_v1 import MOBILENET_V1_CHANNELS, mobilenet_v1
from ssd_keras.models.backbones.resnet import RESNET_BLOCKS, resnet_stages
from ssd_keras.models.backbones.surgery import feature_extractor
from ssd_keras.models.blocks import SAME, ConvStyle
from ssd_keras.models.builders.common import UNIT_PREPROCESSOR
from ssd_keras.models.heads import SharedHead, SSDHead
from ssd_keras.models.necks import FPN, ExtraLayer, ExtraLayers
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

ACTIVATIONS = {"RELU": "relu", "RELU_6": "relu6", None: "relu"}
# Of a backbone that keeps its own: without `override_base_feature_extractor_hyperparams`.
MOBILENET_STYLE = ConvStyle(batch_norm=True, activation="relu6", momentum=0.9997)
RESNET_STYLE = ConvStyle(batch_norm=True, activation="relu", epsilon=1.001e-5, momentum=0.99)
RESNET_PREPROCESSOR = {"mean": (123.68, 116.779, 103.939)}
RESNET_FPN_FILTERS = 256  # the API ignores the configuration's number
# The extra feature maps of the networks with six.
EXTRA_FILTERS = (512, 256, 256, 128)


def build_network(ssd: Any, class_names: Sequence[str]) -> SSD:
    """Returns the `SSD` of an `Ssd` message, with random weights.

    Args:
        ssd: of `read_pipeline_config`.
        class_names: as many as the configuration has classes.

    Returns:
        `SSD` with the default boxes, post-processing and assigner of the configuration.
    """
    family, image_size = ssd.feature_extractor.type, image_size_of(ssd)
    is_resnet, is_fpn = family.startswith("ssd_resnet"), "_fpn_" in family
    backbone = _resnet(ssd, image_size) if is_resnet else _mobilenet(ssd, image_size, is_fpn)
    return SSD(
        backbone,
        _default_boxes(ssd, image_size),
        class_names,
        image_size,
        neck=_pyramid(ssd, is_resnet) if is_fpn else _extra_layers(ssd),
        head=_head(ssd),
        assigner=_assigner(ssd),
        post_process=_post_process(ssd),
        activation=_post(ssd, "score_converter").lower(),
        preprocessor=RESNET_PREPROCESSOR if is_resnet else UNIT_PREPROCESSOR,
        name=family.removesuffix("_keras"),
    )


def image_size_of(ssd: Any) -> tuple[int, int]:
    """Returns height and width of the input in pixels."""
    resizer = ssd.image_resizer
    if resizer.HasField("fixed_shape_resizer"):
        return resizer.fixed_shape_resizer.height, resizer.fixed_shape_resizer.width
    side = resizer.keep_aspect_ratio_resizer.max_dimension
    return side, side


def style_of(hyperparams: Any, **options: Any) -> ConvStyle:
    """Returns the style of a `Hyperparams` message."""
    return ConvStyle(
        batch_norm=hyperparams.HasField("batch_norm"),
        activation=ACTIVATIONS[value_of(hyperparams, "activation")],
        initializer="he_normal",
        epsilon=_short(hyperparams.batch_norm.epsilon),
        momentum=_short(hyperparams.batch_norm.decay),
        **options,
    )


def _short(value: float) -> float:
    """Returns a float32 of a message as the number that was written."""
    return float(f"{value:.7g}")


def _backbone_style(ssd: Any, own: ConvStyle) -> ConvStyle:
    extractor = ssd.feature_extractor
    is_overridden = extractor.override_base_feature_extractor_hyperparams
    return style_of(extractor.conv_hyperparams) if is_overridden else own


def _mobilenet(ssd: Any, image_size: tuple[int, int], is_fpn: bool) -> keras.Model:
    extractor = ssd.feature_extractor
    style = _backbone_style(ssd, MOBILENET_STYLE)
    alpha, least = _short(extractor.depth_multiplier), extractor.min_depth
    if extractor.type.startswith("ssd_mobilenet_v2"):
        names = ["block13_expand", "last"]
        if is_fpn:
            names = ["block5_out", "block12_out", "last"][extractor.fpn.min_level - 3 :]
        taps = [x if x.endswith("out") else f"{x}_{style.activation}" for x in names]
        return slim_mobilenet_v2(image_size, alpha, least, taps, style)
    channels = list(MOBILENET_V1_CHANNELS)
    if is_fpn and extractor.use_depthwise:
        channels[-2:] = [512, 256]
    # The API multiplies once, and the network of Keras that it calls once more.
    scaled = [max(int(max(int(c * alpha), least) * alpha), least) for c in channels]
    numbers = [5, 11, 13][extractor.fpn.min_level - 3 :] if is_fpn else [11, 13]
    return mobilenet_v1(image_size, scaled, feature_layers=numbers, style=style)


def _resnet(ssd: Any, image_size: tuple[int, int]) -> keras.Model:
    extractor = ssd.feature_extractor
    depth = int(extractor.type.removeprefix("ssd_resnet").partition("_")[0])
    style = _backbone_style(ssd, RESNET_STYLE)
    network = resnet_stages(image_size, depth, style=style, variant="object_detection_api")
    stages = range(extractor.fpn.min_level, TOP_LEVEL + 1)
    names = [f"conv{stage}_block{RESNET_BLOCKS[depth][stage - 2]}_out" for stage in stages]
    return feature_extractor(network, names)


def _pyramid(ssd: Any, is_resnet: bool) -> FPN:
    extractor, fpn = ssd.feature_extractor, ssd.feature_extractor.fpn
    filters = int(fpn.additional_layer_depth * _short(extractor.depth_multiplier))
    return FPN(
        RESNET_FPN_FILTERS if is_resnet else max(filters, extractor.min_depth),
        extra_levels=fpn.max_level - TOP_LEVEL,
        style=style_of(
            extractor.conv_hyperparams, separable=extractor.use_depthwise, norm_between=False
        ),
        variant="object_detection_api",
    )


def _extra_layers(ssd: Any) -> ExtraLayers:
    extractor = ssd.feature_extractor
    alpha, least = _short(extractor.depth_multiplier), extractor.min_depth
    filters = [max(int(count * alpha), least) for count in EXTRA_FILTERS]
    bottlenecks = [max(int(count / 2 * alpha), least) for count in EXTRA_FILTERS]
    return ExtraLayers(
        [ExtraLayer(a, b, padding=SAME) for a, b in zip(bottlenecks, filters, strict=True)],
        style_of(extractor.conv_hyperparams, separable=extractor.use_depthwise),
    )


def _head(ssd: Any) -> SSDHead | SharedHead:
    if ssd.box_predictor.HasField("convolutional_box_predictor"):
        predictor = ssd.box_predictor.convolutional_box_predictor
        options = {"separable": predictor.use_depthwise, "head_kernel": predictor.kernel_size}
        return SSDHead(style_of(predictor.conv_hyperparams, **options))
    predictor = ssd.box_predictor.weight_shared_convolutional_box_predictor
    return SharedHead(
        predictor.depth,
        predictor.num_layers_before_predictor,
        predictor.kernel_size,
        is_tower_shared=predictor.share_prediction_tower,
        style=style_of(predictor.conv_hyperparams, separable=predictor.use_depthwise),
    )


def _default_boxes(ssd: Any, image_size: tuple[int, int]) -> DefaultBoxes:
    coder = ssd.box_coder.faster_rcnn_box_coder
    scales = (coder.y_scale, coder.x_scale, coder.height_scale, coder.width_scale)
    variances = tuple(1 / scale for scale in scales)
    if ssd.anchor_generator.HasField("multiscale_anchor_generator"):
        anchors = ssd.anchor_generator.multiscale_anchor_generator
        return DefaultBoxes.octaves(
            image_size,
            range(anchors.min_level, anchors.max_level + 1),
            scales_per_octave=anchors.scales_per_octave,
            aspect_ratios=tuple(map(_short, anchors.aspect_ratios)),
            base_scale=anchors.anchor_scale,
            variances=variances,
        )
    return DefaultBoxes.explicit(
        _ssd_shapes(ssd.anchor_generator.ssd_anchor_generator, image_size), variances=variances
    )


def _ssd_shapes(anchors: Any, image_size: tuple[int, int]) -> list[list[tuple[float, float]]]:
    """Returns the shapes of `ssd_anchor_generator` in its order, in pixels."""
    low, high = _short(anchors.min_scale), _short(anchors.max_scale)
    step = (high - low) / max(1, anchors.num_layers - 1)
    scales = [_short(scale) for scale in anchors.scales] or [
        low + step * index for index in range(anchors.num_layers)
    ]
    scales.append(1.0)
    ratios = list(map(_short, anchors.aspect_ratios))
    between = _short(anchors.interpolated_scale_aspect_ratio)
    cells = []
    for index, (scale, coarser) in enumerate(itertools.pairwise(scales)):
        cell = [(scale, ratio) for ratio in ratios]
        if between > 0:
            cell.append(((scale * coarser) ** 0.5, between))
        if index == 0 and anchors.reduce_boxes_in_lowest_layer:
            cell = [(0.1, 1.0), (scale, 2.0), (scale, 0.5)]
        side = min(image_size)
        cells.append([(side * s / r**0.5, side * s * r**0.5) for s, r in cell])
    return cells


def _assigner(ssd: Any) -> ArgmaxAssigner:
    matcher = ssd.matcher.argmax_matcher
    return ArgmaxAssigner(
        _short(matcher.matched_threshold),
        _short(matcher.unmatched_threshold),
        matcher.force_match_for_each_row,
    )


def _post(ssd: Any, name: str) -> Any:
    return value_of(ssd, f"post_processing.{name}")


def _post_process(ssd: Any) -> PostProcess:
    nms = ssd.post_processing.batch_non_max_suppression
    return PostProcess(
        score_threshold=_short(nms.score_threshold),
        iou_threshold=_short(nms.iou_threshold),
        max_detections=nms.max_total_detections,
        max_detections_per_class=nms.max_detections_per_class,
        clip_boxes="after",
    )
