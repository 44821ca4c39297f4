"""Base of assigners."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, TypeAlias

import numpy as np

from ssd_keras.boxes.default_box_grid import DefaultBoxGrid
from ssd_keras.boxes.formats import Array
from ssd_keras.core.config_record import ConfigRecord

DefaultBoxArray: TypeAlias = DefaultBoxGrid | np.ndarray


@dataclasses.dataclass(frozen=True)
class Assigner(ConfigRecord):
    """Base of assigners, which decide which default box learns which object.

    A subclass is a frozen dataclass whose fields are its options. With `register_part` recipes
    find it by name. Without predictions it is called in `tf.data`, and its `assign` is written in
    TensorFlow, imported there. One that `needs_predictions` is called in the training step, and
    written in `keras.ops`; it has a field `max_candidates`, the number of default boxes that it
    looks at for each object.

    Example:

    >>> Assigner().needs_predictions
    False
    """

    needs_predictions: ClassVar[bool] = False

    def assign(
        self,
        ground_truth: Mapping[str, Array],
        default_boxes: DefaultBoxArray,
        predictions: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]:
        """Assigns the objects of a batch to default boxes.

        Args:
            ground_truth: "boxes" float32 [B, n, 4], relative yxyx, and "labels" int32 [B, n],
                0-based without background, padded with -1. Boxes of no area are ignored. Where
                the assigner needs predictions also "candidates" int32 [B, n, K], default boxes
                that may match each object, best first, padded with -1.
            default_boxes: `DefaultBoxGrid`, or the boxes alone, float32 [N, 4].
            predictions: "boxes" float32 [B, N, 4], decoded, and "scores" float32 [B, N, classes],
                without background and without gradients. Default None.

        Returns:
            "labels" int32 [B, N]: the class of the object of each default box, -1 for none, -2
            where the losses ignore it. "boxes" float32 [B, N, 4]: the object where there is one.
            "quality" float32 [B, N], 0..1: how good the match is, 0 where there is none.
        """
        raise NotImplementedError(f"{type(self).__name__} must define assign.")


def box_array(default_boxes: DefaultBoxArray) -> np.ndarray:
    """Returns default boxes as an array [N, 4]."""
    if isinstance(default_boxes, DefaultBoxGrid):
        return default_boxes.boxes()
    return np.asarray(default_boxes, "float32")
