"""SSD-PAN: the second generation, MobileNetV2 with a pyramid neck and a shared head."""

import dataclasses
from collections.abc import Sequence

from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.models.backbones.mobilenet import mobilenet_v2
from ssd_keras.models.blocks import ConvStyle
from ssd_keras.models.builders.common import UNIT_PREPROCESSOR, BuilderOptions
from ssd_keras.models.heads import SharedHead
from ssd_keras.models.necks import FPN, PAN
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

# At strides 8, 16 and 32; the neck adds stride 64.
SSD_PAN_FEATURE_LAYERS = ("block_6_expand_relu", "block_13_expand_relu", "out_relu")
SSD_PAN_LEVELS = (3, 4, 5, 6)
SSD_PAN_KERNEL = 5
SSD_PAN_STYLE = ConvStyle(separable=True, batch_norm=True, activation="relu6")
SSD_PAN_POST_PROCESS = PostProcess(
    score_threshold=0.01,
    iou_threshold=0.6,
    max_candidates=300,
    max_detections=100,
    candidates_per_class=False,
    clip_boxes="after",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SSDPANOptions(BuilderOptions):
    """Options of `ssd_pan_mobilenet_v2`.

    Args:
        feature_layers: names of the backbone layers at strides 8, 16 and 32, finest first.
        alpha: width multiplier of the backbone. Default 1.
        batch_norm: use batch normalisation in the backbone; neck and head always do. Default True.
        filters: channels of neck and head. Default 96.
        head_depth: convolutions before the predictions of the head. Default 2.
        base_scale: side of the default box of a cell, in cells. Default 5.
    """

    feature_layers: Sequence[str] = SSD_PAN_FEATURE_LAYERS
    alpha: float = 1.0
    batch_norm: bool = True
    filters: int = 96
    head_depth: int = 2
    base_scale: float = 5.0


def ssd_pan_mobilenet_v2(
    image_size: tuple[int, int],
    class_names: Sequence[str],
    options: SSDPANOptions | None = None,
    *,
    name: str = "ssd_pan_mobilenet_v2",
) -> SSD:
    """SSD on MobileNetV2 with a top-down and a bottom-up neck, and one default box in a cell.

    The single-shot detector that a phone can afford today: feature maps at strides 8 to 64 of
    equally many channels (`FPN`, then `PAN`, 5x5 depthwise convolutions), a `SharedHead`, sigmoid
    scores, one square default box in each cell. It is meant for `ATSSAssigner` or
    `TaskAlignedAssigner`, `QualityFocalLoss` and `GIoULoss`, as its recipes train it.

    Args:
        image_size: height and width in pixels.
        class_names: names of the classes without background.
        options: `SSDPANOptions`. Default `SSDPANOptions()`.
        name: name of the model.

    Returns:
        `SSD`.

    Example:

    >>> model = ssd_pan_mobilenet_v2((320, 320), ["cat"])
    >>> model.feature_sizes, len(model.default_box_array)
    (((40, 40), (20, 20), (10, 10), (5, 5)), 2125)
    """
    options = options or SSDPANOptions()
    backbone = mobilenet_v2(
        image_size,
        options.feature_layers,
        options.alpha,
        options.batch_norm,
        options.backbone_weights,
    )
    pyramid = FPN(options.filters, extra_levels=1, kernel_size=SSD_PAN_KERNEL, style=SSD_PAN_STYLE)
    return options.build(
        backbone,
        class_names,
        image_size,
        neck=[pyramid, PAN(SSD_PAN_KERNEL, SSD_PAN_STYLE)],
        head=SharedHead(options.filters, options.head_depth, SSD_PAN_KERNEL, style=SSD_PAN_STYLE),
        default_boxes=DefaultBoxes.octaves(
            image_size,
            SSD_PAN_LEVELS,
            scales_per_octave=1,
            aspect_ratios=(1.0,),
            base_scale=options.base_scale,
        ),
        preprocessor=UNIT_PREPROCESSOR,
        post_process=SSD_PAN_POST_PROCESS,
        activation="sigmoid",
        name=name,
    )
