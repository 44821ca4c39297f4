"""SSD on any Keras network."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.models.backbones.surgery import feature_extractor
from ssd_keras.models.blocks import ConvStyle
from ssd_keras.models.heads import SSDHead
from ssd_keras.models.necks import ExtraLayer, ExtraLayers
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD, Head, Neck


def build_ssd(
    network: keras.Model,
    feature_layers: Sequence[str],
    class_names: Sequence[str],
    *,
    num_feature_maps: int = 6,
    smallest: float = 0.1,
    largest: float = 0.9,
    aspect_ratios: Sequence[Sequence[float]] | None = None,
    style: ConvStyle | None = None,
    neck: Neck | Sequence[Neck] | None = None,
    head: Head | None = None,
    preprocessor: Mapping[str, Any] | None = None,
    post_process: PostProcess | None = None,
    name: str = "ssd",
) -> SSD:
    """SSD on any Keras network, from the names of its feature layers.

    Extra layers halve the last feature map until there are `num_feature_maps`, or until a map has
    one cell.

    Args:
        network: functional `keras.Model` built for a fixed input size, for example from
            `keras.applications` with ``include_top=False``.
        feature_layers: names of the layers whose outputs are feature maps, finest first.
        class_names: names of the classes without background.
        num_feature_maps: number of feature maps. Default 6.
        smallest: side of the default boxes of the first map, as a share of the image's shorter
            side. Default 0.1.
        largest: the same of the last map. Default 0.9.
        aspect_ratios: for each feature map. Default (2, 3) everywhere.
        style: `ConvStyle` of extra layers and heads. Default with batch normalisation.
        neck: another neck than extra layers, such as `FPN`; it gives `num_feature_maps` maps.
        head: another head than `SSDHead`.
        preprocessor: dictionary as of `SSD`. Default None, for networks that preprocess inside.
        post_process: `PostProcess`. Default the paper's.
        name: name of the model.

    Returns:
        `SSD`.

    Raises:
        ValueError: when the input size is open, or a feature layer does not exist.

    Example:

    >>> network = keras.applications.MobileNetV2((96, 128, 3), weights=None, include_top=False)
    >>> model = build_ssd(
    ...     network, ["block_6_expand_relu", "block_13_expand_relu"], ["cat"], num_feature_maps=4,
    ...     preprocessor={"mean": (127.5, 127.5, 127.5), "scale": 1 / 127.5},
    ... )
    >>> model.feature_sizes
    ((12, 16), (6, 8), (3, 4), (2, 2))
    """
    image_size = network.input_shape[1:3]
    if None in image_size:
        raise ValueError(
            f"the backbone {network.name!r} has an open input size {image_size}; build it with "
            "input_shape=(height, width, 3)."
        )
    backbone = feature_extractor(network, feature_layers)
    style = style or ConvStyle(batch_norm=True)
    if neck is None:
        neck = _extra_layers(backbone, num_feature_maps, style)
        num_feature_maps = len(backbone.outputs) + len(neck.layers)
    boxes = DefaultBoxes.from_scales(
        image_size,
        num_feature_maps,
        smallest=smallest,
        largest=largest,
        aspect_ratios=aspect_ratios,
    )
    return SSD(
        backbone,
        boxes,
        class_names,
        image_size,
        neck=neck,
        head=head or SSDHead(style),
        preprocessor=preprocessor,
        post_process=post_process,
        name=name,
    )


def _extra_layers(backbone: keras.Model, num_feature_maps: int, style: ConvStyle) -> ExtraLayers:
    """Halves the last feature map until there are enough, or until a map has one cell."""
    specs: list[ExtraLayer] = []
    size = max(backbone.outputs[-1].shape[1:3])
    while len(backbone.outputs) + len(specs) < num_feature_maps and size > 1:
        specs.append(ExtraLayer(128, 256))
        size = -(-size // 2)
    return ExtraLayers(tuple(specs), style)
