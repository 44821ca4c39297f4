"""Detectors: a trained model with its post-processing, loaded from a run, a file or an export."""

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from ssd_keras.core.display_thresholds import DEFAULT, DisplayThreshold, by_label
from ssd_keras.core.hub import local_path
from ssd_keras.core.progress import bar_options
from ssd_keras.core.terminal import shows_progress
from ssd_keras.data.pipeline import inference_dataset, locate_broken_image
from ssd_keras.data.records import DetectionData
from ssd_keras.drawing.result_list import DetectionResults
from ssd_keras.drawing.results import DetectionResult
from ssd_keras.engine.detector_protocol import Detector, detect_images
from ssd_keras.engine.image_inputs import image_ids, list_images, load_image
from ssd_keras.engine.tiles import tiled
from ssd_keras.evaluation.detection_table import DetectionTable
from ssd_keras.exporters.exported_detector import artefact_errors, check_detections
from ssd_keras.exporters.formats import NUM_THREADS, find_format
from ssd_keras.models.model_file import load_model_at
from ssd_keras.models.post_process import DetectionModel, PostProcess
from ssd_keras.models.ssd import SSD
from ssd_keras.presets import PRESETS, from_preset


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


def load_detector(
    path: str | os.PathLike,
    post_process: PostProcess | None = None,
    *,
    num_threads: int = NUM_THREADS,
) -> Detector:
    """Loads a trained detector.

    Args:
        path: a RUN folder of `ssd-keras train`, a .keras file, what `ssd-keras export` wrote in
            any format, the name of a preset with weights, or the address of one of these on a hub:
            hf://OWNER/REPO[@REVISION][/FILE] or
            kaggle://OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION][/FILE].
        post_process: `PostProcess`. Default: the model's own. Exports contain theirs.
        num_threads: threads that a TFLite or ONNX file runs on, 1 or more. Default 2. TensorFlow,
            JAX and PyTorch have other settings.

    Returns:
        the detector.

    Raises:
        FileNotFoundError: the path or the hub's file does not exist.
        ValueError: the file holds no SSD, the hub cannot be reached, or `post_process` is given
            for an export.
    """
    name = os.fspath(path)
    local = local_path(name)
    row = find_format(local)
    if row is None:
        return KerasDetector(_trained_model(name, local), post_process, name)
    if post_process is not None:
        raise ValueError(
            f"{name!r} contains its post_process; pass post_process when exporting it."
        )
    with artefact_errors(name):
        return dataclasses.replace(row.functions.load(local, num_threads), path=name)


def load_model(name: str) -> SSD:
    """Loads a trained Keras model: what `load_detector` takes, but exports."""
    return _trained_model(name, local_path(name))


def _trained_model(name: str, local: str) -> SSD:
    if name in PRESETS and PRESETS[name].weights is not None:
        return from_preset(name)
    return load_model_at(local, name)


def own_detector(model: SSD | Detector | str | os.PathLike) -> Detector:
    """Returns the model's cached detector, so that repeated calls do not retrace.

    It uses the current weights. A change of `model.post_process` makes a new detector. What is a
    detector already is returned; a path or preset is loaded.
    """
    if isinstance(model, str | os.PathLike):
        return load_detector(os.fspath(model))
    if not isinstance(model, SSD):
        return model
    detector = getattr(model, "_detector", None)
    if detector is None or detector.post_process != model.post_process:
        detector = model._detector = KerasDetector(model)
    return detector


def detect(
    detector: Detector | SSD | str | os.PathLike,
    images: Any,
    batch_size: int = 8,
    *,
    tiles: int | Sequence[int] | None = None,
    tile_overlap: float = 0.2,
    score_threshold: float | None = None,
    progress: bool | None = None,
) -> DetectionResult | DetectionResults:
    """Detects objects in images of any sizes.

    Args:
        detector: a model, what `load_detector` gives, or what it takes: a path or a preset.
        images: one image or several. An image is the path of a file, an address (https://...), an
            image of Pillow, an open file or its bytes, or an array of NumPy, TensorFlow, JAX or
            PyTorch: RGB [H, W, 3], RGBA [H, W, 4] or grey [H, W] or [H, W, 1], in 0..255 (uint8,
            whole numbers or floats), uint16 in 0..65535 or bool. Several are a list or another
            iterable of them, an array [B, H, W, C], a folder, a pattern ("photos/*.jpg"),
            `DetectionData`, or a `tf.data.Dataset` of images or batches, whose targets are left
            out.
        batch_size: images, or tiles of an image, of one forward pass. Default 8.
        tiles: side of a tile in pixels of the image, or (height, width), 16 or more: the detector
            sees each image whole and tile by tile, for small objects in large images. Default
            None: whole alone.
        tile_overlap: smallest share of a tile that its neighbours show too, 0..0.9. Default 0.2.
        score_threshold: smallest score of results, 0..1. Default None: the `score_threshold` of
            the model's `post_process`, below which there is none.
        progress: show a progress bar. Default None: for more than one batch, in terminals and
            notebooks.

    Returns:
        a `DetectionResult` for one image, a list of them for several.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an image cannot be read, an array is no image in 0..255, or an argument is out
            of range.
    """
    detector = tiled(own_detector(detector), tiles, tile_overlap, batch_size)
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected 1 or more.")
    smallest = 0.0 if score_threshold is None else score_threshold
    by_label(smallest, detector.class_names, "score_threshold")
    several, is_one = list_images(images)
    shows_bar = len(several) > batch_size and shows_progress(progress)
    found = detect_several(detector, several, batch_size, progress=shows_bar)
    results = DetectionResults(result.above(smallest) for result in found)
    return results[0] if is_one else results


def detect_several(
    detector: Detector, several: Sequence[Any], batch_size: int = 8, progress: bool = False
) -> Iterator[DetectionResult]:
    """Yields the detections in images of `list_images`."""
    ids = image_ids(several)
    with tqdm(total=len(several), desc="detecting", unit="image", **bar_options(progress)) as bar:
        for start in range(0, len(several), batch_size):
            rows = range(start, min(start + batch_size, len(several)))
            images = [load_image(several[index], index) for index in rows]
            found = detect_images(detector, [image.pixels for image in images])
            for row, image in enumerate(images):
                yield DetectionResult.from_batch(
                    found,
                    row,
                    detector.class_names,
                    image_size=image.pixels.shape[:2],
                    image_id=ids[start + row],
                    image=image.kept,
                    display_threshold=getattr(detector, "display_threshold", DEFAULT),
                )
            bar.update(len(images))


def detect_data(
    detector: Detector | SSD, data: DetectionData, batch_size: int = 8, progress: bool = False
) -> tuple[DetectionTable, float]:
    """Returns a detector's detections in a data set, and the seconds that it took."""
    detector = own_detector(detector)
    batches = inference_dataset(data, detector.image_size, batch_size)
    bar = tqdm(total=len(data), desc="detecting", unit="image", **bar_options(progress))

    def outputs() -> Iterator[dict[str, np.ndarray]]:
        for images in batches:
            yield detector(images)
            bar.update(len(images))

    start = time.perf_counter()
    with locate_broken_image(data), bar:
        table = DetectionTable.from_batches(data, outputs(), detector.class_names)
    return table, time.perf_counter() - start
