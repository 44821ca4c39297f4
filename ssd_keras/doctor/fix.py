"""A cleaned copy of a data set; the data set itself is never touched."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from ssd_keras.data.examples import DetectionData, Example
from ssd_keras.data.splits import Split
from ssd_keras.doctor.check import Examination
from ssd_keras.doctor.findings import repeated_boxes


def cleaned(examination: Examination) -> tuple[list[Split], list[str]]:
    """Takes out what is certainly wrong and leaves what a person must judge.

    Readers have left out boxes that cannot be used. Here go: pictures that cannot be decoded,
    exact copies of pictures (of those in two splits, the copy in the later split stays, so that a
    validation set named last keeps its pictures), objects annotated twice, and what boxes have
    outside their picture. Pictures that only look alike, disputed objects and shifted boxes stay.

    Args:
        examination: from `examine`.

    Returns:
        the splits, and a line for each kind of change with its number.
    """
    counts: Counter[str] = Counter()
    seen: set[bytes] = set()
    found: list[Split] = []
    for split, prints in zip(
        reversed(examination.splits), reversed(examination.prints), strict=True
    ):
        counts["boxes and pictures left out or clipped by the reader"] += len(split.data.problems)
        examples = []
        for example, own in zip(split.data.examples, prints, strict=True):
            if own.broken:
                counts["pictures that cannot be decoded left out"] += 1
            elif own.content in seen:
                counts["copies of pictures left out"] += 1
            else:
                seen.add(own.content)
                examples.append(_clean_boxes(example, counts))
        found.append(Split(split.name, _with_examples(split.data, examples)))
    return found[::-1], [f"{kind}: {count}" for kind, count in counts.items() if count]


def _clean_boxes(example: Example, counts: Counter[str]) -> Example:
    kept = np.ones(len(example.labels), bool)
    kept[list(repeated_boxes(example))] = False
    counts["repeated objects left out"] += int((~kept).sum())
    sides = np.array([example.width, example.height], np.float64)
    low = np.clip(example.boxes[:, :2], 0, sides)
    high = np.clip(example.boxes[:, :2] + example.boxes[:, 2:], 0, sides)
    boxes = np.concatenate([low, high - low], axis=1)
    is_changed = np.abs(boxes - example.boxes).max(axis=1, initial=0.0) > 1e-9
    counts["boxes cut at the picture's edge"] += int(is_changed[kept].sum())
    boxes = np.where(is_changed[:, None], boxes, example.boxes)
    own_area = np.isclose(example.areas, np.prod(example.boxes[:, 2:], axis=1))
    areas = np.where(own_area & is_changed, np.prod(boxes[:, 2:], axis=1), example.areas)
    fields: dict[str, Any] = {"labels": example.labels, "boxes": boxes, "areas": areas}
    fields |= {"is_difficult": example.is_difficult, "is_crowd": example.is_crowd}
    return replace(example, **{name: values[kept] for name, values in fields.items()})


def _with_examples(data: DetectionData, examples: list[Example]) -> DetectionData:
    return replace(data, examples=tuple(examples), problems=())
