"""Heads of a graph: which convolutions predict, what they share, and their weights."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

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


class Outputs(NamedTuple):
    """The tensors that join the predictions of all maps, and what turns logits into scores."""

    boxes: str
    logits: str
    activation: str


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """A convolution, full or separable."""

    depthwise: Stage | None
    conv: Stage

    @property
    def source(self) -> str:
        """The tensor that it takes."""
        return (self.depthwise or self.conv).source

    @property
    def kernel_size(self) -> tuple[int, int]:
        """Height and width of the kernel that looks at neighbours."""
        return (self.depthwise or self.conv).kernel_size


def find_outputs(graph: Graph) -> Outputs:
    """Finds the joined predictions: those of classes end in scores, those of boxes are decoded."""
    joins = {
        node.name: node
        for node in graph.nodes.values()
        if node.op == "ConcatV2" and all(map(_is_head(graph), node.inputs[:-1]))
    }
    found = {}
    for node in graph.nodes.values():
        if node.op in SCORES:
            logits = graph.origin(node.inputs[0], RESHAPES)
            scaled = (
                graph.scalars(graph.nodes[logits.partition(":")[0]])
                if logits not in joins
                else None
            )
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


def _is_head(graph: Graph):
    def check(tensor: str) -> bool:
        origin = graph.origin(tensor)
        return (
            graph.node(origin).op in RESHAPES
            and read_stage(graph, graph.origin(origin, RESHAPES)) is not None
        )

    return check


def read_blocks(graph: Graph, join: str) -> list[Block]:
    """Returns the convolutions whose outputs a tensor joins, map by map."""
    node = graph.node(join, RESHAPES)
    parts = [x for x in node.inputs if not graph.is_constant(x)]
    if node.op != "ConcatV2":
        raise graph.other_network(f"{join!r} joins no feature maps")
    blocks = [read_block(graph, graph.origin(part, RESHAPES)) for part in parts]
    if None in blocks:
        raise graph.other_network(f"{join!r} joins other operators than convolutions")
    return blocks


def read_block(graph: Graph, tensor: str) -> Block | None:
    """Returns the full or separable convolution that ends in a tensor, or None."""
    conv = read_stage(graph, tensor)
    if conv is None or conv.is_depthwise:
        return None
    depthwise = read_stage(graph, conv.source) if conv.kernel_size == (1, 1) else None
    return Block(depthwise if depthwise and depthwise.is_depthwise else None, conv)


class Heads:
    """The heads of all maps, `boxes` and `classes`, with their towers where they are shared."""

    def __init__(self, graph: Graph, outputs: Outputs) -> None:
        self._graph = graph
        self.boxes, self.classes = (read_blocks(graph, x) for x in outputs[:2])
        if len(self.boxes) != len(self.classes):
            raise graph.other_network(
                f"it has {len(self.boxes)} box and {len(self.classes)} class heads"
            )
        self.counts = [block.conv.num_filters // 4 for block in self.boxes]
        self.is_shared = len(self.boxes) > 1 and all(
            _is_same(blocks) for blocks in (self.boxes, self.classes)
        )
        box_maps, class_maps = ([x.source for x in each] for each in (self.boxes, self.classes))
        self.is_tower_shared = box_maps == class_maps
        self.towers: dict[str, list[list[Block]]] = {}
        if self.is_shared:
            names = ("tower",) if self.is_tower_shared else ("box_tower", "class_tower")
            ends = []
            for name, maps in zip(names, (box_maps, class_maps), strict=False):
                self.towers[name], end = _tower(graph, maps)
                ends.append(end)
            box_maps, class_maps = ends[0], ends[-1]
        if box_maps != class_maps:
            raise graph.other_network("box and class heads take different maps")
        self.maps = box_maps

    @property
    def num_outputs(self) -> int:
        """Classes and background."""
        numbers = {
            block.conv.num_filters / count
            for block, count in zip(self.classes, self.counts, strict=True)
        }
        number = numbers.pop()
        if numbers or number != int(number) or number < 2:
            raise self._graph.other_network("its class heads differ in their classes")
        return int(number)

    def head(self) -> SharedHead | SSDHead:
        """Returns the record of these heads."""
        last = [*self.boxes, *self.classes]
        if not self.is_shared:
            return SSDHead(self._style(last, [x.depthwise for x in last if x.depthwise]))
        blocks = [block for tower in self.towers.values() for level in tower for block in level]
        style = self._style([*last, *blocks], [block.conv for block in blocks])
        if blocks and not self._has_map_kernels():
            style = dataclasses.replace(style, batch_norm=True)
        (depth,) = {len(tower) for tower in self.towers.values()}
        filters = blocks[0].conv.num_filters if blocks else 1
        return SharedHead(
            filters, depth, last[0].kernel_size[0], self.is_tower_shared, style,
            prior_probability=None, has_map_kernels=self._has_map_kernels(),
        )  # fmt: skip

    def _style(self, blocks: Sequence[Block], styled: Sequence[Stage]) -> ConvStyle:
        """Returns the one style of all blocks; `styled` are followed by norm and activation."""
        kinds = {(block.depthwise is not None, block.kernel_size) for block in blocks}
        finishes = {(x.batch_norm is not None, x.epsilon, x.activation) for x in styled}
        finishes = finishes or {(False, 1e-3, "relu6")}
        (is_separable, size), (has_norm, epsilon, activation) = kinds.pop(), finishes.pop()
        if kinds or finishes or size[0] != size[1]:
            raise self._graph.other_network("its heads differ in their convolutions")
        return ConvStyle(
            separable=is_separable, batch_norm=has_norm, activation=activation or "linear",
            epsilon=epsilon, head_kernel=size[0],
        )  # fmt: skip

    def _has_map_kernels(self) -> bool:
        """Returns whether towers have kernels that no factor by channel makes equal."""
        return any(
            _factors([block.conv for block in level]) is None
            or not _is_same([block.depthwise for block in level])
            for tower in self.towers.values()
            for level in tower
            if level[0].conv.batch_norm is None
        )

    def fill(self, model: SSD, columns: Sequence[int]) -> None:
        """Sets the weights of a model's heads; `columns` are those of the named classes."""
        for tower, levels in self.towers.items():
            for number, blocks in enumerate(levels, start=1):
                self._fill_tower(model, f"{tower}{number}", blocks)
        for name, blocks in (("box_head", self.boxes), ("class_head", self.classes)):
            for index, block in enumerate(blocks[:1] if self.is_shared else blocks, start=1):
                each = name if self.is_shared else f"{name}{index}"
                kernel, bias = block.conv.kernel, _bias(block.conv)
                if name == "class_head":
                    kernel, bias = self._named(kernel, columns), self._named(bias, columns)
                self._set(model, each, kernel, bias)
                if block.depthwise is not None:
                    self._fill_depthwise(model, each, block.depthwise)

    def _named(self, weights: np.ndarray, columns: Sequence[int]) -> np.ndarray:
        by_class = weights.reshape(*weights.shape[:-1], -1, self.num_outputs)
        return by_class[..., list(columns)].reshape(*weights.shape[:-1], -1)

    def _fill_depthwise(self, model: SSD, name: str, stage: Stage) -> None:
        if self.is_shared:
            self._set(model, f"{name}_depthwise", stage.kernel)
        elif stage.batch_norm is None:
            self._set(model, f"{name}_depthwise", stage.kernel, _bias(stage))
        else:
            self._set(model, f"{name}_depthwise", stage.kernel)
            self._set(model, f"{name}_depthwise_bn", *stage.batch_norm)

    def _fill_tower(self, model: SSD, name: str, blocks: Sequence[Block]) -> None:
        convs = [block.conv for block in blocks]
        if self._has_map_kernels():
            for index, block in enumerate(blocks, start=1):
                self._set(model, f"{name}_map{index}", block.conv.kernel, _bias(block.conv))
                if block.depthwise is not None:
                    self._set(model, f"{name}_map{index}_depthwise", block.depthwise.kernel)
            return
        kernel, factors = _factors(convs)
        self._set(model, name, kernel)
        if blocks[0].depthwise is not None:
            self._set(model, f"{name}_depthwise", blocks[0].depthwise.kernel)
        for index, (conv, factor) in enumerate(zip(convs, factors, strict=True), start=1):
            # A variance of 1 - epsilon leaves gamma alone.
            variance = np.full_like(factor, 1 - conv.epsilon)
            folded = factor, _bias(conv), np.zeros_like(factor), variance
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
    while True:
        blocks = [read_block(graph, tensor) for tensor in maps]
        if not all(blocks) or not _is_alike(blocks):
            return levels, maps
        levels.insert(0, blocks)
        maps = [block.source for block in blocks]


