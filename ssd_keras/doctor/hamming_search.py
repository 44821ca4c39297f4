"""Which of many fingerprints are nearly the same, found without comparing each with each."""

import numpy as np
from tqdm import tqdm

LEAST_PARTS = 8
"""Then a part of 256 bits has at most 32."""


def near_pairs(looks: np.ndarray, most_bits: int, progress: bool = False) -> np.ndarray:
    """The pairs of fingerprints that differ in few bits.

    Cut all bits into more parts than may differ: of a near pair at least one part is the same in
    both (the pigeonhole principle), so only fingerprints that share a part are compared.
    """
    count = len(looks)
    parts = _parts(looks, max(LEAST_PARTS, most_bits + 1))
    if sum(map(_shared, parts)) > count * (count - 1) // 2:
        # So much is alike that it is less work to compare each with each: all share this part.
        parts = [np.zeros(count, np.int64)]
    found = np.zeros(0, np.int64)
    for part in tqdm(parts, "comparing images", leave=False, disable=not progress):
        found = np.union1d(found, _near_within(part, looks, most_bits))
    first, second = np.divmod(found, max(1, count))
    bits = np.bitwise_count(looks[first] ^ looks[second]).sum(axis=1, dtype=np.int64)
    return np.stack([first, second, bits], axis=1)


def _parts(looks: np.ndarray, count: int) -> list[np.ndarray]:
    """The parts of all fingerprints as numbers, int64 [n] each."""
    bits = np.unpackbits(np.ascontiguousarray(looks).view(np.uint8), axis=1)
    # A part's bits lie far from each other: neighbours are alike in the sky of every image.
    chosen = (bits[:, start::count] for start in range(min(count, bits.shape[1])))
    return [own @ (1 << np.arange(own.shape[1], dtype=np.int64)) for own in chosen]


def _shared(part: np.ndarray) -> int:
    """How many pairs have this part in common."""
    _, counts = np.unique(part, return_counts=True)
    return int(np.sum(counts * (counts - 1) // 2))


def _near_within(part: np.ndarray, looks: np.ndarray, most_bits: int) -> np.ndarray:
    """The near pairs among those that share a part, as row times the number of rows + later row."""
    count = len(part)
    order = np.argsort(part, kind="stable")
    part, words = part[order], looks[order].T.copy()
    found = [np.zeros(0, np.int64)]
    # All pairs of neighbours in this order, then of neighbours' neighbours, and so on.
    distance, left = 1, np.flatnonzero(part[1:] == part[:-1])
    while len(left):
        near, bits = left, np.zeros(len(left), np.int64)
        for word in words:  # the first 64 bits are enough for most strangers
            bits = bits + np.bitwise_count(word[near] ^ word[near + distance])
            is_near = bits <= most_bits
            near, bits = near[is_near], bits[is_near]
        found.append(order[near] * count + order[near + distance])
        distance += 1
        left = left[left + distance < count]
        left = left[part[left] == part[left + distance]]
    return np.concatenate(found)
