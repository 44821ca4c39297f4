"""Finds splits that say little or differ: few objects of a class, other shares, other sizes."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ssd_keras.core.text import short_list
from ssd_keras.data.records import DetectionData
from ssd_keras.data.splits import Split
from ssd_keras.doctor.findings import Finding, FindingKind

MIN_OBJECTS = 10  # of a class in validation data
MIN_STANDARD_ERRORS = 2.5
MIN_SHARE_CHANGE = 0.05
MIN_FACTOR = 1.5  # between shares, and between sides
VALIDATION_NAME = re.compile(r"(^|[^a-z])(val|valid|validation|test|dev)([^a-z]|$)", re.IGNORECASE)


class _Objects(NamedTuple):
    """The objects of a split except crowds."""

    images: np.ndarray  # index of the image of each
    labels: np.ndarray
    log_sides: np.ndarray  # logarithm of the root of the object's share of its image

    @classmethod
    def from_data(cls, data: DetectionData) -> "_Objects":
        rows = [(np.zeros(0, int), np.zeros(0, int), np.zeros(0))]
        for index, example in enumerate(data.examples):
            kept = ~example.is_crowd
            areas = np.prod(example.boxes[kept, 2:], axis=1) / (example.height * example.width)
            rows.append((np.full(len(areas), index), example.labels[kept], np.log(areas) / 2))
        return cls(*map(np.concatenate, zip(*rows, strict=True)))


def is_validation(splits: Sequence[Split], index: int) -> bool:
    """Whether a split is for validation: by its name, else each one but the first."""
    name = splits[index].name
    return bool(VALIDATION_NAME.search(name)) or (index > 0 and "train" not in name.lower())


def few_object_findings(splits: Sequence[Split]) -> list[Finding]:
    """Returns the validation splits that have few objects of some classes."""
    found = []
    for index, split in enumerate(splits):
        names = split.data.class_names
        counted = [x.labels[~(x.is_difficult | x.is_crowd)] for x in split.data.examples]
        counts = np.bincount(np.concatenate([[], *counted]).astype(int), minlength=len(names))
        few = [x for x in np.argsort(counts, kind="stable") if 0 < counts[x] < MIN_OBJECTS]
        if few and is_validation(splits, index):
            detail = short_list([f"{names[label]} {counts[label]}" for label in few])
            found.append(Finding(FindingKind.FEW_OBJECTS, split.name, detail))
    return found


def difference_findings(splits: Sequence[Split]) -> list[Finding]:
    """Returns how class shares and sizes of the splits differ from those of the first."""
    first, *others = [_Objects.from_data(split.data) for split in splits]
    names = splits[0].data.class_names
    return [
        Finding(FindingKind.DIFFERENT, split.name, f"{detail} in {splits[0].name}")
        for split, other in zip(splits[1:], others, strict=True)
        if len(first.labels) and len(other.labels)
        for detail in _differences(first, other, names)
    ]


def _differences(first: _Objects, other: _Objects, names: Sequence[str]) -> Iterator[str]:
    """Yields how the second differs, such as "23% of the objects are cars, 47%"."""
    for label, name in enumerate(names):
        values = [(each.labels == label).astype(float) for each in (first, other)]
        before, after = (float(each.mean()) for each in values)
        is_large = abs(after - before) >= MIN_SHARE_CHANGE and _factor(before, after) >= MIN_FACTOR
        if (
            is_large
            and _standard_errors(values, (first.images, other.images)) >= MIN_STANDARD_ERRORS
        ):
            yield f"{after:.0%} of the objects are {name}, {before:.0%}"
    for label, name in enumerate([*names, "all objects"]):
        masks = [(each.labels == label) | (label == len(names)) for each in (first, other)]
        values = [each.log_sides[mask] for each, mask in zip((first, other), masks, strict=True)]
        if min(map(len, values)) < MIN_OBJECTS:
            continue
        images = [each.images[mask] for each, mask in zip((first, other), masks, strict=True)]
        before, after = (float(np.exp(np.median(each))) for each in values)
        is_large = _factor(before, after) >= MIN_FACTOR
        if is_large and _standard_errors(values, images) >= MIN_STANDARD_ERRORS:
            yield f"the median side of {name} is {after:.1%} of the image's, {before:.1%}"


def _factor(first: float, second: float) -> float:
    return max(first, second) / max(min(first, second), 1e-9)


def _standard_errors(values: Sequence[np.ndarray], images: Sequence[np.ndarray]) -> float:
    """Returns the difference of two means in standard errors, were they samples of one kind.

    Objects of an image are alike, so images, not objects, are what is drawn at random.
    """
    pooled = np.concatenate(values).mean()
    variance = sum(
        np.sum(np.bincount(of_images, each - pooled) ** 2) / len(each) ** 2
        for each, of_images in zip(values, images, strict=True)
    )
    return float(abs(values[0].mean() - values[1].mean()) / np.sqrt(max(variance, 1e-12)))
