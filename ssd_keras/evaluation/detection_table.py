"""Tables of detections and of annotated objects: columns, one row for each box.

Detections keep this form from the detector to the metrics; dictionaries are for JSON alone.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from ssd_keras.boxes.formats import convert_boxes
from ssd_keras.core.class_names import labels_by_name
from ssd_keras.data.image_sources import original_of
from ssd_keras.data.records import DetectionData

LARGEST_NUMBER = 1e100  # refuses infinities, and integers too large for a double


@dataclass(frozen=True, eq=False)
class BoxTable:
    """Boxes in the images of a data set; `table[rows]` selects rows of every column."""

    image_index: np.ndarray  # int [n], position of the image in `DetectionData.examples`
    labels: np.ndarray  # int [n], 0-based index into `DetectionData.class_names`
    boxes: np.ndarray  # float64 [n, 4], x, y, width, height in pixels, 0-based and continuous

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Any) -> Self:
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class ObjectTable(BoxTable):
    """The annotated objects of a data set, in the order of its images."""

    areas: np.ndarray  # float64 [n], square pixels, as annotated
    is_crowd: np.ndarray  # bool [n]
    is_difficult: np.ndarray  # bool [n]

    @property
    def is_ignored(self) -> np.ndarray:
        """bool [n], objects that VOC's rule does not require to be found."""
        return self.is_difficult | self.is_crowd

    @classmethod
    def from_data(cls, data: DetectionData, as_annotated: bool = False) -> "ObjectTable":
        """Returns the objects of all images, or all that their files have, unusable ones too."""

        def column(name: str, dtype: type) -> np.ndarray:
            values = [np.ravel(getattr(example, name)) for example in examples]
            return np.concatenate([np.zeros(0, dtype), *values]).astype(dtype)

        examples = list(data.examples)
        if as_annotated:
            examples = [example.annotated or example for example in examples]
        counts = [len(example.labels) for example in examples]
        return cls(
            np.repeat(np.arange(len(counts)), counts),
            column("labels", int),
            column("boxes", float).reshape(-1, 4),
            column("areas", float),
            column("is_crowd", bool),
            column("is_difficult", bool),
        )


@dataclass(frozen=True, eq=False)
class DetectionTable(BoxTable):
    """The detections in the images of a data set."""

    scores: np.ndarray  # float64 [n]

    @property
    def areas(self) -> np.ndarray:
        """float64 [n], square pixels."""
        return self.boxes[:, 2] * self.boxes[:, 3]

    def by_score(self) -> "DetectionTable":
        """Returns the detections by falling score; equal scores keep their order."""
        return self[np.argsort(-self.scores, kind="stable")]

    @classmethod
    def from_batches(
        cls,
        data: DetectionData,
        batches: Iterable[Mapping[str, np.ndarray]],
        class_names: Sequence[str],
    ) -> "DetectionTable":
        """Returns a detector's outputs for all images of the data, batch by batch in their order.

        A batch holds "boxes" relative yxyx [B, K, 4], "scores" [B, K], "labels" [B, K], which are
        indices into the detector's `class_names`, and "num_detections" [B]. Detections of classes
        that the data lack are no part of the table.
        """
        positions = labels_by_name(data.class_names)
        data_labels = np.array([positions.get(name, -1) for name in class_names], int)
        sides = np.array([(e.height, e.width) * 2 for e in data.examples], float).reshape(-1, 4)
        parts, first = [_columns([], [], [], [])], 0
        for batch in batches:
            counts = np.asarray(batch["num_detections"])
            boxes, scores, labels = (np.asarray(batch[k]) for k in ("boxes", "scores", "labels"))
            row, slot = np.nonzero(np.arange(scores.shape[1]) < counts[:, None])
            is_known = data_labels[labels[row, slot]] >= 0
            row, slot = row[is_known], slot[is_known]
            labels = labels[row, slot]
            pixels = boxes[row, slot].astype(float) * sides[first + row]
            boxes = convert_boxes(pixels, "yxyx", "xywh")
            parts.append(_columns(first + row, data_labels[labels], boxes, scores[row, slot]))
            first += len(counts)
        table = cls(*map(np.concatenate, zip(*parts, strict=True)))
        is_valid = np.abs([*table.boxes.T, table.scores]).max(axis=0) <= LARGEST_NUMBER
        is_valid &= table.boxes[:, 2:].min(axis=1) >= 0
        for index in np.flatnonzero(~is_valid):
            _check_numbers(table.boxes[index].tolist(), table.scores[index])
        return table

    @classmethod
    def from_coco(
        cls, data: DetectionData, entries: Any, source: str = "detections"
    ) -> "DetectionTable":
        """Returns a list in COCO's results form, each entry checked against the data."""
        if not isinstance(entries, (list, tuple)):
            raise ValueError(
                f"{source}: holds a {type(entries).__name__}; expected a list of detections in "
                "COCO results form; write [{image_id, category_id, bbox, score}, ...]"
            )
        lookup = _Lookup(data)
        rows = []
        for index, entry in enumerate(entries):
            try:
                _check_keys(entry)
                _check_numbers(entry["bbox"], entry["score"])
                row = (lookup.image(entry["image_id"]), lookup.label(entry))
            except ValueError as error:
                raise ValueError(f"{source}: entry {index}: {error}") from None
            rows.append((*row, entry["bbox"], entry["score"]))
        return cls(*_columns(*zip(*rows, strict=True)) if rows else _columns([], [], [], []))

    def to_coco(self, data: DetectionData) -> list[dict[str, Any]]:
        """Returns the detections in COCO's results form, ready for `json.dump`."""
        columns = (self.image_index, self.labels, self.boxes, self.scores)
        return [
            {"image_id": data.examples[image].image_id, "category_id": data.category_ids[label]}
            | {"bbox": box, "score": score}
            for image, label, box, score in zip(*(c.tolist() for c in columns), strict=True)
        ]


