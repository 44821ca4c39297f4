"""SSD300 on ResNet18 and ResNet50."""

import dataclasses
from collections.abc import Sequence

from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.models.backbones import resnet
from ssd_keras.models.blocks import ConvStyle
from ssd_keras.models.builders.common import (
    CAFFE_PREPROCESSOR,
    IMAGENET_PREPROCESSOR,
    BuilderOptions,
)
from ssd_keras.models.builders.vgg import (
    SSD300_ASPECT_RATIOS,
    SSD300_UNPADDED_LAYER,
    paper_sizes,
)
from ssd_keras.models.heads import SSDHead
from ssd_keras.models.necks import ExtraLayer, ExtraLayers
from ssd_keras.models.ssd import SSD

RESNET_STYLE = ConvStyle(batch_norm=True, epsilon=1e-5, momentum=0.9)
RESNET18_EXTRA_LAYERS = (
    ExtraLayer(256, 512),
    ExtraLayer(256, 512),
    ExtraLayer(128, 256),
    SSD300_UNPADDED_LAYER,
    ExtraLayer(128, 128, strides=1, padding=0),
)
RESNET50_EXTRA_LAYERS = (
    ExtraLayer(256, 512),
    ExtraLayer(256, 512),
    ExtraLayer(128, 256),
    SSD300_UNPADDED_LAYER,
    SSD300_UNPADDED_LAYER,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNetOptions(BuilderOptions):
    """Options of `ssd_resnet`.

    Args:
        depth: 18 or 50. Default 50.
        sizes: side of the default boxes of each feature map in pixels, and one more; or the data
            set whose sizes of SSD300 the paper gives, "voc" or "coco". Default "coco".
        aspect_ratios: for each feature map. Default those of SSD300.
        steps: distance of cells of each feature map in pixels. Default None: image / map.
        feature_maps: indices of the feature maps that get heads, counted from 0. Default all.
        clip: "none", "size" or "corners"; see `DefaultBoxes`. Default "none".
        variant: layers of ResNet50: "keras" (default), as in `keras.applications`, or
            "torchvision". ResNet18 has torchvision's. ImageNet weights are those of the variant.
    """

    depth: int = 50
    sizes: Sequence[float] | str = "coco"
    aspect_ratios: Sequence[Sequence[float]] = SSD300_ASPECT_RATIOS
    steps: Sequence[float] | None = None
    feature_maps: Sequence[int] | None = None
    clip: str = "none"
    variant: str = "keras"


def ssd_resnet(
    image_size: tuple[int, int],
    class_names: Sequence[str],
    options: ResNetOptions | None = None,
    *,
    name: str = "ssd_resnet",
) -> SSD:
    """SSD on ResNet18 or ResNet50, with the fourth stage at stride 8 and without the fifth.

    Args:
        image_size: height and width in pixels.
        class_names: names of the classes without background.
        options: `ResNetOptions`. Default ResNet50.
        name: name of the model.

    Returns:
        `SSD`.

    Raises:
        ValueError: for another depth.

    Example:

    >>> ssd_resnet((300, 300), ["cat"], ResNetOptions(depth=18)).feature_sizes[:2]
    ((38, 38), (19, 19))
    """
    options = options or ResNetOptions()
    depth = options.depth
    if depth not in (18, 50):
        raise ValueError(f"depth={depth} is unknown; choose 18 or 50.")
    if depth == 18:
        backbone = resnet.resnet18(image_size, options.backbone_weights)
    else:
        backbone = resnet.resnet50(image_size, options.backbone_weights, options.variant)
    is_torchvision = depth == 18 or options.variant == "torchvision"
    extra_layers = RESNET18_EXTRA_LAYERS if depth == 18 else RESNET50_EXTRA_LAYERS
    return options.build(
        backbone,
        class_names,
        image_size,
        neck=ExtraLayers(extra_layers, RESNET_STYLE, options.feature_maps),
        head=SSDHead(RESNET_STYLE),
        default_boxes=DefaultBoxes.paper(
            paper_sizes(options.sizes, 300), options.aspect_ratios, options.steps, clip=options.clip
        ),
        preprocessor=IMAGENET_PREPROCESSOR if is_torchvision else CAFFE_PREPROCESSOR,
        name=name,
    )
