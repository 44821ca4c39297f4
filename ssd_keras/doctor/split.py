"""Splits a data set into parts, such as training and validation data, without leaks."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ssd_keras.core.terminal import shows_progress
from ssd_keras.data.problems import Problem, ProblemKind
from ssd_keras.data.records import DetectionData
from ssd_keras.data.splits import Split
from ssd_keras.doctor.duplicates import find_duplicates, fingerprint_images
from ssd_keras.doctor.image_names import image_names, numbered_sequences
from ssd_keras.doctor.likeness import Thumbnail, neighbour_correlation
from ssd_keras.doctor.split_groups import (
    BLOCKS,
    LOOK,
    NONE,
    Group,
    check_groups,
    consecutive_blocks,
    groups_by_look,
    groups_by_pattern,
    joined,
)

PART_NAME = r"[A-Za-z0-9][\w.-]*"
SCENE_CORRELATION = 0.8  # of consecutive frames of a camera that stands, in the median
MAX_SHARE_ERROR = 0.05  # of a part's share of the images, above which a message says so


def split_data(
    data: DetectionData,
    shares: Mapping[str, float],
    seed: int = 0,
    groups: str = LOOK,
    progress: bool | None = None,
) -> tuple[list[Split], list[str]]:
    """Returns the parts, and messages about groups, parts and broken images.

    Images of a group go to one part: "look" joins duplicates, near-duplicates and frames of one
    video, a regular expression joins images by name, "none" joins nothing. The parts are
    stratified by class. "blocks" cuts sequences of names into consecutive parts instead.
    """
    progress = shows_progress(progress)
    _check_shares(shares)
    check_groups(groups)
    (fingerprints,) = fingerprint_images([Split("all", data)], progress)
    problems = [
        Problem(ProblemKind.BROKEN_IMAGE, example.location, fingerprint.error)
        for example, fingerprint in zip(data.examples, fingerprints, strict=True)
        if fingerprint.error
    ]
    whole = [row for row, fingerprint in enumerate(fingerprints) if not fingerprint.error]
    data = replace(data, examples=tuple(data.examples[row] for row in whole), problems=())
    duplicates = find_duplicates([[fingerprints[row] for row in whole]], progress)
    alike = [[row for _, row in group.members] for group in duplicates]
    names = image_names(data.examples)
    part_of, notes = _divide(data, names, alike, shares, seed, groups)
    parts = []
    for number, name in enumerate(shares):
        rows = np.flatnonzero(part_of == number)
        parts.append(Split(name, replace(data, examples=tuple(data.examples[r] for r in rows))))
    if groups == LOOK:
        thumbnails = [fingerprints[row].thumbnail for row in whole]
        notes += _camera_messages(part_of, thumbnails, names)
    return parts, [*notes, *_leak_messages(part_of, alike, names), *map(str, problems)]


def _divide(
    data: DetectionData,
    names: Sequence[str],
    alike: Sequence[Group],
    shares: Mapping[str, float],
    seed: int,
    groups: str,
) -> tuple[np.ndarray, list[str]]:
    """Returns the part of each image, and messages about groups and parts."""
    numbers = list(shares.values())
    if groups == BLOCKS:
        part_of, num_sequences = consecutive_blocks(names, numbers)
        _check_parts(part_of, shares, names, joined(len(names), []))
        return part_of, [_block_message(shares, num_sequences)]
    has_class = np.zeros((len(names), len(data.class_names)), bool)
    for row, example in enumerate(data.examples):
        has_class[row, example.labels] = True
    if groups == LOOK:
        grouped, notes = groups_by_look(names, alike, has_class, len(names) * max(numbers))
    elif groups == NONE:
        grouped, notes = joined(len(names), []), []
    else:
        grouped, notes = groups_by_pattern(names, groups)
    counts = np.zeros((len(grouped), 1 + len(data.class_names)), np.int64)
    for group, rows in enumerate(grouped):
        counts[group] = len(rows), *has_class[rows].sum(axis=0)
    part_of = np.zeros(len(names), int)
    for rows, part in zip(grouped, stratify(counts, np.array(numbers), seed), strict=True):
        part_of[rows] = part
    _check_parts(part_of, shares, names, grouped)
    return part_of, [*notes, *_share_messages(part_of, shares, grouped)]


def stratify(counts: np.ndarray, shares: np.ndarray, seed: int = 0) -> np.ndarray:
    """Returns the part of each group of images, int [groups].

    Column 0 of `counts` has the number of images of a group, column 1 + c those with class c.
    Class by class, the rarest first, and large groups first, a group goes to the part that lacks
    most of the class, among those that are not full. So no part exceeds its share of the images
    by more than one group (Sechidis et al., On the stratification of multi-label data). A part
    that would stay empty gets the smallest group of a part that has several.
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
    for part in range(len(shares)):
        num_groups = np.bincount(part_of, minlength=len(shares))
        movable = np.flatnonzero(num_groups[part_of] > 1)
        if not num_groups[part] and len(movable):
            part_of[movable[np.argmin(counts[movable, 0])]] = part
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


