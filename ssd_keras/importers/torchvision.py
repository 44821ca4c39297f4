"""torchvision's `ssd300_vgg16`, `ssdlite320_mobilenet_v3_large`, `resnet18` and `resnet50`.

`read_pth` reads a ``.pth`` file as NumPy arrays, from which the functions here build Keras models;
neither needs PyTorch.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import keras
import numpy as np
from keras import layers

from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.core.class_names import COCO_CLASSES_BY_ID
from ssd_keras.core.text import one_line
from ssd_keras.importers.pth import read_pth
from ssd_keras.models.backbones import resnet, vgg
from ssd_keras.models.backbones.mobilenet import MOBILENET_V3_LARGE_BLOCKS
from ssd_keras.models.builders.ssdlite import (
    SSDLITE_EXTRA_LAYERS,
    SSDLiteOptions,
    ssdlite_mobilenet_v3_large,
)
from ssd_keras.models.builders.vgg import (
    SSD300_ASPECT_RATIOS,
    SSD300_EXTRA_LAYERS,
    SSD300_STEPS,
    SSD_SIZES,
)
from ssd_keras.models.layers import L2Normalize
from ssd_keras.models.necks import ExtraLayers
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

# torchvision's mean for SSD300, in 0..255: the paper's to 0.001, with red first.
TORCHVISION_PREPROCESSOR = {"mean": (0.48235 * 255, 0.45882 * 255, 0.40784 * 255)}
NUM_NAMES_SHOWN = 3
MAX_NAME = 100  # characters of a file's name of an array

# Axes of PyTorch's weights in the order of Keras' axes.
CONVOLUTION_AXES = (2, 3, 1, 0)
DEPTHWISE_AXES = (2, 3, 0, 1)


def import_torchvision(path: str, class_names: Sequence[str] | None = None) -> SSD:
    """Reads a ``.pth`` file of torchvision's SSD300 or SSDLite320."""
    return ssd_from_state_dict(read_pth(path), class_names, source=repr(path))


def import_torchvision_backbone(path: str, image_size: tuple[int, int]) -> keras.Model:
    """Reads a ``.pth`` file of torchvision's ResNet18 or ResNet50 as a backbone."""
    return resnet_from_state_dict(read_pth(path), image_size, source=repr(path))


def ssd_from_state_dict(
    arrays: Mapping[str, np.ndarray],
    class_names: Sequence[str] | None = None,
    *,
    source: str = "the state dict",
) -> SSD:
    """Builds the `SSD` of a state dict of torchvision's SSD300 or SSDLite320.

    Preprocessing, default boxes and NMS are torchvision's, so that the same resized image gives
    the same detections. The resizing is not torchvision's.
    """
    if "backbone.scale_weight" in arrays:
        architecture, build, names = "ssd300_vgg16", _ssd300, _ssd300_names()
    elif "backbone.features.0.0.0.weight" in arrays:
        architecture, build, names = "ssdlite320_mobilenet_v3_large", _ssdlite320, _ssdlite_names()
    else:
        raise ValueError(
            f"{source} is not an SSD of torchvision: it holds {_listed(arrays)}; expected a state "
            "dict of ssd300_vgg16 or ssdlite320_mobilenet_v3_large."
        )
    weights = _StateDict(arrays, source, architecture)
    num_outputs = _count_outputs(weights, names)
    if class_names is None and num_outputs == 91:
        class_names = COCO_CLASSES_BY_ID
    if class_names is None or len(class_names) != num_outputs - 1:
        count = "none" if class_names is None else len(class_names)
        raise ValueError(
            f"{source} has {num_outputs} outputs, background first; expected class_names with "
            f"{num_outputs - 1} names, got {count}: pass them in the order of its labels."
        )
    model = build(class_names)
    layers_by_name = {layer.name: layer for layer in (*model.backbone.layers, *model.layers)}
    modules = {layers_by_name[name]: module for name, module in names}
    weights.fill(modules, box_layers=model.head.box_layers(model))
    return model


def resnet_from_state_dict(
    arrays: Mapping[str, np.ndarray],
    image_size: tuple[int, int],
    *,
    source: str = "the state dict",
) -> keras.Model:
    """Builds the backbone of a state dict of torchvision's ResNet18 or ResNet50.

    The last stage and the classifier are left out. Images must be preprocessed with
    `IMAGENET_PREPROCESSOR`. Weights saved with ``backbone.save_weights("resnet.weights.h5")`` are
    `backbone_weights` of `ssd_resnet`; for ResNet50, pass ``variant="torchvision"`` too.
    """
    if "layer1.0.conv1.weight" not in arrays:
        raise ValueError(
            f"{source} is not a ResNet of torchvision: it holds {_listed(arrays)}; expected a "
            "state dict of resnet18 or resnet50."
        )
    if "layer1.0.conv3.weight" in arrays:
        backbone, architecture = resnet.resnet50(image_size, variant="torchvision"), "resnet50"
    else:
        backbone, architecture = resnet.resnet18(image_size), "resnet18"
    modules = {layer: _resnet_module(layer.name) for layer in backbone.layers if layer.weights}
    _StateDict(arrays, source, architecture).fill(modules, unused=("layer4.", "fc."))
    return backbone


def _listed(arrays: Iterable[str]) -> str:
    first, more = list(arrays)[:NUM_NAMES_SHOWN], list(arrays)[NUM_NAMES_SHOWN:]
    shown = ", ".join(one_line(repr(name), MAX_NAME) for name in first) or "nothing"
    return f"{shown} and {len(more)} more" if more else shown


class _StateDict:
    """A state dict that checks the arrays it gives and notes which of them were used."""

    def __init__(self, arrays: Mapping[str, np.ndarray], source: str, architecture: str) -> None:
        self.arrays, self.source = arrays, source
        self.expected = f"expected a state dict of torchvision's {architecture}"
        self.used: set[str] = set()

    def get(self, name: str, shape: Sequence[int] | None = None) -> np.ndarray:
        """Returns an array and checks its shape and values."""
        if name not in self.arrays:
            raise ValueError(f"{self.source} lacks the array {name!r}; {self.expected}.")
        array = np.asarray(self.arrays[name])
        if shape is not None and array.shape != tuple(shape):
            raise ValueError(
                f"{self.source}: the array {name!r} has the shape {array.shape}, expected "
                f"{tuple(shape)}; {self.expected}, unchanged in its sizes."
            )
        if not np.isfinite(array).all():
            raise ValueError(
                f"{self.source}: the array {name!r} holds NaN or infinity; pass weights of a "
                "training that did not diverge."
            )
        self.used.add(name)
        return array

    def fill(
        self,
        modules: Mapping[keras.Layer, str],
        unused: tuple[str, ...] = (),
        box_layers: Collection[keras.Layer] = (),
    ) -> None:
        """Sets the weights of each layer from the PyTorch module of that name.

        The rows of `box_layers` are (x, y, w, h) in the module. Refuses arrays that no layer has,
        but for counters and names that start as `unused`.
        """
        for layer, module in modules.items():
            layer.set_weights(list(self._weights(layer, module, layer in box_layers)))
        for name in self.arrays:
            is_counter = name.endswith("num_batches_tracked")
            if name not in self.used and not is_counter and not name.startswith(unused):
                raise ValueError(
                    f"{self.source} holds the array {one_line(repr(name), MAX_NAME)}, which the "
                    "model does not have; "
                    f"{self.expected}."
                )

    def _weights(self, layer: keras.Layer, module: str, is_box_head: bool) -> Iterator[np.ndarray]:
        """Yields the weights of a layer in Keras' order."""
        if isinstance(layer, L2Normalize):
            yield self.get(module, layer.scale.shape)
        elif isinstance(layer, layers.BatchNormalization):
            weights = layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance
            suffixes = "weight", "bias", "running_mean", "running_var"
            for suffix, weight in zip(suffixes, weights, strict=True):
                yield self.get(f"{module}.{suffix}", weight.shape)
        else:
            is_depthwise = isinstance(layer, layers.DepthwiseConv2D)
            axes = DEPTHWISE_AXES if is_depthwise else CONVOLUTION_AXES
            shape = [layer.kernel.shape[axis] for axis in np.argsort(axes)]
            kernel = self.get(f"{module}.weight", shape)
            yield (_swap_x_and_y(kernel) if is_box_head else kernel).transpose(axes)
            if layer.use_bias:
                bias = self.get(f"{module}.bias", layer.bias.shape)
                yield _swap_x_and_y(bias) if is_box_head else bias


def _swap_x_and_y(array: np.ndarray) -> np.ndarray:
    """Turns the rows (x, y, w, h) of a box head into (y, x, h, w)."""
    by_box = array.reshape(-1, 4, *array.shape[1:])
    return by_box[:, [1, 0, 3, 2]].reshape(array.shape)


def _count_outputs(weights: _StateDict, names: Sequence[tuple[str, str]]) -> int:
    """Counts the logits of a default box, background included, in the first map's bias."""
    modules = dict(names)
    name = f"{modules['class_head1']}.bias"
    length = len(weights.get(name))
    boxes = len(weights.get(f"{modules['box_head1']}.bias")) // 4
    num_outputs, rest = divmod(length, max(1, boxes))
    if rest or num_outputs < 2:
        raise ValueError(
            f"{weights.source}: the array {name!r} has {length} numbers, expected "
            f"a multiple of {boxes}, the default boxes of a cell; {weights.expected}."
        )
    return num_outputs


def _ssd300(class_names: Sequence[str]) -> SSD:
    return SSD(
        vgg.vgg16((300, 300)),
        DefaultBoxes.paper(SSD_SIZES[300, "coco"], SSD300_ASPECT_RATIOS, SSD300_STEPS, clip="size"),
        class_names,
        (300, 300),
        neck=ExtraLayers(SSD300_EXTRA_LAYERS),
        preprocessor=TORCHVISION_PREPROCESSOR,
        post_process=PostProcess(clip_boxes="before"),
        name="ssd300_vgg16",
    )


def _ssdlite320(class_names: Sequence[str]) -> SSD:
    return ssdlite_mobilenet_v3_large(
        (320, 320),
        class_names,
        SSDLiteOptions(post_process=PostProcess(0.001, 0.55, 300, 300, clip_boxes="before")),
        name="ssdlite320_mobilenet_v3_large",
    )


def _ssd300_names() -> list[tuple[str, str]]:
    """Pairs the layers of SSD300 with torchvision's modules."""
    names = [("conv4_3_norm", "backbone.scale_weight")]
    position = 0
    for block, (_, count) in enumerate(vgg.VGG16_BLOCKS[:-1], start=1):
        for index in range(1, count + 1):
            names.append((f"conv{block}_{index}", f"backbone.features.{position}"))
            position += 2  # activations are modules too
        position += 1  # and so are poolings
    names += [(f"conv5_{index}", f"backbone.extra.0.{2 * index - 1}") for index in (1, 2, 3)]
    names += [("fc6", "backbone.extra.0.7.1"), ("fc7", "backbone.extra.0.7.3")]
    for index in range(1, 1 + len(SSD300_EXTRA_LAYERS)):
        names.append((f"extra{index}_1", f"backbone.extra.{index}.0"))
        names.append((f"extra{index}_2", f"backbone.extra.{index}.2"))
    for index in range(len(SSD300_ASPECT_RATIOS)):
        names.append((f"box_head{index + 1}", f"head.regression_head.module_list.{index}"))
        names.append((f"class_head{index + 1}", f"head.classification_head.module_list.{index}"))
    return names


def _ssdlite_names() -> list[tuple[str, str]]:
    """Pairs the layers of SSDLite320 with torchvision's modules."""
    names = _with_batch_norm("stem", "backbone.features.0.0")
    for index, block in enumerate(MOBILENET_V3_LARGE_BLOCKS, start=1):
        names += _block_names(index, has_expansion=index > 1, has_squeeze=block[3])
    names += _with_batch_norm("last", "backbone.features.1.3")
    for index in range(len(SSDLITE_EXTRA_LAYERS)):
        for part, layer in enumerate(("1", "depthwise", "2")):
            names += _with_batch_norm(f"extra{index + 1}_{layer}", f"backbone.extra.{index}.{part}")
    for index in range(2 + len(SSDLITE_EXTRA_LAYERS)):
        for head, module_name in (("box", "regression"), ("class", "classification")):
            layer = f"{head}_head{index + 1}"
            module = f"head.{module_name}_head.module_list.{index}"
            names += _with_batch_norm(f"{layer}_depthwise", f"{module}.0")
            names.append((layer, f"{module}.1"))
    return names


def _block_names(index: int, has_expansion: bool, has_squeeze: bool) -> list[tuple[str, str]]:
    """Pairs the layers of an inverted residual of MobileNetV3 with torchvision's modules."""
    block = ["expand"] * has_expansion + ["depthwise"] + ["squeeze"] * has_squeeze + ["project"]
    names = []
    for part, layer in enumerate(block):
        if index < 13:
            module = f"backbone.features.0.{index}.block.{part}"
        elif index > 13:
            module = f"backbone.features.1.{index - 13}.block.{part}"
        else:  # torchvision cuts the backbone within block 13
            module = "backbone.features.0.13" if part == 0 else f"backbone.features.1.0.{part}"
        if layer == "squeeze":
            names += [(f"block{index}_squeeze_{n}", f"{module}.fc{n}") for n in (1, 2)]
        else:
            names += _with_batch_norm(f"block{index}_{layer}", module)
    return names


def _with_batch_norm(layer: str, module: str) -> list[tuple[str, str]]:
    return [(layer, f"{module}.0"), (f"{layer}_bn", f"{module}.1")]


def _resnet_module(layer: str) -> str:
    """Returns torchvision's module of a ResNet layer: conv3_block1_2_bn is layer2.0.bn2."""
    part = "bn" if layer.endswith("_bn") else "conv"
    match = re.match(r"conv(\d)_block(\d)_(\d)", layer)
    if match is None:
        return f"{part}1"
    stage, block, number = map(int, match.groups())
    module = f"layer{stage - 1}.{block - 1}"
    return f"{module}.{part}{number}" if number else f"{module}.downsample.{int(part == 'bn')}"