def _is_same(blocks: Sequence[Block | Stage | None]) -> bool:
    """Returns whether blocks have the same kernels."""
    return all(
        len({kernel.shape for kernel in kernels}) == 1
        and all(np.array_equal(kernel, kernels[0]) for kernel in kernels)
        for kernels in _kernels(blocks)
    )


def _is_alike(blocks: Sequence[Block]) -> bool:
    """Returns whether kernels are the same but for a factor by channel and rounding."""
    for kernels in _kernels(blocks):
        if len({kernel.shape for kernel in kernels}) > 1:
            return False
        flat = [kernel.reshape(-1, kernel.shape[-1]) for kernel in kernels]
        for other in flat[1:]:
            lengths = np.linalg.norm(flat[0], axis=0) * np.linalg.norm(other, axis=0)
            # Channels without weights say nothing.
            cosines = (flat[0] * other).sum(axis=0)[lengths > 0] / lengths[lengths > 0]
            if not len(cosines) or np.median(np.abs(cosines)) < LEAST_COSINE:
                return False
    return True


def _kernels(blocks: Sequence[Block | Stage | None]) -> list[list[np.ndarray]]:
    if None in blocks:
        return []
    if isinstance(blocks[0], Stage):
        return [[stage.kernel for stage in blocks]]
    kernels = [[block.conv.kernel for block in blocks]]
    depthwise = [x.depthwise.kernel for x in blocks if x.depthwise is not None]
    # A mixture of separable and full convolutions is nowhere the same.
    return kernels if not depthwise else [*kernels, depthwise]


def _factors(convs: Sequence[Stage]) -> tuple[np.ndarray, list[np.ndarray]] | None:
    """Returns the kernel that maps share and its factor by channel for each, or None.

    Where batch normalisation is folded, kernel and factor are those of the map that weighs most.
    """
    kernels = np.stack([x.kernel.reshape(-1, x.num_filters) for x in convs]).astype("float64")
    lengths = np.linalg.norm(kernels, axis=1)
    best = kernels[lengths.argmax(axis=0), :, np.arange(kernels.shape[2])].T
    factors = (kernels * best).sum(axis=1) / np.maximum((best**2).sum(axis=0), 1e-30)
    rest = np.abs(kernels - factors[:, None] * best).max()
    if rest > ROUNDING * np.abs(kernels).max():
        return None
    shape = convs[0].kernel.shape
    return best.reshape(shape).astype("float32"), list(factors.astype("float32"))


def _bias(stage: Stage) -> np.ndarray:
    return np.zeros(stage.num_filters, "float32") if stage.bias is None else stage.bias
