"""Writes one artefact: convert, check in a fresh process, move into place."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ssd_keras.exporters.check import NUM_CHECK_IMAGES, ExportReport, check_artefact
from ssd_keras.exporters.formats import FORMATS
from ssd_keras.exporters.network import in_precision
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
    row = FORMATS[format]
    options = row.all_options(options)
    # The check compares with float32: a mixed precision would round the reference.
    model = in_precision(model)
    with row.replacing(path) as temporary_path:
        row.functions.write(model, temporary_path, post_process, images, **options)
        images_to_check = images[:NUM_CHECK_IMAGES]
        report = check_artefact(temporary_path, model, images_to_check, post_process, row, options)
    return dataclasses.replace(report, path=path)
