"""All metrics of a set of detections: VOC's and COCO's, as a dictionary and as a table."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssd_keras.data.records import DetectionData
from ssd_keras.evaluation.coco import COCO_NAMES, _coco_per_class, _evaluate_coco, _known
from ssd_keras.evaluation.detection_table import Detections, detection_rows
from ssd_keras.evaluation.voc import voc_metrics


def detection_metrics(data: DetectionData, detections: Detections) -> dict[str, Any]:
    """Returns all metrics of a set of detections, ready for `json.dump`.

    Args:
        data: the annotated images.
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
    lines = [f"{metrics['num_images']} images; numbers in percent", ""]
    for title, names in (("COCO AP", COCO_NAMES[:6]), ("COCO AR", COCO_NAMES[6:])):
        lines += [row(title, names), row("", [coco[name] for name in names])]
    lines += [row("VOC mAP", ["voc07", "voc12"]), row("", [voc07["mAP"], voc12["mAP"]]), ""]
    lines += [row("class", ["voc07", "voc12", "COCO AP", "AP50"])]
    for name, value in voc07["AP"].items():
        own = metrics["coco_per_class"][name]
        lines.append(row(name, [value, voc12["AP"][name], own["AP"], own["AP50"]]))
    return "\n".join(lines)


def read_detections(path: str | Path, data: DetectionData) -> list[dict[str, Any]]:
    """Reads a file of detections in COCO's results form and checks every entry against the data."""
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
