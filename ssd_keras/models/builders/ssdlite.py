"""SSDLite on MobileNetV2 and MobileNetV3-Large."""

from collections.abc import Sequence

from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.models.backbones import mobilenet
from ssd_keras.models.blocks import ConvStyle
from ssd_keras.models.builders.common import UNIT_PREPROCESSOR, _chosen_boxes
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


SSDLITE_EXTRAS = (
    ExtraLayer(256, 512),
    ExtraLayer(128, 256),
    ExtraLayer(128, 256),
    ExtraLayer(64, 128),
)


# torchvision's thresholds. To choose candidates class by class, as it does, would double a phone's
# time for post-processing.
SSDLITE_SETTINGS = PostProcess(
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
    extra_layers: Sequence[ExtraLayer | Sequence[int]] = SSDLITE_EXTRAS,
    alpha: float = 1.0,
    batch_norm: bool = True,
    sizes: Sequence[float] | None = None,
    aspect_ratios: Sequence[Sequence[float]] | None = None,
    post_process: PostProcess | None = None,
    backbone_weights: str | None = None,
    name: str = "ssdlite_mobilenet_v2",
) -> SSD:
    """SSDLite on MobileNetV2 (Sandler et al. 2018, section 6.2).

    Args:
        image_size: height and width in pixels.
        class_names: names of the classes without background.
        feature_layers: backbone layers that get heads, finest first; see `mobilenet_v2`.
        extra_layers: `ExtraLayer`s, or their arguments as plain numbers.
        alpha: width multiplier of the backbone. Default 1.
        batch_norm: False leaves batch normalisation out everywhere. Default True.
        sizes: default box side of each map in pixels, and one more. Default: scales from 0.2
            to 0.95 of the shorter side, as torchvision's SSDLite.
        aspect_ratios: for each map. Default (2, 3) everywhere.
        post_process: default score 0.001, IoU 0.55, 300 of 500 candidates of all classes.
        backbone_weights: None, "imagenet" or a path.
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
        post_process, name,
    )  # fmt: skip


def ssdlite_mobilenet_v3_large(
    image_size: tuple[int, int],
    class_names: Sequence[str],
    *,
    extra_layers: Sequence[ExtraLayer | Sequence[int]] = SSDLITE_EXTRAS,
    sizes: Sequence[float] | None = None,
    aspect_ratios: Sequence[Sequence[float]] | None = None,
    post_process: PostProcess | None = None,
    backbone_weights: str | None = None,
    name: str = "ssdlite_mobilenet_v3_large",
) -> SSD:
    """SSDLite on MobileNetV3-Large with torchvision's shape (Howard et al. 2019, section 6.3).

    Args:
        image_size: height and width in pixels.
        class_names: names of the classes without background.
        extra_layers: `ExtraLayer`s, or their arguments as plain numbers.
        sizes: default box side of each map in pixels, and one more. Default: scales from 0.2
            to 0.95 of the shorter side.
        aspect_ratios: for each map. Default (2, 3) everywhere.
        post_process: default score 0.001, IoU 0.55, 300 of 500 candidates of all classes.
        backbone_weights: None or a path; see `mobilenet_v3_large`.
        name: name of the model.

    Returns:
        `SSD`.
    """
    backbone = mobilenet.mobilenet_v3_large(image_size, backbone_weights)
    return _ssdlite(
        backbone, image_size, class_names, extra_layers, SSDLITE_STYLE, sizes, aspect_ratios,
        post_process, name,
    )  # fmt: skip


def _ssdlite(
    backbone, image_size, class_names, extra_layers, style, sizes, aspect_ratios, post_process, name
):
    extras = [x if isinstance(x, ExtraLayer) else ExtraLayer(*x) for x in extra_layers]
    num_feature_maps = len(backbone.outputs) + len(extras)
    if sizes is None:
        spread = DefaultBoxes.from_scales(image_size, num_feature_maps, smallest=0.2, largest=0.95)
        # torchvision lets the last between-size end at the whole image.
        sizes = (*spread.sizes[:-1], float(min(image_size)))
    return SSD(
        backbone,
        _chosen_boxes(sizes, aspect_ratios or ((2.0, 3.0),) * num_feature_maps, None, "size"),
        class_names,
        image_size,
        extras,
        style=style,
        preprocessor=UNIT_PREPROCESSOR,
        post_process=post_process or SSDLITE_SETTINGS,
        name=name,
    )
