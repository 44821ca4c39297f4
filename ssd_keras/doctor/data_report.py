"""Checks a whole data set and reports what is wrong with it and what it holds."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ssd_keras.core.terminal import shows_progress
from ssd_keras.data.image_sources import original_of
from ssd_keras.data.splits import Split
from ssd_keras.doctor.class_table import split_tables
from ssd_keras.doctor.duplicates import (
    DuplicateGroup,
    Fingerprint,
    broken_image_findings,
    duplicate_findings,
    find_duplicates,
    fingerprint_images,
)
from ssd_keras.doctor.findings import (
    Finding,
    box_findings,
    class_findings,
    no_object_findings,
    one_object_findings,
    reader_findings,
)
from ssd_keras.doctor.findings_text import common_folder, findings_text
from ssd_keras.doctor.image_findings import image_findings
from ssd_keras.doctor.object_sizes import small_object_findings
from ssd_keras.doctor.shift import shift_findings
from ssd_keras.doctor.similar_names import similar_name_findings
from ssd_keras.doctor.split_differences import difference_findings, few_object_findings

SPLIT_FINDINGS = (
    no_object_findings,
    shift_findings,
    few_object_findings,
    difference_findings,
    similar_name_findings,
    small_object_findings,
    class_findings,
    one_object_findings,
)


@dataclass(frozen=True)
class DataReport:
    """What is wrong with a data set and what it holds; `str` gives findings, then tables."""

    splits: Sequence[Split]
    fingerprints: list[list[Fingerprint]]  # of each split's images
    duplicates: list[DuplicateGroup]
    findings: list[Finding]

    def __str__(self) -> str:
        return f"{findings_text(self.findings, self._folder())}\n\n{split_tables(self.splits)}"

    def _folder(self) -> str:
        """Returns the folder that all files of the findings lie in, or ""."""
        images = [original_of(x.image) for split in self.splits for x in split.data.examples]
        paths = [
            image if isinstance(image, str) else getattr(image, "path", "") for image in images
        ]
        names = [split.name for split in self.splits]
        named = [x.location for x in self.findings if x.location not in names]
        named = [location for location in named if os.path.dirname(location)]
        return common_folder([path for path in [*paths, *named] if path])


def check_data(splits: Sequence[Split], progress: bool | None = None) -> DataReport:
    """Counts the objects, decodes all images and compares them with each other."""
    progress = shows_progress(progress)
    fingerprints = fingerprint_images(splits, progress)
    duplicates = find_duplicates(fingerprints, progress)
    findings: list[Finding] = []
    for split, of_split in zip(splits, fingerprints, strict=True):
        findings += reader_findings(split.data) + broken_image_findings(split, of_split)
        findings += box_findings(split.data)
    findings += duplicate_findings(splits, duplicates) + image_findings(splits, progress)
    for find in SPLIT_FINDINGS:
        findings += find(splits)
    return DataReport(splits, fingerprints, duplicates, findings)
