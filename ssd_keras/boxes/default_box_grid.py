"""Default boxes of a model as shapes on grids of cells."""

import dataclasses
from typing import NamedTuple

import numpy as np

from ssd_keras.boxes.default_boxes import DefaultBoxes, cell_centers


class DefaultBoxGrid(NamedTuple):
    """Default boxes together with the sizes that place them: the input and the feature maps."""

    default_boxes: DefaultBoxes
    image_size: tuple[int, int]  # height and width of the model's input in pixels
    feature_sizes: tuple[tuple[int, int], ...]  # rows and columns of each feature map

    def boxes(self) -> np.ndarray:
        """Returns all default boxes, relative yxyx float32 [N, 4]."""
        return self.default_boxes.boxes(self.image_size, self.feature_sizes)

    def cell_shapes(self) -> list[np.ndarray]:
        """Returns for each map the relative heights and widths of one cell's boxes, [boxes, 2].

        Boxes that the model clips at the image border keep their full shape.
        """
        clip = "none" if self.default_boxes.clip == "corners" else self.default_boxes.clip
        unclipped = dataclasses.replace(self.default_boxes, clip=clip)
        boxes = unclipped.boxes(self.image_size, ((1, 1),) * len(self.feature_sizes))
        shapes = boxes[:, 2:].astype(np.float64) - boxes[:, :2]
        return np.split(shapes, np.cumsum(unclipped.boxes_per_cell)[:-1])

    def cell_centers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns for each map the relative y of its rows and the relative x of its columns."""
        spec = self.default_boxes
        return cell_centers(self.image_size, self.feature_sizes, spec.steps, spec.offset)
