"""Detection metrics: Pascal VOC's average precision (11-point and area) and COCO's twelve numbers.

Detections come in COCO's results form. No picture is opened and TensorFlow is not imported.
"""

import contextlib
import copy
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssd_keras.data.examples import DetectionData
from ssd_keras.detection_rows import (
    Detections,
    best_overlaps,
    claims,
    detection_rows,
    object_rows,
    precision_recall,
)

COCO_NAMES = (  # in the order of `COCOeval.stats`
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large"),
)


def average_precision(recall: np.ndarray, precision: np.ndarray, method: str = "area") -> float:
    """Returns the average precision of a precision-recall curve, as the VOC devkit computes it.

    Args:
        recall: [n], 0..1, for each detection by falling score; never falls.
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
    given), and each looks only at the object of its picture and class that it overlaps most. Below
    `iou_threshold` it is false; on a difficult object it is ignored; the first on an object is
    true, later ones are false. COCO's crowd boxes are treated as difficult.

    Args:
        data: the annotated pictures.
        detections: COCO results form: dicts with "image_id", "category_id" or "category_name",
            "bbox" ([x, y, width, height] in pixels, 0-based, continuous) and "score".
        iou_threshold: least intersection over union of a match, 0..1, default 0.5.
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
    rows, objects = detection_rows(data, detections), object_rows(data)
    rows = rows[np.argsort(-rows["score"], kind="stable")]
    per_class: dict[str, float | None] = {}
    for label, name in enumerate(data.class_names):
        own, truth = rows[rows["label"] == label], objects[objects["label"] == label]
        is_excused = truth["is_difficult"] | truth["is_crowd"]
        is_true, is_ignored = claims(*best_overlaps(own, truth), is_excused, iou_threshold)
        curve = precision_recall(is_true[~is_ignored], np.sum(~is_excused))
        per_class[name] = None if is_excused.all() else average_precision(*curve, method)
    values = [value for value in per_class.values() if value is not None]
    return {"mAP": float(np.mean(values)) if values else None, "AP": per_class}


def coco_metrics(data: DetectionData, detections: Detections) -> dict[str, float | None]:
    """Returns COCO's twelve numbers, computed by pycocotools; None where nothing is to be found.

    It receives the annotations' own float64 boxes, areas and crowd flags. It knows no difficult
    objects (it overwrites `ignore` by `iscrowd`): VOC's count here as ordinary ones.

    Args:
        data: the annotated pictures.
        detections: COCO results form, as in `voc_metrics`.
    """
    stats = _evaluate_coco(data, detection_rows(data, detections)).stats
    return dict(zip(COCO_NAMES, map(_known, stats), strict=True))


def detection_metrics(data: DetectionData, detections: Detections) -> dict[str, Any]:
    """Returns all metrics of a set of detections, ready for `json.dump`.

    Args:
        data: the annotated pictures.
        detections: COCO results form, as in `voc_metrics`.

    Returns:
        {"num_images": n, "coco": see `coco_metrics`, "coco_per_class": {class: {"AP", "AP50"}},
        "voc07": `voc_metrics` with "11point", "voc12": with "area"}.
    """
    rows = detection_rows(data, detections)
    evaluation = _evaluate_coco(data, rows)
    return {
        "num_images": len(data),
        "coco": dict(zip(COCO_NAMES, map(_known, evaluation.stats), strict=True)),
        "coco_per_class": _coco_per_class(data, evaluation),
        "voc07": voc_metrics(data, rows, method="11point"),
        "voc12": voc_metrics(data, rows, method="area"),
    }


def metrics_table(metrics: Mapping[str, Any]) -> str:
    """Returns what `detection_metrics` returned as a plain-text table, in percent."""

    def row(title: str, cells: Sequence[Any]) -> str:
        texts = ("-" if c is None else c if isinstance(c, str) else f"{100 * c:.2f}" for c in cells)
        return f"{title:<{width}}" + "".join(f"{text:>11}" for text in texts)

    coco, voc07, voc12 = metrics["coco"], metrics["voc07"], metrics["voc12"]
    width = max(len("VOC mAP"), *map(len, voc07["AP"]), 0)
    lines = [f"{metrics['num_images']} pictures; numbers in percent", ""]
    for title, names in (("COCO AP", COCO_NAMES[:6]), ("COCO AR", COCO_NAMES[6:])):
        lines += [row(title, names), row("", [coco[name] for name in names])]
    lines += [row("VOC mAP", ["voc07", "voc12"]), row("", [voc07["mAP"], voc12["mAP"]]), ""]
    lines += [row("class", ["voc07", "voc12", "COCO AP", "AP50"])]
    for name, value in voc07["AP"].items():
        own = metrics["coco_per_class"][name]
        lines.append(row(name, [value, voc12["AP"][name], own["AP"], own["AP50"]]))
    return "\n".join(lines)


def read_detections(path: str | Path, data: DetectionData) -> list[dict[str, Any]]:
    """Reads a file of detections in COCO's results form and checks every entry against the data.

    Args:
        path: a JSON list of entries as in `voc_metrics`. An entry names its picture by the id, by
            the id as text ("12" or "000012" for 12) or by the stem of the picture's file.
        data: the annotated pictures.

    Returns:
        The entries with "image_id" as the data have it, "category_id", "bbox" and "score".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no JSON list or an entry is malformed: one line naming both.
    """
    try:
        entries = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise FileNotFoundError(
            f"{path}: cannot be read ({error.strerror}); expected a JSON list of detections; "
            "correct the path"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: is not JSON ({error}); expected a list of detections; write it anew"
        ) from error
    rows = detection_rows(data, entries, source=str(path))
    columns = (rows[name].tolist() for name in ("image", "label", "box", "score"))
    return [
        {"image_id": data.examples[image].image_id, "category_id": data.category_ids[label]}
        | {"bbox": box, "score": score}
        for image, label, box, score in zip(*columns, strict=True)
    ]


def _evaluate_coco(data: DetectionData, rows: np.ndarray) -> Any:
    """Returns pycocotools' COCOeval after its three steps, whose prints are swallowed."""
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = _coco_index(data, object_rows(data)), _coco_index(data, rows)
        evaluation = COCOeval(truth, found, "bbox")
        _match(evaluation)
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _match(evaluation: Any) -> None:
    """As its own method `evaluate`, which also asks about each class that a picture has not."""
    params = evaluation.params
    evaluation._prepare()
    objects_and_detections = [*evaluation._gts.items(), *evaluation._dts.items()]
    pairs = {pair for pair, found in objects_and_detections if found}
    evaluation.ious = {pair: evaluation.computeIoU(*pair) for pair in pairs}
    # By class, range of areas and picture; none where a picture has nothing of a class.
    results = np.full([len(params.catIds), len(params.areaRng), len(params.imgIds)], None)
    classes = {number: place for place, number in enumerate(params.catIds)}
    pictures = {number: place for place, number in enumerate(params.imgIds)}
    for image, label in pairs:
        for place, areas in enumerate(params.areaRng):
            one = evaluation.evaluateImg(image, label, areas, params.maxDets[-1])
            results[classes[label], place, pictures[image]] = one
    evaluation.evalImgs = results.ravel().tolist()
    evaluation._paramsEval = copy.deepcopy(params)


