"""Caffe's SSD300 and SSD512 on VGG16, and the VGG16 that their training starts from.

The files are those of weiliu89/caffe, branch ssd: ``VGG_*_SSD_300x300_*.caffemodel``, the same at
512x512, and ``VGG_ILSVRC_16_layers_fc_reduced.caffemodel``. They are read without Caffe.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ssd_keras.boxes.default_boxes import VARIANCES
from ssd_keras.core.class_names import COCO_CLASSES, VOC_CLASSES
from ssd_keras.importers.caffe_file import CaffeNetwork, PriorBox, read_caffemodel
from ssd_keras.models.backbones.vgg import vgg16
from ssd_keras.models.builders.vgg import SSD_SIZES, VGG16Options, ssd_vgg16
from ssd_keras.models.layers import L2Normalize
from ssd_keras.models.ssd import SSD

# Layers with heads, and how many cells their feature maps have on a side.
SSD300_FEATURE_LAYERS = {
    "conv4_3_norm": 38, "fc7": 19, "conv6_2": 10, "conv7_2": 5, "conv8_2": 3, "conv9_2": 1,
}  # fmt: skip
SSD512_FEATURE_LAYERS = {
    "conv4_3_norm": 64, "fc7": 32, "conv6_2": 16, "conv7_2": 8, "conv8_2": 4, "conv9_2": 2,
    "conv10_2": 1,
}  # fmt: skip
BOXES_PER_CELL = {300: (4, 6, 6, 6, 4, 4), 512: (4, 6, 6, 6, 6, 4, 4)}
DATA_SETS = {"voc": VOC_CLASSES, "coco": COCO_CLASSES}

# Caffe's box deltas are centre x, centre y, width, height; this package's have y before x.
YXHW = [1, 0, 3, 2]
EXPECTED_SSD = "pass the .caffemodel of an SSD300 or SSD512 on VGG16 as weiliu89/caffe publishes it"
EXPECTED_BACKBONE = "pass VGG_ILSVRC_16_layers_fc_reduced.caffemodel or an SSD trained from it"


def import_caffe(path: str, class_names: Sequence[str] | None = None, **options: Any) -> SSD:
    """Reads an SSD300 or SSD512 on VGG16 that Caffe trained; options as of `ssd_from_network`."""
    return ssd_from_network(read_caffemodel(path), class_names, **options)


def ssd_from_network(
    network: CaffeNetwork,
    class_names: Sequence[str] | None = None,
    preset: str | None = None,
    truncate_sizes: bool = True,
) -> SSD:
    """Builds the `SSD` of a Caffe network.

    The default boxes are those of the network's PriorBox layers, else those of the preset.
    """
    # `truncate_sizes`: Caffe reads the sizes of its text files as whole pixels.
    weights = _Weights(network, EXPECTED_SSD)
    size = 512 if "conv10_2" in network.arrays else 300
    sides = SSD512_FEATURE_LAYERS if size == 512 else SSD300_FEATURE_LAYERS
    num_classes = _count_classes(weights, sides, BOXES_PER_CELL[size])
    prior_boxes = _prior_boxes(weights, sides)
    preset = _choose_preset(network, preset, size, num_classes, bool(prior_boxes))
    names = _choose_names(network, class_names, preset, num_classes)
    if prior_boxes:
        options = _default_box_options(weights, prior_boxes, sides, size, truncate_sizes)
    else:
        sizes = SSD_SIZES[size, preset.rpartition("_")[2]]
        options = {"sizes": _truncate(sizes, truncate_sizes)}
    model = ssd_vgg16((size, size), names, VGG16Options(**options), name=preset)
    weights.fill_backbone(model.backbone)
    for index in range(1, len(sides) - 1):  # the first two maps are the backbone's
        for part in (1, 2):
            layer = model.get_layer(f"extra{index}_{part}")
            weights.fill_convolution(layer, f"conv{5 + index}_{part}")
    for source, layer in zip(sides, model.head.box_layers(model), strict=True):
        weights.fill_convolution(layer, f"{source}_mbox_loc", is_box_head=True)
    for source, layer in zip(sides, model.head.class_layers(model), strict=True):
        weights.fill_convolution(layer, f"{source}_mbox_conf")
    return model


def import_caffe_backbone(path: str, image_size: tuple[int, int] = (300, 300)) -> keras.Model:
    """Reads the ImageNet VGG16 with reduced fc layers that the paper's training starts from."""
    weights = _Weights(read_caffemodel(path), EXPECTED_BACKBONE)
    backbone = vgg16(image_size)
    weights.fill_backbone(backbone, needs_scale=False)
    return backbone


