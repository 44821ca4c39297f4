"""Pascal VOC's average precision, 11-point and area, and the rule that matches detections."""

from typing import Any

import numpy as np

from ssd_keras.boxes.formats import convert_boxes
from ssd_keras.boxes.iou import iou
from ssd_keras.data.records import DetectionData
from ssd_keras.evaluation.detection_table import (
    BoxTable,
    Detections,
    DetectionTable,
    ObjectTable,
    as_table,
)


def best_object_ious(
    detections: DetectionTable, objects: BoxTable
) -> tuple[np.ndarray, np.ndarray]:
    """Returns each detection's best IoU in its image and the first object that has it (or -1)."""
    # The objects are in the order of the images: a detection's candidates are one slice of them.
    # All pairs lie in one vector, detection by detection.
    start = np.searchsorted(objects.image_index, detections.image_index, side="left")
    count = np.searchsorted(objects.image_index, detections.image_index, side="right") - start
    offset = np.cumsum(count) - count
    pair_detection = np.repeat(np.arange(len(detections)), count)
    pair_object = np.arange(len(pair_detection)) - np.repeat(offset - start, count)
    # VOC's pixels are 1-based and inclusive: a box is xmax - xmin + 1 wide. With x = xmin - 1 and
    # w = xmax - xmin + 1 the inclusive overlap min(xmax) - max(xmin) + 1 is min(x + w) - max(x).
    # The areas are w * h: those of the edges x and x + w would be rounded twice.
    a, b = detections.boxes[pair_detection], objects.boxes[pair_object]
    a_edges, b_edges = (convert_boxes(boxes, "xywh", "xyxy").T for boxes in (a, b))
    pair_iou = iou(a_edges, b_edges, np, areas=(a[:, 2] * a[:, 3], b[:, 2] * b[:, 3]))
    best_iou, best = np.zeros(len(detections)), np.full(len(detections), -1)
    best_iou[count > 0] = np.maximum.reduceat(pair_iou, offset[count > 0]) if len(a) else 0.0
    is_best = np.flatnonzero(pair_iou == best_iou[pair_detection])
    index, first = np.unique(pair_detection[is_best], return_index=True)
    best[index] = pair_object[is_best[first]]
    return best_iou, best


def voc_match(
    iou: np.ndarray, best: np.ndarray, is_ignored_object: np.ndarray, iou_threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which detections of one class, by falling score, are true and which are ignored."""
    is_matched = (iou >= iou_threshold) & (iou > 0)
    is_ignored = is_matched & np.append(is_ignored_object, False)[best]
    candidates = np.flatnonzero(is_matched & ~is_ignored)
    _, first = np.unique(best[candidates], return_index=True)
    is_true = np.zeros(len(iou), bool)
    is_true[candidates[first]] = True
    return is_true, is_ignored


def precision_recall(is_true: np.ndarray, num_objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns recall and precision after each detection that counts."""
    num_true = np.cumsum(is_true)
    return num_true / max(1, num_objects), num_true / np.arange(1, len(num_true) + 1)


def average_precision(recall: np.ndarray, precision: np.ndarray, method: str = "area") -> float:
    """Returns the average precision of a precision-recall curve, as the VOC devkit computes it.

    Args:
        recall: [n], 0..1, after each detection by falling score; never falls.
        precision: [n], 0..1, aligned with `recall`.
        method: "area" (VOC 2010 on: area under the curve made monotonic; default) or "11point"
            (VOC 2007: mean of the best precisions at recall >= 0, 0.1, ..., 1).

    Returns:
        The average precision, 0..1; 0 for an empty curve.

    Raises:
        ValueError: `method` is neither of the two, or the arrays are not two equal vectors.

    Example:
        >>> average_precision(np.array([0.5, 1.0]), np.array([1.0, 0.5]))
        0.75
    """
    recall, precision = np.asarray(recall, np.float64), np.asarray(precision, np.float64)
    if recall.ndim != 1 or recall.shape != precision.shape:
        raise ValueError(
            f"recall and precision have shapes {recall.shape} and {precision.shape}; expected two "
            "vectors of one length; give both for the same detections"
        )
    if method not in ("area", "11point"):
        raise ValueError(f'method is {method!r}; expected "area" or "11point"; choose one of them')
    best = np.maximum.accumulate(precision[::-1])[::-1]  # at this recall or any higher one
    if method == "area":
        return float(np.sum(np.diff(recall, prepend=0.0) * best))
    # k / 10 and not k * 0.1: division rounds correctly, so that a recall of 3 of 10 objects
    # reaches the third threshold, which 3 * 0.1 = 0.30000000000000004 would put above it.
    first = np.searchsorted(recall, np.arange(11) / 10, side="left")
    return float(np.sum(np.append(best, 0.0)[first]) / 11)


def voc_metrics(
    data: DetectionData,
    detections: Detections,
    *,
    iou_threshold: float = 0.5,
    method: str = "area",
) -> dict[str, Any]:
    """Returns Pascal VOC's average precision of every class and its mean.

    The rule of VOCevaldet.m: detections of a class are taken by falling score (ties in the order
    given), and each looks only at the object of its image and class with the highest IoU. Below
    `iou_threshold` the detection is false; on a difficult object it is ignored; the first on an
    object is true, later ones are false. COCO's crowd boxes are treated as difficult.

    Args:
        data: the annotated images.
        detections: `DetectionTable`, or a list in COCO's results form: dictionaries with
            "image_id", "category_id" or "category_name", "bbox" ([x, y, width, height] in
            pixels, 0-based and continuous) and "score".
        iou_threshold: smallest IoU of a match, 0..1. Default 0.5.
        method: "area" (default) or "11point", see `average_precision`.

    Returns:
        {"mAP": x, "AP": {class: x}}. A class without objects (other than difficult ones) has None
        and is left out of the mean; the mean of no classes is None.

    Raises:
        ValueError: a detection is malformed, or `method` is unknown.

    Example:
        >>> from ssd_keras.data import load_data
        >>> voc_metrics(load_data("synthetic:shapes@test[:8]"), [], method="11point")["mAP"]
        0.0
    """
    table, objects = as_table(data, detections).by_score(), ObjectTable.from_data(data)
    per_class: dict[str, float | None] = {}
    for label, name in enumerate(data.class_names):
        class_objects = objects[objects.labels == label]
        is_true, is_ignored = voc_match(
            *best_object_ious(table[table.labels == label], class_objects),
            class_objects.is_ignored,
            iou_threshold,
        )
        num_objects = int(np.sum(~class_objects.is_ignored))
        curve = precision_recall(is_true[~is_ignored], num_objects)
        per_class[name] = average_precision(*curve, method) if num_objects else None
    values = [value for value in per_class.values() if value is not None]
    return {"mAP": float(np.mean(values)) if values else None, "AP": per_class}
