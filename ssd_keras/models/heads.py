"""Heads: convolutions that predict box deltas and class logits on every feature map."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from ssd_keras.core.config_record import ConfigRecord
from ssd_keras.core.parts import register_part
from ssd_keras.core.records import check_whole_numbers
from ssd_keras.models.blocks import SAME, ConvStyle, depthwise_conv, finish
from ssd_keras.models.necks import FeatureMaps

Predictions = tuple[list[keras.KerasTensor], list[keras.KerasTensor]]
"""Box deltas and class logits of each map, [B, H, W, boxes of a cell x columns]."""


@register_part("head", "ssd")
@dataclasses.dataclass(frozen=True)
class SSDHead(ConfigRecord):
    """The paper's head: on each map one convolution for boxes and one for classes (section 2.1).

    Args:
        style: `ConvStyle`. Where it is not separable, `head_kernel` and the initializer alone
            count. Default `ConvStyle()`.
        prior_probability: score of every class before training, 0..1, for sigmoid losses over all
            default boxes. Default None: about even scores.

    Call arguments:
        maps: feature maps [B, H, W, C], finest first.
        boxes_per_cell: number of default boxes in a cell of each map.
        num_outputs: classes and background.

    Returns of a call:
        Box deltas [B, H, W, boxes * 4] and class logits [B, H, W, boxes * num_outputs] of each map.

    Example:

    >>> deltas, logits = SSDHead()([keras.Input((5, 5, 32))], [6], 21)
    >>> deltas[0].shape, logits[0].shape
    ((None, 5, 5, 24), (None, 5, 5, 126))
    """

    style: ConvStyle = ConvStyle()
    prior_probability: float | None = None

    def __call__(
        self, maps: FeatureMaps, boxes_per_cell: Sequence[int], num_outputs: int
    ) -> Predictions:
        deltas, logits = [], []
        for index, (x, count) in enumerate(zip(maps, boxes_per_cell, strict=True), start=1):
            deltas.append(self._convolution(x, 4 * count, f"box_head{index}", "zeros"))
            bias = class_bias(self.prior_probability, num_outputs)
            logits.append(self._convolution(x, num_outputs * count, f"class_head{index}", bias))
        return deltas, logits

    def _convolution(
        self, x: keras.KerasTensor, filters: int, name: str, bias: Any
    ) -> keras.KerasTensor:
        if self.style.separable:
            kernel_size = self.style.head_kernel
            x = depthwise_conv(x, kernel_size, f"{name}_depthwise", self.style, padding=SAME)
        return layers.Conv2D(
            filters,
            1 if self.style.separable else self.style.head_kernel,
            padding="same",
            kernel_initializer=self.style.initializer,
            bias_initializer=bias,
            name=name,
        )(x)

    def box_layers(self, model: keras.Model) -> list[keras.Layer]:
        """Returns the layers that predict box deltas, map by map."""
        return _numbered_layers(model, "box_head")

    def class_layers(self, model: keras.Model) -> list[keras.Layer]:
        """Returns the layers whose last axis is default boxes x classes, map by map."""
        return _numbered_layers(model, "class_head")


@register_part("head", "shared")
@dataclasses.dataclass(frozen=True)
class SharedHead(ConfigRecord):
    """A head whose convolutions are shared by all maps (RetinaNet, arXiv 1708.02002, section 4).

    Towers of convolutions precede the predictions. Each map has its own batch normalisation,
    because the statistics of the maps differ. It needs maps of equally many channels, as an `FPN`
    gives them, and equally many default boxes in every cell.

    Args:
        filters: channels of the towers. Default 128.
        depth: convolutions of a tower. Default 4.
        kernel_size: kernel size of towers and predictions. Default 3.
        is_tower_shared: one tower for boxes and classes instead of one each. Default False.
        has_map_kernels: each map has its own kernels in the towers, as in exported networks whose
            batch normalisation is folded. Default False.
        style: `ConvStyle` of the towers. Default separable with batch normalisation.
        prior_probability: score of every class before training, 0..1 (section 4.1), or None for
            about even scores. Default 0.01.

    Call arguments:
        maps: feature maps [B, H, W, C], finest first.
        boxes_per_cell: number of default boxes in a cell of each map.
        num_outputs: classes and background.

    Returns of a call:
        Box deltas [B, H, W, boxes * 4] and class logits [B, H, W, boxes * num_outputs] of each map.

    Raises:
        ValueError: for maps that differ in channels or in boxes per cell.

    Example:

    >>> maps = [keras.Input((10, 10, 64)), keras.Input((5, 5, 64))]
    >>> deltas, logits = SharedHead(filters=64, depth=2)(maps, [3, 3], 21)
    >>> [x.shape[1:] for x in logits]
    [(10, 10, 63), (5, 5, 63)]
    """

    filters: int = 128
    depth: int = 4
    kernel_size: int = 3
    is_tower_shared: bool = False
    style: ConvStyle = ConvStyle(separable=True, batch_norm=True)
    prior_probability: float | None = 0.01
    has_map_kernels: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole_numbers(self, ("filters", "kernel_size"))
        check_whole_numbers(self, ("depth",), least=0)

    def __call__(
        self, maps: FeatureMaps, boxes_per_cell: Sequence[int], num_outputs: int
    ) -> Predictions:
        count, channels = set(boxes_per_cell), {x.shape[-1] for x in maps}
        if len(count) > 1 or len(channels) > 1:
            raise ValueError(
                "SharedHead needs equally many boxes per cell and channels in all feature maps; "
                f"got {', '.join(map(str, boxes_per_cell))} boxes per cell and "
                f"{', '.join(str(x.shape[-1]) for x in maps)} channels: use other default boxes, "
                "or an FPN as neck."
            )
        boxes = count.pop()
        box_maps = self._tower(maps, "tower" if self.is_tower_shared else "box_tower")
        class_maps = box_maps if self.is_tower_shared else self._tower(maps, "class_tower")
        bias = class_bias(self.prior_probability, num_outputs)
        return (
            self._convolution(box_maps, 4 * boxes, "box_head"),
            self._convolution(class_maps, num_outputs * boxes, "class_head", bias),
        )

    def _tower(self, maps: FeatureMaps, name: str) -> FeatureMaps:
        for number in range(1, 1 + self.depth):
            use_bias = not self.style.batch_norm
            names = [f"{name}{number}_map{index}" for index in range(1, 1 + len(maps))]
            if self.has_map_kernels:
                pairs = zip(maps, names, strict=True)
                maps = [
                    self._convolution([x], self.filters, each, use_bias=use_bias)[0]
                    for x, each in pairs
                ]
            else:
                maps = self._convolution(maps, self.filters, f"{name}{number}", use_bias=use_bias)
            maps = [finish(x, each, self.style) for x, each in zip(maps, names, strict=True)]
        return maps

    def _convolution(
        self, maps: FeatureMaps, filters: int, name: str, bias: Any = "zeros", use_bias: bool = True
    ) -> list[keras.KerasTensor]:
        """Applies the same convolution to every map."""
        kernel_size, initializer = self.kernel_size, self.style.initializer
        if self.style.separable:
            depthwise = layers.DepthwiseConv2D(
                kernel_size,
                padding="same",
                use_bias=False,
                depthwise_initializer=initializer,
                name=f"{name}_depthwise",
            )
            maps, kernel_size = [depthwise(x) for x in maps], 1
        convolution = layers.Conv2D(
            filters,
            kernel_size,
            padding="same",
            use_bias=use_bias,
            kernel_initializer=initializer,
            bias_initializer=bias,
            name=name,
        )
        return [convolution(x) for x in maps]

    def box_layers(self, model: keras.Model) -> list[keras.Layer]:
        """Returns the layer that predicts box deltas."""
        return [model.get_layer("box_head")]

    def class_layers(self, model: keras.Model) -> list[keras.Layer]:
        """Returns the layer whose last axis is default boxes x classes."""
        return [model.get_layer("class_head")]


def _numbered_layers(model: keras.Model, name: str) -> list[keras.Layer]:
    names = {layer.name for layer in model.layers}
    numbers = range(1, 1 + len(names))
    return [model.get_layer(f"{name}{n}") for n in numbers if f"{name}{n}" in names]


def join_maps(maps: FeatureMaps, num_columns: int, name: str) -> keras.KerasTensor:
    """Returns the predictions of all maps in the order of the default boxes, in float32."""
    flat = []
    for index, x in enumerate(maps, start=1):
        shape = (math.prod(x.shape[1:]) // num_columns, num_columns)
        flat.append(layers.Reshape(shape, name=f"{name}{index}_flat")(x))
    x = flat[0] if len(flat) == 1 else layers.Concatenate(axis=1, name=f"{name}_join")(flat)
    # Loss, softmax and decoding need float32's digits.
    return layers.Activation("linear", dtype="float32", name=name)(x)


def class_bias(prior_probability: float | None, num_outputs: int) -> Any:
    """Returns the initializer of the bias of class logits."""
    return "zeros" if prior_probability is None else PriorBias(prior_probability, num_outputs)


@keras.saving.register_keras_serializable("ssd_keras")
class PriorBias(keras.initializers.Initializer):
    """Biases that give every class a prior probability under a sigmoid; background gets 0."""

    def __init__(self, prior_probability: float, num_outputs: int) -> None:
        if not 0 < prior_probability < 1:
            raise ValueError(f"prior_probability={prior_probability} must be between 0 and 1.")
        self.prior_probability = prior_probability
        self.num_outputs = num_outputs

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Any:
        bias = -math.log((1 - self.prior_probability) / self.prior_probability)
        columns = ops.arange(shape[0], dtype="int32") % self.num_outputs
        return ops.cast(ops.where(columns == 0, 0.0, bias), dtype or "float32")

    def get_config(self) -> dict[str, Any]:
        return {"prior_probability": self.prior_probability, "num_outputs": self.num_outputs}
