"""Search for pairs of near-equal 256-bit hashes, without comparing each with each."""

import numpy as np
from tqdm.auto import tqdm

MIN_PARTS = 8  # a part then has at most 32 of 256 bits


def pairs_within(hashes: np.ndarray, max_distance: int, progress: bool = False) -> np.ndarray:
    """Returns the pairs of hashes (uint64 [n, 4]) that differ in at most `max_distance` bits.

    The result is int64 [pairs, 3]: first row, later row, differing bits. The bits are cut into
    more parts than may differ: by the pigeonhole principle both hashes of a near pair have at
    least one equal part, so only hashes that share a part are compared.
    """
    count = len(hashes)
    parts = split_bits(hashes, max(MIN_PARTS, max_distance + 1))
    if sum(map(num_equal_pairs, parts)) > count * (count - 1) // 2:
        # Most hashes are alike: comparing each with each, as if all shared one part, is less work.
        parts = [np.zeros(count, np.int64)]
    found = np.zeros(0, np.int64)
    for part in tqdm(parts, "comparing images", leave=False, disable=not progress):
        found = np.union1d(found, _pairs_sharing(part, hashes, max_distance))
    first, second = np.divmod(found, max(1, count))
    bits = np.bitwise_count(hashes[first] ^ hashes[second]).sum(axis=1, dtype=np.int64)
    return np.stack([first, second, bits], axis=1)


def split_bits(hashes: np.ndarray, num_parts: int) -> list[np.ndarray]:
    """Returns each part of the bits as a number, int64 [n]."""
    bits = np.unpackbits(np.ascontiguousarray(hashes).view(np.uint8), axis=1)
    # A part's bits lie far from each other: neighbours are alike in the sky of every image.
    parts = (bits[:, start::num_parts] for start in range(min(num_parts, bits.shape[1])))
    return [part @ (1 << np.arange(part.shape[1], dtype=np.int64)) for part in parts]


def num_equal_pairs(part: np.ndarray) -> int:
    """Counts the pairs of hashes that have this part in common."""
    _, counts = np.unique(part, return_counts=True)
    return int(np.sum(counts * (counts - 1) // 2))


def _pairs_sharing(part: np.ndarray, hashes: np.ndarray, max_distance: int) -> np.ndarray:
    """Returns the near pairs with an equal part, each as row * number of rows + later row."""
    count = len(part)
    order = np.argsort(part, kind="stable")
    part, words = part[order], hashes[order].T.copy()
    found = [np.zeros(0, np.int64)]
    # All pairs of neighbours in this order, then of neighbours' neighbours, and so on.
    step, left = 1, np.flatnonzero(part[1:] == part[:-1])
    while len(left):
        first, bits = left, np.zeros(len(left), np.int64)
        for word in words:  # the first 64 bits rule out most pairs of different images
            bits = bits + np.bitwise_count(word[first] ^ word[first + step])
            first, bits = first[bits <= max_distance], bits[bits <= max_distance]
        found.append(order[first] * count + order[first + step])
        step += 1
        left = left[left + step < count]
        left = left[part[left] == part[left + step]]
    return np.concatenate(found)
