"""Heads of a graph: which convolutions predict, what they share, and their weights."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from ssd_keras.importers.object_detection_api.graph import RESHAPES, Graph, Stage, read_stage
from ssd_keras.importers.object_detection_api.graph_anchors import unpacked_codes
from ssd_keras.models.blocks import ConvStyle
from ssd_keras.models.heads import SharedHead, SSDHead
from ssd_keras.models.ssd import SSD

SCORES = {"Sigmoid": "sigmoid", "Softmax": "softmax"}
# Largest difference, as a share of the largest weight, of kernels that are the same but for
# rounding to float32.
ROUNDING = 1e-5
# Kernels of two maps that a file rounds to bytes still point the same way; others do not.
LEAST_COSINE = 0.9

Block: TypeAlias = tuple[Stage, ...]
"""A full convolution, or a depthwise one and a 1x1."""


class Outputs(NamedTuple):
    """The tensors that join the predictions of all maps, and what turns logits into scores."""

    boxes: str
    logits: str
    activation: str


def find_outputs(graph: Graph) -> Outputs:
    """Finds the joined predictions: those of classes end in scores, those of boxes are decoded."""
    joins = {
        node.name
        for node in graph.nodes.values()
        if node.op == "ConcatV2" and all(_is_head(graph, part) for part in node.inputs[:-1])
    }
    found = {}
    for node in graph.nodes.values():
        if node.op in SCORES:
            logits = graph.origin(node.inputs[0], RESHAPES)
            scaled = None if logits in joins else graph.scalars(graph.node(logits))
            if scaled is not None and (scaled[1] == 1).all():  # the API's logit_scale
                logits = graph.origin(scaled[0], RESHAPES)
            if logits in joins:
                found[logits] = SCORES[node.op]
    consumers = graph.consumers()
    boxes = [x for x in joins if x not in found and unpacked_codes(consumers, x)]
    if len(found) != 1 or len(boxes) != 1:
        raise graph.other_network(
            f"{len(found)} tensors of scores and {len(boxes)} of boxes join feature maps"
        )
    ((logits, activation),) = found.items()
    return Outputs(boxes[0], logits, activation)


def _is_head(graph: Graph, tensor: str) -> bool:
    if graph.node(tensor).op not in RESHAPES:
        return False
    return read_stage(graph, graph.origin(tensor, RESHAPES)) is not None


def read_block(graph: Graph, tensor: str) -> Block:
    """Returns the convolution that ends in a tensor; an empty block for another operator."""
    conv = read_stage(graph, tensor)
    if conv is None or conv.is_depthwise:
        return ()
    depthwise = read_stage(graph, conv.source) if conv.kernel_size == (1, 1) else None
    return (depthwise, conv) if depthwise and depthwise.is_depthwise else (conv,)


class Heads:
    """The heads of all maps, with their towers where they are shared."""

    def __init__(self, graph: Graph, outputs: Outputs) -> None:
        self._graph = graph
        self._boxes, self._classes = (self._joined(x) for x in outputs[:2])
        if len(self._boxes) != len(self._classes):
            raise graph.other_network(
                f"it has {len(self._boxes)} box and {len(self._classes)} class heads"
            )
        self.counts = [block[-1].num_filters // 4 for block in self._boxes]
        self._is_shared = len(self._boxes) > 1 and _is_same(self._boxes) and _is_same(self._classes)
        sources = [[x[0].source for x in each] for each in (self._boxes, self._classes)]
        self._is_tower_shared = sources[0] == sources[1]
        self._towers: dict[str, list[list[Block]]] = {}
        if self._is_shared:
            names = ["tower"] if self._is_tower_shared else ["box_tower", "class_tower"]
            towers = [_tower(graph, maps) for maps in sources[: len(names)]]
            self._towers = {name: blocks for name, (blocks, _) in zip(names, towers, strict=True)}
            sources = [maps for _, maps in towers]
        if sources[0] != sources[-1] or len({len(x) for x in self._towers.values()}) > 1:
            raise graph.other_network("box and class heads take different maps")
        self.maps = sources[0]
        self._has_map_kernels = any(
            _shared_kernel([block[-1] for block in blocks]) is None
            or not _is_same([block[:-1] for block in blocks])
            for tower in self._towers.values()
            for blocks in tower
        )

    def _joined(self, join: str) -> list[Block]:
        """Returns the convolutions whose outputs a tensor joins, map by map."""
        graph = self._graph
        node = graph.node(join, RESHAPES)
        parts = [x for x in node.inputs if not graph.is_constant(x)]
        blocks = [read_block(graph, graph.origin(part, RESHAPES)) for part in parts]
        if node.op != "ConcatV2" or not all(blocks):
            raise graph.other_network(f"{join!r} joins other operators than convolutions")
        return blocks

    @property
    def num_outputs(self) -> int:
        """Classes and background."""
        pairs = zip(self._classes, self.counts, strict=True)
        numbers = {block[-1].num_filters / max(count, 1) for block, count in pairs}
        number = numbers.pop()
        if numbers or number != int(number) or number < 2:
            raise self._graph.other_network("its class heads differ in their classes")
        return int(number)

    def head(self) -> SharedHead | SSDHead:
        """Returns the record of these heads."""
        last = [*self._boxes, *self._classes]
        if not self._is_shared:
            return SSDHead(self._style(last, [x for block in last for x in block[:-1]]))
        levels = [blocks for tower in self._towers.values() for blocks in tower]
        blocks = [block for level in levels for block in level]
        style = self._style([*last, *blocks], [block[-1] for block in blocks])
        return SharedHead(
            filters=blocks[0][-1].num_filters if blocks else 1,
            depth=len(levels) // len(self._towers),
            kernel_size=last[0][0].kernel_size[0],
            is_tower_shared=self._is_tower_shared,
            style=dataclasses.replace(style, batch_norm=not self._has_map_kernels),
            prior_probability=None,
            has_map_kernels=self._has_map_kernels,
        )

    def _style(self, blocks: Sequence[Block], styled: Sequence[Stage]) -> ConvStyle:
        """Returns the one style of all blocks; `styled` are those before an activation."""
        kinds = {(len(block), block[0].kernel_size) for block in blocks}
        finishes = {(x.batch_norm is not None, x.epsilon, x.activation) for x in styled}
        (length, size), *others = kinds
        (has_norm, epsilon, activation), *unlike = finishes or {(False, 1e-3, "relu6")}
        if others or unlike or size[0] != size[1]:
            raise self._graph.other_network("its heads differ in their convolutions")
        return ConvStyle(
            separable=length > 1,
            batch_norm=has_norm,
            activation=activation or "linear",
            epsilon=epsilon,
            head_kernel=size[0],
        )

    def fill(self, model: SSD, columns: Sequence[int]) -> None:
        """Sets the weights of a model's heads; `columns` are those of the named classes."""
        for tower, levels in self._towers.items():
            for number, blocks in enumerate(levels, start=1):
                self._fill_tower(model, f"{tower}{number}", blocks)
        for name, blocks in (("box_head", self._boxes), ("class_head", self._classes)):
            for index, (*depthwise, conv) in enumerate(blocks, start=1):
                each = name if self._is_shared else f"{name}{index}"
                weights = [conv.kernel, _bias(conv)]
                if name == "class_head":
                    weights = [self._named(x, columns) for x in weights]
                self._set(model, each, *weights)
                for stage in depthwise:
                    has_bias = not self._is_shared and stage.batch_norm is None
                    weights = [stage.kernel, _bias(stage)] if has_bias else [stage.kernel]
                    self._set(model, f"{each}_depthwise", *weights)
                    if stage.batch_norm is not None:
                        self._set(model, f"{each}_depthwise_bn", *stage.batch_norm)

    def _named(self, weights: np.ndarray, columns: Sequence[int]) -> np.ndarray:
        by_class = weights.reshape(*weights.shape[:-1], -1, self.num_outputs)
        return by_class[..., list(columns)].reshape(*weights.shape[:-1], -1)

    def _fill_tower(self, model: SSD, name: str, blocks: Sequence[Block]) -> None:
        shared = _shared_kernel([block[-1] for block in blocks])
        for index, (*depthwise, conv) in enumerate(blocks, start=1):
            each = f"{name}_map{index}" if self._has_map_kernels else name
            for stage in depthwise:
                self._set(model, f"{each}_depthwise", stage.kernel)
            if self._has_map_kernels or shared is None:
                self._set(model, each, conv.kernel, _bias(conv))
                continue
            kernel, factors = shared
            self._set(model, each, kernel)
            # A variance of 1 - epsilon leaves gamma alone.
            gamma = factors[index - 1]
            folded = gamma, _bias(conv), np.zeros_like(gamma), np.full_like(gamma, 1 - conv.epsilon)
            self._set(model, f"{name}_map{index}_bn", *(conv.batch_norm or folded))

    def _set(self, model: SSD, name: str, *weights: np.ndarray) -> None:
        layer = model.get_layer(name)
        expected = [tuple(weight.shape) for weight in layer.weights]
        if [weight.shape for weight in weights] != expected:
            raise self._graph.other_network(
                f"the weights for {name!r} have the shapes {[x.shape for x in weights]}, expected "
                f"{expected}"
            )
        layer.set_weights(weights)