def _check_parts(
    part_of: np.ndarray,
    shares: Mapping[str, float],
    names: Sequence[str],
    grouped: Sequence[Group],
) -> None:
    """Raises `ValueError` with the ways out where a part has no image."""
    empty = [name for number, name in enumerate(shares) if number not in part_of]
    if not empty:
        return
    largest = max(grouped, key=len, default=[])
    if len(largest) < 2:
        reason = f"too few images ({len(names)}); choose a larger share, or add images"
    else:
        groups = f"the {len(names)} images lie in {len(grouped)} groups that stay together"
        if len(grouped) == 1:
            groups = f"all {len(names)} images are one group that stays together"
        reason = (
            f"{groups}, such as {names[largest[0]]} and {names[largest[1]]}; choose --groups "
            f"{BLOCKS} (parts of consecutive names, which are alike at their borders only), "
            f"choose --groups {NONE} (alike images in several parts), or add other images"
        )
    raise ValueError(f"part {empty[0]!r} would get no image: {reason}")


def _leak_messages(part_of: np.ndarray, alike: Sequence[Group], names: Sequence[str]) -> list[str]:
    """Says how many duplicates and near-duplicates lie in several parts."""
    divided = [rows for rows in alike if len(set(part_of[rows])) > 1]
    if not divided:
        return []
    first, *others = divided[0]
    other = next(row for row in others if part_of[row] != part_of[first])
    return [
        f"{len({row for rows in divided for row in rows})} duplicates or near-duplicates lie in "
        f"several parts, such as {names[first]} and {names[other]}"
    ]


def _block_message(shares: Mapping[str, float], num_sequences: int) -> str:
    first, *others = [f"{share:.0%} are {name}" for name, share in shares.items()]
    of = "the images" if num_sequences == 1 else f"each of {num_sequences} sequences"
    return (
        f"blocks of consecutive names: of {of} the first {first}, then {', '.join(others)}; "
        "the parts are not stratified by class, and images at a border may look alike"
    )


def _share_messages(
    part_of: np.ndarray, shares: Mapping[str, float], grouped: Sequence[Group]
) -> list[str]:
    """Says where groups, because they are not divided, make parts of another size."""
    got = np.bincount(part_of, minlength=len(shares)) / len(part_of)
    errors = np.abs(got - list(shares.values()))
    if errors.max() < MAX_SHARE_ERROR or max(map(len, grouped)) == 1:
        return []
    sizes = ", ".join(
        f"{name} has {share:.0%} of the images instead of {wanted:.0%}"
        for (name, wanted), share in zip(shares.items(), got, strict=True)
    )
    return [f"{sizes}, because groups are not divided"]


def _camera_messages(
    part_of: np.ndarray, thumbnails: Sequence[Thumbnail | None], names: Sequence[str]
) -> list[str]:
    """Says which sequence of frames of one scene is divided, though no two frames are the same."""
    for rows in numbered_sequences(names).values():
        frames = [thumbnail for row in rows if (thumbnail := thumbnails[row]) is not None]
        if len(set(part_of[rows])) > 1 and neighbour_correlation(frames) >= SCENE_CORRELATION:
            return [
                f"{names[rows[0]]} to {names[rows[-1]]} show one scene, as frames of one camera "
                f"do, and lie in several parts; --groups {BLOCKS} makes parts of consecutive "
                "frames, which are alike at their borders only"
            ]
    return []
