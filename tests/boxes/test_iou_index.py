"""The pairs that matter: none is missing, on any default boxes, and their IoUs are exact."""

import numpy as np
import oracle
import pytest
import tensorflow as tf
from matching import all_pairs

from ssd_keras.boxes.iou import pairwise_iou
from ssd_keras.boxes.iou_index import IoUIndex
from ssd_keras.boxes.matching import match_pairs, match_with_index

SSD300 = oracle.default_boxes(
    (300, 300),
    [(38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1)],
    (30, 60, 111, 162, 213, 264, 315),
    [(2,), (2, 3), (2, 3), (2, 3), (2,), (2,)],
    steps=(8, 16, 32, 64, 100, 300),
)
WIDE = oracle.default_boxes((64, 160), [(4, 10), (2, 5)], (20, 45, 80), [(2, 3), (2,)], clip="size")


def scattered(generator, count):
    """Boxes anywhere, that share no intervals: tiny ones, and larger than the image."""
    size = np.exp(generator.uniform(np.log(0.01), np.log(1.5), (count, 2)))
    centre = generator.uniform(-0.1, 1.1, (count, 2))
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1)


def default_box_sets():
    generator = np.random.default_rng(0)
    yield "SSD300", SSD300[:: generator.integers(5, 9)]
    yield "SSD300 of its first map", SSD300[3:5776:4]
    yield "wide image", WIDE
    yield "scattered", scattered(generator, 250)
    corners = np.sort(generator.integers(0, 9, (150, 2, 2)), axis=1) / 8  # some of no area
    yield "few intervals, repeated", corners.reshape(-1, 4)
    yield "one", scattered(generator, 1)
    yield "shuffled", generator.permutation(SSD300)[:400]


@pytest.mark.parametrize(("name", "default_boxes"), list(default_box_sets()))
def test_no_pair_that_matters_is_missing(name, default_boxes):
    generator = np.random.default_rng(len(default_boxes))
    default_boxes = default_boxes.astype("float32")
    index = IoUIndex(default_boxes)
    boxes = scattered(generator, 40).astype("float32")
    boxes[:8] = default_boxes[generator.integers(len(default_boxes), size=8)]
    boxes[8:12, :2] += 0.3 * (boxes[8:12, 2:] - boxes[8:12, :2])
    boxes[12:15] = [[0.2, 0.3, 0.2, 0.8], [0, 0, 0, 0], [4, 4, 5, 5]]  # overlap nothing
    exact = oracle.iou_matrix(boxes, default_boxes)
    full = pairwise_iou(boxes, default_boxes)
    for threshold in (0.3, 0.5, 1.0):
        pairs, is_complete = index.pairs(tf.constant(boxes), threshold)
        truth, box = pairs.ground_truth.numpy(), pairs.default_box.numpy()
        is_found = np.zeros_like(full, bool)
        is_found[truth, box] = True
        assert is_found.sum() == len(truth)  # none twice
        np.testing.assert_array_equal(pairs.iou, full[truth, box])
        assert is_found[exact >= threshold + 1e-6].all()
        # More of its best, down to three quarters of that; 1e-6 and less count as nothing.
        best = exact.max(axis=1, keepdims=True)
        assert is_found[(exact >= 0.7501 * best) & (exact > 1.1e-6)].all()
        assert not is_found[exact < 0.9e-6].any()
        everything = (is_found | (exact < 1.1e-6)).all(axis=1)
        assert everything[is_complete.numpy()].all()
        # The order that decides ties: of each default box the lower ground truth comes first, and
        # of each ground truth the lower default box.
        assert (np.diff(box * len(boxes) + truth) > 0).all()


def test_pairs_by_hand():
    # A box over the upper left quarter but for a fifth of its width, and one that lies apart.
    default_boxes = np.array([[0, 0.5, 0.5, 1], [0, 0, 0.5, 0.5], [0, 0, 0.5, 0.3]], "float32")
    boxes = tf.constant([[0, 0, 0.5, 0.4], [0.6, 0, 0.9, 0.9]])
    pairs, is_complete = IoUIndex(default_boxes).pairs(boxes, 0.5)
    # .2 / .25 with box 1 and .15 / .2 with box 2; of the best, .8, everything from .6 on, but the
    # threshold is lower.
    np.testing.assert_array_equal(pairs.ground_truth, [0, 0])
    np.testing.assert_array_equal(pairs.default_box, [1, 2])
    np.testing.assert_allclose(pairs.iou, [0.8, 0.75], atol=1e-6)
    np.testing.assert_array_equal(is_complete, [False, True])


