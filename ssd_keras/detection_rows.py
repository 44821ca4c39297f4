"""Objects and detections as arrays with one row each, and which detection finds which object.

Detections come in COCO's results form. No picture is opened and TensorFlow is not imported.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssd_keras.data.examples import DetectionData

ROW = np.dtype(  # of an object or a detection; `image` and `label` are indices into the data
    [("image", int), ("label", int), ("box", float, 4), ("area", float), ("score", float)]
    + [("is_crowd", bool), ("is_difficult", bool)]
)
Detections = Sequence[Mapping[str, Any]] | np.ndarray


def detection_rows(data: DetectionData, detections: Any, source: str = "detections") -> np.ndarray:
    """Returns detections as an array of `ROW`; what is one already is not checked again.

    Args:
        data: the annotated pictures.
        detections: COCO results form, see `ssd_keras.metrics.voc_metrics`.
        source: where they come from, for errors. Default "detections".

    Returns:
        array of `ROW` in the order given; "box" is x, y, width, height in pixels.

    Raises:
        ValueError: an entry is malformed, or its picture or class is unknown to the data.
    """
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


def object_rows(data: DetectionData) -> np.ndarray:
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


def best_overlaps(rows: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns each detection's best IoU in its picture and the first object that has it (or -1).

    The objects are in the order of the pictures, so that a detection's candidates are one slice;
    the pairs of all detections are laid out in one vector.

    Args:
        rows: detections, `ROW` [n].
        truth: objects that they may find, `ROW` [m], in the order of the pictures.

    Returns:
        IoU [n] in 0..1 and indices into `truth` [n].
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


def claims(
    iou: np.ndarray, best: np.ndarray, is_excused: np.ndarray, iou_threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Tells which detections of one class are true, and which do not count, by VOC's rule.

    Args:
        iou: [n], best IoU of each detection with an object of its class, by falling score.
        best: int [n], the object that has it, -1 for none.
        is_excused: bool [m], the objects that need not be found: difficult ones and crowds.
        iou_threshold: least IoU of a match, 0..1.

    Returns:
        bool [n] `is_true`: the first detection of an object that counts; bool [n] `is_ignored`:
        those on excused objects. All others are false.
    """
    is_matched = (iou >= iou_threshold) & (iou > 0)
    is_ignored = is_matched & np.append(is_excused, False)[best]
    claimants = np.flatnonzero(is_matched & ~is_ignored)
    _, first = np.unique(best[claimants], return_index=True)
    is_true = np.zeros(len(iou), bool)
    is_true[claimants[first]] = True
    return is_true, is_ignored


def precision_recall(is_true: np.ndarray, num_objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns recall and precision after each detection that counts.

    Args:
        is_true: bool [n], by falling score.
        num_objects: how many there are to find.

    Returns:
        recall [n] and precision [n], 0..1.

    Example:
        >>> precision_recall(np.array([True, False]), 2)
        (array([0.5, 0.5]), array([1. , 0.5]))
    """
    num_true = np.cumsum(is_true)
    return num_true / max(1, num_objects), num_true / np.arange(1, len(num_true) + 1)
