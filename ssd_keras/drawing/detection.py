"""One detection of an image."""

from dataclasses import dataclass

import numpy as np

from ssd_keras.boxes.formats import convert_boxes

Box = tuple[float, float, float, float]


@dataclass(frozen=True, repr=False)
class Detection:
    """One detection, as indexing a `DetectionResult` and iterating over it give it.

    Args:
        class_name: name of the class.
        score: 0..1.
        box: relative yxyx; 0..1 is the image, a box may reach beyond it. `box_as` converts it.
        label: number of the class, 0-based, without background.
        image_size: height and width of the image in pixels.

    Example:
        >>> Detection("cat", 0.87, (0.25, 0.1, 0.75, 0.3), 0, (40, 100))
        cat 0.87 at (10, 10, 30, 30)
    """

    class_name: str
    score: float
    box: Box
    label: int
    image_size: tuple[int, int]

    def __repr__(self) -> str:
        """Class, score and corners in whole pixels, inside the image."""
        corners = ", ".join(f"{corner:.0f}" for corner in self.box_as("xyxy", clip=True))
        return f"{self.class_name} {self.score:.2f} at ({corners})"

    def box_as(self, box_format: str = "xyxy", *, clip: bool = False) -> Box:
        """Returns the box in another format.

        Args:
            box_format: as of `DetectionResult.boxes_as`; default "xyxy", in pixels.
            clip: cut off what lies outside the image. Default False.

        Returns:
            four numbers.

        Raises:
            ValueError: the format is unknown.
        """
        (box,) = converted_boxes(np.array([self.box]), box_format, clip, self.image_size).tolist()
        return tuple(box)


def converted_boxes(
    boxes: np.ndarray, box_format: str, clip: bool, image_size: tuple[int, int]
) -> np.ndarray:
    """Returns relative yxyx boxes [n, 4] in another format, float64."""
    boxes = np.clip(boxes, 0.0, 1.0) + 0.0 if clip else boxes  # without -0
    return convert_boxes(boxes, "rel_yxyx", box_format, image_size)
