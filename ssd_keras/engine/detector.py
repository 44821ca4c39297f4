"""Detectors: a trained model with its post-processing, loaded from wherever it was saved."""

import os
import time
import zipfile
from collections.abc import Sequence
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from ssd_keras.data.images import read_picture, resize_image
from ssd_keras.data.pipeline import inference_dataset, naming_broken_pictures
from ssd_keras.data.records import DetectionData
from ssd_keras.drawing.results import DetectionResult
from ssd_keras.models.detections_layer import with_detections
from ssd_keras.models.post_process import DetectionSettings, detections_from_outputs
from ssd_keras.models.ssd import SSD
from ssd_keras.presets import PRESETS, from_preset


class Detector(Protocol):
    """What `evaluate` and `predict` need: any model whose detections come in this form.

    Attributes:
        class_names: names by label, without background.
        image_size: height and width of the pictures of a call; None: it takes any and resizes
            them itself.
    """

    class_names: tuple[str, ...]

    @property
    def image_size(self) -> tuple[int, int] | None:
        """See above."""

    def __call__(self, images: Any) -> dict[str, np.ndarray]:
        """Detects objects; arguments and results as of `KerasDetector`."""


class KerasDetector:
    """A Keras `SSD` and its post-processing as one callable.

    Args:
        model: `SSD`.
        settings: `DetectionSettings`. Default: the model's own.

    Call arguments:
        images: RGB in 0..255, [B, H, W, 3] of the model's `image_size`.

    Returns of a call:
        NumPy arrays "boxes" [B, K, 4] relative yxyx, "scores" [B, K], "labels" int32 [B, K],
        "num_detections" int32 [B].
    """

    def __init__(self, model: SSD, settings: DetectionSettings | None = None):
        self.model = model
        self.class_names = model.class_names
        self.image_size = model.image_size
        self.settings = settings = settings or model.detection_settings
        if keras.backend.backend() == "tensorflow":  # its own operator for NMS is the faster one
            options = (settings, model.default_box_spec.variances, model.score_activation)
            self._network = model
            # The last batch of a data set is smaller than the others: no new graph for that.
            self._suppress = tf.function(
                lambda outputs: detections_from_outputs(outputs, model.default_boxes, *options),
                reduce_retracing=True,
            )
        else:
            self._network, self._suppress = with_detections(model, settings), None

    def __call__(self, images: Any) -> dict[str, np.ndarray]:
        # predict_on_batch is compiled by every Keras backend, which all take and give NumPy arrays.
        images = np.asarray(images)
        outputs = self._network.predict_on_batch(images)
        # On several devices TensorFlow gives the outputs of each, one after the other.
        found = {name: value[: len(images)] for name, value in outputs.items()}
        if self._suppress:
            found = self._suppress({name: tf.constant(value) for name, value in found.items()})
        return {name: np.asarray(value) for name, value in found.items()}


def load_detector(path: str, settings: DetectionSettings | None = None) -> Detector:
    """Loads a trained detector.

    Args:
        path: what `load_model` takes, or what `ssd-keras export` wrote: a SavedModel directory
            or a ``.tflite`` file.
        settings: `DetectionSettings`. Default: the model's own. Exports have theirs inside.

    Returns:
        the detector.

    Raises:
        FileNotFoundError: when there is nothing at the path.
        ValueError: when it holds no SSD, or settings are given for an export.
    """
    is_saved_model = os.path.isfile(os.path.join(path, "saved_model.pb"))
    is_tflite = path.endswith(".tflite") and os.path.isfile(path)
    if not is_saved_model and not is_tflite:
        return KerasDetector(load_model(path), settings)
    if settings is not None:
        raise ValueError(f"{path!r} has its settings inside; pass settings when exporting it.")
    from ssd_keras.exporters.exported_detectors import SavedModelDetector, TFLiteDetector

    return SavedModelDetector(path) if is_saved_model else TFLiteDetector(path)


def load_model(path: str) -> SSD:
    """Loads a trained Keras model.

    Args:
        path: a RUN directory of `ssd-keras train`, a ``.keras`` file, or a preset that others
            published weights of (fetched if the cache does not have them).

    Returns:
        `SSD`.

    Raises:
        FileNotFoundError: when there is nothing at the path.
        ValueError: when it holds no SSD, or weights cannot be fetched.
    """
    if path in PRESETS and PRESETS[path].weights is not None:
        return from_preset(path)
    file = os.path.join(path, "model.keras") if os.path.isdir(path) else path
    if not os.path.isfile(file):
        raise FileNotFoundError(
            f"{path!r} holds no model; pass the output directory of `ssd-keras train` (with "
            "model.keras inside), a .keras file, or a preset with weights."
        )
    if not zipfile.is_zipfile(file):  # Keras would say that there is no such file
        raise ValueError(
            f"{file!r} is no Keras model; pass a .keras file that `ssd-keras train` or "
            "`model.save` wrote."
        )
    try:
        model = keras.models.load_model(file, compile=False)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{file!r} cannot be read as a Keras model ({reason}); pass a file that "
            "`ssd-keras train` or `model.save` wrote."
        ) from error
    if not isinstance(model, SSD):
        raise ValueError(
            f"{file!r} holds a {type(model).__name__}, not an SSD; pass a file that "
            "`ssd-keras train` wrote."
        )
    return model


