"""Metrics of a model on a data set, or of a file of detections."""

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ssd_keras.core.display_thresholds import DEFAULT, DisplayThreshold, by_label
from ssd_keras.core.files import check_writable, replacing
from ssd_keras.core.terminal import shows_progress
from ssd_keras.core.text import one_line
from ssd_keras.data.records import DetectionData
from ssd_keras.data.sources import load_data
from ssd_keras.data.training_checks import class_differences
from ssd_keras.evaluation.detection_table import read_detections
from ssd_keras.evaluation.matches import match
from ssd_keras.evaluation.metrics import detection_metrics
from ssd_keras.evaluation.operating_point import BEST, operating_point
from ssd_keras.evaluation.report import write_report

if TYPE_CHECKING:
    from ssd_keras.engine.detector import Detector
    from ssd_keras.models.ssd import SSD


def evaluate(
    detector: "Detector | SSD | str | os.PathLike",
    data: DetectionData | str,
    batch_size: int = 8,
    progress: bool | None = None,
    plots: str | None = None,
    title: str = "Evaluation",
    score_threshold: float | Mapping[str, float] | str | None = None,
    ray: str | None = None,
    tiles: int | Sequence[int] | None = None,
    tile_overlap: float = 0.2,
) -> dict[str, Any]:
    """Detects objects in a data set and returns VOC's and COCO's metrics.

    Args:
        detector: a model, what `load_detector` returns, or what it takes: a path or a preset.
        data: the annotated images, or what `load_data` takes. Classes are compared with the
            detector's by name, and a warning says where they differ.
        batch_size: images, or tiles of an image, in a forward pass. Default 8.
        progress: whether to show progress bars. Default None: in terminals and notebooks.
        plots: folder for `report.html`, which shows the mistakes. Default None: no report.
        title: headline of the report. Default "Evaluation".
        score_threshold: smallest score that counts in "operating_point", 0..1: for all classes;
            by class name, 0.5 for those without; or "best", for each class the one of the largest
            F1 on these data, the highest of several, in the middle between two scores. Classes of
            fewer than 10 objects, or of which nothing is found, then take the best of all classes
            together. Default None: the detector's `display_threshold`.
        ray: detect with the processes of Ray Data, to the same metrics: "local" on this machine, or
            the address of a cluster, HOST:PORT or "auto". The detector must be of a file that they
            can read, or a preset. Default None: in this process.
        tiles: side of a tile in pixels of the image, or (height, width), 16 or more: the detector
            sees each image whole and tile by tile, as with `detect`. Default None: whole alone.
        tile_overlap: smallest share of a tile that its neighbours show too, 0..0.9. Default 0.2.

    Returns:
        The dictionary of `ssd_keras.evaluation.detection_metrics`; "images_per_second" with
        reading included; and "operating_point", for an IoU of 0.5 by VOC's rule: {"thresholds":
        {class: score}, which may become the model's `display_threshold`; "all" and "classes":
        "precision", "recall", "F1", "true_positives", "false_positives", "missed"; "confusion":
        counts of (object, detection); with "best" also "common_threshold", "common_classes" that
        take it, and a "warning": numbers at thresholds chosen on the same data are optimistic}.

    Raises:
        ValueError: the folder cannot be written to, an image is broken, an argument is out of
            range, or the data have no class in common with the detector.

    Example:
        >>> from ssd_keras import from_preset, load_data
        >>> model = from_preset("ssd192_small_shapes")
        >>> evaluate(model, load_data("synthetic:shapes@test[:4]"))["num_images"]
        4
    """
    # Not at the top: `score` needs no TensorFlow.
    from ssd_keras.data.images import decode_example
    from ssd_keras.engine.detector import detect_data, own_detector
    from ssd_keras.engine.tiles import tiled

    progress, detector = shows_progress(progress), own_detector(detector)
    with_tiles = tiled(detector, tiles, tile_overlap, batch_size)
    if isinstance(data, str):
        data = load_data(data, class_names=detector.class_names, part="validation")
    if plots is not None:
        check_writable(plots, is_folder=True)
    thresholds = _thresholds(detector, score_threshold)
    if difference := class_differences(data, detector.class_names, "data"):
        warnings.warn(difference, stacklevel=2)
    if ray is None:
        detections, seconds = detect_data(with_tiles, data, batch_size, progress)
    else:
        from ssd_keras.engine.batch.detect_data import detect_data_with_ray

        detections, seconds = detect_data_with_ray(
            detector, data, batch_size, progress, ray, tiles=tiles, tile_overlap=tile_overlap
        )
    metrics = detection_metrics(data, detections)
    point = operating_point(match(data, detections), thresholds, detector.class_names)
    if plots is not None:
        write_report(
            plots, data, detections, title=title, read=decode_example, point=point,
            progress=progress,
        )  # fmt: skip
    speed = round(len(data) / seconds, 2)
    return {**metrics, "operating_point": point, "images_per_second": speed}


def _thresholds(detector: "Detector | SSD", given: Any) -> DisplayThreshold | str:
    """Returns thresholds by label of the detector, or "best"."""
    if isinstance(given, str):
        if given != BEST:
            raise ValueError(
                f"score_threshold={one_line(repr(given))}: expected a score from 0 to 1, a "
                f"dictionary of them by class name, or {BEST!r}."
            )
        return given
    if given is None:
        given = getattr(detector, "display_threshold", DEFAULT)
    return by_label(given, detector.class_names, "score_threshold")


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
