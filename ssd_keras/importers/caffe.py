"""Caffe's SSD300 and SSD512 on VGG16, and the VGG16 that they were trained from.

The files are those of weiliu89/caffe, branch ssd: ``VGG_*_SSD_300x300_*.caffemodel``, the same at
512x512, and ``VGG_ILSVRC_16_layers_fc_reduced.caffemodel``. No Caffe is needed.
"""

import math
from collections.abc import Sequence

import keras

from ssd_keras.boxes.default_boxes import VARIANCES
from ssd_keras.importers.caffe_file import CaffeNetwork, read_caffemodel
from ssd_keras.models.backbones.vgg import vgg16
from ssd_keras.models.layers import L2Normalize
from ssd_keras.models.ssd import SSD
from ssd_keras.presets import PRESETS, from_preset

# Layers with heads, and how many cells their maps have on a side.
SSD300_MAPS = {
    "conv4_3_norm": 38, "fc7": 19, "conv6_2": 10, "conv7_2": 5, "conv8_2": 3, "conv9_2": 1,
}  # fmt: skip
SSD512_MAPS = {
    "conv4_3_norm": 64, "fc7": 32, "conv6_2": 16, "conv7_2": 8, "conv8_2": 4, "conv9_2": 2,
    "conv10_2": 1,
}  # fmt: skip
BOXES_PER_CELL = {300: (4, 6, 6, 6, 4, 4), 512: (4, 6, 6, 6, 6, 4, 4)}
KIND_OF_PRESET = {20: "voc", 80: "coco"}

# Caffe's heads give centre x, centre y, width, height of each default box; ours y before x.
BOX_ORDER = [1, 0, 3, 2]
SSD_WANTED = "pass the .caffemodel of an SSD300 or SSD512 on VGG16 as weiliu89/caffe publishes it"
BACKBONE_WANTED = "pass VGG_ILSVRC_16_layers_fc_reduced.caffemodel or an SSD trained from it"


def import_caffe(
    path: str,
    class_names: Sequence[str] | None = None,
    preset: str | None = None,
    truncate_sizes: bool = True,
) -> SSD:
    """Reads an SSD300 or SSD512 that Caffe trained on VGG16."""
    return caffe_ssd(read_caffemodel(path), class_names, preset, truncate_sizes)


def caffe_ssd(
    network: CaffeNetwork,
    class_names: Sequence[str] | None = None,
    preset: str | None = None,
    truncate_sizes: bool = True,
) -> SSD:
    """Builds the `SSD` of a Caffe network's arrays.

    Default boxes are those of the network's PriorBox layers, which every file that Caffe saved
    holds; without such layers, those of the preset.
    """
    size = 512 if "conv10_2" in network.arrays else 300
    maps = SSD512_MAPS if size == 512 else SSD300_MAPS
    num_classes = _count_classes(network, maps, BOXES_PER_CELL[size])
    cells = _prior_boxes(network, maps)
    preset = _choose_preset(network, preset, size, num_classes, bool(cells))
    names = _choose_names(network, class_names, preset, num_classes)
    if cells:
        options = _box_options(network, cells, maps, size, truncate_sizes)
    else:
        options = {"sizes": _cut(PRESETS[preset].options["sizes"], truncate_sizes)}
    model = from_preset(preset, names, **options)
    _set_backbone(model.backbone, network, SSD_WANTED)
    for index in range(1, 1 + len(model.extra_layers)):
        for part in (1, 2):
            layer = model.get_layer(f"extra{index}_{part}")
            _set_convolution(layer, network, f"conv{5 + index}_{part}", SSD_WANTED)
    for index, source in enumerate(maps, start=1):
        for kind, name in (("box", "loc"), ("class", "conf")):
            layer = model.get_layer(f"{kind}_head{index}")
            _set_convolution(layer, network, f"{source}_mbox_{name}", SSD_WANTED, kind == "box")
    return model


def import_caffe_backbone(path: str, image_size: tuple[int, int] = (300, 300)) -> keras.Model:
    """Reads the ILSVRC VGG16 with reduced fc layers, from which the paper's trainings start."""
    network = read_caffemodel(path)
    backbone = vgg16(image_size)
    _set_backbone(backbone, network, BACKBONE_WANTED, needs_scale=False)
    return backbone


def _count_classes(network, maps, boxes_per_cell):
    """Classes without background, from the heads."""
    counts = {}
    for source, boxes in zip(maps, boxes_per_cell, strict=True):
        name = f"{source}_mbox_conf"
        kernel = _layer_arrays(network, name, 2, SSD_WANTED)[0]
        num_classes, rest = divmod(kernel.shape[0], boxes)
        if rest or num_classes < 2:
            raise ValueError(
                f"{network.path!r}: layer {name!r} has {kernel.shape[0]} outputs, expected a "
                f"multiple of its {boxes} default boxes, background and a class at least; "
                f"{SSD_WANTED}."
            )
        counts[name] = num_classes
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(
            f"{network.path!r}: the heads differ in the number of classes ({told}), expected one "
            f"number; {SSD_WANTED}."
        )
    return counts.popitem()[1] - 1


def _prior_boxes(network, maps):
    """The `PriorBox` of each source; none at all where the network has no such layer."""
    names = [f"{source}_mbox_priorbox" for source in maps]
    missing = [name for name in names if name not in network.prior_boxes]
    if network.prior_boxes and missing:
        raise ValueError(
            f"{network.path!r} has PriorBox layers but none that is called {missing[0]!r}; "
            f"{SSD_WANTED}."
        )
    return {} if missing else {name: network.prior_boxes[name] for name in names}


