"""Detectors: a trained model with its post-processing, loaded from a run, a file or an export."""

import dataclasses
import os
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from PIL.Image import Image
from tqdm.auto import tqdm

from ssd_keras.core.display_thresholds import DisplayThreshold
from ssd_keras.core.images import read_image
from ssd_keras.data.images import resize_image
from ssd_keras.data.pipeline import inference_dataset, locate_broken_image
from ssd_keras.data.records import DetectionData
from ssd_keras.drawing.results import DetectionResult
from ssd_keras.evaluation.detection_table import DetectionTable
from ssd_keras.exporters.exported_detector import artefact_errors, check_detections
from ssd_keras.exporters.formats import find_format
from ssd_keras.models.model_file import load_ssd
from ssd_keras.models.post_process import DetectionModel, PostProcess
from ssd_keras.models.ssd import SSD
from ssd_keras.presets import PRESETS, from_preset

OVERSHOOT = 25  # of pixels that were interpolated, beyond 0 and 255


class Detector(Protocol):
    """A callable that `evaluate` and `predict` accept: images in, detections out."""

    class_names: tuple[str, ...]  # names by label, without background

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width of the input in pixels; None: images of any size."""

    def __call__(self, images: Any) -> dict[str, np.ndarray]:
        """Detects objects; arguments and results as of `KerasDetector`."""


class KerasDetector:
    """A Keras `SSD` and its post-processing as one callable."""

    def __init__(self, model: SSD, post_process: PostProcess | None = None, path: str = ""):
        self.model = model
        self.path = path  # of its file, which may be a stranger's
        self.class_names = model.class_names
        self.image_size = model.image_size
        self._detect = DetectionModel(model, post_process)
        self.post_process = self._detect.post_process

    @property
    def display_threshold(self) -> DisplayThreshold:
        """The model's: the smallest score that is drawn and counted."""
        return self.model.display_threshold

    def __call__(self, images: Any) -> dict[str, np.ndarray]:
        # Every Keras backend compiles predict_on_batch and takes NumPy arrays.
        images = np.asarray(images)
        found = self._detect.predict_on_batch(images)
        # On several devices TensorFlow returns the detections of each, one after the other.
        detections = {name: np.asarray(value)[: len(images)] for name, value in found.items()}
        if self.path:
            with artefact_errors(self.path):
                check_detections(detections, len(self.class_names))
        return detections


def load_detector(path: str, post_process: PostProcess | None = None) -> Detector:
    """Loads a trained detector.

    Args:
        path: what `load_model` takes, or what `ssd-keras export` wrote in any format.
        post_process: `PostProcess`. Default: the model's own. Exports contain theirs.

    Returns:
        the detector.

    Raises:
        FileNotFoundError: the path does not exist.
        ValueError: the file holds no SSD, or `post_process` is given for an export.
    """
    row = find_format(path)
    if row is None:
        return KerasDetector(load_model(path), post_process, path)
    if post_process is not None:
        raise ValueError(
            f"{path!r} contains its post_process; pass post_process when exporting it."
        )
    with artefact_errors(path):
        return dataclasses.replace(row.functions.load(path), path=path)


def load_model(path: str) -> SSD:
    """Loads a trained Keras model."""
    if path in PRESETS and PRESETS[path].weights is not None:
        return from_preset(path)
    file = os.path.join(path, "model.keras") if os.path.isdir(path) else path
    if not os.path.isfile(file):
        raise FileNotFoundError(
            f"{path!r} holds no model; pass the output folder of `ssd-keras train` (with "
            "model.keras inside), a .keras file, or a preset with weights."
        )
    if not zipfile.is_zipfile(file):  # Keras would report a missing file
        raise ValueError(
            f"{file!r} is not a Keras model; pass a .keras file that `ssd-keras train` or "
            "`model.save` wrote."
        )
    return load_ssd(file)


