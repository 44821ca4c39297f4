"""Exports a model: checks the request and writes the artefact in a process with TensorFlow."""

from collections.abc import Sequence

import keras
import numpy as np

from ssd_keras.data.images import decode_example
from ssd_keras.data.records import DetectionData
from ssd_keras.data.sources import load_data
from ssd_keras.exporters.artefact import write_artefact
from ssd_keras.exporters.check import NUM_CHECK_IMAGES, ExportReport
from ssd_keras.exporters.formats import check_request
from ssd_keras.exporters.tensorflow_worker import write_in_tensorflow_process
from ssd_keras.models.finite_weights import check_finite
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD


def export(
    model: SSD,
    path: str,
    format: str = "saved_model",
    *,
    post_process: PostProcess | None = None,
    images: Sequence[np.ndarray] = (),
    **options: str,
) -> ExportReport:
    """Exports a model with decoding and NMS inside, and compares the result with Keras.

    `format` and `options` are those of `ssd_keras.exporters.formats.FORMATS`. The check runs on
    the first `images`, uint8 [H, W, 3], or on generated ones; "int8" is calibrated on all.
    """
    check_request(path, format, options, images)
    check_finite(model, "the model")
    if not len(images):
        images = sample_images(load_data(["synthetic:shapes@val[:4]"]), NUM_CHECK_IMAGES)
    if "max_pixels" in options:
        images = _decoded_by_a_server(images, int(options["max_pixels"]))
    is_tensorflow = keras.backend.backend() == "tensorflow"
    write = write_artefact if is_tensorflow else write_in_tensorflow_process
    return write(model, path, format, post_process or model.post_process, images, options)


def sample_images(data: DetectionData, limit: int) -> list[np.ndarray]:
    """Returns at most `limit` decoded images, spread evenly over a data set."""
    indices = np.linspace(0, len(data) - 1, min(limit, len(data))).round().astype(int)
    return [decode_example(data.examples[index]) for index in indices]


def _decoded_by_a_server(images: Sequence[np.ndarray], max_pixels: int) -> list[np.ndarray]:
    """Returns the images that an artefact with this limit decodes, for the check."""
    pixels = [image.shape[0] * image.shape[1] for image in images]
    if min(pixels) > max_pixels:
        raise ValueError(
            f"max_pixels={max_pixels} is less than each image has that the export is checked on; "
            f"choose {min(pixels)} or more."
        )
    return [image for image, count in zip(images, pixels, strict=True) if count <= max_pixels]
