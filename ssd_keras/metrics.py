"""Detection metrics: Pascal VOC's average precision (11-point and area) and COCO's twelve numbers.

Detections come in COCO's results form. No picture is opened and TensorFlow is not imported.
"""

import contextlib
import io
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssd_keras.data.examples import DetectionData

COCO_NAMES = (  # in the order of `COCOeval.stats`
    *("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"),
    *("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large"),
)
ROW = np.dtype(  # of an object or a detection; `image` and `label` are indices into the data
    [("image", int), ("label", int), ("box", float, 4), ("area", float), ("score", float)]
    + [("is_crowd", bool), ("is_difficult", bool)]
)
Detections = Sequence[Mapping[str, Any]] | np.ndarray


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
    rows, objects = _tabulate(data, detections), _objects(data)
    rows = rows[np.argsort(-rows["score"], kind="stable")]
    per_class: dict[str, float | None] = {}
    for label, name in enumerate(data.class_names):
        own, truth = rows[rows["label"] == label], objects[objects["label"] == label]
        is_ignored = truth["is_difficult"] | truth["is_crowd"]
        curve = _voc_curve(*_best_overlaps(own, truth), is_ignored, iou_threshold)
        per_class[name] = None if is_ignored.all() else average_precision(*curve, method)
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
    stats = _evaluate_coco(data, _tabulate(data, detections)).stats
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
    rows = _tabulate(data, detections)
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
    rows = _tabulate(data, entries, source=str(path))
    columns = (rows[name].tolist() for name in ("image", "label", "box", "score"))
    return [
        {"image_id": data.examples[image].image_id, "category_id": data.category_ids[label]}
        | {"bbox": box, "score": score}
        for image, label, box, score in zip(*columns, strict=True)
    ]


def _tabulate(data: DetectionData, detections: Any, source: str = "detections") -> np.ndarray:
    """Returns detections as an array of `ROW`; what is one already is not checked again."""
    if isinstance(detections, np.ndarray) and detections.dtype == ROW:
        return detections
    if not isinstance(detections, (list, tuple)):
        raise ValueError(
            f"{source}: holds one {type(detections).__name__}; expected a list of detections in "
            "COCO results form; write [{image_id, category_id, bbox, score}, ...]"
        )
    lookup = _Lookup(data)
    rows = np.zeros(len(detections), ROW)
    for index, entry in enumerate(detections):
        try:
            box, score = _checked_numbers(entry)
            image, label = lookup.image(entry["image_id"]), lookup.label(entry)
        except ValueError as error:
            raise ValueError(f"{source}: entry {index}: {error}") from None
        rows[index] = (image, label, box, box[2] * box[3], score, False, False)
    return rows


class _Lookup:
    """From the names that detections use to the indices of the data's pictures and classes."""

    def __init__(self, data: DetectionData):
        self.images = {example.image_id: i for i, example in enumerate(data.examples)}
        self.by_text: dict[str, set[int]] = defaultdict(set)
        for index, example in enumerate(data.examples):
            if self.images[example.image_id] != index:
                raise ValueError(
                    f"the data hold image_id {example.image_id!r} twice; expected once, for it is "
                    "what a detection names its picture by; leave one of the sources out"
                )
            self.by_text[str(example.image_id)].add(index)
            if isinstance(example.image, str):
                self.by_text[Path(example.image).stem].add(index)
        self.classes = {"category_id": data.category_ids, "category_name": data.class_names}

    def image(self, image_id: Any) -> int:
        if isinstance(image_id, (int, str)) and image_id in self.images:
            return self.images[image_id]
        text = str(image_id)
        names = {text, str(int(text))} if text.isdecimal() else {text}
        found = {index for name in names for index in self.by_text.get(name, ())}
        if len(found) == 1:
            return found.pop()
        problem = f"fits {len(found)} pictures by id or file name" if found else "is unknown"
        raise ValueError(
            f"image_id {image_id!r:.80} {problem}; expected an id of the data, such as "
            f"{next(iter(self.images), None)!r}; score against the data that were detected in"
        )

    def label(self, entry: Mapping[str, Any]) -> int:
        found = set()
        for key in self.classes.keys() & entry.keys():
            value, known = entry[key], self.classes[key]
            if value not in known:
                raise ValueError(
                    f"{key} {value!r:.80} is unknown; expected one of {str(known):.300}; "
                    "score against data that have it"
                )
            found.add(known.index(value))
        if len(found) != 1:
            raise ValueError("category_id and category_name are different classes; drop one")
        return found.pop()