Detections = DetectionTable | Sequence[Mapping[str, Any]]
"""What the metrics take: a table, or a list in COCO's results form."""


def as_table(data: DetectionData, detections: Detections) -> DetectionTable:
    """Returns detections as a table; a list in COCO's results form is checked."""
    if isinstance(detections, DetectionTable):
        return detections
    return DetectionTable.from_coco(data, detections)


def read_detections(path: str | Path, data: DetectionData) -> DetectionTable:
    """Reads a file of detections in COCO's results form.

    Args:
        path: JSON file, `[{"image_id", "category_id" or "category_name", "bbox", "score"}, ...]`
            with "bbox" as x, y, width, height in pixels, 0-based and continuous. An "image_id" is
            an id of the data or the name of an image file, with its ending or without.
        data: the annotated images, against which every entry is checked.

    Returns:
        `DetectionTable` in the order of the file, for the metrics of this package.

    Raises:
        FileNotFoundError: the file cannot be read.
        ValueError: the file is not JSON, or an entry is malformed or not of the data.

    Example:
        >>> import pathlib, tempfile
        >>> from ssd_keras.data import load_data
        >>> data = load_data("synthetic:shapes@test[:8]")
        >>> path = pathlib.Path(tempfile.mkdtemp(), "detections.json")
        >>> _ = path.write_text("[]")
        >>> len(read_detections(path, data))
        0
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
            f"{path}: is not JSON ({error}); expected a list of detections; write the file again"
        ) from error
    return DetectionTable.from_coco(data, entries, source=str(path))


class _Lookup:
    """Finds the images and classes of the data by the names that detections give them."""

    def __init__(self, data: DetectionData):
        self.images = {example.image_id: i for i, example in enumerate(data.examples)}
        self.by_text: dict[str, set[int]] = defaultdict(set)
        for index, example in enumerate(data.examples):
            if self.images[example.image_id] != index:
                raise ValueError(
                    f"the data hold image_id {example.image_id!r} twice; expected each id once, "
                    "because detections name their images by it; leave one of the sources out"
                )
            self.by_text[str(example.image_id)].add(index)
            image = original_of(example.image)
            if isinstance(image, str):
                self.by_text[Path(image).stem].add(index)
                self.by_text[Path(image).name].add(index)
        names = {name: label for label, name in enumerate(data.class_names)}
        self.classes: dict[str, Mapping[Any, int]] = {
            "category_id": data.label_of_id,
            "category_name": names,
        }

    def image(self, image_id: Any) -> int:
        if isinstance(image_id, (int, str)) and image_id in self.images:
            return self.images[image_id]
        text = str(image_id)
        texts = {text, str(int(text))} if text.isdecimal() else {text}
        indices = {index for text in texts for index in self.by_text.get(text, ())}
        if len(indices) == 1:
            return indices.pop()
        problem = f"fits {len(indices)} images by id or file name" if indices else "is unknown"
        raise ValueError(
            f"image_id {image_id!r:.80} {problem}; expected an id of the data, such as "
            f"{next(iter(self.images), None)!r}; score against the data that were detected in"
        )

    def label(self, entry: Mapping[str, Any]) -> int:
        labels = set()
        for key in self.classes.keys() & entry.keys():
            value, known = entry[key], self.classes[key]
            label = known.get(value) if isinstance(value, (int, float, str)) else None
            if label is None:
                raise ValueError(
                    f"{key} {value!r:.80} is unknown; expected one of {str(tuple(known)):.300}; "
                    "score against data that have it"
                )
            labels.add(label)
        if len(labels) != 1:
            raise ValueError("category_id and category_name are different classes; drop one")
        return labels.pop()


def _columns(*columns: Any) -> tuple[np.ndarray, ...]:
    """The columns of a `DetectionTable` from sequences, each of which may be empty."""
    image_index, labels, boxes, scores = columns
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    return np.asarray(image_index, int), np.asarray(labels, int), boxes, np.asarray(scores, float)


def _check_keys(entry: Any) -> None:
    if not isinstance(entry, Mapping):
        raise ValueError(f"is {entry!r:.80}; expected an object with image_id, bbox and so on")
    missing = [key for key in ("image_id", "bbox", "score") if key not in entry]
    if "category_id" not in entry and "category_name" not in entry:
        missing.append("category_id (or category_name)")
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}; expected COCO results form; add it")


def _check_numbers(box: Any, score: Any) -> None:
    is_list = isinstance(box, (list, tuple, np.ndarray)) and len(box) == 4
    if not is_list or not all(map(_is_finite, box)) or min(box[2], box[3]) < 0:
        raise ValueError(
            f"bbox is {box!r:.80}; expected four finite numbers x, y, width, height in pixels, no "
            "size negative; turn corners into sizes, or drop the entry"
        )
    if not _is_finite(score):
        raise ValueError(f"score is {score!r:.80}; expected a finite number; correct or drop it")


def _is_finite(value: Any) -> bool:
    is_number = isinstance(value, (float, int, np.floating, np.integer))
    return is_number and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER
