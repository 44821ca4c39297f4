"""COCO's twelve numbers, from faster-coco-eval."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ssd_keras.data.records import DetectionData
from ssd_keras.evaluation.detection_table import Detections, DetectionTable, ObjectTable, as_table

COCO_NAMES = (  # in the order of `COCOeval.stats`
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large"),
)


def coco_metrics(data: DetectionData, detections: Detections) -> dict[str, float | None]:
    """Returns COCO's twelve numbers: average precision (AP) and recall (AR).

    They are computed by faster-coco-eval from the annotations' own float64 boxes, areas and crowd
    flags, and equal pycocotools' to 1e-12: boxes that reach outside their image or have no area
    count as the file has them. COCO's rule knows no difficult objects: VOC's count
    here as ordinary ones.

    Args:
        data: the annotated images.
        detections: `DetectionTable`, or a list in COCO's results form, see `voc_metrics`.

    Returns:
        {"AP": x, ...} with "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR_1",
        "AR_10", "AR_100", "AR_small", "AR_medium" and "AR_large", 0..1; None where there are no
        objects.

    Raises:
        ValueError: a detection is malformed.

    Example:
        >>> from ssd_keras.data import load_data
        >>> coco_metrics(load_data("synthetic:shapes@test[:8]"), [])["AP50"]
        0.0
    """
    return coco_summary(coco_evaluation(data, as_table(data, detections)))


def coco_evaluation(data: DetectionData, detections: DetectionTable) -> Any:
    """Returns faster-coco-eval's `COCOeval_faster` after its three steps."""
    from faster_coco_eval import COCOeval_faster

    objects = ObjectTable.from_data(data, as_annotated=True)
    evaluation = COCOeval_faster(_coco(data, objects), _coco(data, detections), "bbox")
    evaluation.run()
    return evaluation


def coco_summary(evaluation: Any) -> dict[str, float | None]:
    """Returns the twelve numbers of a `coco_evaluation`."""
    return dict(zip(COCO_NAMES, map(_value, evaluation.stats), strict=True))


def coco_per_class(data: DetectionData, evaluation: Any) -> dict[str, dict[str, float | None]]:
    """Returns the AP and AP50 of each class of a `coco_evaluation`."""
    # [IoU thresholds, recalls, classes, areas, detection limits]: all areas, 100 detections.
    precision = evaluation.eval["precision"][..., 0, -1]
    by_label = [precision[..., rank] for rank in ranks(data.category_ids)]
    return {
        name: {"AP": _value(values.mean()), "AP50": _value(values[0].mean())}
        for name, values in zip(data.class_names, by_label, strict=True)
    }


def _coco(data: DetectionData, table: ObjectTable | DetectionTable) -> Any:
    """Returns a table as faster-coco-eval's `COCO`."""
    from faster_coco_eval import COCO

    # The order of the images decides between equal scores: COCO's is that of their ids. Ranks
    # keep it, and serve text ids too.
    image_ranks = ranks([example.image_id for example in data.examples])
    class_ranks = ranks(data.category_ids)
    columns = {
        "image_id": image_ranks[table.image_index],
        "category_id": class_ranks[table.labels],
        "bbox": table.boxes,
        "area": table.areas,
    }
    if isinstance(table, ObjectTable):
        columns["iscrowd"] = table.is_crowd.astype(int)
    else:
        columns["score"] = table.scores
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    coco = COCO()
    coco.dataset = {
        "images": [{"id": rank} for rank in range(len(image_ranks))],
        "categories": [{"id": rank} for rank in range(len(class_ranks))],
        # Counted from 1: an id of 0 means "no match".
        "annotations": [
            {"id": number, **dict(zip(columns, row, strict=True))}
            for number, row in enumerate(rows, start=1)
        ],
    }
    coco.createIndex()
    return coco


def ranks(ids: Sequence[int | str]) -> np.ndarray:
    """Returns the rank of each id in sorted order; numbers come before texts."""
    order = sorted(range(len(ids)), key=lambda index: (isinstance(ids[index], str), ids[index]))
    return np.argsort(np.array(order, int))


def _value(number: float) -> float | None:
    return None if number < 0 else float(number)  # -1 where there are no objects
