"""SSD on any Keras network."""

from collections.abc import Sequence

import keras

from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.models.backbones.surgery import feature_extractor
from ssd_keras.models.blocks import ConvStyle
from ssd_keras.models.necks import ExtraLayer
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD


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
    preprocessor: dict | None = None,
    post_process: PostProcess | None = None,
    name: str = "ssd",
) -> SSD:
    """SSD on any Keras network: name its feature layers, the rest is derived.

    Extra layers halve the map until there are `num_feature_maps`, or until a map is one cell.

    Args:
        network: functional `keras.Model` built for a fixed input size, for example from
            `keras.applications` with ``include_top=False``.
        feature_layers: names of the layers that give feature maps, finest first.
        class_names: names of the classes without background.
        num_feature_maps: number of maps with heads. Default 6.
        smallest: default box size on the first map, share of the shorter side. Default 0.1.
        largest: default box size on the last map. Default 0.9.
        aspect_ratios: for each map. Default (2, 3) everywhere.
        style: `ConvStyle` of extra layers and heads. Default with batch normalisation.
        preprocessor: mean, scale and channel_order that the network wants; see `Preprocessor`.
            Default: none, for networks that preprocess inside.
        post_process: default the paper's.
        name: name of the model.

    Returns:
        `SSD`.

    Raises:
        ValueError: when the input size is open, or a layer does not exist.

    Example:

    >>> network = keras.applications.MobileNetV2((96, 128, 3), weights=None, include_top=False)
    >>> model = build_ssd(network, ["block_6_expand_relu", "block_13_expand_relu"], ["cat"],
    ...                   num_feature_maps=4, preprocessor={"mean": [127.5] * 3, "scale": 1 / 127.5})
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
    extras: list[ExtraLayer] = []
    size = max(backbone.outputs[-1].shape[1:3])
    while len(backbone.outputs) + len(extras) < num_feature_maps and size > 1:
        extras.append(ExtraLayer(128, 256))
        size = -(-size // 2)
    boxes = DefaultBoxes.from_scales(
        image_size,
        len(backbone.outputs) + len(extras),
        smallest=smallest,
        largest=largest,
        aspect_ratios=aspect_ratios,
    )
    return SSD(
        backbone,
        boxes,
        class_names,
        image_size,
        extras,
        style=style or ConvStyle(batch_norm=True),
        preprocessor=preprocessor,
        post_process=post_process,
        name=name,
    )
