"""torchvision's weights: `ssd300_vgg16`, `ssdlite320_mobilenet_v3_large`, `resnet18`, `resnet50`.

`read_pth` turns a ``.pth`` file into NumPy arrays by name and alone needs torch; the functions here
turn such arrays into Keras models.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np
from keras import layers

from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.core.class_names import COCO_CLASSES_BY_ID
from ssd_keras.models.backbones import resnet, vgg
from ssd_keras.models.backbones.mobilenet import MOBILENET_V3_LARGE
from ssd_keras.models.builders.paper_sizes import COCO300_SIZES
from ssd_keras.models.builders.ssdlite import SSDLITE_EXTRAS, ssdlite_mobilenet_v3_large
from ssd_keras.models.builders.vgg import SSD300_RATIOS, SSD300_STEPS, VGG300_EXTRAS
from ssd_keras.models.layers import L2Normalize
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

VGG_PREPROCESSOR = {"mean": (0.48235 * 255, 0.45882 * 255, 0.40784 * 255)}
"""torchvision's mean for SSD300, in 0..255: the paper's to 0.001, with red first."""

NAMES_SHOWN = 3

# Of a weight as PyTorch stores it, the axes in Keras' order.
CONVOLUTION_AXES = (2, 3, 1, 0)
DEPTHWISE_AXES = (2, 3, 0, 1)


def torchvision_ssd(
    arrays: Mapping[str, np.ndarray],
    class_names: Sequence[str] | None = None,
    *,
    source: str = "the state dict",
) -> SSD:
    """Builds the `SSD` of a state dict of torchvision's, with torchvision's own numbers.

    Preprocessing, default boxes and suppression are torchvision's, so the same resized image
    gives the same detections. torchvision resizes by a rule of its own.
    """
    if "backbone.scale_weight" in arrays:
        architecture, build, names = "ssd300_vgg16", _ssd300, _ssd300_names()
    elif "backbone.features.0.0.0.weight" in arrays:
        architecture, build, names = "ssdlite320_mobilenet_v3_large", _ssdlite320, _ssdlite_names()
    else:
        raise ValueError(
            f"{source} is no SSD of torchvision's: it holds {_some(arrays)}; expected a state "
            "dict of ssd300_vgg16 or ssdlite320_mobilenet_v3_large."
        )
    weights = _StateDict(arrays, source, architecture)
    outputs = _num_outputs(weights, names)
    if class_names is None and outputs == 91:
        class_names = COCO_CLASSES_BY_ID
    if class_names is None or len(class_names) != outputs - 1:
        told = "none" if class_names is None else len(class_names)
        raise ValueError(
            f"{source} has {outputs} outputs, background first; expected class_names with "
            f"{outputs - 1} names, got {told}: pass them in the order of its labels."
        )
    model = build(class_names)
    parts = {layer.name: layer for layer in (*model.backbone.layers, *model.layers)}
    weights.assign({parts[name]: module for name, module in names})
    weights.check_rest()
    return model


def torchvision_resnet(
    arrays: Mapping[str, np.ndarray],
    image_size: tuple[int, int],
    *,
    source: str = "the state dict",
) -> keras.Model:
    """Builds the backbone of a ResNet18 or ResNet50 that torchvision trained to classify.

    Stem and three stages are taken over; the fourth stage and the classifier are not part of the
    backbone. Images must come as torchvision's, see `builders.IMAGENET_PREPROCESSOR`. Saved with
    ``backbone.save_weights("resnet.weights.h5")``, they are `backbone_weights` of `ssd_resnet`, for
    ResNet50 together with ``variant="torchvision"``.
    """
    if "layer1.0.conv1.weight" not in arrays:
        raise ValueError(
            f"{source} is no ResNet of torchvision's: it holds {_some(arrays)}; expected a state "
            "dict of resnet18 or resnet50."
        )
    if "layer1.0.conv3.weight" in arrays:
        backbone, architecture = resnet.resnet50(image_size, variant="torchvision"), "resnet50"
    else:
        backbone, architecture = resnet.resnet18(image_size), "resnet18"
    weights = _StateDict(arrays, source, architecture)
    weights.assign(
        {layer: _resnet_module(layer.name) for layer in backbone.layers if layer.weights}
    )
    weights.check_rest(unused=("layer4.", "fc."))
    return backbone


def _some(arrays):
    shown = ", ".join(map(repr, list(arrays)[:NAMES_SHOWN])) or "nothing"
    return shown + (f" and {len(arrays) - NAMES_SHOWN} more" if len(arrays) > NAMES_SHOWN else "")


class _StateDict:
    """A state dict that is taken over array by array, checked on the way."""

    def __init__(self, arrays, source, architecture):
        self.arrays = arrays
        self.source = source
        self.expected = f"expected a state dict of torchvision's {architecture}"
        self.used = set()

    def get(self, name, shape=None):
        """The array, of this shape where one is given."""
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
                "training that did not fail."
            )
        self.used.add(name)
        return array

    def assign(self, modules: Mapping[keras.Layer, str]) -> None:
        """Fills each layer from the PyTorch module of that name."""
        for layer, module in modules.items():
            layer.set_weights([read(self, module) for read in _readers(layer)])

    def check_rest(self, unused: tuple[str, ...] = ()) -> None:
        """Nothing may be left over but counters and the parts named by their beginnings."""
        for name in self.arrays:
            if name not in self.used and not name.startswith(unused):
                if name.endswith("num_batches_tracked"):
                    continue
                raise ValueError(
                    f"{self.source} holds the array {name!r}, which has no place in the model; "
                    f"{self.expected}."
                )


def _readers(layer: keras.Layer) -> Iterator[Callable[[_StateDict, str], np.ndarray]]:
    """For each weight of the layer, in Keras' order, what fetches it from a PyTorch module."""

    def read(suffix, weight, axes=None):
        shape = weight.shape if axes is None else [weight.shape[i] for i in np.argsort(axes)]

        def fetch(weights, module):
            array = weights.get(f"{module}{suffix}", shape)
            if layer.name.startswith("box_head") and isinstance(layer, layers.Conv2D):
                array = _swap_x_and_y(array)
            return array if axes is None else array.transpose(axes)

        return fetch

    if isinstance(layer, layers.BatchNormalization):
        yield read(".weight", layer.gamma)
        yield read(".bias", layer.beta)
        yield read(".running_mean", layer.moving_mean)
        yield read(".running_var", layer.moving_variance)
    elif isinstance(layer, L2Normalize):
        yield read("", layer.scale)
    else:
        depthwise = isinstance(layer, layers.DepthwiseConv2D)
        yield read(".weight", layer.kernel, DEPTHWISE_AXES if depthwise else CONVOLUTION_AXES)
        if layer.use_bias:
            yield read(".bias", layer.bias)


