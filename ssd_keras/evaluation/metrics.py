"""All metrics of a set of detections, VOC's and COCO's, as a dictionary and as a text table."""

from collections.abc import Mapping, Sequence
from typing import Any

from ssd_keras.core.text import short_list
from ssd_keras.data.problems import CLIPPED, DROPPED, Scope
from ssd_keras.data.records import DetectionData
from ssd_keras.evaluation.coco import COCO_NAMES, coco_evaluation, coco_per_class, coco_summary
from ssd_keras.evaluation.detection_table import Detections, as_table
from ssd_keras.evaluation.voc import voc_metrics

PER_CLASS = ("AP", "AP50")  # of COCO's numbers, what the table shows of a class


def detection_metrics(data: DetectionData, detections: Detections) -> dict[str, Any]:
    """Returns all metrics of a set of detections, ready for `json.dump`.

    Args:
        data: the annotated images.
        detections: `DetectionTable`, or a list in COCO's results form, see `voc_metrics`.

    Returns:
        {"num_images": n, "num_dropped_images" and "num_dropped_objects": what the data's problems
        say is not scored, "num_unfitted_objects": those that COCO's numbers count as annotated and
        the others clip or drop, "coco": see `coco_metrics`, "coco_per_class": {class: {"AP",
        "AP50"}}, "voc07": `voc_metrics` with "11point", "voc12": with "area"}.

    Raises:
        ValueError: a detection is malformed.

    Example:
        >>> from ssd_keras.data import load_data
        >>> metrics = detection_metrics(load_data("synthetic:shapes@test[:8]"), [])
        >>> metrics["num_images"], metrics["voc07"]["mAP"]
        (8, 0.0)
    """
    table = as_table(data, detections)
    evaluation = coco_evaluation(data, table)
    return {
        "num_images": len(data),
        **_counts_of_problems(data),
        "coco": coco_summary(evaluation),
        "coco_per_class": coco_per_class(data, evaluation),
        "voc07": voc_metrics(data, table, method="11point"),
        "voc12": voc_metrics(data, table, method="area"),
    }


def metrics_table(metrics: Mapping[str, Any]) -> str:
    """Returns metrics as a plain-text table, in percent.

    Args:
        metrics: what `detection_metrics` returned.

    Returns:
        Lines of text; "-" where there are no objects. Classes without objects share one line.

    Example:
        >>> from ssd_keras.data import load_data
        >>> data = load_data("synthetic:shapes@test[:8]")
        >>> print(metrics_table(detection_metrics(data, [])).splitlines()[0])
        8 images; numbers in percent
    """

    def row(title: str, cells: Sequence[Any]) -> str:
        texts = ("-" if c is None else c if isinstance(c, str) else f"{100 * c:.2f}" for c in cells)
        return f"{title:<{width}}" + "".join(f"{text:>11}" for text in texts)

    coco, voc07, voc12 = metrics["coco"], metrics["voc07"], metrics["voc12"]
    rows = {
        name: [
            value,
            voc12["AP"][name],
            *(metrics["coco_per_class"][name][key] for key in PER_CLASS),
        ]
        for name, value in voc07["AP"].items()
    }
    empty = [name for name, values in rows.items() if all(value is None for value in values)]
    width = max(len("VOC mAP"), *(len(name) for name in rows if name not in empty), 0)
    lines = [f"{metrics['num_images']} images; numbers in percent", *_notes(metrics), ""]
    for title, names in (("COCO AP", COCO_NAMES[:6]), ("COCO AR", COCO_NAMES[6:])):
        lines += [row(title, names), row("", [coco[name] for name in names])]
    lines += [row("VOC mAP", ["voc07", "voc12"]), row("", [voc07["mAP"], voc12["mAP"]]), ""]
    lines += [row("class", ["voc07", "voc12", "COCO AP", "AP50"])]
    lines += [row(name, values) for name, values in rows.items() if name not in empty]
    if empty:
        count = f"{len(empty)} class{'es' if len(empty) > 1 else ''}"
        lines.append(f"{count} without objects: {short_list(empty)}")
    return "\n".join(lines)


def _counts_of_problems(data: DetectionData) -> dict[str, int]:
    actions = [(problem.kind.scope, problem.action) for problem in data.problems]
    annotated = [(x, x.annotated) for x in data.examples if x.annotated is not None]
    num_kept = sum(len(original.labels) - len(example.labels) for example, original in annotated)
    return {
        "num_dropped_images": actions.count((Scope.IMAGE, DROPPED)),
        "num_dropped_objects": max(actions.count((Scope.OBJECT, DROPPED)) - num_kept, 0),
        "num_unfitted_objects": num_kept + actions.count((Scope.OBJECT, CLIPPED)),
    }


def _notes(metrics: Mapping[str, Any]) -> list[str]:
    """Returns lines that say what is not scored, or scored otherwise than trained."""
    images, objects, unfitted = (
        metrics.get(name, 0)
        for name in ("num_dropped_images", "num_dropped_objects", "num_unfitted_objects")
    )
    lines = []
    if images or objects:
        lines.append(
            f"not scored: {images} images and {objects} objects that were dropped from the data; "
            "other programs may count them"
        )
    if unfitted:
        lines.append(
            f"COCO's numbers count {unfitted} objects as annotated that the others clip or drop"
        )
    return lines
