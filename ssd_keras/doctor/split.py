"""Divides a data set into parts, such as one to train on and one to validate on."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ssd_keras.data.problems import Problem
from ssd_keras.data.records import DetectionData
from ssd_keras.data.splits import Split
from ssd_keras.doctor.duplicates import find_twins, take_fingerprints

PART_NAME = r"[A-Za-z0-9][\w.-]*"


def divide(
    data: DetectionData, shares: Mapping[str, float], seed: int = 0, progress: bool = False
) -> tuple[list[Split], list[str]]:
    """Draws the parts so that no image of one part is, or nearly is, in another.

    Images of equal or nearly equal content go to the same part together. Classes are shared out
    as the images are, the rarest first.
    """
    _check_shares(shares)
    whole = Split("all", data)
    (prints,) = take_fingerprints([whole], progress)
    problems = [
        Problem(example.place, "", own.broken)
        for example, own in zip(data.examples, prints, strict=True)
        if own.broken
    ]
    pairs = [(pair.first[1], pair.second[1]) for pair in find_twins([prints], progress)]
    # Of a group all images are broken, as copies of each other, or none is.
    groups = [group for group in join_pairs(len(data), pairs) if not prints[group[0]].broken]
    counts = np.zeros((len(groups), 1 + len(data.class_names)), np.int64)
    for row, group in enumerate(groups):
        for index in group:
            counts[row, [0, *(1 + np.unique(data.examples[index].labels))]] += 1
    part_of = share_out(counts, np.array(list(shares.values())), seed)
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
    return parts, [*_describe_groups(groups), *map(str, problems)]


def join_pairs(count: int, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Groups of what pairs join, directly or through others."""
    leader = list(range(count))

    def find(thing: int) -> int:
        while leader[thing] != thing:
            leader[thing] = leader[leader[thing]]
            thing = leader[thing]
        return thing

    for first, second in pairs:
        low, high = sorted((find(first), find(second)))
        leader[high] = low
    groups: dict[int, list[int]] = {}
    for thing in range(count):
        groups.setdefault(find(thing), []).append(thing)
    return list(groups.values())


def share_out(counts: np.ndarray, shares: np.ndarray, seed: int = 0) -> np.ndarray:
    """Which part each group of images goes to.

    Class by class, the rarest first, and large groups first, a group goes to the part that lacks
    most of the class, of those parts that are not full. So no part exceeds its share of the
    images by more than one group (Sechidis et al., On the stratification of multi-label data).
    """
    lacks = shares[:, None] * counts.sum(axis=0)
    part_of = np.full(len(counts), -1)
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts[order, 0], kind="stable")]
    classes = 1 + np.argsort(counts[:, 1:].sum(axis=0), kind="stable")
    for column in [*classes, 0]:  # at last the images without objects
        for group in order:
            if part_of[group] < 0 and counts[group, column]:
                open_parts = np.flatnonzero(lacks[:, 0] > 1e-9)
                best = max(open_parts, key=lambda part: (lacks[part, column], lacks[part, 0]))
                part_of[group] = best
                lacks[best] -= counts[group]
    return part_of


def _check_shares(shares: Mapping[str, float]) -> None:
    if len(shares) < 2:
        raise ValueError("one part is no split; expected such as train=0.8 val=0.2")
    for name, share in shares.items():
        if not re.fullmatch(PART_NAME, name):
            raise ValueError(f"part {name!r} is no name; expected letters, digits, '_', '-', '.'")
        if not 0 < share < 1:
            raise ValueError(f"part {name}={share:g}: expected a share between 0 and 1")
    if not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-6):
        told = " ".join(f"{name}={share:g}" for name, share in shares.items())
        raise ValueError(f"the parts {told} sum to {sum(shares.values()):g}; expected 1")


def _describe_groups(groups: Sequence[Sequence[int]]) -> list[str]:
    sizes = [len(group) for group in groups if len(group) > 1]
    if not sizes:
        return []
    return [
        f"{sum(sizes)} images look like others: they lie in {len(sizes)} groups of up to "
        f"{max(sizes)}, and each group is in one part"
    ]