def _checked_numbers(entry: Any) -> tuple[list[float], float]:
    if not isinstance(entry, Mapping):
        raise ValueError(f"is {entry!r:.80}; expected an object with image_id, bbox and so on")
    missing = [key for key in ("image_id", "bbox", "score") if key not in entry]
    if "category_id" not in entry and "category_name" not in entry:
        missing.append("category_id (or category_name)")
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}; expected COCO results form; add it")
    box, score = entry["bbox"], entry["score"]
    is_list = isinstance(box, (list, tuple, np.ndarray)) and len(box) == 4
    if not is_list or not all(map(_is_finite, box)) or min(box[2], box[3]) < 0:
        raise ValueError(
            f"bbox is {box!r:.80}; expected four finite numbers x, y, width, height in pixels, no "
            "size negative; turn corners into sizes, or drop the entry"
        )
    if not _is_finite(score):
        raise ValueError(f"score is {score!r:.80}; expected a finite number; correct or drop it")
    return [float(value) for value in box], float(score)


def _is_finite(value: Any) -> bool:
    # The bound refuses infinities, and integers too big for a double.
    is_number = isinstance(value, (float, int, np.floating, np.integer))
    return is_number and not isinstance(value, bool) and abs(value) <= 1e100


def _objects(data: DetectionData) -> np.ndarray:
    """Returns the ground truth as an array of `ROW` in the order of the pictures."""
    counts = [len(example.labels) for example in data.examples]
    rows = np.zeros(sum(counts), ROW)
    rows["image"] = np.repeat(np.arange(len(counts)), counts)
    end = 0
    for example, count in zip(data.examples, counts, strict=True):
        own, end = rows[end : end + count], end + count
        own["label"], own["area"] = example.labels, example.areas
        own["box"] = example.boxes.reshape(-1, 4)
        own["is_crowd"], own["is_difficult"] = example.is_crowd, example.is_difficult
    return rows


def _best_overlaps(rows: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns each detection's best IoU in its picture and the first object that has it (or -1).

    The objects are in the order of the pictures, so that a detection's candidates are one slice;
    the pairs of all detections are laid out in one vector.
    """
    start = np.searchsorted(truth["image"], rows["image"], side="left")
    count = np.searchsorted(truth["image"], rows["image"], side="right") - start
    offset = np.cumsum(count) - count
    pair_row = np.repeat(np.arange(len(rows)), count)
    pair_truth = np.arange(len(pair_row)) - np.repeat(offset - start, count)
    # VOC's pixels are 1-based and inclusive: a box is xmax - xmin + 1 wide. With x = xmin - 1 and
    # w = xmax - xmin + 1 the inclusive overlap min(xmax) - max(xmin) + 1 is min(x + w) - max(x).
    a, b = rows["box"][pair_row], truth["box"][pair_truth]
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(*(c[:, :2] + c[:, 2:] for c in (a, b)))
    shared = np.prod(np.maximum(high - low, 0.0), axis=1)
    union = a[:, 2] * a[:, 3] + b[:, 2] * b[:, 3] - shared
    iou = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
    best_iou, best = np.zeros(len(rows)), np.full(len(rows), -1)
    best_iou[count > 0] = np.maximum.reduceat(iou, offset[count > 0]) if len(iou) else 0.0
    is_best = np.flatnonzero(iou == best_iou[pair_row])
    found, first = np.unique(pair_row[is_best], return_index=True)
    best[found] = pair_truth[is_best[first]]
    return best_iou, best


def _voc_curve(
    iou: np.ndarray, best: np.ndarray, truth_ignored: np.ndarray, iou_threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns recall and precision for each detection that counts, by falling score."""
    is_matched = (iou >= iou_threshold) & (iou > 0)
    is_ignored = is_matched & np.append(truth_ignored, False)[best]
    claims = np.flatnonzero(is_matched & ~is_ignored)
    _, first = np.unique(best[claims], return_index=True)
    is_true = np.zeros(len(iou), bool)
    is_true[claims[first]] = True
    num_true = np.cumsum(is_true[~is_ignored])
    return num_true / max(1, np.sum(~truth_ignored)), num_true / np.arange(1, len(num_true) + 1)


def _evaluate_coco(data: DetectionData, rows: np.ndarray) -> Any:
    """Returns pycocotools' COCOeval after its three steps, whose prints are swallowed."""
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = _coco_index(data, _objects(data)), _coco_index(data, rows)
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


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
