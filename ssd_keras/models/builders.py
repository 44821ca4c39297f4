"""Builders: the numbers of the papers, and SSD on any trunk."""

from collections.abc import Sequence

import keras

from ssd_keras.default_boxes import DefaultBoxes
from ssd_keras.models import mobilenet, resnet, vgg
from ssd_keras.models.blocks import ConvStyle, ExtraLayer
from ssd_keras.models.ssd import SSD
from ssd_keras.models.trunks import feature_extractor
from ssd_keras.settings import DetectionSettings

CAFFE_PREPROCESSOR = {"mean": (123.0, 117.0, 104.0), "channel_order": "bgr"}
"""The paper's: mean of ImageNet subtracted, no scaling, blue first. `keras.applications`' VGG16
and ResNet50 want nearly the same (123.68, 116.779, 103.939)."""

UNIT_PREPROCESSOR = {"mean": (127.5, 127.5, 127.5), "scale": 1 / 127.5}
"""Pictures in -1..1, as the MobileNets want them."""

IMAGENET_PREPROCESSOR = {
    "mean": (123.675, 116.28, 103.53),
    "scale": (1 / 58.395, 1 / 57.12, 1 / 57.375),
}
"""Mean and standard deviation of ImageNet's channels, for ResNets trained in torchvision's way."""

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
SSDLITE_SETTINGS = DetectionSettings(
    score_threshold=0.001,
    iou_threshold=0.55,
    max_candidates=500,
    max_detections=300,
    candidates_per_class=False,
)

SHRINK = ExtraLayer(128, 256, strides=1, padding=0)
VGG300_EXTRAS = (ExtraLayer(256, 512), ExtraLayer(128, 256), SHRINK, SHRINK)
VGG512_EXTRAS = (
    ExtraLayer(256, 512),
    ExtraLayer(128, 256),
    ExtraLayer(128, 256),
    ExtraLayer(128, 256),
    ExtraLayer(128, 256, kernel_size=4, strides=1, padding=1),
)
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

SSD300_RATIOS = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,))
SSD512_RATIOS = ((2.0,), *((2.0, 3.0),) * 4, (2.0,), (2.0,))
SSD300_STEPS = (8, 16, 32, 64, 100, 300)
SSD512_STEPS = (8, 16, 32, 64, 128, 256, 512)


def ssd_vgg16(
    image_size: tuple[int, int],
    class_names: Sequence[str],
    sizes: Sequence[float],
    *,
    aspect_ratios: Sequence[Sequence[float]] | None = None,
    steps: Sequence[float] | None = None,
    sources: Sequence[int] | None = None,
    atrous: bool = True,
    normalize: bool = True,
    clip: str = "none",
    detection_settings: DetectionSettings | None = None,
    trunk_weights: str | None = None,
    name: str = "ssd_vgg16",
) -> SSD:
    """SSD on VGG16, with the paper's ablations as arguments (paper section 3.2, tables 2 and 3).

    Args:
        image_size: height and width in pixels. Below 500 the extra layers of SSD300 are taken,
            from there on those of SSD512.
        class_names: names of the classes without background.
        sizes: default box side of each map in pixels, and one more.
        aspect_ratios: for each map; default those of SSD300 or SSD512. ``((2,),) * 6`` is the
            ablation without 3 and 1/3, ``((),) * 6`` the one with squares alone.
        steps: cell distance of each map in pixels. Default those of SSD300 or SSD512 at their
            own size, else image / map.
        sources: which maps get heads, counted from 0. Default all. `sizes`, `aspect_ratios` and
            `steps` are then those of the chosen maps.
        atrous: dilated fc6. Default True; see `vgg16` for what False means.
        normalize: L2-normalise conv4_3. Default True.
        clip: "none", "size" or "corners"; see `default_boxes`. Default "none".
        detection_settings: default the paper's.
        trunk_weights: None, "imagenet" or a path; see `vgg16`.
        name: name of the model.

    Returns:
        `SSD`.

    Example:

    >>> model = ssd_vgg16((300, 300), ["cat"], (30, 60, 111, 162, 213, 264, 315))
    >>> len(model.default_boxes)
    8732
    """
    large = min(image_size) >= 500
    extras: tuple[ExtraLayer, ...] = VGG512_EXTRAS if large else VGG300_EXTRAS
    if not atrous:  # the unpooled fc7 has half the size, so one shrinking layer less is needed
        extras = extras[:-1] if large else (VGG300_EXTRAS[0], SHRINK, SHRINK)
    native = tuple(image_size) == ((512, 512) if large else (300, 300))
    if steps is None and native and sources is None:
        steps = SSD512_STEPS if large else SSD300_STEPS
    ratios = aspect_ratios or (SSD512_RATIOS if large else SSD300_RATIOS)
    boxes = _chosen_boxes(sizes, ratios, steps, clip)
    return SSD(
        vgg.vgg16(image_size, atrous, normalize, trunk_weights),
        boxes,
        class_names,
        image_size,
        extras,
        sources,
        preprocessor=CAFFE_PREPROCESSOR,
        detection_settings=detection_settings,
        name=name,
    )