class _Weights:
    """The arrays of a Caffe network, checked before Keras layers get them."""

    def __init__(self, network: CaffeNetwork, remedy: str) -> None:
        self.network, self.remedy = network, remedy

    def error(self, fault: str) -> ValueError:
        return ValueError(f"{self.network.path!r}: {fault}; {self.remedy}.")

    def arrays(self, layer: str, count: int) -> tuple[np.ndarray, ...]:
        known = list(self.network.arrays)
        if layer not in known:
            raise self.error(
                f"there is no layer {layer!r} among the {len(known)} with weights, {known[0]!r} to "
                f"{known[-1]!r}"
            )
        arrays = self.network.arrays[layer]
        if len(arrays) != count:
            raise self.error(f"layer {layer!r} has {len(arrays)} arrays, expected {count}")
        return arrays

    def fill_backbone(self, backbone: keras.Model, needs_scale: bool = True) -> None:
        for layer in backbone.layers:
            if isinstance(layer, keras.layers.Conv2D):
                self.fill_convolution(layer, layer.name)
            elif isinstance(layer, L2Normalize) and (
                needs_scale or layer.name in self.network.arrays
            ):
                (scale,) = self.arrays(layer.name, 1)
                self._check_shape(layer.name, "scale", scale.squeeze(), layer.scale.shape)
                layer.set_weights([scale.reshape(-1)])

    def fill_convolution(
        self, layer: keras.layers.Conv2D, name: str, is_box_head: bool = False
    ) -> None:
        kernel, bias = self.arrays(name, 2)
        height, width, inputs, outputs = layer.kernel.shape
        self._check_shape(name, "kernel", kernel, (outputs, inputs, height, width))
        # Files of Caffe's older format give every array four dimensions.
        bias = bias.reshape(bias.shape[-1:]) if bias.size == bias.shape[-1] else bias
        self._check_shape(name, "bias", bias, (outputs,))
        if is_box_head:
            kernel = kernel.reshape(-1, 4, *kernel.shape[1:])[:, YXHW].reshape(kernel.shape)
            bias = bias.reshape(-1, 4)[:, YXHW].reshape(-1)
        layer.set_weights([kernel.transpose(2, 3, 1, 0), bias])

    def _check_shape(
        self, layer: str, part: str, array: np.ndarray, expected: Sequence[int]
    ) -> None:
        if array.shape != tuple(expected):
            raise self.error(
                f"the {part} of layer {layer!r} has the shape {array.shape}, expected "
                f"{tuple(expected)}"
            )


def _count_classes(weights: _Weights, sources: Iterable[str], boxes_per_cell: Sequence[int]) -> int:
    """Counts the classes without background from the outputs of the class heads."""
    counts = {}
    for source, boxes in zip(sources, boxes_per_cell, strict=True):
        name = f"{source}_mbox_conf"
        kernel, _ = weights.arrays(name, 2)
        num_outputs, rest = divmod(kernel.shape[0], boxes)
        if rest or num_outputs < 2:
            raise weights.error(
                f"layer {name!r} has {kernel.shape[0]} outputs, expected a multiple of its {boxes} "
                "default boxes, background and a class at least"
            )
        counts[name] = num_outputs
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise weights.error(
            f"the heads differ in the number of classes ({listed}), expected one number"
        )
    return counts.popitem()[1] - 1