def detect_pictures(detector: Detector, pictures: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Detects objects in pictures of any sizes, as one batch where the detector's input is fixed.

    Args:
        detector: what `load_detector` gives.
        pictures: RGB in 0..255, each [H, W, 3], at least one.

    Returns:
        as of `KerasDetector`.
    """
    if detector.image_size is not None:
        resized = [resize_image(picture, detector.image_size).numpy() for picture in pictures]
        return detector(np.stack(resized))
    found = [detector(picture[None]) for picture in pictures]
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def own_detector(model: SSD) -> KerasDetector:
    """The detector of a model, made at its first use and kept: later calls trace no graph anew.

    It sees new weights, because it asks the model. A change of `model.detection_settings` makes
    another one.

    Args:
        model: `SSD`.

    Returns:
        the detector.
    """
    detector = getattr(model, "_detector", None)
    if detector is None or detector.settings != model.detection_settings:
        detector = model._detector = KerasDetector(model)
    return detector


def detect(
    detector: Detector, pictures: Any, batch_size: int = 8
) -> DetectionResult | list[DetectionResult]:
    """Detects objects in pictures of any sizes: arrays, or files.

    Args:
        detector: what `load_detector` gives.
        pictures: one picture, or several: RGB in 0..255 [H, W, 3], uint8 or float, or the path of
            a JPEG, PNG, BMP or GIF file; or an array [B, H, W, 3].
        batch_size: pictures of one forward pass. Default 8.

    Returns:
        a `DetectionResult` for one picture, a list of them for several.

    Raises:
        ValueError: for anything that is no RGB picture.
    """
    is_one = isinstance(pictures, str | os.PathLike) or getattr(pictures, "ndim", 0) == 3
    if is_one:
        return detect_several(detector, [pictures])[0]
    several = list(pictures)
    if not several:
        raise ValueError("there is no picture to look at; pass at least one [H, W, 3] array.")
    return detect_several(detector, several, batch_size)


def detect_several(
    detector: Detector, several: Sequence[Any], batch_size: int = 8
) -> list[DetectionResult]:
    """What `detect` does with several pictures.

    Args:
        detector: what `load_detector` gives.
        several: arrays [H, W, 3] or paths.
        batch_size: pictures of one forward pass. Default 8.

    Returns:
        a `DetectionResult` each.
    """
    results = []
    for start in range(0, len(several), batch_size):
        batch = several[start : start + batch_size]
        pixels = [_pixels(picture, index) for index, picture in enumerate(batch, start)]
        found = detect_pictures(detector, pixels)
        for row, picture in enumerate(batch):
            options: dict[str, Any] = {"image_id": start + row, "picture": pixels[row]}
            if isinstance(picture, str | os.PathLike):
                # The pixels of a file are not kept: there may be thousands.
                stem = os.path.splitext(os.path.basename(picture))[0]
                options = {"image_id": stem, "picture": os.fspath(picture)}
            options["image_size"] = pixels[row].shape[:2]
            results.append(DetectionResult.from_batch(found, row, detector.class_names, **options))
    return results


def _pixels(picture: Any, index: int) -> np.ndarray:
    if isinstance(picture, str | os.PathLike):
        return read_picture(os.fspath(picture))
    if np.ndim(picture) != 3 or np.shape(picture)[-1] != 3:
        raise ValueError(
            f"picture {index} has the shape {np.shape(picture)}; expected RGB [H, W, 3]."
        )
    return np.asarray(picture)


def detect_data(
    detector: Detector,
    data: DetectionData,
    batch_size: int = 8,
    progress: bool = False,
) -> tuple[list[dict], float]:
    """Runs a detector over a data set.

    Args:
        detector: what `load_detector` gives.
        data: the data set, with the detector's classes.
        batch_size: pictures of one forward pass. Default 8.
        progress: show a progress bar. Default False.

    Returns:
        detections in COCO's results form with "category_name", and the seconds it took,
        reading included.
    """
    batches = inference_dataset(data, detector.image_size, batch_size)
    examples = iter(data.examples)
    detections: list[dict] = []
    start = time.perf_counter()
    bar = tqdm(total=len(data), desc="detecting", unit="picture", disable=not progress)
    with naming_broken_pictures(data), bar:
        for images in batches:
            found = detector(images)
            for row in range(len(images)):
                example = next(examples)
                result = DetectionResult.from_batch(
                    found,
                    row,
                    detector.class_names,
                    image_size=(example.height, example.width),
                    image_id=example.image_id,
                )
                detections += result.to_coco()
            bar.update(len(images))
    return detections, time.perf_counter() - start
