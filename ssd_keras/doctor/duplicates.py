"""Finds broken images, duplicates and near-duplicates, within a split and between splits."""

import hashlib
import io
import os
import sys
from collections.abc import Iterable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from PIL.PngImagePlugin import PngImageFile
from tqdm.contrib.concurrent import thread_map

from ssd_keras.core.image_formats import JPEG, PNG
from ssd_keras.core.images import open_image
from ssd_keras.core.progress import bar_options
from ssd_keras.core.text import short_list
from ssd_keras.data.problems import ProblemKind
from ssd_keras.data.records import Example
from ssd_keras.data.splits import Split
from ssd_keras.doctor.findings import Finding, FindingKind
from ssd_keras.doctor.likeness import Thumbnail, alike_pairs, make_thumbnail
from ssd_keras.doctor.truncated_jpeg import missing_row_share

MAX_NAMES = 3  # of the images of a group, beside the first

ImageIndex = tuple[int, int]  # of the split, and of the example in it


class Fingerprint(NamedTuple):
    """What identifies an image, or why it is broken."""

    checksum: bytes  # of the encoded bytes; empty where the file cannot be read
    thumbnail: Thumbnail | None  # None for broken images
    error: str = ""


class DuplicateGroup(NamedTuple):
    """Images of equal or nearly equal content."""

    members: list[ImageIndex]  # the most alike pair first, of two splits if there is one
    is_exact: bool  # all are the same bytes
    min_correlation: float  # of the pairs found; 1 for exact duplicates

    @property
    def splits(self) -> tuple[int, ...]:
        """The splits that have a member; more than one is a leak."""
        return tuple(sorted({split for split, _ in self.members}))


def fingerprint_image(example: Example) -> Fingerprint:
    """Decodes the whole image."""
    checksum = b""
    try:
        data = example.read()
        checksum = hashlib.blake2b(data, digest_size=16).digest()
        image, header = open_image(io.BytesIO(data), sys.maxsize)  # readers know the limit
        if header.format == PNG.name:
            PngImageFile(io.BytesIO(data)).verify()  # checksums, which TensorFlow's decoder checks
        thumbnail = make_thumbnail(image, example)
        missing = missing_row_share(data, image) if header.format == JPEG.name else 0.0
    # Pillow's plugins raise SyntaxError, struct.error, KeyError and more for broken files.
    except Exception as error:
        reason = str(error) or type(error).__name__
        return Fingerprint(checksum, None, f"cannot be decoded ({reason})")
    if missing:
        what = f"the data end early: the decoder makes up the last {missing:.0%} of the rows"
        return Fingerprint(checksum, None, f"{what}; copy the file again")
    return Fingerprint(checksum, thumbnail)


def fingerprint_images(splits: Sequence[Split], progress: bool = False) -> list[list[Fingerprint]]:
    """Returns the fingerprints of each split's images."""
    options = {"max_workers": 8, "desc": "decoding images", "leave": False}
    return [
        thread_map(fingerprint_image, split.data.examples, **bar_options(progress), **options)
        for split in splits
    ]


def find_duplicates(
    fingerprints: Sequence[Sequence[Fingerprint]], progress: bool = False
) -> list[DuplicateGroup]:
    """Returns groups of duplicates and of near-duplicates; leaks first, then the largest."""
    members_of: dict[bytes, list[ImageIndex]] = {}
    thumbnails: dict[bytes, Thumbnail] = {}
    for s, of_split in enumerate(fingerprints):
        for i, (checksum, thumbnail, _) in enumerate(of_split):
            if checksum:
                members_of.setdefault(checksum, []).append((s, i))
            if thumbnail is not None:
                thumbnails.setdefault(checksum, thumbnail)
    exact = [
        DuplicateGroup(_most_telling_first(members, product(members[:1], members[1:])), True, 1.0)
        for members in members_of.values()
        if len(members) > 1
    ]
    contents = [members_of[checksum] for checksum in thumbnails]
    near = _near_duplicates(contents, *alike_pairs(list(thumbnails.values()), progress))
    return sorted(exact + near, key=lambda group: (len(group.splits) == 1, -len(group.members)))


