"""What is wrong with the images themselves: broken, duplicated, or in two splits at once."""

import hashlib
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from ssd_keras.data.image_files import SIGNATURES
from ssd_keras.data.readers.assemble import map_in_threads
from ssd_keras.data.records import Example
from ssd_keras.data.splits import Split
from ssd_keras.doctor.findings import Finding
from ssd_keras.doctor.hamming_search import near_pairs
from ssd_keras.doctor.truncated_jpeg import missing_share

HASH_SIDE = 16
NEAR_BITS = 24
"""Images that differ in at most so many of the 256 bits look alike; strangers differ in 128."""
LEAST_CONTRAST = 4.0
"""Grey levels, as a standard deviation: the bits of flatter images are noise."""


class Fingerprint(NamedTuple):
    """An image's content: of its bytes, of its looks (None: too flat to tell), or why it has none.

    `looks` is uint64 [4]: at each place of a 16 by 16 grid, whether it gets brighter to the right.
    """

    content: bytes
    looks: np.ndarray | None
    broken: str = ""


class Twins(NamedTuple):
    """Two images of the same content; each is (split's index, example's index)."""

    first: tuple[int, int]
    second: tuple[int, int]
    is_exact: bool
    bits: int


def take_fingerprint(example: Example) -> Fingerprint:
    """Decodes the whole image and sums it up."""
    content = b""
    try:
        data = example.read()
        content = hashlib.blake2b(data, digest_size=16).digest()
        with Image.open(io.BytesIO(data)) as image:
            looks = image_bits(image)
            missing = missing_share(data, image) if data.startswith(SIGNATURES["JPEG"]) else 0.0
    # Pillow's plugins raise SyntaxError, struct.error, KeyError and more for broken files.
    except Exception as error:
        reason = str(error) or type(error).__name__
        return Fingerprint(content, None, f"cannot be decoded ({reason})")
    if missing:
        what = f"its data end early: the last {missing:.0%} of its rows are made up by the decoder"
        return Fingerprint(content, None, f"{what}; copy it again")
    return Fingerprint(content, looks)


def image_bits(image: Image.Image) -> np.ndarray | None:
    """The looks of an image in 256 bits, which survive another size or compression."""
    size = (HASH_SIDE + 1, HASH_SIDE)
    grey = np.asarray(image.convert("L").resize(size, Image.Resampling.BOX), np.int16)
    if grey.std() < LEAST_CONTRAST:
        return None
    return np.packbits(grey[:, 1:] > grey[:, :-1]).view(np.uint64)


def take_fingerprints(splits: Sequence[Split], progress: bool = False) -> list[list[Fingerprint]]:
    """The fingerprints of all images."""
    return [
        map_in_threads(take_fingerprint, split.data.examples, "decoding images", progress)
        for split in splits
    ]


def find_twins(prints: Sequence[Sequence[Fingerprint]], progress: bool = False) -> list[Twins]:
    """Images that are the same, or look the same."""
    places = [(s, i) for s, own in enumerate(prints) for i in range(len(own))]
    flat = [prints[s][i] for s, i in places]
    found: list[Twins] = []
    first_of: dict[bytes, int] = {}
    unique: list[int] = []
    for index, own in enumerate(flat):
        if not own.content:
            continue
        if own.content in first_of:
            found.append(Twins(places[first_of[own.content]], places[index], True, 0))
        else:
            first_of[own.content] = index
            if own.looks is not None:
                unique.append(index)
    looks = np.array([flat[index].looks for index in unique], np.uint64).reshape(-1, 4)
    for row, other, bits in near_pairs(looks, NEAR_BITS, progress).tolist():
        found.append(Twins(places[unique[row]], places[unique[other]], False, bits))
    return found


def broken_findings(split: Split, prints: Sequence[Fingerprint]) -> list[Finding]:
    """The images that cannot be decoded to their last row."""
    pairs = zip(split.data.examples, prints, strict=True)
    return [
        Finding("broken images", example.place, own.broken) for example, own in pairs if own.broken
    ]


def twin_findings(splits: Sequence[Split], twins: Sequence[Twins]) -> list[Finding]:
    """Duplicates within a split, and leaks between splits."""
    found = []
    for pair in twins:
        first, second = (splits[s].data.examples[i] for s, i in (pair.first, pair.second))
        names = [splits[s].name for s, _ in (pair.first, pair.second)]
        if names[0] == names[1]:
            kind = "duplicate images" if pair.is_exact else "images that look alike"
        else:
            kind = f"images of {names[0]} that are in {names[1]} too"
            kind += "" if pair.is_exact else ", nearly the same"
        what = f"is {first.place}" if pair.is_exact else f"looks like {first.place}"
        what += f" ({pair.bits} of 256 bits differ)" if not pair.is_exact else ""
        if pair.is_exact and not _same_objects(first, second):
            what += ", with other boxes"
        found.append(Finding(kind, second.place, what))
    return found


def _same_objects(first: Example, second: Example) -> bool:
    return np.array_equal(first.boxes, second.boxes) and np.array_equal(first.labels, second.labels)
