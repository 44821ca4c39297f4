"""A model as a SavedModel that TF Serving runs: signatures, labels, warm-up requests."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ssd_keras.core.class_names import class_line
from ssd_keras.core.display_thresholds import (
    THRESHOLDS_FILE,
    DisplayThreshold,
    read_thresholds,
    thresholds_line,
    thresholds_text,
)
from ssd_keras.core.origin import ORIGIN_FILE, origin_lines, read_origin
from ssd_keras.exporters.exported_detector import ExportedDetector, exported_origin
from ssd_keras.exporters.formats import MAX_PIXELS, NUM_THREADS, check_no_pattern
from ssd_keras.exporters.network import in_precision
from ssd_keras.exporters.signatures import ServedDetector
from ssd_keras.exporters.warm_up import WARM_UP_FILE, write_warm_up
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD
from ssd_keras.tflite.metadata import LABELS_FILE


def write(
    model: SSD,
    path: str,
    post_process: PostProcess,
    images: Sequence[np.ndarray],
    **options: str,
) -> None:
    """See `FormatModule`."""
    write_saved_model(model, path, post_process, **options)


def start(path: str, num_threads: int) -> tuple[Callable, Callable]:
    """See `FormatModule`. The signature is serving_default."""
    import tensorflow as tf

    detect = tf.saved_model.load(path).signatures["serving_default"]

    def prepare(image: np.ndarray) -> dict[str, Any]:
        return {"image_bytes": tf.io.encode_png(image)[None]}

    def run(inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        return {name: value.numpy() for name, value in detect(**inputs).items()}

    return prepare, run


def check_operators(path: str) -> dict[str, int]:
    """See `FormatModule`. TensorFlow has every operator, so that none is counted."""
    return {}


def load(path: str, num_threads: int = NUM_THREADS) -> ExportedDetector:
    """See `FormatModule`. The threads are TensorFlow's."""
    signatures, class_names = _interface(path)
    detect = signatures["image_tensor"]

    def run(images: np.ndarray) -> dict[str, tf.Tensor]:
        return detect(images=tf.constant(images, tf.uint8))

    return ExportedDetector(class_names, None, run, _display_threshold(path, class_names))


def describe(path: str) -> list[str]:
    """See `FormatModule`."""
    signatures, class_names = _interface(path)
    lines = []
    for name, signature in signatures.items():
        ((_, inputs),) = [signature.structured_input_signature]
        lines += [f"signature {name}: {_specs(inputs)} -> {_specs(signature.structured_outputs)}"]
    origin = read_origin(os.path.join(path, "assets.extra", ORIGIN_FILE))
    thresholds = thresholds_line(_display_threshold(path, class_names), class_names)
    return [*lines, class_line(class_names), thresholds, *origin_lines(origin)]


def _display_threshold(path: str, class_names: Sequence[str]) -> DisplayThreshold:
    file = Path(path, "assets.extra", THRESHOLDS_FILE)
    text = file.read_bytes() if file.is_file() else None
    return read_thresholds(text, class_names, repr(str(file)))


def _interface(path: str) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Returns the signatures and the class names."""
    check_no_pattern(path)
    signatures = tf.saved_model.load(path).signatures
    labels_file = os.path.join(path, "assets", LABELS_FILE)
    if "image_tensor" not in signatures or not os.path.isfile(labels_file):
        raise ValueError(
            f"{path!r} is a SavedModel without the signature image_tensor or labels; expected "
            "one that `ssd-keras export` wrote."
        )
    with open(labels_file, encoding="utf-8") as file:
        return signatures, tuple(file.read().splitlines())


def _specs(tensors: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {spec.dtype.name}{list(spec.shape)}" for name, spec in sorted(tensors.items())
    )


def write_saved_model(
    model: SSD,
    path: str,
    post_process: PostProcess | None = None,
    precision: str = "float32",
    weights: str = "constants",
    max_pixels: str | int = MAX_PIXELS,
) -> None:
    """Writes a SavedModel; the choices are those of `ssd_keras.exporters.formats`."""
    model = in_precision(model, precision)
    with tempfile.TemporaryDirectory() as directory:
        labels_file = os.path.join(directory, LABELS_FILE)
        with open(labels_file, "w", encoding="utf-8") as file:
            file.writelines(f"{name}\n" for name in model.class_names)
        detector = ServedDetector(model, labels_file, post_process, weights, int(max_pixels))
        logger = tf.get_logger()
        level = logger.level
        logger.setLevel("ERROR")  # it would log a path that is moved later
        try:
            tf.saved_model.save(detector, path, signatures=detector.signatures())
        finally:
            logger.setLevel(level)
    extra = os.path.join(path, "assets.extra")
    os.makedirs(extra)
    thresholds = thresholds_text(model.display_threshold, model.class_names)
    texts = {ORIGIN_FILE: exported_origin(model).to_json(), THRESHOLDS_FILE: thresholds}
    for name, text in texts.items():
        Path(extra, name).write_text(text, encoding="utf-8")
    write_warm_up(os.path.join(extra, WARM_UP_FILE), model.name, model.image_size)