def _coco_index(data: DetectionData, rows: np.ndarray) -> Any:
    from pycocotools.coco import COCO

    # pycocotools visits pictures by sorted id, which decides between equal scores: ranks keep
    # that order and serve text ids too. Annotations count from 1: it reads id 0 as "no match".
    ids = [example.image_id for example in data.examples]
    order = sorted(range(len(ids)), key=lambda index: (isinstance(ids[index], str), ids[index]))
    rank = {index: number for number, index in enumerate(order)}
    names = ("image", "label", "box", "area", "score", "is_crowd")
    columns = zip(*(rows[name].tolist() for name in names), strict=True)
    index = COCO()
    index.dataset = {
        "images": [{"id": number} for number in rank.values()],
        "categories": [{"id": number} for number in data.category_ids],
        "annotations": [
            {"id": number, "image_id": rank[image], "category_id": data.category_ids[label]}
            | {"bbox": box, "area": area, "score": score, "iscrowd": int(is_crowd)}
            for number, (image, label, box, area, score, is_crowd) in enumerate(columns, start=1)
        ],
    }
    index.createIndex()
    return index


def _coco_per_class(data: DetectionData, evaluation: Any) -> dict[str, dict[str, float | None]]:
    # [IoU thresholds, recalls, categories, areas, detection limits]: all areas, 100 detections.
    precision = evaluation.eval["precision"][..., 0, -1]
    own = [precision[..., evaluation.params.catIds.index(number)] for number in data.category_ids]
    return {
        name: {"AP": _known(values.mean()), "AP50": _known(values[0].mean())}
        for name, values in zip(data.class_names, own, strict=True)
    }


def _known(value: float) -> float | None:
    return None if value < 0 else float(value)  # pycocotools: -1 where nothing is to be found
