"""Adaptive training sample selection (ATSS): an assigner without an IoU threshold to choose."""

import dataclasses
from collections.abc import Mapping

from ssd_keras.assigners.assigner import Assigner, DefaultBoxArray
from ssd_keras.boxes.default_box_grid import DefaultBoxGrid
from ssd_keras.boxes.formats import Array
from ssd_keras.boxes.iou import edges, iou
from ssd_keras.core.parts import register_part


@register_part("assigner", "atss")
@dataclasses.dataclass(frozen=True)
class ATSSAssigner(Assigner):
    """Assigns by a threshold that the statistics of each object's nearest default boxes give.

    Zhang et al., "Bridging the Gap Between Anchor-based and Anchor-free Detection via Adaptive
    Training Sample Selection", arXiv 1912.02424. The candidates of an object are, of each feature
    map, the boxes of the cells whose centres are closest to its own, in pixels. A candidate is
    positive if its IoU reaches the mean plus the standard deviation (with n - 1, as in the
    official code) of the candidates' IoUs, and its cell's centre is inside the object. Of several
    objects a default box takes the one of the highest IoU. Unlike the paper, an object that is
    left without a default box claims its best free candidate, in order of falling IoU. The quality
    is the IoU.

    Args:
        candidates_per_map: cells of each feature map, with all their boxes. Default 9.

    Raises:
        ValueError: for a number below 1, and in `assign` for default boxes that are not a
            `DefaultBoxGrid`.

    Example:

    >>> ATSSAssigner(candidates_per_map=5).needs_predictions
    False
    """

    candidates_per_map: int = 9

    def __post_init__(self) -> None:
        if self.candidates_per_map < 1:
            raise ValueError(f"candidates_per_map={self.candidates_per_map} must be 1 or more.")

    def assign(
        self,
        ground_truth: Mapping[str, Array],
        default_boxes: DefaultBoxArray,
        predictions: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]:
        import tensorflow as tf

        from ssd_keras.boxes.iou_index import SMALLEST_IOU, Pairs
        from ssd_keras.boxes.matching import Objects, is_best, match_pairs, rank_of

        if not isinstance(default_boxes, DefaultBoxGrid):
            raise ValueError(
                "ATSSAssigner needs to know the feature maps of the default boxes; pass a "
                "DefaultBoxGrid, such as model.default_box_grid."
            )
        objects, array = Objects.of(ground_truth), default_boxes.boxes()
        index, is_inside = _nearest(objects.boxes, default_boxes, self.candidates_per_map)
        ious = iou(edges(objects.boxes[:, None]), edges(tf.gather(array, index)), tf)
        mean = tf.reduce_mean(ious, axis=1, keepdims=True)
        variance = tf.reduce_sum((ious - mean) ** 2, axis=1, keepdims=True) / (ious.shape[1] - 1)
        num_objects, total = tf.shape(ious)[0], objects.num_images * len(array)
        index = tf.cast(index, tf.int64) + len(array) * objects.image[:, None]

        def pairs_where(is_pair: tf.Tensor) -> Pairs:
            found = tf.where(is_pair & (ious > SMALLEST_IOU))
            return Pairs(found[:, 0], tf.gather_nd(index, found), tf.gather_nd(ious, found))

        pairs = pairs_where(is_inside & (ious >= mean + tf.sqrt(variance)))
        best = tf.where(is_best(rank_of(pairs), pairs.default_box, total))
        taken, owner = tf.gather(pairs.default_box, best), tf.gather_nd(pairs.ground_truth, best)
        matched = tf.tensor_scatter_nd_update(-tf.ones([total], tf.int64), taken, owner)
        has_none = tf.math.unsorted_segment_sum(tf.ones_like(owner), owner, num_objects) == 0
        free = pairs_where(has_none[:, None] & (tf.gather(matched, index) < 0))
        claimed, _ = match_pairs(free, num_objects, total, threshold=2.0)  # claims alone
        return objects.targets(tf.maximum(matched, claimed), array)


def _nearest(boxes: Array, grid: DefaultBoxGrid, num_cells: int) -> tuple[Array, Array]:
    """Returns the candidates of each box, and which of their cells have their centre inside it.

    Both are [n, candidates]: of each map `num_cells` cells, with all default boxes of each.
    """
    import tensorflow as tf

    ymin, xmin, ymax, xmax = (edge[:, None] for edge in edges(boxes))
    indices, inside, start = [], [], 0
    per_cell = grid.default_boxes.boxes_per_cell
    for (y, x), count in zip(grid.cell_centers(), per_cell, strict=True):
        cell_y, cell_x = (tf.constant(c, tf.float32) for c in (y.repeat(len(x)), [*x] * len(y)))
        distance = ((ymin + ymax) / 2 - cell_y) ** 2 * grid.image_size[0] ** 2
        distance += ((xmin + xmax) / 2 - cell_x) ** 2 * grid.image_size[1] ** 2
        nearest = tf.math.top_k(-distance, min(num_cells, len(y) * len(x))).indices
        center_y, center_x = tf.gather(cell_y, nearest), tf.gather(cell_x, nearest)
        is_inside = (ymin < center_y) & (center_y < ymax) & (xmin < center_x) & (center_x < xmax)
        of_cell = start + nearest[..., None] * count + tf.range(count)
        indices.append(tf.reshape(of_cell, [-1, nearest.shape[1] * count]))
        inside.append(tf.repeat(is_inside, count, axis=1))
        start += len(y) * len(x) * count
    return tf.concat(indices, axis=1), tf.concat(inside, axis=1)
