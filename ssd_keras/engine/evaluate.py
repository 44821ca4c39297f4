"""Metrics of a model on a data set, or of a file of detections."""

import json
import warnings
from typing import TYPE_CHECKING, Any

from ssd_keras.core.files import check_writable, replacing
from ssd_keras.data.records import DetectionData
from ssd_keras.data.training_checks import class_differences
from ssd_keras.evaluation.detection_table import read_detections
from ssd_keras.evaluation.metrics import detection_metrics
from ssd_keras.evaluation.report import write_report

if TYPE_CHECKING:
    from ssd_keras.engine.detector import Detector
    from ssd_keras.models.ssd import SSD


def evaluate(
    detector: "Detector | SSD",
    data: DetectionData,
    batch_size: int = 8,
    progress: bool = False,
    plots: str | None = None,
    title: str = "Evaluation",
) -> dict[str, Any]:
    """Detects objects in a data set and returns VOC's and COCO's metrics.

    Args:
        detector: what `load_detector` returns, or a model.
        data: the annotated images. Classes are compared with the detector's by name, and a warning
            says where they differ.
        batch_size: images in a forward pass. Default 8.
        progress: whether to show a progress bar. Default False.
        plots: folder for `report.html`, which shows the mistakes. Default None: no report.
        title: headline of the report. Default "Evaluation".

    Returns:
        The dictionary of `ssd_keras.evaluation.detection_metrics`, and "images_per_second" with
        reading included.

    Raises:
        ValueError: the folder cannot be written to, an image is broken, or the data have no class
            in common with the detector.

    Example:
        >>> from ssd_keras import from_preset, load_data
        >>> model = from_preset("ssd192_small_shapes")
        >>> evaluate(model, load_data("synthetic:shapes@test[:4]"))["num_images"]
        4
    """
    # Not at the top: `score` needs no TensorFlow.
    from ssd_keras.data.images import decode_example
    from ssd_keras.engine.detector import detect_data

    if plots is not None:
        check_writable(plots, is_folder=True)
    if difference := class_differences(data, detector.class_names, "data"):
        warnings.warn(difference, stacklevel=2)
    detections, seconds = detect_data(detector, data, batch_size, progress)
    metrics = detection_metrics(data, detections)
    if plots is not None:
        write_report(plots, data, detections, title=title, read=decode_example, progress=progress)
    return {**metrics, "images_per_second": round(len(data) / seconds, 2)}


def score(
    detections_path: str,
    data: DetectionData,
    plots: str | None = None,
    title: str = "Evaluation",
) -> dict[str, Any]:
    """Returns the metrics of a file of detections in COCO's results form; opens no image."""
    if plots is not None:
        check_writable(plots, is_folder=True)
    detections = read_detections(detections_path, data)
    if plots is not None:
        write_report(plots, data, detections, title=title)
    return detection_metrics(data, detections)


def write_json(value: Any, path: str) -> None:
    """Writes JSON under a temporary name and moves it to the path when it is whole."""
    with replacing(path) as beside, open(beside, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