def _tower(graph: Graph, maps: list[str]) -> tuple[list[list[Block]], list[str]]:
    """Returns the convolutions that all maps share, first to last, and the maps they take."""
    levels: list[list[Block]] = []
    for _ in graph.nodes:
        blocks = [read_block(graph, tensor) for tensor in maps]
        if not all(blocks) or not _is_alike(blocks):
            break
        levels.insert(0, blocks)
        maps = [block[0].source for block in blocks]
    return levels, maps


def _kernels(blocks: Sequence[Block]) -> list[list[np.ndarray]] | None:
    """Returns the kernels of each part of blocks, or None if their shapes differ."""
    if len({tuple(stage.kernel.shape for stage in block) for block in blocks}) > 1:
        return None
    return [[stage.kernel for stage in stages] for stages in zip(*blocks, strict=True)]


def _is_same(blocks: Sequence[Block]) -> bool:
    """Returns whether blocks have the same kernels."""
    found = _kernels(blocks)
    return found is not None and all(np.array_equal(x, each[0]) for each in found for x in each)


def _is_alike(blocks: Sequence[Block]) -> bool:
    """Returns whether kernels are the same but for a factor by channel and rounding."""
    found = _kernels(blocks)
    for kernels in found or ():
        first, *others = (x.reshape(-1, x.shape[-1]) for x in kernels)
        for other in others:
            lengths = np.linalg.norm(first, axis=0) * np.linalg.norm(other, axis=0)
            # Channels without weights say nothing.
            cosines = (first * other).sum(axis=0)[lengths > 0] / lengths[lengths > 0]
            if not len(cosines) or np.median(np.abs(cosines)) < LEAST_COSINE:
                return False
    return found is not None


def _shared_kernel(convs: Sequence[Stage]) -> tuple[np.ndarray, list[np.ndarray]] | None:
    """Returns the kernel that maps share and each map's factor by channel, or None.

    Batch normalisation that is folded differs by map. The kernel is that of the largest factor.
    """
    kernels = np.stack([x.kernel.reshape(-1, x.num_filters) for x in convs]).astype("float64")
    largest = np.linalg.norm(kernels, axis=1).argmax(axis=0)
    shared = kernels[largest, :, np.arange(kernels.shape[2])].T
    factors = (kernels * shared).sum(axis=1) / np.maximum((shared**2).sum(axis=0), 1e-30)
    rest = np.abs(kernels - factors[:, None] * shared).max()
    if rest > ROUNDING * np.abs(kernels).max():
        return None
    return shared.reshape(convs[0].kernel.shape).astype("float32"), list(factors.astype("float32"))


def _bias(stage: Stage) -> np.ndarray:
    return np.zeros(stage.num_filters, "float32") if stage.bias is None else stage.bias
