"""Fills a network with the variables of a TF2 checkpoint of the TF Object Detection API."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from ssd_keras.models.backbones.resnet import RESNET_BLOCKS
from ssd_keras.models.ssd import SSD

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
ROOT = re.compile(r"_?model/(?=_feature_extractor/|_box_predictor/)")
BACKBONE = re.compile(r"_feature_extractor/(classification_backbone|mobilenet_v[12]|resnet\w*)/")
EXTRACTOR, PREDICTOR = "_feature_extractor", "_box_predictor"
CLASSES, BOXES = "class_predictions_with_background", "box_encodings"
# Errors that TensorFlow's reader raises for damaged files, besides `tf.errors`.
READ_ERRORS = (ValueError, IndexError, RuntimeError, TypeError)
Pairs = Iterator[tuple[str, str]]


class Checkpoint:
    """The variables of the model in a checkpoint, without those of its optimizer."""

    def __init__(self, prefix: str) -> None:
        import tensorflow as tf

        self.path, self._errors = prefix, (*READ_ERRORS, tf.errors.OpError)
        try:
            self._reader = tf.train.load_checkpoint(prefix)
            found = self._reader.get_variable_to_shape_map()
        except self._errors as error:
            raise self._damaged() from error
        self._keys = {}
        for key in found:
            name = key.removesuffix(SUFFIX)
            if name != key and ROOT.match(name) and "/.OPTIMIZER_SLOT/" not in name:
                name = BACKBONE.sub(f"{EXTRACTOR}/backbone/", ROOT.sub("", name))
                self._keys[name] = key
        if not self._keys:
            raise ValueError(
                f"checkpoint {prefix!r} has no variables of a detector of the TF Object Detection "
                "API (model/_feature_extractor/...); pass a checkpoint of its TF2 training."
            )
        self._unused = set(self._keys)

    def take(self, name: str) -> np.ndarray | None:
        """Returns a variable by its short name, or None."""
        if name not in self._keys:
            return None
        self._unused.discard(name)
        try:
            return self._reader.get_tensor(self._keys[name])
        except self._errors as error:
            raise self._damaged() from error

    def unused(self) -> list[str]:
        """Returns the short names of variables that nobody took."""
        return sorted(self._unused)

    def _damaged(self) -> ValueError:
        return ValueError(
            f"checkpoint {self.path!r} cannot be read; expected the pair {self.path}.index and "
            f"{self.path}.data-00000-of-00001, whole: copy both again."
        )


def fill_network(
    model: SSD, checkpoint: Checkpoint, num_classes: int, labels: Sequence[int]
) -> None:
    """Sets all weights of a network of `build_network`.

    Args:
        model: the network.
        checkpoint: of the same configuration.
        num_classes: of the checkpoint, without background.
        labels: of the class logits that the model keeps; 0, the first, is the background.

    Raises:
        ValueError: for a checkpoint of another configuration.
    """
    columns = _Columns(num_classes + 1, list(labels))
    done = set()
    for layer_name, key in _pairs(model):
        layer = _layer(model, layer_name)
        done |= {id(weight) for weight in layer.weights}
        is_class_layer = layer in model.head.class_layers(model)
        _fill(layer, checkpoint, key, columns if is_class_layer else None)
    left = [w.path for w in model.weights if id(w) not in done and "seed" not in w.path]
    if left or checkpoint.unused():
        extra = [f"{name!r} is not in the network" for name in checkpoint.unused()]
        raise _other(checkpoint, (extra + [f"nothing fills {path!r}" for path in left])[0])


def _other(checkpoint: Checkpoint, difference: str) -> ValueError:
    return ValueError(
        f"checkpoint {checkpoint.path!r} belongs to another pipeline.config: {difference}; pass "
        "the checkpoint and the configuration of one training."
    )


def _layer(model: SSD, name: str) -> keras.Layer:
    for part in (model.backbone, model):
        if any(layer.name == name for layer in part.layers):
            return part.get_layer(name)
    raise KeyError(name)


def _fill(layer: keras.Layer, checkpoint: Checkpoint, key: str, columns: "_Columns | None") -> None:
    values = []
    for weight in layer.weights:
        names = [weight.name]
        if isinstance(layer, layers.DepthwiseConv2D) and weight.name == "kernel":
            names = ["depthwise_kernel"]
        elif weight.name == "kernel":
            names = ["kernel", "pointwise_kernel"]
        found = [checkpoint.take(f"{key}/{name}") for name in names]
        value = next((each for each in found if each is not None), None)
        if value is None and weight.name == "gamma":  # batch normalisation without a scale
            value = np.ones(weight.shape, "float32")
        if value is None:
            raise _other(checkpoint, f"it has no {key}/{names[0]}")
        shape, expected = value.shape, tuple(weight.shape)
        if columns is not None:
            value = columns.of(value)
            num_boxes = expected[-1] // len(columns.kept)
            expected = (*expected[:-1], num_boxes * columns.total)
        if shape != expected:
            raise _other(checkpoint, f"{key}/{names[0]} has the shape {shape}, not {expected}")
        values.append(value)
    layer.set_weights(values)


class _Columns(NamedTuple):
    """Which columns of the class layers are kept, of how many each default box has."""

    total: int
    kept: list[int]

    def of(self, value: np.ndarray) -> np.ndarray:
        """Returns the kept columns of a kernel or bias; the value itself where they do not fit."""
        if value.shape[-1] % self.total:
            return value
        cells = value.reshape(*value.shape[:-1], -1, self.total)
        return cells[..., self.kept].reshape(*value.shape[:-1], -1)


def _pairs(model: SSD) -> Pairs:
    """Yields each layer with weights, and the key of its variables."""
    for index, name in enumerate(_backbone_order(model.backbone)):
        yield name, f"{EXTRACTOR}/backbone/layer_with_weights-{index}"
    names = {layer.name for layer in model.layers}
    yield from _neck_pairs(model, names)
    if "class_head" in names:
        yield from _shared_head_pairs(model, names)
    else:
        yield from _ssd_head_pairs(model, names)


def _backbone_order(backbone: keras.Model) -> list[str]:
    """Returns the names of the backbone's layers with weights in the order of Keras' network."""
    names = [layer.name for layer in backbone.layers if layer.weights]
    if "conv2_block1_0" not in names:
        return names
    order = ["conv1", "conv1_bn"]
    blocks = next(counts for counts in RESNET_BLOCKS.values() if len(names) == _num_layers(counts))
    for stage, count in enumerate(blocks, start=2):
        for block in range(1, count + 1):
            parts = ["1", "1_bn", "2", "2_bn", "3", "3_bn"]
            if block == 1:
                parts[4:] = ["0", "3", "0_bn", "3_bn"]
            order += [f"conv{stage}_block{block}_{part}" for part in parts]
    return order


def _num_layers(blocks: Sequence[int]) -> int:
    """Returns the layers with weights of a ResNet of bottlenecks."""
    return 2 + sum(6 * count + 2 for count in blocks)


def _neck_pairs(model: SSD, names: set[str]) -> Pairs:
    if "extra1_1" in names:
        for index in range(1, 5):
            key = f"{EXTRACTOR}/feature_map_generator/convolutions/{index + 1}"
            parts = [f"extra{index}_1", f"extra{index}_1_bn"]
            if f"extra{index}_depthwise" in names:
                parts += ["", f"extra{index}_depthwise", f"extra{index}_depthwise_bn"]
            parts += ["", f"extra{index}_2", f"extra{index}_2_bn"]
            for place, name in enumerate(parts):
                if name:
                    yield name, f"{key}/{place}"
        return
    count = len(model.backbone.outputs)
    pyramid = f"{EXTRACTOR}/_fpn_features_generator"
    for index in range(1, count + 1):
        place = count - 1 - index
        key = f"residual_blocks/{place}/0" if index < count else "top_layers/0"
        yield f"fpn{index}_lateral", f"{pyramid}/{key}"
        if index < count:
            yield from _conv_pairs(f"fpn{index}", f"{pyramid}/conv_layers/{place}", names)
    for place in range(len(model.feature_sizes) - count):
        key = f"{EXTRACTOR}/_coarse_feature_layers/{place}"
        yield from _conv_pairs(f"fpn{count + 1 + place}", key, names)


def _kernel_pairs(name: str, key: str, names: set[str]) -> Pairs:
    """The one or two layers of a convolution, which are one in the API."""
    if f"{name}_depthwise" in names:
        yield f"{name}_depthwise", key
    yield name, key


def _conv_pairs(name: str, key: str, names: set[str]) -> Pairs:
    """A convolution, separable or not, and its batch normalisation."""
    yield from _kernel_pairs(name, f"{key}/0", names)
    if f"{name}_bn" in names:
        yield f"{name}_bn", f"{key}/1"


def _shared_head_pairs(model: SSD, names: set[str]) -> Pairs:
    head: Any = model.head
    towers = {"tower": ("PredictionTower", BOXES)}
    if not head.is_tower_shared:
        towers = {
            "box_tower": ("BoxPredictionTower", BOXES),
            "class_tower": ("ClassPredictionTower", CLASSES),
        }
    for tower, (scope, output) in towers.items():
        for depth in range(head.depth):
            name = f"{tower}{depth + 1}"
            key = f"{PREDICTOR}/_head_scope_conv_layers/{scope}/{depth}"
            yield from _kernel_pairs(name, key, names)
            for level in range(len(model.feature_sizes)):
                place = f"{PREDICTOR}/_base_tower_layers_for_heads/{output}/{level}/{1 + 3 * depth}"
                yield f"{name}_map{level + 1}_bn", place
    predictions = {
        "box_head": f"{PREDICTOR}/_box_prediction_head/_box_encoder_layers/0",
        "class_head": f"{PREDICTOR}/_prediction_heads/{CLASSES}/_class_predictor_layers/0",
    }
    for name, key in predictions.items():
        yield from _kernel_pairs(name, key, names)


def _ssd_head_pairs(model: SSD, names: set[str]) -> Pairs:
    kinds = {
        "box_head": (BOXES, "_box_encoder_layers"),
        "class_head": (CLASSES, "_class_predictor_layers"),
    }
    for kind, (head, scope) in kinds.items():
        for index in range(len(model.feature_sizes)):
            name = f"{kind}{index + 1}"
            key = f"{PREDICTOR}/_prediction_heads/{head}/{index}/{scope}"
            if f"{name}_depthwise" in names:
                yield f"{name}_depthwise", f"{key}/0"
                yield f"{name}_depthwise_bn", f"{key}/1"
                yield name, f"{key}/3"
            else:
                yield name, f"{key}/0"
