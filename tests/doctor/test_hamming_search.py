"""Near-equal hashes: the search finds what comparing all pairs finds."""

import numpy as np
import pytest

from ssd_keras.doctor import hamming_search
from ssd_keras.doctor.duplicates import MAX_DISTANCE
from ssd_keras.doctor.hamming_search import num_equal_pairs, pairs_within, split_bits


def every_pair(hashes, max_distance):
    """The oracle: compares each with each."""
    found = []
    for row in range(len(hashes)):
        bits = np.bitwise_count(hashes[row + 1 :] ^ hashes[row]).astype(int).sum(axis=1)
        later = np.flatnonzero(bits <= max_distance)
        found += [[row, row + 1 + int(index), int(bits[index])] for index in later]
    return found


def flipped(image_hash, positions):
    """A hash with other bits at some of its 256 positions."""
    mask = np.zeros(256, np.uint8)
    mask[list(positions)] = 1
    return image_hash ^ np.packbits(mask).view(np.uint64)


def test_planted_neighbours_are_found_up_to_the_last_bit():
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, (600, 4), dtype=np.uint64)
    # Neighbours of 0..28 other bits, at any position, scattered among random hashes.
    for bits in range(29):
        source, target = random.choice(600, 2, replace=False)
        hashes[target] = flipped(hashes[source], random.choice(256, bits, replace=False))
    expected = every_pair(hashes, MAX_DISTANCE)
    assert len(expected) >= 20 and {pair[2] for pair in expected} >= {0, MAX_DISTANCE}
    assert pairs_within(hashes, MAX_DISTANCE).tolist() == expected


def test_random_hashes_are_not_compared_with_each_other(monkeypatch):
    """A part of 10 or 11 bits is the same in one pair of 2 ** 10 or 2 ** 11."""
    hashes = np.random.default_rng(3).integers(0, 2**64, (300, 4), dtype=np.uint64)
    shared = []
    search = hamming_search._pairs_sharing
    monkeypatch.setattr(
        hamming_search,
        "_pairs_sharing",
        lambda part, *rest: shared.append(num_equal_pairs(part)) or search(part, *rest),
    )
    assert pairs_within(hashes, MAX_DISTANCE).tolist() == []
    assert len(shared) == MAX_DISTANCE + 1
    pairs = 300 * 299 / 2
    assert sum(shared) == pytest.approx(pairs * (6 / 2**11 + 19 / 2**10), rel=0.1)


def test_a_bit_in_every_part_but_one_is_the_limit():
    """Of 25 parts (bits 0, 25, 50 ..., bits 1, 26 ...) 24 bits leave one as it is."""
    image_hash = np.random.default_rng(1).integers(0, 2**64, 4, dtype=np.uint64)
    for free in range(25):
        positions = [part + 25 * (part % 10) for part in range(25) if part != free]
        pair = np.stack([image_hash, flipped(image_hash, positions)])
        assert pairs_within(pair, 24).tolist() == [[0, 1, 24]]
        pair = np.stack([image_hash, flipped(image_hash, [*positions, free])])
        assert pairs_within(pair, 24).tolist() == []
        # 24 bits in a row: one in each of 24 parts, had there been no more.
        pair = np.stack([image_hash, flipped(image_hash, range(9 * free, 9 * free + 24))])
        assert pairs_within(pair, 24).tolist() == [[0, 1, 24]]


@pytest.mark.parametrize("max_distance", [0, 3, 60, 200])
def test_hundreds_of_alike_images(max_distance):
    """Most have only two values: parts rule out little, so each is compared with each."""
    random = np.random.default_rng(2)
    hashes = np.repeat(random.integers(0, 2, (150, 1)).astype(np.uint64), 4, axis=1)
    hashes[::5] ^= random.integers(0, 2**64, (30, 4), dtype=np.uint64)
    parts = split_bits(hashes, hamming_search.MIN_PARTS)
    assert sum(map(num_equal_pairs, parts)) > 150 * 149 // 2
    assert pairs_within(hashes, max_distance).tolist() == every_pair(hashes, max_distance)


def test_opposite_hashes_and_single_ones():
    opposite = np.array([[0] * 4, [2**64 - 1] * 4], np.uint64)
    assert pairs_within(opposite, 24).tolist() == []  # 256 bits differ, which a byte holds as 0
    assert pairs_within(opposite[:1], 24).shape == pairs_within(opposite[:0], 24).shape == (0, 3)


def test_pairs_by_hand():
    hashes = np.array([[0, 0, 0, 7], [1, 1, 1, 1], [0, 0, 0, 1]], np.uint64)
    assert pairs_within(hashes, max_distance=3).tolist() == [[0, 2, 2], [1, 2, 3]]
