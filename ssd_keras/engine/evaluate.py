"""Evaluation and scoring: the same numbers from a model or from a file of detections."""

import json
import os
from typing import TYPE_CHECKING, Any

from ssd_keras.data.examples import DetectionData
from ssd_keras.files import replacing
from ssd_keras.metrics import detection_metrics, read_detections

if TYPE_CHECKING:
    from ssd_keras.engine.detector import Detector


def evaluate(
    detector: "Detector", data: DetectionData, batch_size: int = 8, progress: bool = False
) -> dict:
    """Detects on a data set and measures it as the papers do.

    Args:
        detector: what `load_detector` gives.
        data: the data set, loaded with the detector's class names.
        batch_size: pictures of one forward pass. Default 8.
        progress: show a progress bar. Default False.

    Returns:
        `detection_metrics`' dictionary and "pictures_per_second", reading included.
    """
    from ssd_keras.engine.detector import detect_data  # `score` needs no TensorFlow

    detections, seconds = detect_data(detector, data, batch_size, progress)
    metrics = detection_metrics(data, detections)
    return {**metrics, "pictures_per_second": round(len(data) / seconds, 2)}


def score(detections_path: str, data: DetectionData) -> dict:
    """Measures detections that were made elsewhere; opens no picture.

    Args:
        detections_path: COCO results JSON.
        data: the data set.

    Returns:
        `detection_metrics`' dictionary.
    """
    return detection_metrics(data, read_detections(detections_path, data))


def write_json(value: Any, path: str) -> None:
    """Writes JSON beside its place and moves it there.

    Args:
        value: what to write.
        path: the file.
    """
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with replacing(path) as beside, open(beside, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
