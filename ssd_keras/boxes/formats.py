"""Box formats: which columns hold which edges."""

from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

Array: TypeAlias = np.ndarray | tf.Tensor


class Coordinates(NamedTuple):
    """The four edges of default boxes as contiguous rows, with sizes and centres.

    Rows of 8732 neighbours in memory make every later step a plain vector operation.
    """

    ymin: np.ndarray
    xmin: np.ndarray
    ymax: np.ndarray
    xmax: np.ndarray

    @property
    def height(self) -> np.ndarray:
        return self.ymax - self.ymin

    @property
    def width(self) -> np.ndarray:
        return self.xmax - self.xmin

    @property
    def center_y(self) -> np.ndarray:
        return (self.ymin + self.ymax) / 2

    @property
    def center_x(self) -> np.ndarray:
        return (self.xmin + self.xmax) / 2


def split_coordinates(boxes: Array) -> Coordinates:
    """Splits ``[N, 4]`` boxes into four rows."""
    if isinstance(boxes, np.ndarray):
        return Coordinates(*np.ascontiguousarray(boxes.T))
    return Coordinates(*tf.unstack(boxes, axis=-1))
