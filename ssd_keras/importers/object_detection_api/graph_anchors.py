"""Default boxes of a graph: read where it stores floats, else those of the API's rules."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ssd_keras.boxes.default_boxes import MAX_LEVEL, DefaultBoxes
from ssd_keras.importers.object_detection_api.graph import ADDITIONS, RESHAPES, Graph, Node

# Operators without effects, which TensorFlow may run to compute stored anchors.
PURE_OPERATORS = """
    Add AddV2 BroadcastArgs BroadcastTo Cast Ceil ConcatV2 Div Equal Exp ExpandDims Fill Floor
    FloorDiv FloorMod GatherV2 Greater GreaterEqual Identity Less LessEqual Log LogicalAnd
    LogicalOr Max Maximum Min Minimum Mul Neg OnesLike Pack Pow Prod Range Rank RealDiv Reciprocal
    Reshape Rsqrt Select SelectV2 Shape Size Slice Split SplitV Sqrt Square Squeeze StopGradient
    StridedSlice Sub Sum Tile Transpose Unpack ZerosLike
"""
FLOAT_TOLERANCE = 2e-6
# Scales of an octave and ratios of the multiscale_anchor_generator, by boxes per cell.
OCTAVES = tuple(itertools.product((2, 3, 1), ((1.0, 2.0, 0.5), (1.0,))))
SSD_RATIOS = (1.0, 2.0, 0.5, 3.0, 0.3333)
Grids = Sequence[tuple[int, int]]


def _shape(graph: Graph, tensor: str, shapes: Mapping[str, tuple[int, ...]]) -> np.ndarray:
    """Returns the shape of a tensor, or where it is unknown of what it is computed from."""
    # All have one image, which is what the anchors' number depends on beside the feature maps.
    for _ in graph.nodes:
        node = graph.node(tensor)
        if graph.origin(tensor) in shapes or not node.inputs:
            break
        tensor = node.inputs[0]
    return np.array(shapes.get(graph.origin(tensor), shapes["image"]))


class Anchors(NamedTuple):
    """Default boxes as a graph stores or computes them."""

    values: np.ndarray  # y and x of centres, heights, widths [N, 4]
    variances: Sequence[float]
    step: float  # quantisation step, 0 for floats


def read_anchors(graph: Graph, boxes: str, shapes: dict[str, tuple[int, ...]]) -> Anchors:
    """Reads the anchors from what decodes the tensor `boxes`: the faster_rcnn_box_coder.

    `shapes` are those of the tensors of which the graph may ask the shape.
    """
    # y = ty * factors + centre; height = exp(th * factors) * height of the anchor. The factors are
    # 1 / scale for sizes, and times the anchor's height for centres.
    consumers = graph.consumers()
    codes = unpacked_codes(consumers, boxes)
    if codes is None:
        raise _other_coder(graph)
    factors, others = [], []
    for index in range(4):
        code = f"{codes}:{index}" if index else codes
        around, end = _factors(graph, consumers, code, ADDITIONS if index < 2 else ("Exp",))
        factors.append(around)
        if index > 1:
            outer, _ = _factors(graph, consumers, end.name, (*ADDITIONS, "Sub", "RealDiv"))
            others.append(outer[0][1])
        else:
            others.append(_other(graph, end, around[-1][0].name))
    names = [*others, *(name for around in factors for _, name in around)]
    values = dict(zip(names, evaluated(graph, names, shapes), strict=True))
    anchors = np.stack([values[name].reshape(-1) for name in others], axis=-1)
    step = max(graph.steps.get(graph.origin(name), 0.0) for name in others)
    variances = []
    for index, around in enumerate(factors):
        product: np.ndarray = np.ones(1)
        for node, name in around:
            number = np.asarray(values[name], "float64").reshape(-1)
            product = product / number if node.op == "RealDiv" else product * number
        if index < 2:  # the largest are the most exact of those that a file rounds
            largest = anchors[:, 2 + index] >= anchors[:, 2 + index].max() * 0.9
            product = (product / anchors[:, 2 + index])[largest]
        scale = 1 / float(np.median(product))
        variances.append(round(1 / (round(scale, 1) if step else scale), 6))
    return Anchors(anchors, variances, step)


def unpacked_codes(consumers: Mapping[str, list[Node]], tensor: str) -> str | None:
    """Returns the operator that takes codes of boxes apart for decoding, or None."""
    for _ in range(10):
        users = consumers.get(tensor, [])
        user = next((x for x in users if x.op in (*RESHAPES, "Transpose", "Unpack")), None)
        if user is None or user.op == "Unpack":
            return user and user.name
        tensor = user.name
    return None


def _factors(
    graph: Graph, consumers: Mapping[str, list[Node]], tensor: str, ends: Sequence[str]
) -> tuple[list[tuple[Node, str]], Node]:
    """Returns the products up to the first operator of `ends`, and this operator."""
    found: list[tuple[Node, str]] = []
    for _ in range(4):
        users = consumers.get(tensor, [])
        product = next((x for x in users if x.op in ("Mul", "RealDiv")), None)
        end = next((x for x in users if x.op in ends), None)
        if end is not None and (found or product is None):
            return found, end
        if product is None:
            break
        found.append((product, _other(graph, product, tensor)))
        tensor = product.name
    raise _other_coder(graph)


def _other(graph: Graph, node: Node, tensor: str) -> str:
    return next((x for x in node.inputs if graph.origin(x) != tensor), tensor)


def _other_coder(graph: Graph) -> ValueError:
    return graph.other_network("its boxes are not decoded as by the faster_rcnn_box_coder")


def evaluated(
    graph: Graph, tensors: Sequence[str], shapes: dict[str, tuple[int, ...]]
) -> list[np.ndarray]:
    """Returns the values of tensors that depend on constants, and on shapes of feature maps."""
    if all(map(graph.is_constant, tensors)):
        return [graph.constant(tensor) for tensor in tensors]
    import tensorflow as tf

    definition = tf.compat.v1.GraphDef()
    queue, seen = list(tensors), set()
    while queue:
        name = queue.pop().partition(":")[0]
        if name in seen:
            continue
        seen.add(name)
        node = graph.nodes[name]
        values = graph.constants.get(name)
        if node.op == "Shape":
            is_long = "DT_INT64" in str(dict(graph.definitions[name].attr).get("out_type"))
            values = _shape(graph, node.inputs[0], shapes).astype("int64" if is_long else "int32")
        if values is not None:
            added = definition.node.add(name=name, op="Const")
            added.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values))
            added.attr["dtype"].type = tf.as_dtype(values.dtype).as_datatype_enum
            continue
        if node.op not in PURE_OPERATORS.split():
            raise graph.other_network(f"its anchors come from the operator {node.op} ({name!r})")
        added = definition.node.add()
        added.CopyFrom(graph.definitions[name])
        added.name = name
        added.ClearField("device")
        del added.input[:]
        added.input.extend(node.inputs)
        queue += node.inputs
    names = [tensor if ":" in tensor else f"{tensor}:0" for tensor in tensors]
    try:
        with tf.Graph().as_default() as runnable:
            tf.import_graph_def(definition, name="")
            with tf.compat.v1.Session(graph=runnable) as session:
                return session.run(names)
    except (tf.errors.OpError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:150]
        raise graph.other_network(f"its anchors cannot be computed ({reason})") from error


def boxes_of_anchors(
    graph: Graph, anchors: Anchors, image_size: tuple[int, int], grids: Grids, counts: Sequence[int]
) -> DefaultBoxes:
    """Returns the default boxes: the anchors' own, or the rule's where the file rounds them."""
    ends = np.cumsum(np.prod(grids, axis=1) * counts)
    if anchors.values.shape != (ends[-1], 4):
        raise graph.other_network(f"its anchors have the shape {anchors.values.shape}")
    maps = [
        part.reshape(rows, columns, count, 4).astype("float64")
        for part, (rows, columns), count in zip(
            np.split(anchors.values, ends[:-1]), grids, counts, strict=True
        )
    ]
    tolerance = max(FLOAT_TOLERANCE, anchors.step * 0.51)
    differences = []
    for boxes in _rules(maps, image_size, counts) if anchors.step else _grids(maps, image_size):
        low, high = np.split(boxes.boxes(image_size, grids), 2, axis=1)
        ours = np.concatenate([(low + high) / 2, high - low], axis=1)
        differences.append(float(np.abs(ours - anchors.values).max()))
        if differences[-1] <= tolerance:
            y, x, height, width = anchors.variances
            return dataclasses.replace(boxes, variances=(y, x, height, width))
    rule = "those of the API's rules" if anchors.step else "a grid"
    difference = min(differences, default=math.inf)
    raise graph.other_network(f"its anchors differ from {rule} by {difference:.4g}")


def boxes_of_rule(
    graph: Graph, image_size: tuple[int, int], grids: Grids, counts: Sequence[int]
) -> DefaultBoxes:
    """Returns the default boxes of the API's own configurations, for a graph without anchors."""
    if len(set(counts)) == 1:
        levels = [round(math.log2(image_size[0] / rows)) for rows, _ in grids]
        for per_octave, ratios in OCTAVES:
            if (
                per_octave * len(ratios) == counts[0]
                and 0 <= min(levels) <= max(levels) <= MAX_LEVEL
            ):
                return DefaultBoxes.octaves(
                    image_size, levels, scales_per_octave=per_octave, aspect_ratios=ratios
                )
    if all(count == (3 if index == 0 else 6) for index, count in enumerate(counts)):
        return next(_six_maps(image_size, counts, 0.2, 0.95, 0.1))
    raise graph.other_network(
        f"it has no anchors, and {counts} boxes per cell are those of no rule"
    )