def detect_images(detector: Detector, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Detects objects in images of any sizes; one batch where the detector has a fixed input."""
    if detector.image_size is not None:
        resized = [resize_image(image, detector.image_size).numpy() for image in images]
        return detector(np.stack(resized))
    found = [detector(image[None]) for image in images]
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def own_detector(model: SSD | Detector) -> Detector:
    """Returns the model's cached detector, so that repeated calls do not retrace.

    It uses the current weights. A change of `model.post_process` makes a new detector. What is a
    detector already is returned.
    """
    if not isinstance(model, SSD):
        return model
    detector = getattr(model, "_detector", None)
    if detector is None or detector.post_process != model.post_process:
        detector = model._detector = KerasDetector(model)
    return detector


def detect(
    detector: Detector | SSD, images: Any, batch_size: int = 8
) -> DetectionResult | list[DetectionResult]:
    """Detects objects in images of any sizes: arrays, or files.

    Args:
        detector: what `load_detector` gives, or a model.
        images: one image, or several: RGB in 0..255 [H, W, 3], uint8 or float, or the path of
            an image file; or an array [B, H, W, 3].
        batch_size: images of one forward pass. Default 8.

    Returns:
        a `DetectionResult` for one image, a list of them for several.

    Raises:
        ValueError: an image is not RGB in 0..255.
    """
    is_one = isinstance(images, str | os.PathLike | Image) or getattr(images, "ndim", 0) == 3
    if is_one:
        return detect_several(detector, [images])[0]
    if isinstance(images, bytes) or not isinstance(images, Iterable):
        raise ValueError(
            f"images are of the type {type(images).__name__}; expected [H, W, 3] arrays or paths "
            "of image files."
        )
    several = list(images)
    if not several:
        raise ValueError("the list of images is empty; pass at least one [H, W, 3] array.")
    return detect_several(detector, several, batch_size)


def detect_several(
    detector: Detector | SSD, several: Sequence[Any], batch_size: int = 8
) -> list[DetectionResult]:
    """Detects objects in several images; see `detect`."""
    detector = own_detector(detector)
    results = []
    for start in range(0, len(several), batch_size):
        batch = several[start : start + batch_size]
        pixels = [_pixels(image, index) for index, image in enumerate(batch, start)]
        found = detect_images(detector, pixels)
        for row, image in enumerate(batch):
            options: dict[str, Any] = {"image_id": start + row, "image": pixels[row]}
            if isinstance(image, str | os.PathLike):
                # The pixels of files are not kept: there may be thousands.
                stem = os.path.splitext(os.path.basename(image))[0]
                options = {"image_id": stem, "image": os.fspath(image)}
            options["image_size"] = pixels[row].shape[:2]
            results.append(DetectionResult.from_batch(found, row, detector.class_names, **options))
    return results


def _pixels(image: Any, index: int) -> np.ndarray:
    if isinstance(image, str | os.PathLike):
        return read_image(os.fspath(image))
    if np.ndim(image) != 3 or np.shape(image)[-1] != 3:
        raise ValueError(f"image {index} has the shape {np.shape(image)}; expected RGB [H, W, 3].")
    pixels = np.asarray(image)
    if pixels.size:
        _check_range(pixels, index)
    return pixels


def _check_range(pixels: np.ndarray, index: int) -> None:
    """Raises ValueError for pixels of another range, where a model would see other colours."""
    lowest, highest = float(pixels.min()), float(pixels.max())
    # Whole numbers of 1 are black, fractions up to 1 are shares.
    are_shares = pixels.dtype.kind in "fb" and 0 < highest <= 1
    if are_shares or not -OVERSHOOT <= lowest <= highest <= 255 + OVERSHOOT:
        raise ValueError(
            f"image {index} has values from {lowest:.4g} to {highest:.4g}; expected RGB in 0..255."
        )


def detect_data(
    detector: Detector | SSD, data: DetectionData, batch_size: int = 8, progress: bool = False
) -> tuple[DetectionTable, float]:
    """Returns a detector's detections in a data set, and the seconds that it took."""
    detector = own_detector(detector)
    batches = inference_dataset(data, detector.image_size, batch_size)
    bar = tqdm(total=len(data), desc="detecting", unit="image", disable=not progress)

    def outputs() -> Iterator[dict[str, np.ndarray]]:
        for images in batches:
            yield detector(images)
            bar.update(len(images))

    start = time.perf_counter()
    with locate_broken_image(data), bar:
        table = DetectionTable.from_batches(data, outputs(), detector.class_names)
    return table, time.perf_counter() - start
