"""Writes one artefact: convert, check in a fresh process, move into place."""

import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np

from ssd_keras.core.files import replacing, replacing_directory
from ssd_keras.data.images import resize_image
from ssd_keras.exporters.check import NUM_CHECK_IMAGES, ExportReport, check_artefact
from ssd_keras.exporters.network import in_precision
from ssd_keras.exporters.saved_model import write_saved_model
from ssd_keras.exporters.tflite import tflite_model
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD


def write_artefact(
    model: SSD,
    path: str,
    format: str,
    post_process: PostProcess,
    images: Sequence[np.ndarray],
    options: Mapping[str, str],
) -> ExportReport:
    """Writes what `export` describes; Keras must run on TensorFlow."""
    # The check compares with float32: a mixed precision would round the reference.
    model = in_precision(model)
    images_to_check = images[:NUM_CHECK_IMAGES]
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    if format == "saved_model":
        precision = options.get("precision", "float32")
        coding = "none" if precision == "float32" else precision
        with replacing_directory(path) as temporary_path:
            write_saved_model(model, temporary_path, post_process, **options)
            report = check_artefact(temporary_path, model, images_to_check, post_process, coding)
    else:
        calibration = (resize_image(image, model.image_size).numpy() for image in images)
        content = tflite_model(model, post_process=post_process, calibration=calibration, **options)
        coding = options.get("quantize", "none")
        with replacing(path) as temporary_path:
            with open(temporary_path, "wb") as file:
                file.write(content)
            report = check_artefact(temporary_path, model, images_to_check, post_process, coding)
    return dataclasses.replace(report, path=path)
