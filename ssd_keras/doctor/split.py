"""Splits a data set into parts, such as training and validation data, without leaks."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ssd_keras.data.problems import Problem, ProblemKind
from ssd_keras.data.records import DetectionData
from ssd_keras.data.splits import Split
from ssd_keras.doctor.duplicates import connected_groups, find_duplicates, fingerprint_images

PART_NAME = r"[A-Za-z0-9][\w.-]*"


def split_data(
    data: DetectionData, shares: Mapping[str, float], seed: int = 0, progress: bool = False
) -> tuple[list[Split], list[str]]:
    """Returns the parts, stratified by class, and messages about groups and broken images.

    Images of equal or nearly equal content go to the same part.
    """
    _check_shares(shares)
    (fingerprints,) = fingerprint_images([Split("all", data)], progress)
    problems = [
        Problem(ProblemKind.BROKEN_IMAGE, example.location, fingerprint.error)
        for example, fingerprint in zip(data.examples, fingerprints, strict=True)
        if fingerprint.error
    ]
    duplicates = find_duplicates([fingerprints], progress)
    pairs = [(group.members[0][1], index) for group in duplicates for _, index in group.members[1:]]
    # Of a group all images are broken, as copies of each other, or none is.
    groups = connected_groups(len(data), pairs)
    groups = [group for group in groups if not fingerprints[group[0]].error]
    counts = np.zeros((len(groups), 1 + len(data.class_names)), np.int64)
    for row, group in enumerate(groups):
        for index in group:
            counts[row, [0, *(1 + np.unique(data.examples[index].labels))]] += 1
    part_of = stratify(counts, np.array(list(shares.values())), seed)
    parts = []
    for number, name in enumerate(shares):
        chosen = sorted(i for row in np.flatnonzero(part_of == number) for i in groups[row])
        if not chosen:
            raise ValueError(
                f"part {name!r} would get no image: there are {len(groups)} images that do not "
                "look alike; choose a larger share, or add images"
            )
        examples = tuple(data.examples[index] for index in chosen)
        parts.append(Split(name, replace(data, examples=examples, problems=())))
    return parts, [*_group_messages(groups), *map(str, problems)]


def stratify(counts: np.ndarray, shares: np.ndarray, seed: int = 0) -> np.ndarray:
    """Returns the part of each group of images, int [groups].

    Column 0 of `counts` has the number of images of a group, column 1 + c those with class c.
    Class by class, the rarest first, and large groups first, a group goes to the part that lacks
    most of the class, among those that are not full. So no part exceeds its share of the images
    by more than one group (Sechidis et al., On the stratification of multi-label data).
    """
    lacking = shares[:, None] * counts.sum(axis=0)
    part_of = np.full(len(counts), -1)
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts[order, 0], kind="stable")]
    classes = 1 + np.argsort(counts[:, 1:].sum(axis=0), kind="stable")
    for column in [*classes, 0]:  # images without objects come last
        for group in order:
            if part_of[group] < 0 and counts[group, column]:
                open_parts = np.flatnonzero(lacking[:, 0] > 1e-9)
                best = max(open_parts, key=lambda part: (lacking[part, column], lacking[part, 0]))
                part_of[group] = best
                lacking[best] -= counts[group]
    return part_of


def _check_shares(shares: Mapping[str, float]) -> None:
    if len(shares) < 2:
        raise ValueError("a split has at least two parts; expected such as train=0.8 val=0.2")
    for name, share in shares.items():
        if not re.fullmatch(PART_NAME, name):
            raise ValueError(
                f"part {name!r} is not a valid name; expected letters, digits, '_', '-', '.'"
            )
        if not 0 < share < 1:
            raise ValueError(f"part {name}={share:g}: expected a share between 0 and 1")
    if not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-6):
        parts = " ".join(f"{name}={share:g}" for name, share in shares.items())
        raise ValueError(f"the parts {parts} sum to {sum(shares.values()):g}; expected 1")


def _group_messages(groups: Sequence[Sequence[int]]) -> list[str]:
    sizes = [len(group) for group in groups if len(group) > 1]
    if not sizes:
        return []
    return [
        f"{sum(sizes)} images are duplicates or near-duplicates, in {len(sizes)} groups of up to "
        f"{max(sizes)}; each group goes to one part"
    ]
