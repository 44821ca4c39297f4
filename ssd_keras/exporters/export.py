"""Exporting a model: convert, check in a fresh process, move into place."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ssd_keras.core.files import replacing, replacing_directory
from ssd_keras.data.images import decode_example, resize_image
from ssd_keras.data.records import DetectionData
from ssd_keras.data.sources import load_data
from ssd_keras.exporters.check import ExportReport, check_artefact
from ssd_keras.exporters.formats import check_request
from ssd_keras.exporters.network import in_precision
from ssd_keras.exporters.saved_model import write_saved_model
from ssd_keras.exporters.tensorflow_worker import export_in_tensorflow
from ssd_keras.exporters.tflite import tflite_model
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD

NUM_CHECK_IMAGES = 4


def export(
    model: SSD,
    path: str,
    format: str = "saved_model",
    *,
    post_process: PostProcess | None = None,
    images: Sequence[np.ndarray] = (),
    **options: Any,
) -> ExportReport:
    """Exports a model with decoding and suppression inside.

    The artefact is written beside its place, run in a fresh process and compared with Keras;
    only then does it replace what is there.

    Args:
        model: `SSD`.
        path: a directory for "saved_model"; for TF Serving, a number in the model's directory.
            A file ending in .tflite for "tflite".
        format: "saved_model" (default) or "tflite".
        post_process: `PostProcess`. Default: the model's own.
        images: uint8 [H, W, 3] like those that the model will see: the first few are those
            of the check, and "int8" is calibrated on all. Default: generated ones for the check.
        **options: precision and weights of `ssd_keras.exporters.saved_model.write_saved_model`;
            quantize, post_processing and input_dtype of
            `ssd_keras.exporters.tflite.tflite_model`.

    Returns:
        what was written and how it compares.

    Raises:
        ValueError: for an unknown choice or a path that does not fit, or when the check fails.

    Example:

    >>> from ssd_keras import from_preset
    >>> report = export(from_preset("ssd192_small_shapes"), "runs/small.tflite", "tflite")
    ... # doctest: +SKIP
    """
    check_request(path, format, options, images)
    if keras.backend.backend() != "tensorflow":
        return export_in_tensorflow(model, path, format, post_process, images, options)
    post_process = post_process or model.post_process
    # What is compared must not differ by the rounding of a mixed precision.
    model = in_precision(model)
    shown = list(images[:NUM_CHECK_IMAGES]) or _generated_images()
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    if format == "saved_model":
        with replacing_directory(path) as beside:
            write_saved_model(model, beside, post_process, **options)
            precision = options.get("precision", "float32")
            quantize = "none" if precision == "float32" else precision
            report = check_artefact(beside, model, shown, post_process, quantize)
    else:
        calibration = (resize_image(image, model.image_size).numpy() for image in images)
        content = tflite_model(model, post_process=post_process, calibration=calibration, **options)
        with replacing(path) as beside:
            with open(beside, "wb") as file:
                file.write(content)
            quantize = options.get("quantize", "none")
            report = check_artefact(beside, model, shown, post_process, quantize)
    return dataclasses.replace(report, path=path)


def images_of(data: DetectionData, limit: int) -> list[np.ndarray]:
    """Images spread evenly over a data set, decoded as everywhere."""
    chosen = np.linspace(0, len(data) - 1, min(limit, len(data))).round().astype(int)
    examples = [data.examples[index] for index in chosen]
    return [decode_example(example) for example in examples]


def _generated_images():
    return images_of(load_data(["synthetic:shapes@val[:4]"]), NUM_CHECK_IMAGES)
