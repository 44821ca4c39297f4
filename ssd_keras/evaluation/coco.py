"""COCO's twelve numbers, from pycocotools."""

import contextlib
import copy
import io
from typing import Any

import numpy as np

from ssd_keras.data.records import DetectionData
from ssd_keras.evaluation.detection_table import Detections, detection_rows, object_rows

COCO_NAMES = (  # in the order of `COCOeval.stats`
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large"),
)


def coco_metrics(data: DetectionData, detections: Detections) -> dict[str, float | None]:
    """Returns COCO's twelve numbers, computed by pycocotools; None where nothing is to be found.

    It receives the annotations' own float64 boxes, areas and crowd flags. It knows no difficult
    objects (it overwrites `ignore` by `iscrowd`): VOC's count here as ordinary ones.

    Args:
        data: the annotated images.
        detections: COCO results form, as in `voc_metrics`.
    """
    stats = _evaluate_coco(data, detection_rows(data, detections)).stats
    return dict(zip(COCO_NAMES, map(_known, stats), strict=True))


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
    """As its own method `evaluate`, which also asks about each class that an image has not."""
    params = evaluation.params
    evaluation._prepare()
    objects_and_detections = [*evaluation._gts.items(), *evaluation._dts.items()]
    pairs = {pair for pair, found in objects_and_detections if found}
    evaluation.ious = {pair: evaluation.computeIoU(*pair) for pair in pairs}
    # By class, range of areas and image; none where an image has nothing of a class.
    results = np.full([len(params.catIds), len(params.areaRng), len(params.imgIds)], None)
    classes = {number: place for place, number in enumerate(params.catIds)}
    images = {number: place for place, number in enumerate(params.imgIds)}
    for image, label in pairs:
        for place, areas in enumerate(params.areaRng):
            one = evaluation.evaluateImg(image, label, areas, params.maxDets[-1])
            results[classes[label], place, images[image]] = one
    evaluation.evalImgs = results.ravel().tolist()
    evaluation._paramsEval = copy.deepcopy(params)


def _coco_index(data: DetectionData, rows: np.ndarray) -> Any:
    from pycocotools.coco import COCO

    # pycocotools visits images by sorted id, which decides between equal scores: ranks keep
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