def connected_groups(count: int, pairs: Iterable[Sequence[int]]) -> list[list[int]]:
    """Returns the connected components of a graph; SciPy, which has them, is not required."""
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for first, second in pairs:
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    groups: dict[int, list[int]] = {}
    for node in range(count):
        groups.setdefault(root(node), []).append(node)
    return list(groups.values())


def _near_duplicates(
    contents: Sequence[Sequence[ImageIndex]], pairs: np.ndarray, correlations: np.ndarray
) -> list[DuplicateGroup]:
    """Joins the pairs of contents that look alike to groups of images."""
    groups = connected_groups(len(contents), pairs.tolist())
    group_of = {row: number for number, rows in enumerate(groups) for row in rows}
    links_of: dict[int, list[int]] = {}
    for link in np.argsort(-correlations, kind="stable").tolist():
        links_of.setdefault(group_of[int(pairs[link, 0])], []).append(link)
    found = []
    for number, links in sorted(links_of.items()):
        alike = (
            pair for link in links for pair in product(*(contents[row] for row in pairs[link]))
        )
        members = sorted(member for row in groups[number] for member in contents[row])
        least = float(correlations[links[-1]])
        found.append(DuplicateGroup(_most_telling_first(members, alike), False, least))
    return found


def _most_telling_first(
    members: Sequence[ImageIndex], pairs: Iterable[tuple[ImageIndex, ImageIndex]]
) -> list[ImageIndex]:
    """Puts the first pair between two splits, else the first pair, before the other members."""
    pairs = iter(pairs)
    first = next(pairs)
    pair = next((pair for pair in (first, *pairs) if pair[0][0] != pair[1][0]), first)
    return [*sorted(pair), *(member for member in members if member not in pair)]


def broken_image_findings(split: Split, fingerprints: Sequence[Fingerprint]) -> list[Finding]:
    """Returns the images that cannot be decoded to their last row."""
    return [
        Finding(ProblemKind.BROKEN_IMAGE, example.location, fingerprint.error)
        for example, fingerprint in zip(split.data.examples, fingerprints, strict=True)
        if fingerprint.error
    ]


def duplicate_findings(splits: Sequence[Split], groups: Sequence[DuplicateGroup]) -> list[Finding]:
    """Returns a finding for each group; those between splits (leaks) come first."""
    found: dict[tuple[FindingKind, tuple[int, ...]], list[DuplicateGroup]] = {}
    for group in groups:
        is_leak = len(group.splits) > 1
        if group.is_exact:
            kind = FindingKind.LEAK if is_leak else FindingKind.DUPLICATE
        else:
            kind = FindingKind.NEAR_LEAK if is_leak else FindingKind.NEAR_DUPLICATE
        found.setdefault((kind, group.splits if is_leak else ()), []).append(group)
    return [
        Finding(kind, location, detail, _title_words(splits, of_kind, indices))
        for (kind, indices), of_kind in found.items()
        for location, detail in (_describe(splits, group) for group in of_kind)
    ]


def _title_words(
    splits: Sequence[Split], groups: Sequence[DuplicateGroup], indices: Sequence[int]
) -> tuple[str, ...]:
    """Returns the names of the splits that a leak joins, and the number of images in groups."""
    names = [" and ".join(splits[s].name for s in indices)] if indices else []
    return (*names, str(sum(len(group.members) for group in groups)))


def _describe(splits: Sequence[Split], group: DuplicateGroup) -> tuple[str, str]:
    """Returns the first image's location, and how the others, without its folder, are alike."""
    examples = [splits[s].data.examples[i] for s, i in group.members]
    first, *others = examples
    folder = os.path.join(os.path.dirname(first.location), "")
    names = [example.location.removeprefix(folder) for example in others]
    if len(group.splits) > 1:
        of_others = [splits[s].name for s, _ in group.members[1:]]
        names = [f"{name} ({split})" for name, split in zip(names, of_others, strict=True)]
    listed = short_list(names, MAX_NAMES)
    if not group.is_exact:
        least = f"{group.min_correlation:.2f}" + (" or more" if len(others) > 1 else "")
        return first.location, f"looks like {listed} (correlation {least})"
    same = all(_same_objects(first, other) for other in others)
    return first.location, f"is {listed}" + ("" if same else ", with other boxes")


def _same_objects(first: Example, second: Example) -> bool:
    return np.array_equal(first.boxes, second.boxes) and np.array_equal(first.labels, second.labels)
