"""SSD300 on ResNet18 and ResNet50."""

from collections.abc import Sequence

from ssd_keras.models.backbones import resnet
from ssd_keras.models.blocks import ConvStyle
from ssd_keras.models.builders.common import (
    CAFFE_PREPROCESSOR,
    IMAGENET_PREPROCESSOR,
    _chosen_boxes,
)
from ssd_keras.models.builders.vgg import SHRINK, SSD300_RATIOS
from ssd_keras.models.necks import ExtraLayer
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

RESNET18_EXTRAS = (
    ExtraLayer(256, 512),
    ExtraLayer(256, 512),
    ExtraLayer(128, 256),
    SHRINK,
    ExtraLayer(128, 128, strides=1, padding=0),
)


RESNET50_EXTRAS = (
    ExtraLayer(256, 512),
    ExtraLayer(256, 512),
    ExtraLayer(128, 256),
    SHRINK,
    SHRINK,
)


def ssd_resnet(
    image_size: tuple[int, int],
    class_names: Sequence[str],
    sizes: Sequence[float],
    *,
    depth: int = 50,
    aspect_ratios: Sequence[Sequence[float]] = SSD300_RATIOS,
    steps: Sequence[float] | None = None,
    feature_maps: Sequence[int] | None = None,
    clip: str = "none",
    variant: str = "keras",
    post_process: PostProcess | None = None,
    backbone_weights: str | None = None,
    name: str = "ssd_resnet",
) -> SSD:
    """SSD on ResNet18 or ResNet50, fourth stage at stride 1, fifth dropped.

    Args:
        image_size: height and width in pixels.
        class_names: names of the classes without background.
        sizes: default box side of each map in pixels, and one more.
        depth: 18 or 50. Default 50.
        aspect_ratios: for each map; default SSD300's.
        steps: cell distance of each map in pixels. Default image / map.
        feature_maps: which maps get heads, counted from 0. Default all.
        clip: "none", "size" or "corners"; see `default_boxes`. Default "none".
        variant: of ResNet50, "keras" (default) or "torchvision"; see `resnet50`.
        post_process: default the paper's.
        backbone_weights: None, "imagenet" (depth 50) or a path.
        name: name of the model.

    Returns:
        `SSD`.

    Raises:
        ValueError: for another depth.
    """
    if depth not in (18, 50):
        raise ValueError(f"depth={depth} is unknown; choose 18 or 50.")
    if depth == 18:
        backbone = resnet.resnet18(image_size, backbone_weights)
    else:
        backbone = resnet.resnet50(image_size, backbone_weights, variant)
    like_torchvision = depth == 18 or variant == "torchvision"
    return SSD(
        backbone,
        _chosen_boxes(sizes, aspect_ratios, steps, clip),
        class_names,
        image_size,
        RESNET18_EXTRAS if depth == 18 else RESNET50_EXTRAS,
        feature_maps,
        ConvStyle(batch_norm=True, epsilon=1e-5, momentum=0.9),
        IMAGENET_PREPROCESSOR if like_torchvision else CAFFE_PREPROCESSOR,
        post_process,
        name=name,
    )
