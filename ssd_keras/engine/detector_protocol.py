"""What a detector is: a callable from images of its size to detections."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from ssd_keras.data.images import resize_image


class Detector(Protocol):
    """A callable that `evaluate` and `predict` accept: images in, detections out."""

    class_names: tuple[str, ...]  # names by label, without background

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width of the input in pixels; None: images of any size."""

    def __call__(self, images: Any) -> dict[str, np.ndarray]:
        """Detects objects; arguments and results as of `KerasDetector`."""


def detect_images(detector: Detector, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Detects objects in images of any sizes; one batch where the detector has a fixed input."""
    if detector.image_size is not None:
        resized = [resize_image(image, detector.image_size).numpy() for image in images]
        return detector(np.stack(resized))
    found = [detector(image[None]) for image in images]
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}
