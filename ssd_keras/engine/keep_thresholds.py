"""Writes an operating point into the file of a trained model."""

import os
import zipfile
from collections.abc import Mapping

from ssd_keras.core.display_thresholds import by_label
from ssd_keras.core.text import one_line
from ssd_keras.engine.run_lock import run_lock
from ssd_keras.exporters.formats import find_format
from ssd_keras.models.model_file import replace_display_threshold


def file_to_keep_in(model: str) -> str:
    """Returns the .keras file of a RUN folder or a path; raises ValueError for what has none."""
    file = os.path.join(model, "model.keras") if os.path.isdir(model) else model
    is_export = find_format(model) is not None
    if is_export or not (os.path.isfile(file) and zipfile.is_zipfile(file)):
        kind = "an export, whose thresholds are the model's" if is_export else "no .keras file"
        raise ValueError(
            f"{one_line(repr(model))} is {kind}; thresholds are kept in a model's RUN folder or "
            ".keras file: pass that one."
        )
    with run_lock(_folder(file)):
        return file


def keep_thresholds(file: str, class_names: tuple[str, ...], table: Mapping[str, float]) -> None:
    """Makes the thresholds by class name those of the model in a .keras file."""
    with run_lock(_folder(file)):
        replace_display_threshold(file, by_label(table, class_names), class_names)


def _folder(file: str) -> str:
    return os.path.dirname(os.path.abspath(file))