def test_all_pairs_of_a_matrix():
    iou = np.array([[0.5, 0, 1e-6], [1.1e-6, 0.25, 0]], "float32")
    pairs = all_pairs(iou)
    np.testing.assert_array_equal(pairs.ground_truth, [0, 1, 1])
    np.testing.assert_array_equal(pairs.default_box, [0, 0, 1])
    np.testing.assert_allclose(pairs.iou, [0.5, 1.1e-6, 0.25])


@pytest.fixture
def attempts(monkeypatch):
    """For each attempt to match, how many ground truths it looks at whole."""
    counts = []
    pairs = IoUIndex.pairs

    def counted(index, boxes, threshold, is_whole):
        counts.append(np.count_nonzero(is_whole))
        return pairs(index, boxes, threshold, is_whole)

    monkeypatch.setattr(IoUIndex, "pairs", counted)
    return counts


def crowd(generator, count, smallest, largest):
    """Boxes around the middle."""
    size = np.exp(generator.uniform(np.log(smallest), np.log(largest), (count, 2)))
    centre = generator.uniform(0.3, 0.7, (count, 2))
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1).astype("float32")


def match_as_all_pairs(index, boxes, threshold=0.5):
    """Matches by the index, and compares that with matching of all pairs."""
    matched, claimed = match_with_index(index, tf.constant(boxes), threshold)
    pairs = all_pairs(pairwise_iou(boxes, index.default_boxes))
    expected = match_pairs(pairs, len(boxes), len(index.default_boxes), threshold)
    np.testing.assert_array_equal(matched, expected[0])
    np.testing.assert_array_equal(claimed, expected[1])
    return matched, claimed


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_matching_with_the_index_equals_that_of_all_pairs(attempts, threshold):
    generator = np.random.default_rng(1)
    default_boxes = SSD300[1::3].astype("float32")
    index = IoUIndex(default_boxes)
    num_positive = 0
    for count, *sizes in [(1, 0.1, 0.2), (30, 0.01, 0.05), (60, 0.02, 0.9), (90, 0.02, 0.06)]:
        boxes = crowd(generator, count, *sizes)
        matched, claimed = match_as_all_pairs(index, boxes, threshold)
        assert (claimed.numpy() >= 0).all()
        num_positive += (matched.numpy() >= 0).sum()
    assert num_positive > 200 and attempts == [0] * 4


def test_crowds_that_come_short_match_as_with_all_pairs(attempts):
    generator = np.random.default_rng(2)
    default_boxes = SSD300[1::9].astype("float32")
    index = IoUIndex(default_boxes)
    for count, *sizes in [(150, 0.02, 0.06), (320, 0.02, 0.3), (320, 0.2, 0.6)]:
        boxes = crowd(generator, count, *sizes)
        match_as_all_pairs(index, boxes)
    assert attempts.count(0) == 3 and len(attempts) > 6 and max(attempts) < 320


def test_a_crowd_of_nearly_equal_boxes_claims_all_it_can(attempts):
    default_boxes = WIDE.astype("float32")
    index = IoUIndex(default_boxes)
    # Sixty times nearly the same box: the last claim default boxes of a low IoU.
    boxes = np.float32([0.3, 0.3, 0.7, 0.5]) + np.linspace(0, 0.01, 60, dtype="float32")[:, None]
    expected = oracle.match(boxes, default_boxes)
    matched, claimed = match_with_index(index, tf.constant(boxes))
    np.testing.assert_array_equal(matched, expected)
    assert attempts[0] == 0 and 0 < attempts[-1] < 60
    claimed_iou = pairwise_iou(boxes, default_boxes)[np.arange(60), claimed]
    assert (claimed.numpy() >= 0).all() and claimed_iou.min() < claimed_iou.max() / 2
