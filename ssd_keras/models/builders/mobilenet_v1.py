"""SSD300 on MobileNetV1, as in the TF Object Detection API."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ssd_keras.boxes.default_boxes import VARIANCES, DefaultBoxes
from ssd_keras.models.backbones.mobilenet_v1 import (
    MOBILENET_V1_CHANNELS,
    MOBILENET_V1_FEATURE_LAYERS,
    mobilenet_v1,
    mobilenet_v1_style,
)
from ssd_keras.models.blocks import SAME
from ssd_keras.models.builders.common import UNIT_PREPROCESSOR, BuilderOptions
from ssd_keras.models.heads import SSDHead
from ssd_keras.models.necks import ExtraLayer, ExtraLayers
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

MOBILENET_V1_EXTRA_LAYERS = tuple(
    ExtraLayer(bottleneck, filters, padding=SAME)
    for bottleneck, filters in ((256, 512), (128, 256), (128, 256), (64, 128))
)
# The API's own score threshold is 1e-8; the paper's 0.01 leaves fewer candidates.
MOBILENET_V1_POST_PROCESS = PostProcess(0.01, 0.6, max_candidates=100, max_detections=100)


def object_detection_api_boxes(
    image_size: tuple[int, int],
    boxes_per_cell: Sequence[int],
    smallest: float = 0.2,
    largest: float = 0.95,
    first_square: float = 0.1,
    variances: Sequence[float] = VARIANCES,
) -> DefaultBoxes:
    """Returns the default boxes of the API's `ssd_anchor_generator`."""
    is_reduced = boxes_per_cell[0] % 2 == 1
    return DefaultBoxes.from_scales(
        image_size,
        len(boxes_per_cell),
        smallest=smallest,
        largest=largest,
        last=1.0,
        aspect_ratios=[(2.0, 3.0)[: (count - 1) // 2] for count in boxes_per_cell],
        first_square=round(first_square * min(image_size), 6) if is_reduced else None,
        variances=variances,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MobileNetV1Options(BuilderOptions):
    """Options of `ssd_mobilenet_v1`.

    Args:
        channels: channels of the backbone's 14 convolutions. Default those of MobileNetV1.
        extra_layers: `ExtraLayer`s, or tuples of their arguments. Default those of the API.
        batch_norm: use batch normalisation in backbone, extra layers and heads. Default True.
        preprocessor: dictionary as of `SSD`. Default None: images in -1..1.
    """

    channels: Sequence[int] = MOBILENET_V1_CHANNELS
    extra_layers: Sequence[ExtraLayer | Sequence[int]] = MOBILENET_V1_EXTRA_LAYERS
    batch_norm: bool = True
    preprocessor: Mapping[str, Any] | None = None


def ssd_mobilenet_v1(
    image_size: tuple[int, int],
    class_names: Sequence[str],
    options: MobileNetV1Options | None = None,
    *,
    name: str = "ssd_mobilenet_v1",
) -> SSD:
    """SSD on MobileNetV1 with the numbers of the Object Detection API (arXiv 1611.10012).

    The default boxes are those of the API's `ssd_anchor_generator`, the scores sigmoid; score
    threshold 0.01, IoU threshold 0.6, 100 candidates, 100 detections.

    Args:
        image_size: height and width in pixels.
        class_names: names of the classes without background.
        options: `MobileNetV1Options`. Default `MobileNetV1Options()`.
        name: name of the model.

    Returns:
        `SSD`.

    Example:

    >>> model = ssd_mobilenet_v1((300, 300), ["cat"])
    >>> model.feature_sizes[0], len(model.default_box_array)
    ((19, 19), 1917)
    """
    options = options or MobileNetV1Options()
    counts = (3,) + (6,) * (len(MOBILENET_V1_FEATURE_LAYERS) + len(options.extra_layers) - 1)
    style = mobilenet_v1_style(options.batch_norm)
    return options.build(
        mobilenet_v1(image_size, options.channels, options.batch_norm, options.backbone_weights),
        class_names,
        image_size,
        neck=ExtraLayers(options.extra_layers, style),
        head=SSDHead(style),
        default_boxes=object_detection_api_boxes(image_size, counts),
        preprocessor=options.preprocessor or UNIT_PREPROCESSOR,
        post_process=MOBILENET_V1_POST_PROCESS,
        activation="sigmoid",
        name=name,
    )
