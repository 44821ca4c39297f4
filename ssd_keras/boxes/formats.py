"""Box formats, named as Keras names them.

The library's own format is "rel_yxyx": ymin, xmin, ymax, xmax relative to the image, 0..1.
"""

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any
"""A NumPy array, or a tensor of TensorFlow or of Keras' backend."""

BOX_FORMATS = ("yxyx", "xyxy", "xywh", "rel_yxyx", "rel_xyxy", "rel_xywh")
"""In pixels, counted from 0 and continuous; with "rel_" relative to the image."""

CORNERS = ("xmin", "ymin", "xmax", "ymax")  # of "xyxy", as VOC files and tables name them


def convert_boxes(
    boxes: Any, source: str, target: str, image_size: tuple[float, float] = (1, 1)
) -> np.ndarray:
    """Converts boxes [n, 4] of an image of (height, width) pixels to another format, float64.

    The size is needed from pixels to relative formats and back.
    """
    for box_format in (source, target):
        if box_format not in BOX_FORMATS:
            raise ValueError(
                f"box_format={box_format!r} is unknown; choose one of {', '.join(BOX_FORMATS)}."
            )
    a, b, c, d = np.asarray(boxes, np.float64).reshape(-1, 4).T
    corners = {"yxyx": (a, b, c, d), "xyxy": (b, a, d, c), "xywh": (b, a, b + d, a + c)}
    yxyx = np.stack(corners[source.removeprefix("rel_")], axis=-1)
    is_relative = target.startswith("rel_")
    if source.startswith("rel_") != is_relative:
        sides = np.array([*image_size, *image_size])
        yxyx = yxyx / sides if is_relative else yxyx * sides
    ymin, xmin, ymax, xmax = yxyx.T
    columns = {
        "yxyx": (ymin, xmin, ymax, xmax),
        "xyxy": (xmin, ymin, xmax, ymax),
        "xywh": (xmin, ymin, xmax - xmin, ymax - ymin),
    }
    return np.stack(columns[target.removeprefix("rel_")], axis=-1)
