"""Necks: what stands between the backbone's feature maps and the head.

A neck is called with feature maps, finest first, and returns those of the next neck or the head.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from ssd_keras.core.config_record import ConfigRecord
from ssd_keras.core.parts import register_part
from ssd_keras.core.records import check_whole_numbers
from ssd_keras.core.text import unknown_name
from ssd_keras.models.blocks import SAME, ConvStyle, conv, styled_conv

FeatureMaps = Sequence[keras.KerasTensor]
FPN_VARIANTS = ("paper", "object_detection_api")


@keras.saving.register_keras_serializable("ssd_keras")
@dataclasses.dataclass(frozen=True)
class ExtraLayer(ConfigRecord):
    """A coarser feature map: a 1x1 bottleneck, then a convolution that shrinks the map.

    Args:
        bottleneck: channels of the 1x1 convolution.
        filters: channels of the new feature map.
        kernel_size: kernel size of the shrinking convolution. Default 3.
        strides: stride of the shrinking convolution. Default 2.
        padding: zeros added on each side, or "same" for TensorFlow's rule. Default 1.

    Example:

    >>> ExtraLayer(128, 256, strides=1, padding=0).kernel_size
    3
    """

    bottleneck: int
    filters: int
    kernel_size: int = 3
    strides: int = 2
    padding: int | str = 1

    def __post_init__(self) -> None:
        check_whole_numbers(self, ("bottleneck", "filters", "kernel_size", "strides"))


@register_part("neck", "extra_layers")
@dataclasses.dataclass(frozen=True)
class ExtraLayers(ConfigRecord):
    """The paper's neck: extra layers, each on the map before it (section 2.1, figure 2).

    Args:
        layers: `ExtraLayer`s that continue the last feature map, or tuples of their arguments.
            Default none.
        style: `ConvStyle` of the convolutions. Default `ConvStyle()`.
        feature_maps: indices of the maps that are returned, counted from 0 over the given maps
            and the new ones. Default None: all.

    Call arguments:
        maps: feature maps [B, H, W, C], finest first.

    Returns of a call:
        The chosen maps, finest first.

    Raises:
        ValueError: for an index out of range, or a map that is too small for its layer.

    Example:

    >>> maps = ExtraLayers((ExtraLayer(64, 128),))([keras.Input((10, 10, 32))])
    >>> [x.shape[1:] for x in maps]
    [(10, 10, 32), (5, 5, 128)]
    """

    layers: Sequence[Any] = ()
    style: ConvStyle = ConvStyle()
    feature_maps: Sequence[int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(map(_as_extra_layer, self.layers)))
        super().__post_init__()

    def __call__(self, maps: FeatureMaps) -> FeatureMaps:
        maps = list(maps)
        for index, spec in enumerate(self.layers, start=1):
            maps.append(_extra_layer(maps[-1], spec, f"extra{index}", self.style))
        if self.feature_maps is None:
            return maps
        if not all(0 <= index < len(maps) for index in self.feature_maps):
            raise ValueError(
                f"feature_maps={self.feature_maps} must be between 0 and {len(maps) - 1}: "
                f"there are {len(maps)} feature maps."
            )
        return [maps[index] for index in self.feature_maps]


def _as_extra_layer(spec: Any) -> ExtraLayer:
    if isinstance(spec, ExtraLayer):
        return spec
    try:
        return ExtraLayer(*spec)
    except TypeError as error:
        raise ValueError(
            f"{spec!r} is not an extra layer; expected bottleneck, filters and, where they differ "
            "from the defaults, kernel_size, strides and padding."
        ) from error


def _extra_layer(
    x: keras.KerasTensor, spec: ExtraLayer, name: str, style: ConvStyle
) -> keras.KerasTensor:
    min_side = 1 if spec.padding == SAME else spec.kernel_size - 2 * int(spec.padding)
    if min(x.shape[1:3]) < min_side:
        raise ValueError(
            f"{name} needs a feature map of {min_side}x{min_side} or more but gets "
            f"{x.shape[1]}x{x.shape[2]}; use a larger image_size or fewer extra layers."
        )
    x = conv(x, spec.bottleneck, 1, f"{name}_1", style)
    names = f"{name}_2", f"{name}_depthwise"
    return styled_conv(x, spec.filters, spec.kernel_size, names, style, spec.strides, spec.padding)


@register_part("neck", "fpn")
@dataclasses.dataclass(frozen=True)
class FPN(ConfigRecord):
    """Feature pyramid network (Lin et al. 2017, arXiv 1612.03144, section 3).

    From the coarsest map on, each map is a 1x1 convolution of the backbone's plus the coarser
    map, enlarged; then a convolution smooths it. All maps have equally many channels.

    The TF Object Detection API's pyramids differ in two ways: the coarser map is enlarged after it
    was smoothed, and the coarsest map of the backbone is not smoothed.

    Args:
        filters: channels of every map. Default 128.
        extra_levels: coarser maps, each a convolution of stride 2 on the one before. Default 0.
        kernel_size: kernel size of smoothing and extra levels. Default 3.
        style: `ConvStyle` of smoothing and extra levels. Default separable with batch
            normalisation.
        variant: "paper" (default) or "object_detection_api".

    Call arguments:
        maps: feature maps [B, H, W, C], finest first.

    Raises:
        ValueError: for another variant.

    Returns of a call:
        As many maps and `extra_levels` more, finest first, each [B, H, W, filters].

    Example:

    >>> maps = FPN(64, extra_levels=1)([keras.Input((20, 20, 96)), keras.Input((10, 10, 320))])
    >>> [x.shape[1:] for x in maps]
    [(20, 20, 64), (10, 10, 64), (5, 5, 64)]
    """

    filters: int = 128
    extra_levels: int = 0
    kernel_size: int = 3
    style: ConvStyle = ConvStyle(separable=True, batch_norm=True)
    variant: str = "paper"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole_numbers(self, ("filters", "kernel_size"))
        check_whole_numbers(self, ("extra_levels",), least=0)
        if self.variant not in FPN_VARIANTS:
            raise ValueError(unknown_name("variant", self.variant, FPN_VARIANTS))

    def __call__(self, maps: FeatureMaps) -> FeatureMaps:
        is_paper = self.variant == "paper"
        sums: list[keras.KerasTensor] = []
        for index, x in reversed(list(enumerate(maps, start=1))):
            name = f"fpn{index}_lateral"
            x = layers.Conv2D(
                self.filters, 1, kernel_initializer=self.style.initializer, name=name
            )(x)
            if sums:
                coarser = enlarge(sums[0], x.shape[1:3], f"fpn{index}_enlarged")
                x = layers.Add(name=f"fpn{index}_sum")([x, coarser])
                x = x if is_paper else self._conv(x, f"fpn{index}")
            sums.insert(0, x)
        outputs = sums
        if is_paper:
            outputs = [self._conv(x, f"fpn{index}") for index, x in enumerate(sums, start=1)]
        for index in range(len(outputs) + 1, len(outputs) + 1 + self.extra_levels):
            outputs.append(self._conv(outputs[-1], f"fpn{index}", strides=2))
        return outputs

    def _conv(self, x: keras.KerasTensor, name: str, strides: int = 1) -> keras.KerasTensor:
        names = name, f"{name}_depthwise"
        return styled_conv(x, self.filters, self.kernel_size, names, self.style, strides, SAME)


@register_part("neck", "pan")
@dataclasses.dataclass(frozen=True)
class PAN(ConfigRecord):
    """The bottom-up path of a path aggregation network (Liu et al. 2018, arXiv 1803.01534, 3.1).

    It stands behind an `FPN`: from the finest map on, each map is convolved with stride 2, added
    to the next coarser one, and a convolution smooths the sum. So coarse maps get the places of
    edges that the fine ones see.

    Args:
        kernel_size: kernel size of all convolutions. Default 5.
        style: `ConvStyle` of the convolutions. Default separable with batch normalisation.

    Call arguments:
        maps: feature maps [B, H, W, C] of equally many channels, finest first.

    Returns of a call:
        As many maps of the same sizes and channels; the finest is the given one.

    Raises:
        ValueError: for maps that differ in channels, or do not halve from one to the next.

    Example:

    >>> maps = PAN()([keras.Input((20, 20, 64)), keras.Input((10, 10, 64))])
    >>> [x.shape[1:] for x in maps]
    [(20, 20, 64), (10, 10, 64)]
    """

    kernel_size: int = 5
    style: ConvStyle = ConvStyle(separable=True, batch_norm=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole_numbers(self, ("kernel_size",))

    def __call__(self, maps: FeatureMaps) -> FeatureMaps:
        if len({x.shape[-1] for x in maps}) > 1:
            raise ValueError(
                "PAN needs equally many channels in all feature maps; got "
                f"{', '.join(str(x.shape[-1]) for x in maps)}: put an FPN before it."
            )
        outputs = [maps[0]]
        for index, x in enumerate(maps[1:], start=2):
            finer = self._conv(outputs[-1], f"pan{index}_reduced", strides=2)
            if finer.shape[1:3] != x.shape[1:3]:
                raise ValueError(
                    f"PAN halves a feature map to {finer.shape[1]}x{finer.shape[2]} cells, and the "
                    f"next has {x.shape[1]}x{x.shape[2]}; use feature maps of neighbouring strides."
                )
            x = layers.Add(name=f"pan{index}_sum")([x, finer])
            outputs.append(self._conv(x, f"pan{index}"))
        return outputs

    def _conv(self, x: keras.KerasTensor, name: str, strides: int = 1) -> keras.KerasTensor:
        names = name, f"{name}_depthwise"
        filters = x.shape[-1]
        return styled_conv(x, filters, self.kernel_size, names, self.style, strides, SAME)


def enlarge(x: keras.KerasTensor, size: tuple[int, int], name: str) -> keras.KerasTensor:
    """Enlarges a feature map to `size` cells: each cell is repeated, what is too much is cut."""
    factors = [-(-target // cells) for target, cells in zip(size, x.shape[1:3], strict=True)]
    x = layers.UpSampling2D(factors, name=name)(x)
    rest = [cells - target for target, cells in zip(size, x.shape[1:3], strict=True)]
    if any(rest):
        x = layers.Cropping2D([(0, each) for each in rest], name=f"{name}_cut")(x)
    return x
