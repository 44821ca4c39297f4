"""Detections and objects as tables of columns with one row each."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssd_keras.data.records import DetectionData

ROW = np.dtype(  # of an object or a detection; `image` and `label` are indices into the data
    [("image", int), ("label", int), ("box", float, 4), ("area", float), ("score", float)]
    + [("is_crowd", bool), ("is_difficult", bool)]
)


Detections = Sequence[Mapping[str, Any]] | np.ndarray


def detection_rows(data: DetectionData, detections: Any, source: str = "detections") -> np.ndarray:
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
    """From the names that detections use to the indices of the data's images and classes."""

    def __init__(self, data: DetectionData):
        self.images = {example.image_id: i for i, example in enumerate(data.examples)}
        self.by_text: dict[str, set[int]] = defaultdict(set)
        for index, example in enumerate(data.examples):
            if self.images[example.image_id] != index:
                raise ValueError(
                    f"the data hold image_id {example.image_id!r} twice; expected once, for it is "
                    "what a detection names its image by; leave one of the sources out"
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
        problem = f"fits {len(found)} images by id or file name" if found else "is unknown"
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
    """Returns the ground truth as an array of `ROW` in the order of the images."""
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