def _grids(maps: Sequence[np.ndarray], image_size: tuple[int, int]) -> Iterator[DefaultBoxes]:
    """Yields the boxes of the first cells on the grid that the centres lie on."""
    shapes = [(cells[0, 0, :, 2:] * image_size).tolist() for cells in maps]
    first = np.array([cells[0, 0, 0, :2] for cells in maps])
    last = np.array([cells[-1, -1, 0, :2] for cells in maps])
    sizes = np.array([cells.shape[:2] for cells in maps])
    yield DefaultBoxes(shapes, None, _rounded(first * sizes))
    # The distance of centres is known where there are several rows, or else columns.
    steps = (last - first) / np.maximum(sizes - 1, 1) * image_size
    steps = steps.max(axis=1)
    steps = np.where(steps > 0, steps, max(image_size) / sizes.max(axis=1)).round(3)
    yield DefaultBoxes(shapes, tuple(steps), _rounded(first * image_size / steps[:, None]))


def _rounded(offsets: np.ndarray) -> tuple[tuple[float, float], ...]:
    return tuple((round(float(y), 4), round(float(x), 4)) for y, x in offsets)


def _rules(
    maps: Sequence[np.ndarray], image_size: tuple[int, int], counts: Sequence[int]
) -> Iterator[DefaultBoxes]:
    """Yields the boxes of the API's two generators that may be meant."""
    sides = [np.sqrt(np.prod(cells[0, 0, :, 2:] * image_size, axis=1)) for cells in maps]
    levels = [round(math.log2(image_size[0] / len(cells))) for cells in maps]
    if len(set(counts)) == 1 and min(levels) >= 0 and max(levels) <= MAX_LEVEL:
        base = round(float(sides[-1][0]) / 2 ** levels[-1] * 4) / 4
        for per_octave, ratios in OCTAVES:
            if per_octave * len(ratios) == counts[0] and base > 0:
                yield DefaultBoxes.octaves(
                    image_size, levels, scales_per_octave=per_octave, aspect_ratios=ratios,
                    base_scale=base,
                )  # fmt: skip
    if len(counts) > 1:
        # The sizes in a configuration are whole hundredths.
        ends = sides[0][counts[0] % 2], sides[-1][0], sides[0][0]
        yield from _six_maps(
            image_size, counts, *(round(float(x) / min(image_size), 2) for x in ends)
        )


def _six_maps(
    image_size: tuple[int, int], counts: Sequence[int], smallest: float, largest: float,
    first: float,
) -> Iterator[DefaultBoxes]:  # fmt: skip
    """Yields the boxes of the `ssd_anchor_generator`, with the interpolated one last or second."""
    scales = [*np.linspace(smallest, largest, len(counts)), 1.0]
    cells = []
    for scale, following, count in zip(scales, scales[1:], counts, strict=False):
        ratios = SSD_RATIOS[: count - 1 + count % 2]
        sides = [(scale, ratio) for ratio in ratios]
        if count % 2 == 0:
            sides.append((math.sqrt(scale * following), 1.0))
        cells.append(sides)
    if counts[0] % 2:
        cells[0][0] = (first, 1.0)
    for is_second in (False, True):
        ordered = [
            [cell[0], cell[-1], *cell[1:-1]] if is_second and len(cell) % 2 == 0 else cell
            for cell in cells
        ]
        side = min(image_size)
        yield DefaultBoxes(
            [[(side * s / math.sqrt(r), side * s * math.sqrt(r)) for s, r in x] for x in ordered]
        )
