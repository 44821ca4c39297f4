"""Fingerprints that are nearly the same: the search finds what comparing all pairs finds."""

import numpy as np
import pytest

from ssd_keras.doctor import hamming_search as near
from ssd_keras.doctor.duplicates import NEAR_BITS
from ssd_keras.doctor.hamming_search import near_pairs


def every_pair(looks, most_bits):
    """The oracle: each with each."""
    found = []
    for row in range(len(looks)):
        bits = np.bitwise_count(looks[row + 1 :] ^ looks[row]).astype(int).sum(axis=1)
        later = np.flatnonzero(bits <= most_bits)
        found += [[row, row + 1 + int(index), int(bits[index])] for index in later]
    return found


def flipped(look, places):
    """A fingerprint with other bits at some of its 256 places."""
    mask = np.zeros(256, np.uint8)
    mask[list(places)] = 1
    return look ^ np.packbits(mask).view(np.uint64)


def test_planted_neighbours_are_found_up_to_the_last_bit():
    random = np.random.default_rng(0)
    looks = random.integers(0, 2**64, (600, 4), dtype=np.uint64)
    # Neighbours of 0..28 other bits, at places anywhere, scattered among strangers.
    for bits in range(29):
        source, target = random.choice(600, 2, replace=False)
        looks[target] = flipped(looks[source], random.choice(256, bits, replace=False))
    expected = every_pair(looks, NEAR_BITS)
    assert len(expected) >= 20 and {pair[2] for pair in expected} >= {0, NEAR_BITS}
    assert near_pairs(looks, NEAR_BITS).tolist() == expected


def test_strangers_are_not_compared_with_each_other(monkeypatch):
    """A part of 10 or 11 bits is the same in one pair of 2 ** 10 or 2 ** 11."""
    looks = np.random.default_rng(3).integers(0, 2**64, (300, 4), dtype=np.uint64)
    shared = []
    search = near._near_within
    monkeypatch.setattr(
        near,
        "_near_within",
        lambda part, *rest: shared.append(near._shared(part)) or search(part, *rest),
    )
    assert near_pairs(looks, NEAR_BITS).tolist() == []
    assert len(shared) == NEAR_BITS + 1
    pairs = 300 * 299 / 2
    assert sum(shared) == pytest.approx(pairs * (6 / 2**11 + 19 / 2**10), rel=0.1)


def test_a_bit_in_every_part_but_one_is_the_limit():
    """Of 25 parts (bits 0, 25, 50 ..., bits 1, 26 ...) 24 bits leave one as it is."""
    look = np.random.default_rng(1).integers(0, 2**64, 4, dtype=np.uint64)
    for free in range(25):
        places = [part + 25 * (part % 10) for part in range(25) if part != free]
        pair = np.stack([look, flipped(look, places)])
        assert near_pairs(pair, 24).tolist() == [[0, 1, 24]]
        pair = np.stack([look, flipped(look, [*places, free])])
        assert near_pairs(pair, 24).tolist() == []
        # 24 bits in a row: one in each of 24 parts, had there been no more.
        pair = np.stack([look, flipped(look, range(9 * free, 9 * free + 24))])
        assert near_pairs(pair, 24).tolist() == [[0, 1, 24]]


@pytest.mark.parametrize("most_bits", [0, 3, 60, 200])
def test_alike_images_by_the_hundred(most_bits):
    """Most have only four bits of their own: parts tell little, so each is compared with each."""
    random = np.random.default_rng(2)
    looks = np.repeat(random.integers(0, 2, (150, 1)).astype(np.uint64), 4, axis=1)
    looks[::5] ^= random.integers(0, 2**64, (30, 4), dtype=np.uint64)
    parts = near._parts(looks, near.LEAST_PARTS)
    assert sum(map(near._shared, parts)) > 150 * 149 // 2
    assert near_pairs(looks, most_bits).tolist() == every_pair(looks, most_bits)


def test_opposites_and_few_are_no_trouble():
    opposite = np.array([[0] * 4, [2**64 - 1] * 4], np.uint64)
    assert near_pairs(opposite, 24).tolist() == []  # 256 bits differ, which a byte holds as 0
    assert near_pairs(opposite[:1], 24).shape == near_pairs(opposite[:0], 24).shape == (0, 3)
