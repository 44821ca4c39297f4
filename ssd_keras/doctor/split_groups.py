"""Groups of images that stay in one part of a split, and blocks that become parts."""

import re
from collections.abc import Hashable, Sequence
from itertools import pairwise

import numpy as np

from ssd_keras.doctor.duplicates import connected_groups
from ssd_keras.doctor.image_names import is_dated, natural_order, numbered_sequences

LOOK, BLOCKS, NONE = "look", "blocks", "none"
# Where one sequence has so much of each class, the names stand for classes.
CLASS_SHARE = 0.8

Group = list[int]  # rows of images


def check_groups(groups: str) -> None:
    """Raises `ValueError` where `groups` is neither a word nor a pattern of names."""
    try:
        re.compile(groups)
    except re.error as error:
        raise ValueError(f"groups '{groups}' is no pattern ({error}); {_expected()}") from None


def groups_by_look(
    names: Sequence[str], alike: Sequence[Group], has_class: np.ndarray, max_frames: float
) -> tuple[list[Group], list[str]]:
    """Returns groups of duplicates and of frames, and messages about them."""
    notes = []
    if sizes := _sizes(joined(len(names), alike)):
        notes.append(
            f"{sum(sizes)} images are duplicates or near-duplicates, in {_counted(sizes)}; each "
            "group goes to one part"
        )
    versions = _groups_of_equal_keys(names)
    if sizes := _sizes(versions):
        notes.append(
            f"{sum(sizes)} images are versions of others, as their names say, in "
            f"{_counted(sizes)}; each group goes to one part"
        )
    sequences = frame_sequences(names, max_frames)
    if have_own_classes(sequences, has_class):
        notes.append(
            f"{len(sequences)} sequences of numbered names are divided, because each has other "
            "classes; --groups REGEX keeps images together whose names match alike"
        )
        sequences = []
    if sequences:
        count = f"{len(sequences)} groups of numbered frames stay"
        if len(sequences) == 1:
            count = "one group of numbered frames stays"
        rows = sequences[0]
        notes.append(
            f"{count} together, such as {names[rows[0]]} to {names[rows[-1]]} ({len(rows)} "
            f"images); --groups {NONE} divides them"
        )
    return joined(len(names), [*alike, *versions, *sequences]), notes


def frame_sequences(names: Sequence[str], max_frames: float) -> list[Group]:
    """Returns the images that are frames of one video, as far as names say so.

    Numbers mean nothing where all images are one sequence, where a sequence is larger than any
    part, or where a date stands before the number.
    """
    sequences = numbered_sequences(names)
    if len(sequences) < 2:
        return []
    return [
        rows for key, rows in sequences.items() if len(rows) <= max_frames and not is_dated(key)
    ]


def have_own_classes(sequences: Sequence[Group], has_class: np.ndarray) -> bool:
    """Whether most images of every class lie in one sequence, as if it had the class's name."""
    is_used = has_class.any(axis=0)
    if not sequences or not is_used.any():
        return False
    counts = np.stack([has_class[rows].sum(axis=0) for rows in sequences])[:, is_used]
    is_in_one = counts.max(axis=0) >= CLASS_SHARE * has_class.sum(axis=0)[is_used]
    return bool(is_in_one.all()) and len(set(counts.argmax(axis=0))) > 1


def groups_by_pattern(names: Sequence[str], pattern: str) -> tuple[list[Group], list[str]]:
    """Returns the images whose names give the same match, and messages about them.

    Where the pattern has groups, the first one that takes part in the match counts.
    """
    matches = [re.search(pattern, name) for name in names]
    keys = [
        match and next((x for x in match.groups() if x is not None), match[0]) for match in matches
    ]
    others = [name for name, key in zip(names, keys, strict=True) if key is None]
    if len(others) == len(names):
        example = f", such as {names[0]!r}" if names else ""
        raise ValueError(
            f"groups '{pattern}' matches none of {len(names)} names{example}; {_expected()}"
        )
    # A name that does not match is its own key, of another type than those that do.
    own = [(name,) if key is None else key for name, key in zip(names, keys, strict=True)]
    groups = _groups_of_equal_keys(own)
    sizes = [len(group) for group in groups if keys[group[0]] is not None]
    notes = [f"the names make {_counted(sizes)} images; each group goes to one part"]
    if others:
        notes.append(
            f"{len(others)} images do not match '{pattern}', such as {others[0]}; they are in no "
            "group"
        )
    return groups, notes


def consecutive_blocks(names: Sequence[str], shares: Sequence[float]) -> tuple[np.ndarray, int]:
    """Returns the part of each image, and the number of sequences that are cut into parts.

    The first images of a sequence go to the first part, and so on. Names of no sequence are
    cut in their order. What rounding gives a part too much in one sequence, it gets less in the
    next.
    """
    sequences = list(numbered_sequences(names).values())
    numbered = {row for rows in sequences for row in rows}
    rest = [row for row in range(len(names)) if row not in numbered]
    if rest:
        sequences.append(sorted(rest, key=lambda row: natural_order(names[row])))
    part_of = np.zeros(len(names), int)
    ends = np.cumsum(shares) / np.sum(shares)
    count = 0
    for rows in sequences:
        before, count = count, count + len(rows)
        cuts = np.floor(ends * count + 0.5) - np.floor(ends * before + 0.5)
        cuts = np.maximum.accumulate(cuts)
        part_of[rows] = np.searchsorted(cuts, np.arange(len(rows)), side="right")
    return part_of, len(sequences)


def joined(count: int, groups: Sequence[Group]) -> list[Group]:
    """Returns groups of all images; those that share an image become one."""
    return connected_groups(count, (pair for group in groups for pair in pairwise(group)))


def _groups_of_equal_keys(keys: Sequence[Hashable]) -> list[Group]:
    groups: dict[Hashable, Group] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def _sizes(groups: Sequence[Group]) -> list[int]:
    """Returns the sizes of the groups of several images."""
    return [len(group) for group in groups if len(group) > 1]


def _counted(sizes: Sequence[int]) -> str:
    return (
        f"one group of {sizes[0]}"
        if len(sizes) == 1
        else f"{len(sizes)} groups of up to {max(sizes)}"
    )


def _expected() -> str:
    return (
        f"expected {LOOK}, {BLOCKS}, {NONE}, or a regular expression that finds the group's name "
        r"in a file's, such as 'clip\d+'"
    )