def _swap_x_and_y(array):
    """Rows of a box head: for each default box torchvision's (x, y, w, h) as (y, x, h, w)."""
    by_box = array.reshape(-1, 4, *array.shape[1:])
    return by_box[:, [1, 0, 3, 2]].reshape(array.shape)


def _num_outputs(weights, names):
    """How many logits a default box has, background included, from the first map's bias."""
    name = f"{dict(names)['class_head1']}.bias"
    boxes = len(weights.get(f"{dict(names)['box_head1']}.bias")) // 4
    outputs, rest = divmod(len(weights.get(name)), max(1, boxes))
    if rest or outputs < 2:
        raise ValueError(
            f"{weights.source}: the array {name!r} has {len(weights.get(name))} numbers, expected "
            f"a multiple of {boxes}, the default boxes of a cell; {weights.expected}."
        )
    return outputs


def _ssd300(class_names):
    return SSD(
        vgg.vgg16((300, 300)),
        DefaultBoxes(COCO300_SIZES, SSD300_RATIOS, SSD300_STEPS, clip="size"),
        class_names,
        (300, 300),
        VGG300_EXTRAS,
        preprocessor=VGG_PREPROCESSOR,
        post_process=PostProcess(clip_boxes=True),
        name="ssd300_vgg16",
    )


