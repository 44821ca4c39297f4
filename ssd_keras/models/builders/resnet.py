"""SSD300 on ResNet18 and ResNet50."""

from collections.abc import Sequence

from ssd_keras.boxes.default_boxes import Shapes
from ssd_keras.models.backbones import resnet
from ssd_keras.models.blocks import ConvStyle
from ssd_keras.models.builders.common import (
    CAFFE_PREPROCESSOR,
    IMAGENET_PREPROCESSOR,
    make_default_boxes,
)
from ssd_keras.models.builders.vgg import SSD300_ASPECT_RATIOS, SSD300_UNPADDED_LAYER
from ssd_keras.models.necks import ExtraLayer
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

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


def ssd_resnet(
    image_size: tuple[int, int],
    class_names: Sequence[str],
    sizes: Sequence[float],
    *,
    depth: int = 50,
    aspect_ratios: Sequence[Sequence[float]] = SSD300_ASPECT_RATIOS,
    steps: Sequence[float] | None = None,
    feature_maps: Sequence[int] | None = None,
    clip: str = "none",
    shapes: Shapes | None = None,
    variant: str = "keras",
    post_process: PostProcess | None = None,
    backbone_weights: str | None = None,
    name: str = "ssd_resnet",
) -> SSD:
    """SSD on ResNet18 or ResNet50, with the fourth stage at stride 8 and without the fifth.

    Args:
        image_size: height and width in pixels.
        class_names: names of the classes without background.
        sizes: side of the default boxes of each feature map in pixels, and one more.
        depth: 18 or 50. Default 50.
        aspect_ratios: for each feature map. Default those of SSD300.
        steps: distance of cells of each feature map in pixels. Default image / map.
        feature_maps: indices of the feature maps that get heads, counted from 0. Default all.
        clip: "none", "size" or "corners"; see `DefaultBoxes`. Default "none".
        shapes: for each feature map the (height, width) of a cell's default boxes in pixels, in
            place of those of `sizes` and `aspect_ratios`. Default None.
        variant: layers of ResNet50: "keras" (default), as in `keras.applications`, or
            "torchvision". ResNet18 has torchvision's.
        post_process: `PostProcess`. Default the paper's.
        backbone_weights: None, "imagenet" or the path of a weights file. Default None, random.
            ImageNet weights are those of Keras or torchvision, according to the variant.
        name: name of the model.

    Returns:
        `SSD`.

    Raises:
        ValueError: for another depth.

    Example:

    >>> sizes = (21, 45, 99, 153, 207, 261, 315)
    >>> ssd_resnet((300, 300), ["cat"], sizes, depth=18).feature_sizes[:2]
    ((38, 38), (19, 19))
    """
    if depth not in (18, 50):
        raise ValueError(f"depth={depth} is unknown; choose 18 or 50.")
    if depth == 18:
        backbone = resnet.resnet18(image_size, backbone_weights)
    else:
        backbone = resnet.resnet50(image_size, backbone_weights, variant)
    is_torchvision = depth == 18 or variant == "torchvision"
    return SSD(
        backbone,
        make_default_boxes(sizes, aspect_ratios, steps, clip, shapes),
        class_names,
        image_size,
        RESNET18_EXTRA_LAYERS if depth == 18 else RESNET50_EXTRA_LAYERS,
        feature_maps,
        ConvStyle(batch_norm=True, epsilon=1e-5, momentum=0.9),
        IMAGENET_PREPROCESSOR if is_torchvision else CAFFE_PREPROCESSOR,
        post_process,
        name=name,
    )