def ssd_resnet(
    image_size: tuple[int, int],
    class_names: Sequence[str],
    sizes: Sequence[float],
    *,
    depth: int = 50,
    aspect_ratios: Sequence[Sequence[float]] = SSD300_RATIOS,
    steps: Sequence[float] | None = None,
    sources: Sequence[int] | None = None,
    clip: str = "none",
    variant: str = "keras",
    detection_settings: DetectionSettings | None = None,
    trunk_weights: str | None = None,
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
        sources: which maps get heads, counted from 0. Default all.
        clip: "none", "size" or "corners"; see `default_boxes`. Default "none".
        variant: of ResNet50, "keras" (default) or "torchvision"; see `resnet50`.
        detection_settings: default the paper's.
        trunk_weights: None, "imagenet" (depth 50) or a path.
        name: name of the model.

    Returns:
        `SSD`.

    Raises:
        ValueError: for another depth.
    """
    if depth not in (18, 50):
        raise ValueError(f"depth={depth} is unknown; choose 18 or 50.")
    if depth == 18:
        trunk = resnet.resnet18(image_size, trunk_weights)
    else:
        trunk = resnet.resnet50(image_size, trunk_weights, variant)
    like_torchvision = depth == 18 or variant == "torchvision"
    return SSD(
        trunk,
        _chosen_boxes(sizes, aspect_ratios, steps, clip),
        class_names,
        image_size,
        RESNET18_EXTRAS if depth == 18 else RESNET50_EXTRAS,
        sources,
        ConvStyle(batch_norm=True, epsilon=1e-5, momentum=0.9),
        IMAGENET_PREPROCESSOR if like_torchvision else CAFFE_PREPROCESSOR,
        detection_settings,
        name=name,
    )


def ssdlite_mobilenet_v2(
    image_size: tuple[int, int],
    class_names: Sequence[str],
    *,
    source_layers: Sequence[str] = mobilenet.MOBILENET_V2_SOURCES,
    extra_layers: Sequence[ExtraLayer | Sequence[int]] = SSDLITE_EXTRAS,
    alpha: float = 1.0,
    batch_norm: bool = True,
    sizes: Sequence[float] | None = None,
    aspect_ratios: Sequence[Sequence[float]] | None = None,
    detection_settings: DetectionSettings | None = None,
    trunk_weights: str | None = None,
    name: str = "ssdlite_mobilenet_v2",
) -> SSD:
    """SSDLite on MobileNetV2 (Sandler et al. 2018, section 6.2).

    Args:
        image_size: height and width in pixels.
        class_names: names of the classes without background.
        source_layers: trunk layers that get heads, finest first; see `mobilenet_v2`.
        extra_layers: `ExtraLayer`s, or their arguments as plain numbers.
        alpha: width multiplier of the trunk. Default 1.
        batch_norm: False leaves batch normalisation out everywhere. Default True.
        sizes: default box side of each map in pixels, and one more. Default: scales from 0.2
            to 0.95 of the shorter side, as torchvision's SSDLite.
        aspect_ratios: for each map. Default (2, 3) everywhere.
        detection_settings: default score 0.001, IoU 0.55, 300 of 500 candidates of all classes.
        trunk_weights: None, "imagenet" or a path.
        name: name of the model.

    Returns:
        `SSD`.
    """
    trunk = mobilenet.mobilenet_v2(image_size, source_layers, alpha, batch_norm, trunk_weights)
    style = SSDLITE_STYLE
    if not batch_norm:
        style = ConvStyle(separable=True, activation="relu6", initializer="he_uniform")
    return _ssdlite(
        trunk, image_size, class_names, extra_layers, style, sizes, aspect_ratios,
        detection_settings, name,
    )  # fmt: skip


def ssdlite_mobilenet_v3_large(
    image_size: tuple[int, int],
    class_names: Sequence[str],
    *,
    extra_layers: Sequence[ExtraLayer | Sequence[int]] = SSDLITE_EXTRAS,
    sizes: Sequence[float] | None = None,
    aspect_ratios: Sequence[Sequence[float]] | None = None,
    detection_settings: DetectionSettings | None = None,
    trunk_weights: str | None = None,
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
        detection_settings: default score 0.001, IoU 0.55, 300 of 500 candidates of all classes.
        trunk_weights: None or a path; see `mobilenet_v3_large`.
        name: name of the model.

    Returns:
        `SSD`.
    """
    trunk = mobilenet.mobilenet_v3_large(image_size, trunk_weights)
    return _ssdlite(
        trunk, image_size, class_names, extra_layers, SSDLITE_STYLE, sizes, aspect_ratios,
        detection_settings, name,
    )  # fmt: skip


def _ssdlite(
    trunk, image_size, class_names, extra_layers, style, sizes, aspect_ratios, settings, name
):
    extras = [x if isinstance(x, ExtraLayer) else ExtraLayer(*x) for x in extra_layers]
    num_maps = len(trunk.outputs) + len(extras)
    if sizes is None:
        spread = DefaultBoxes.from_scales(image_size, num_maps, smallest=0.2, largest=0.95)
        # torchvision lets the last between-size end at the whole picture.
        sizes = (*spread.sizes[:-1], float(min(image_size)))
    return SSD(
        trunk,
        _chosen_boxes(sizes, aspect_ratios or ((2.0, 3.0),) * num_maps, None, "size"),
        class_names,
        image_size,
        extras,
        style=style,
        preprocessor=UNIT_PREPROCESSOR,
        detection_settings=settings or SSDLITE_SETTINGS,
        name=name,
    )


def _chosen_boxes(sizes, aspect_ratios, steps, clip):
    ratios = tuple(tuple(each) for each in aspect_ratios)
    return DefaultBoxes(tuple(sizes), ratios, steps and tuple(steps), clip=clip)


def build_ssd(
    network: keras.Model,
    feature_layers: Sequence[str],
    class_names: Sequence[str],
    *,
    num_maps: int = 6,
    smallest: float = 0.1,
    largest: float = 0.9,
    aspect_ratios: Sequence[Sequence[float]] | None = None,
    style: ConvStyle | None = None,
    preprocessor: dict | None = None,
    detection_settings: DetectionSettings | None = None,
    name: str = "ssd",
) -> SSD:
    """SSD on any Keras network: name its feature layers, the rest is derived.

    Extra layers halve the map until there are `num_maps`, or until a map is one cell.

    Args:
        network: functional `keras.Model` built for a fixed input size, for example from
            `keras.applications` with ``include_top=False``.
        feature_layers: names of the layers that give feature maps, finest first.
        class_names: names of the classes without background.
        num_maps: number of maps with heads. Default 6.
        smallest: default box size on the first map, share of the shorter side. Default 0.1.
        largest: default box size on the last map. Default 0.9.
        aspect_ratios: for each map. Default (2, 3) everywhere.
        style: `ConvStyle` of extra layers and heads. Default with batch normalisation.
        preprocessor: mean, scale and channel_order that the network wants; see `Preprocessor`.
            Default: none, for networks that preprocess inside.
        detection_settings: default the paper's.
        name: name of the model.

    Returns:
        `SSD`.

    Raises:
        ValueError: when the input size is open, or a layer does not exist.

    Example:

    >>> network = keras.applications.MobileNetV2((96, 128, 3), weights=None, include_top=False)
    >>> model = build_ssd(network, ["block_6_expand_relu", "block_13_expand_relu"], ["cat"],
    ...                   num_maps=4, preprocessor={"mean": [127.5] * 3, "scale": 1 / 127.5})
    >>> model.feature_sizes
    ((12, 16), (6, 8), (3, 4), (2, 2))
    """
    image_size = network.input_shape[1:3]
    if None in image_size:
        raise ValueError(
            f"the trunk {network.name!r} has an open input size {image_size}; build it with "
            "input_shape=(height, width, 3)."
        )
    trunk = feature_extractor(network, feature_layers)
    extras: list[ExtraLayer] = []
    size = max(trunk.outputs[-1].shape[1:3])
    while len(trunk.outputs) + len(extras) < num_maps and size > 1:
        extras.append(ExtraLayer(128, 256))
        size = -(-size // 2)
    boxes = DefaultBoxes.from_scales(
        image_size,
        len(trunk.outputs) + len(extras),
        smallest=smallest,
        largest=largest,
        aspect_ratios=aspect_ratios,
    )
    return SSD(
        trunk,
        boxes,
        class_names,
        image_size,
        extras,
        style=style or ConvStyle(batch_norm=True),
        preprocessor=preprocessor,
        detection_settings=detection_settings,
        name=name,
    )
