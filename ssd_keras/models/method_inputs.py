"""Checks what is given to Keras' methods of a model, where Keras' own words would not help."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL.Image import Image

from ssd_keras.core.text import one_line
from ssd_keras.data.endless import is_training_stream
from ssd_keras.data.records import DetectionData

MAX_CHECKED = 8  # images whose values are looked at
FILES = (str, os.PathLike, bytes, Image)


def check_arrays(images: Any, method: str) -> None:
    """Raises a ValueError for files, Pillow's images and data sets, which `detect` takes."""
    first = images[0] if isinstance(images, list | tuple) and images else images
    if isinstance(first, DetectionData):
        raise ValueError(
            f"{method} got a DetectionData; it takes arrays [B, H, W, 3] and returns raw outputs: "
            "call model.evaluate(data) for metrics, or ssd_keras.detect for detections."
        )
    if isinstance(first, FILES):
        raise ValueError(
            f"{method} got {one_line(repr(first), 60)}; it takes arrays [B, H, W, 3] and returns "
            "raw outputs: call model.detect(...) for detections in files and images."
        )


def check_training_data(data: Any, name: str, image_size: tuple[int, int]) -> None:
    """Raises a ValueError for data that `fit` cannot use, or would learn other colours from."""
    if isinstance(data, DetectionData | str | os.PathLike):
        raise ValueError(
            f"{name} is {'a text' if not isinstance(data, DetectionData) else 'a DetectionData'}; "
            "fit takes batches of images with their targets: pass ssd_keras.training_dataset(data, "
            "model.target_encoder(), model.image_size, batch_size=16)."
        )
    if is_training_stream(data):
        return
    if hasattr(data, "element_spec"):
        _check_element(data.element_spec, name, image_size)
        data = next(iter(data.take(1)), None)
    images = data[0] if isinstance(data, tuple) and data else data
    if hasattr(images, "shape") and hasattr(images, "dtype") and len(images.shape) == 4:
        _check_values(np.asarray(images[:MAX_CHECKED]), name)


def _check_element(spec: Any, name: str, image_size: tuple[int, int]) -> None:
    images = spec[0] if isinstance(spec, Sequence) else spec
    if isinstance(spec, Mapping) or not hasattr(images, "shape") or images.shape.rank is None:
        return
    shape = tuple(images.shape)
    if len(shape) == 3:
        raise ValueError(
            f"{name} has single images of the shape {shape}; fit takes batches [B, H, W, 3]: add "
            ".batch(16)."
        )
    sizes = zip(shape[1:3], image_size, strict=False)
    if len(shape) != 4 or any(side not in (None, expected) for side, expected in sizes):
        raise ValueError(
            f"{name} has images of the shape {shape}; expected (B, {image_size[0]}, "
            f"{image_size[1]}, 3): pass model.image_size to training_dataset, which moves the "
            "boxes with the pixels."
        )


def _check_values(images: np.ndarray, name: str) -> None:
    """Raises a ValueError for shares of 1, which the model would see as nearly black."""
    if images.dtype.kind == "f" and images.size and 0 < images.max() <= 1:
        raise ValueError(
            f"{name} has images with values from {images.min():.3g} to {images.max():.3g}; the "
            "model scales images itself and expects 0..255: do not divide them by 255."
        )