def _prior_boxes(weights: _Weights, sources: Iterable[str]) -> dict[str, PriorBox]:
    """Returns the PriorBox layer of each source; none if the network has no such layers."""
    prior_boxes = weights.network.prior_boxes
    names = [f"{source}_mbox_priorbox" for source in sources]
    missing = [name for name in names if name not in prior_boxes]
    if prior_boxes and missing:
        raise weights.error(f"there is no layer {missing[0]!r} among the PriorBox layers")
    return {} if missing else {name: prior_boxes[name] for name in names}


def _choose_preset(
    network: CaffeNetwork, preset: str | None, size: int, num_classes: int, has_prior_boxes: bool
) -> str:
    presets = {len(names): f"ssd{size}_vgg16_{data}" for data, names in DATA_SETS.items()}
    choice = " or ".join(presets.values())
    if preset is None:
        if num_classes not in presets and not has_prior_boxes:
            raise ValueError(
                f"{network.path!r} has {num_classes} classes, neither VOC's 20 nor COCO's 80, and "
                f"no PriorBox layers; name the preset whose default boxes it has: {choice}."
            )
        return presets.get(num_classes, presets[len(VOC_CLASSES)])
    if preset not in presets.values():
        raise ValueError(
            f"preset {preset!r} does not fit {network.path!r}, an SSD{size} on VGG16; choose "
            f"{choice}."
        )
    return preset


def _choose_names(
    network: CaffeNetwork, class_names: Sequence[str] | None, preset: str, num_classes: int
) -> tuple[str, ...]:
    names = DATA_SETS[preset.rpartition("_")[2]] if class_names is None else tuple(class_names)
    if len(names) != num_classes:
        source = f"preset {preset!r} has" if class_names is None else "class_names has"
        raise ValueError(
            f"{network.path!r} has {num_classes} classes but {source} {len(names)}; pass as many "
            "class_names, without background, in the order of its labels."
        )
    return names


def _default_box_options(
    weights: _Weights,
    prior_boxes: Mapping[str, PriorBox],
    sides: Mapping[str, int],
    size: int,
    truncate_sizes: bool,
) -> dict[str, Any]:
    """Returns the arguments of `ssd_vgg16` that describe the default boxes of PriorBox layers."""
    boxes = tuple(prior_boxes.values())
    for name, box in prior_boxes.items():
        fields = {
            "number of min_size": (len(box.min_sizes), 1),
            "number of max_size": (len(box.max_sizes), 1),
            "flip": (box.flip, True),
            "offset": (box.offset, 0.5),
            "variance": (box.variances, VARIANCES),
            "clip": (box.clip, boxes[0].clip),
            "step_h and step_w": (box.step[0], box.step[1]),
        }
        for field, (value, expected) in fields.items():
            if value != expected:
                raise weights.error(f"layer {name!r} has the {field} {value}, expected {expected}")
    smallest = _truncate((box.min_sizes[0] for box in boxes), truncate_sizes)
    largest = _truncate((box.max_sizes[0] for box in boxes), truncate_sizes)
    if smallest[1:] != largest[:-1]:
        raise weights.error(
            f"the PriorBox layers' min_size {smallest} and max_size {largest} do not follow each "
            "other, expected each max_size to be the next min_size"
        )
    steps = (box.step[0] or size / side for box, side in zip(boxes, sides.values(), strict=True))
    return {
        "sizes": (*smallest, largest[-1]),
        "aspect_ratios": tuple(box.aspect_ratios for box in boxes),
        "steps": tuple(steps),
        "clip": "corners" if boxes[0].clip else "none",
    }


def _truncate(sizes: Iterable[float], truncate_sizes: bool) -> tuple[float, ...]:
    return tuple(math.floor(size) if truncate_sizes else size for size in sizes)