def _choose_preset(network, preset, size, num_classes, knows_boxes):
    choice = [f"ssd{size}_vgg16_{kind}" for kind in KIND_OF_PRESET.values()]
    if preset is None:
        if num_classes not in KIND_OF_PRESET and not knows_boxes:
            raise ValueError(
                f"{network.path!r} has {num_classes} classes, neither VOC's 20 nor COCO's 80, and "
                f"no PriorBox layers; name the preset whose default boxes it has: "
                f"{' or '.join(choice)}."
            )
        return f"ssd{size}_vgg16_{KIND_OF_PRESET.get(num_classes, 'voc')}"
    if preset not in choice:
        raise ValueError(
            f"preset {preset!r} does not fit {network.path!r}, an SSD{size} on VGG16; choose "
            f"{' or '.join(choice)}."
        )
    return preset


def _choose_names(network, class_names, preset, num_classes):
    names = PRESETS[preset].class_names if class_names is None else tuple(class_names)
    if len(names) != num_classes:
        source = f"preset {preset!r} has" if class_names is None else "class_names has"
        raise ValueError(
            f"{network.path!r} has {num_classes} classes but {source} {len(names)}; pass as many "
            "class_names, without background, in the order of its labels."
        )
    return names


def _box_options(network, cells, maps, size, truncate_sizes):
    """Options of `from_preset` that say what the PriorBox layers say."""
    for name, cell in cells.items():
        wanted = {
            "min_size": (len(cell.min_sizes), 1),
            "max_size": (len(cell.max_sizes), 1),
            "flip": (cell.flip, True),
            "offset": (cell.offset, 0.5),
            "variance": (cell.variances, VARIANCES),
            "clip": (cell.clip, next(iter(cells.values())).clip),
            "step_h and step_w": (cell.step[0], cell.step[1]),
        }
        for field, (found, expected) in wanted.items():
            if found != expected:
                count = "number of " if field.endswith("size") else ""
                raise ValueError(
                    f"{network.path!r}: layer {name!r} has the {count}{field} {found}, expected "
                    f"{expected}; {SSD_WANTED}."
                )
    smallest = _cut((cell.min_sizes[0] for cell in cells.values()), truncate_sizes)
    largest = _cut((cell.max_sizes[0] for cell in cells.values()), truncate_sizes)
    if smallest[1:] != largest[:-1]:
        raise ValueError(
            f"{network.path!r}: the PriorBox layers' min_size {smallest} and max_size {largest} "
            f"make no row, expected each max_size to be the next min_size; {SSD_WANTED}."
        )
    return {
        "sizes": (*smallest, largest[-1]),
        "aspect_ratios": tuple(cell.aspect_ratios for cell in cells.values()),
        "steps": tuple(
            cell.step[0] or size / count
            for cell, count in zip(cells.values(), maps.values(), strict=True)
        ),
        "clip": "corners" if next(iter(cells.values())).clip else "none",
    }


def _cut(sizes, truncate_sizes):
    return tuple(math.floor(size) if truncate_sizes else size for size in sizes)


def _set_backbone(backbone, network, wanted, needs_scale=True):
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Conv2D):
            _set_convolution(layer, network, layer.name, wanted)
        elif isinstance(layer, L2Normalize) and (needs_scale or layer.name in network.arrays):
            (scale,) = _layer_arrays(network, layer.name, 1, wanted)
            _check_shape(network, layer.name, "scale", scale.squeeze(), layer.scale.shape, wanted)
            layer.set_weights([scale.reshape(-1)])


def _set_convolution(layer, network, name, wanted, is_box_head=False):
    kernel, bias = _layer_arrays(network, name, 2, wanted)
    height, width, inputs, outputs = layer.kernel.shape
    _check_shape(network, name, "kernel", kernel, (outputs, inputs, height, width), wanted)
    # Before `shape`, every array had four dimensions.
    bias = bias.reshape(bias.shape[-1:]) if bias.size == bias.shape[-1] else bias
    _check_shape(network, name, "bias", bias, (outputs,), wanted)
    if is_box_head:
        kernel = kernel.reshape(-1, 4, *kernel.shape[1:])[:, BOX_ORDER].reshape(kernel.shape)
        bias = bias.reshape(-1, 4)[:, BOX_ORDER].reshape(-1)
    layer.set_weights([kernel.transpose(2, 3, 1, 0), bias])


def _layer_arrays(network, name, count, wanted):
    if name not in network.arrays:
        known = list(network.arrays)
        raise ValueError(
            f"{network.path!r} has no layer {name!r} with weights; it has {len(known)}, from "
            f"{known[0]!r} to {known[-1]!r}: {wanted}."
        )
    arrays = network.arrays[name]
    if len(arrays) != count:
        raise ValueError(
            f"{network.path!r}: layer {name!r} has {len(arrays)} arrays, expected {count}; "
            f"{wanted}."
        )
    return arrays


def _check_shape(network, name, what, array, shape, wanted):
    if array.shape != tuple(shape):
        raise ValueError(
            f"{network.path!r}: the {what} of layer {name!r} has the shape {array.shape}, expected "
            f"{tuple(shape)}; {wanted}."
        )
