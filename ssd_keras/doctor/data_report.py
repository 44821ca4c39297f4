"""Checks a whole data set and reports what it holds and what is wrong with it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ssd_keras.data.splits import Split
from ssd_keras.doctor.duplicates import (
    Duplicate,
    Fingerprint,
    broken_image_findings,
    duplicate_findings,
    find_duplicates,
    fingerprint_images,
)
from ssd_keras.doctor.findings import Finding, box_findings, class_findings, reader_findings
from ssd_keras.doctor.shift import shift_findings
from ssd_keras.doctor.statistics import (
    ASPECT_EDGES,
    ASPECT_NAMES,
    SIDE_EDGES,
    ClassStatistics,
    class_statistics,
    histogram,
    pixel_boxes,
    sides_and_aspects,
)

MAX_FINDINGS = 3  # of one kind
MAX_CLASSES = 30
SIDE_NAMES = (
    f"<{SIDE_EDGES[0]}",
    *(f"{low}-{high}" for low, high in zip(SIDE_EDGES, SIDE_EDGES[1:], strict=False)),
    f">={SIDE_EDGES[-1]}",
)
INDENT = "  "


@dataclass(frozen=True)
class DataReport:
    """What a data set holds and what is wrong with it; `str` gives tables."""

    splits: Sequence[Split]
    fingerprints: list[list[Fingerprint]]  # of each split's images
    duplicates: list[Duplicate]
    findings: list[Finding]  # those of each split, then those between splits

    def __str__(self) -> str:
        return "\n\n".join([*map(_split_table, self.splits), _findings_list(self.findings)])


def check_data(splits: Sequence[Split], progress: bool = False) -> DataReport:
    """Counts the objects, decodes all images and compares them with each other."""
    fingerprints = fingerprint_images(splits, progress)
    duplicates = find_duplicates(fingerprints, progress)
    findings: list[Finding] = []
    for split, of_split in zip(splits, fingerprints, strict=True):
        findings += reader_findings(split.data) + broken_image_findings(split, of_split)
        findings += box_findings(split.data) + shift_findings(split)
    findings += class_findings(splits) + duplicate_findings(splits, duplicates)
    return DataReport(splits, fingerprints, duplicates, findings)


def _split_table(split: Split) -> str:
    *classes, total = class_statistics(split.data)
    empty = sum(not len(example.labels) for example in split.data.examples)
    width = max(len(row.name) for row in [*classes, total])
    lines = [
        f"{'':{width}}  objects  images  difficult"
        "  side in pixels: 10 % median 90 %  width/height: 10 % median 90 %"
    ]
    shown = sorted(classes, key=lambda row: -row.objects)[:MAX_CLASSES]
    lines += [_class_row(row, width) for row in shown]
    if len(classes) > len(shown):
        lines.append(f"... and {len(classes) - len(shown)} rarer classes")
    sides, aspects = sides_and_aspects(pixel_boxes(split.data))
    lines += [
        _class_row(total, width),
        f"sides in pixels: {_shares(SIDE_NAMES, histogram(sides, SIDE_EDGES))}",
        f"width to height: {_shares(ASPECT_NAMES, histogram(aspects, ASPECT_EDGES))}",
    ]
    title = (
        f"{split.name}: {len(split.data)} images ({empty} without objects), "
        f"{total.objects} objects, {len(classes)} classes"
    )
    return f"\n{INDENT}".join([title, *lines])


def _findings_list(findings: Sequence[Finding]) -> str:
    """Groups the findings by title, with their number and the first of each."""
    if not findings:
        return "no problems found"
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.title, []).append(finding)
    lines = ["found"]
    for title, group in groups.items():
        lines.append(f"{INDENT}{title}: {len(group)}")
        lines += [f"{INDENT * 2}{finding}" for finding in group[:MAX_FINDINGS]]
        if len(group) > MAX_FINDINGS:
            lines.append(f"{INDENT * 2}... and {len(group) - MAX_FINDINGS} more")
    return "\n".join(lines)


def _class_row(row: ClassStatistics, width: int) -> str:
    sides = "".join(f"{_number(value, 0):>7}" for value in row.sides)
    aspects = "".join(f"{_number(value, 2):>7}" for value in row.aspects)
    counts = f"{row.objects:>9}{row.images:>10}{row.difficult:>11}"
    return f"{row.name:{width}}{counts}{sides:>34}{aspects:>32}"


def _number(value: float, digits: int) -> str:
    return "-" if np.isnan(value) else f"{value:.{digits}f}"


def _shares(names: Sequence[str], counts: Sequence[int]) -> str:
    total = max(sum(counts), 1)
    pairs = zip(names, counts, strict=True)
    return ", ".join(f"{name}: {count} ({count / total:.0%})" for name, count in pairs if count)
