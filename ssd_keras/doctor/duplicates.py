"""Finds broken images, duplicates and near-duplicates, within a split and between splits."""

import hashlib
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm.contrib.concurrent import thread_map

from ssd_keras.core.image_formats import JPEG_SIGNATURE
from ssd_keras.data.problems import ProblemKind
from ssd_keras.data.records import Example
from ssd_keras.data.splits import Split
from ssd_keras.doctor.findings import Finding, FindingKind
from ssd_keras.doctor.hamming_search import pairs_within
from ssd_keras.doctor.truncated_jpeg import missing_row_share

HASH_SIDE = 16
MAX_DISTANCE = 24  # of 256 bits between near-duplicates; different images differ in 128
MIN_CONTRAST = 4.0  # standard deviation in grey levels: the hash of flatter images is noise


class Fingerprint(NamedTuple):
    """What identifies an image, or why it is broken."""

    checksum: bytes  # of the encoded bytes; empty where the file cannot be read
    difference_hash: np.ndarray | None  # uint64 [4]; None for flat images
    error: str = ""


class Duplicate(NamedTuple):
    """Two images of equal or nearly equal content, each as (split index, example index)."""

    first: tuple[int, int]
    second: tuple[int, int]
    is_exact: bool
    distance: int  # number of differing bits of the hashes


def fingerprint_image(example: Example) -> Fingerprint:
    """Decodes the whole image."""
    checksum = b""
    try:
        data = example.read()
        checksum = hashlib.blake2b(data, digest_size=16).digest()
        with Image.open(io.BytesIO(data)) as image:
            image_hash = difference_hash(image)
            missing = missing_row_share(data, image) if data.startswith(JPEG_SIGNATURE) else 0.0
    # Pillow's plugins raise SyntaxError, struct.error, KeyError and more for broken files.
    except Exception as error:
        reason = str(error) or type(error).__name__
        return Fingerprint(checksum, None, f"cannot be decoded ({reason})")
    if missing:
        what = f"the data end early: the decoder makes up the last {missing:.0%} of the rows"
        return Fingerprint(checksum, None, f"{what}; copy the file again")
    return Fingerprint(checksum, image_hash)


def difference_hash(image: Image.Image) -> np.ndarray | None:
    """Returns 256 bits that survive another size or compression: where it gets brighter in x."""
    size = (HASH_SIDE + 1, HASH_SIDE)
    grey = np.asarray(image.convert("L").resize(size, Image.Resampling.BOX), np.int16)
    if grey.std() < MIN_CONTRAST:
        return None
    return np.packbits(grey[:, 1:] > grey[:, :-1]).view(np.uint64)


def fingerprint_images(splits: Sequence[Split], progress: bool = False) -> list[list[Fingerprint]]:
    """Returns the fingerprints of each split's images."""
    options = {"max_workers": 8, "desc": "decoding images", "leave": False}
    return [
        thread_map(fingerprint_image, split.data.examples, disable=not progress, **options)
        for split in splits
    ]


def find_duplicates(
    fingerprints: Sequence[Sequence[Fingerprint]], progress: bool = False
) -> list[Duplicate]:
    """Returns duplicates and, behind them, near-duplicates among the first of each content."""
    indexed = [
        ((s, i), fingerprint)
        for s, of_split in enumerate(fingerprints)
        for i, fingerprint in enumerate(of_split)
    ]
    found: list[Duplicate] = []
    first_of: dict[bytes, tuple[int, int]] = {}
    hashed: list[tuple[tuple[int, int], np.ndarray]] = []
    for index, (checksum, image_hash, _) in indexed:
        if not checksum:
            continue
        if checksum in first_of:
            found.append(Duplicate(first_of[checksum], index, True, 0))
        else:
            first_of[checksum] = index
            if image_hash is not None:
                hashed.append((index, image_hash))
    hashes = np.array([image_hash for _, image_hash in hashed], np.uint64).reshape(-1, 4)
    for first, second, distance in pairs_within(hashes, MAX_DISTANCE, progress).tolist():
        found.append(Duplicate(hashed[first][0], hashed[second][0], False, distance))
    return found


def broken_image_findings(split: Split, fingerprints: Sequence[Fingerprint]) -> list[Finding]:
    """Returns the images that cannot be decoded to their last row."""
    return [
        Finding(ProblemKind.BROKEN_IMAGE, example.location, fingerprint.error)
        for example, fingerprint in zip(split.data.examples, fingerprints, strict=True)
        if fingerprint.error
    ]


def duplicate_findings(splits: Sequence[Split], duplicates: Sequence[Duplicate]) -> list[Finding]:
    """Returns the duplicates within a split, and those between splits (leaks)."""
    found = []
    for pair in duplicates:
        (s, i), (t, j) = pair.first, pair.second
        first, second = splits[s].data.examples[i], splits[t].data.examples[j]
        if pair.is_exact:
            kind = FindingKind.DUPLICATE if s == t else FindingKind.LEAK
            detail = f"is {first.location}"
            detail += "" if _same_objects(first, second) else ", with other boxes"
        else:
            kind = FindingKind.NEAR_DUPLICATE if s == t else FindingKind.NEAR_LEAK
            detail = f"looks like {first.location} ({pair.distance} of 256 bits differ)"
        names = () if s == t else (splits[s].name, splits[t].name)
        found.append(Finding(kind, second.location, detail, names))
    return found


def _same_objects(first: Example, second: Example) -> bool:
    return np.array_equal(first.boxes, second.boxes) and np.array_equal(first.labels, second.labels)
