"""The whole examination of a data set, and how it reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ssd_keras.data.splits import Split
from ssd_keras.doctor.duplicates import (
    Fingerprint,
    Twins,
    broken_findings,
    find_twins,
    take_fingerprints,
    twin_findings,
)
from ssd_keras.doctor.findings import Finding, box_findings, class_findings, reader_findings
from ssd_keras.doctor.shift import shift_findings
from ssd_keras.doctor.statistics import (
    ASPECT_EDGES,
    ASPECT_NAMES,
    SIDE_EDGES,
    ClassCount,
    count_classes,
    histogram,
    object_boxes,
    sides_and_aspects,
)

MOST_PLACES = 3
MOST_CLASSES = 30
INDENT = "  "


@dataclass(frozen=True)
class Examination:
    """What a data set holds and what is wrong with it."""

    splits: Sequence[Split]  # what was examined
    prints: list[list[Fingerprint]]  # the fingerprints of each split's images
    twins: list[Twins]  # images of the same content
    # all that is wrong: of each split by itself, then between them
    findings: list[Finding] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [describe_split(split) for split in self.splits]
        return "\n\n".join([*parts, describe_findings(self.findings)])


def examine(splits: Sequence[Split], progress: bool = False) -> Examination:
    """Counts, decodes and compares everything."""
    prints = take_fingerprints(splits, progress)
    twins = find_twins(prints, progress)
    findings: list[Finding] = []
    for split, own in zip(splits, prints, strict=True):
        findings += reader_findings(split.data) + broken_findings(split, own)
        findings += box_findings(split.data) + shift_findings(split)
    findings += class_findings(splits) + twin_findings(splits, twins)
    return Examination(splits, prints, twins, findings)


def describe_split(split: Split) -> str:
    """What a split holds, as a table."""
    *classes, total = count_classes(split.data)
    empty = sum(not len(example.labels) for example in split.data.examples)
    lines = [
        f"{split.name}: {len(split.data)} images ({empty} without objects), "
        f"{total.objects} objects, {len(classes)} classes"
    ]
    width = max(len(row.name) for row in [*classes, total])
    title = f"{'':{width}}  objects  images  difficult"
    title += "  side in pixels: 10 % median 90 %  width/height: 10 % median 90 %"
    lines.append(INDENT + title)
    shown = sorted(classes, key=lambda row: -row.objects)[:MOST_CLASSES]
    lines += [INDENT + _row(row, width) for row in shown]
    if len(classes) > len(shown):
        lines.append(f"{INDENT}... and {len(classes) - len(shown)} rarer classes")
    lines.append(INDENT + _row(total, width))
    sides, aspects = sides_and_aspects(object_boxes(split.data))
    names = [f"<{SIDE_EDGES[0]}"]
    names += [f"{a}-{b}" for a, b in zip(SIDE_EDGES, SIDE_EDGES[1:], strict=False)]
    names.append(f">={SIDE_EDGES[-1]}")
    lines.append(f"{INDENT}sides in pixels: {_shares(names, histogram(sides, SIDE_EDGES))}")
    lines.append(
        f"{INDENT}width to height: {_shares(ASPECT_NAMES, histogram(aspects, ASPECT_EDGES))}"
    )
    return "\n".join(lines)


def describe_findings(findings: Sequence[Finding]) -> str:
    """Findings by kind, each with its number and its first places."""
    if not findings:
        return "nothing wrong was found"
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.kind, []).append(finding)
    lines = ["found"]
    for kind, group in groups.items():
        lines.append(f"{INDENT}{kind}: {len(group)}")
        lines += [f"{INDENT * 2}{finding}" for finding in group[:MOST_PLACES]]
        if len(group) > MOST_PLACES:
            lines.append(f"{INDENT * 2}... and {len(group) - MOST_PLACES} more")
    return "\n".join(lines)


def _row(row: ClassCount, width: int) -> str:
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