def _ssdlite320(class_names):
    settings = PostProcess(0.001, 0.55, 300, 300, clip_boxes=True)
    return ssdlite_mobilenet_v3_large(
        (320, 320), class_names, post_process=settings, name="ssdlite320_mobilenet_v3_large"
    )


def _ssd300_names() -> list[tuple[str, str]]:
    """Keras layers of SSD300 with torchvision's names of them."""
    names = [("conv4_3_norm", "backbone.scale_weight")]
    position = 0
    for block, (_, count) in enumerate(vgg.BLOCKS[:-1], start=1):
        for index in range(1, count + 1):
            names.append((f"conv{block}_{index}", f"backbone.features.{position}"))
            position += 2  # the activation counts
        position += 1  # and the pooling
    names += [(f"conv5_{index}", f"backbone.extra.0.{2 * index - 1}") for index in (1, 2, 3)]
    names += [("fc6", "backbone.extra.0.7.1"), ("fc7", "backbone.extra.0.7.3")]
    for index in range(1, 1 + len(VGG300_EXTRAS)):
        names.append((f"extra{index}_1", f"backbone.extra.{index}.0"))
        names.append((f"extra{index}_2", f"backbone.extra.{index}.2"))
    for index in range(len(SSD300_RATIOS)):
        names.append((f"box_head{index + 1}", f"head.regression_head.module_list.{index}"))
        names.append((f"class_head{index + 1}", f"head.classification_head.module_list.{index}"))
    return names


def _ssdlite_names() -> list[tuple[str, str]]:
    """Keras layers of SSDLite with torchvision's names of them."""
    names = _with_batch_norm("stem", "backbone.features.0.0")
    for index, row in enumerate(MOBILENET_V3_LARGE, start=1):
        names += _block_names(index, has_expansion=index > 1, squeeze=row[3])
    names += _with_batch_norm("last", "backbone.features.1.3")
    for index in range(len(SSDLITE_EXTRAS)):
        for part, layer in enumerate(("1", "depthwise", "2")):
            names += _with_batch_norm(f"extra{index + 1}_{layer}", f"backbone.extra.{index}.{part}")
    for index in range(2 + len(SSDLITE_EXTRAS)):
        for ours, theirs in (("box", "regression"), ("class", "classification")):
            layer, module = f"{ours}_head{index + 1}", f"head.{theirs}_head.module_list.{index}"
            names += _with_batch_norm(f"{layer}_depthwise", f"{module}.0")
            names.append((layer, f"{module}.1"))
    return names


def _block_names(index, has_expansion, squeeze):
    """One inverted residual of MobileNetV3. torchvision cuts the backbone inside block 13."""
    layers_of_block = ["expand"] if has_expansion else []
    layers_of_block += ["depthwise", "squeeze", "project"] if squeeze else ["depthwise", "project"]
    names = []
    for part, layer in enumerate(layers_of_block):
        if index < 13:
            module = f"backbone.features.0.{index}.block.{part}"
        elif index > 13:
            module = f"backbone.features.1.{index - 13}.block.{part}"
        else:
            module = "backbone.features.0.13" if part == 0 else f"backbone.features.1.0.{part}"
        if layer == "squeeze":
            names += [(f"block{index}_squeeze_{n}", f"{module}.fc{n}") for n in (1, 2)]
        else:
            names += _with_batch_norm(f"block{index}_{layer}", module)
    return names


def _with_batch_norm(layer, module):
    return [(layer, f"{module}.0"), (f"{layer}_bn", f"{module}.1")]


def _resnet_module(layer):
    """torchvision's name of a layer of our ResNet backbones: conv3_block1_2_bn is layer2.0.bn2."""
    if not layer.startswith("conv1"):
        stage, block, number, kind = re.fullmatch(
            r"conv(\d)_block(\d)_(\d)(?:_(conv|bn))?", layer
        ).groups()
        module = f"layer{int(stage) - 1}.{int(block) - 1}"
        if number == "0":
            return f"{module}.downsample.{int(kind == 'bn')}"
        return f"{module}.{kind or 'conv'}{number}"
    return "bn1" if layer == "conv1_bn" else "conv1"
