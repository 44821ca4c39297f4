"""The paper's assigner: by the IoU with default boxes."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ssd_keras.assigners.assigner import Assigner, DefaultBoxArray, box_array
from ssd_keras.boxes.default_box_grid import DefaultBoxGrid
from ssd_keras.boxes.formats import Array
from ssd_keras.core.parts import register_part

if TYPE_CHECKING:
    from ssd_keras.boxes.iou_index import IoUIndex


@register_part("assigner", "max_iou")
@dataclasses.dataclass(frozen=True)
class MaxIoUAssigner(Assigner):
    """Assigns each object its best default box, then each default box its best object.

    Paper section 2.2, "Matching": each object claims its best free default box, in order of
    falling IoU; every other default box takes its best object where their IoU reaches the
    threshold. The quality is the IoU.

    Args:
        threshold: smallest IoU of further matches, in (0, 1]. Default 0.5.
        use_boundary_boxes: False leaves default boxes that cross the image border out of
            matching and loss (the ablation of the paper's table 3). Default True.

    Raises:
        ValueError: for a threshold out of range.

    Example:

    >>> boxes = np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]], "float32")
    >>> objects = np.array([[[0, 0, 0.5, 0.4]]], "float32")  # one in one image
    >>> ground_truth = {"boxes": objects, "labels": np.array([[2]], "int32")}
    >>> MaxIoUAssigner().assign(ground_truth, boxes)["labels"].numpy()
    array([[ 2, -1]], dtype=int32)
    """

    threshold: float = 0.5
    use_boundary_boxes: bool = True

    def __post_init__(self) -> None:
        if not 0.0 < self.threshold <= 1.0:
            raise ValueError(f"threshold={self.threshold} is out of range; pass a value in (0, 1].")

    def assign(
        self,
        ground_truth: Mapping[str, Array],
        default_boxes: DefaultBoxArray,
        predictions: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]:
        import tensorflow as tf

        from ssd_keras.boxes.matching import Objects, match_with_index

        array, is_ignored, index = indexed(default_boxes, self.use_boundary_boxes)
        objects = Objects.of(ground_truth)
        image = None if objects.num_images == 1 else objects.image
        matched, _ = match_with_index(
            index, objects.boxes, self.threshold, image, objects.num_images
        )
        targets = objects.targets(matched, array)
        if is_ignored.any():
            targets["labels"] = tf.where(is_ignored, -2, targets["labels"])
        return targets


def indexed(
    default_boxes: DefaultBoxArray, use_boundary_boxes: bool = True
) -> tuple[np.ndarray, np.ndarray, "IoUIndex"]:
    """Returns default boxes [N, 4], which of them are ignored, and the index of the others."""
    key: Any = default_boxes
    if not isinstance(default_boxes, DefaultBoxGrid):
        key = box_array(default_boxes).tobytes()
    return _indexed(key, use_boundary_boxes)


@functools.lru_cache(maxsize=8)
def _indexed(
    default_boxes: DefaultBoxGrid | bytes, use_boundary_boxes: bool
) -> tuple[np.ndarray, np.ndarray, "IoUIndex"]:
    """Returns `indexed`, made once for each set of default boxes."""
    from ssd_keras.boxes.iou_index import IoUIndex

    if isinstance(default_boxes, DefaultBoxGrid):
        array = default_boxes.boxes()
    else:
        array = np.frombuffer(default_boxes, "float32").reshape(-1, 4)
    crosses = (array < 0).any(axis=1) | (array > 1).any(axis=1)
    is_ignored = np.logical_and(crosses, not use_boundary_boxes)
    # A box of no area overlaps nothing.
    return array, is_ignored, IoUIndex(np.where(is_ignored[:, None], 0, array))
