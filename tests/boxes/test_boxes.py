"""Boxes: IoU, encoding and decoding, against numbers worked by hand and the oracle."""

import math

import numpy as np
import oracle
import pytest
import tensorflow as tf
from keras import ops

from ssd_keras.boxes.coding import decode_boxes, encode_boxes
from ssd_keras.boxes.default_boxes import VARIANCES
from ssd_keras.boxes.formats import convert_boxes
from ssd_keras.boxes.iou import iou, paired_iou, pairwise_iou

ODD_VARIANCES = (0.1, 0.2, 0.25, 0.5)  # one number for each coordinate, so that a swap shows


def random_boxes(generator, count):
    """Relative yxyx boxes float32 [count, 4] inside the image, sides of 0.02 to 0.9."""
    size = np.exp(generator.uniform(math.log(0.02), math.log(0.9), (count, 2)))
    corner = generator.uniform(0.0, 1.0, (count, 2)) * (1 - size)
    return np.concatenate([corner, corner + size], axis=1).astype("float32")


@pytest.mark.parametrize(
    ("box", "other", "expected"),
    [
        # half over the other: .5 * .25 = .125; union .25 + .25 - .125 = .375
        ((0.0, 0.0, 0.5, 0.5), (0.0, 0.25, 0.5, 0.75), 1 / 3),
        # inside the other: .2 * .4 = .08 of .8 * .8 = .64
        ((0.1, 0.1, 0.9, 0.9), (0.3, 0.5, 0.5, 0.9), 0.125),
        # across the image's border: .2 * .2 = .04; union .16 + .08 - .04 = .2
        ((-0.1, -0.1, 0.3, 0.3), (0.1, 0.1, 0.3, 0.5), 0.2),
        ((0.2, 0.3, 0.4, 0.8), (0.2, 0.3, 0.4, 0.8), 1.0),  # itself
        ((0.0, 0.0, 0.5, 0.5), (0.0, 0.5, 0.5, 1.0), 0.0),  # a common edge
        ((0.0, 0.0, 0.2, 0.2), (0.0, 0.7, 0.2, 0.9), 0.0),  # apart in x alone
        ((0.0, 0.0, 0.2, 0.2), (0.6, 0.7, 0.9, 0.9), 0.0),  # apart in both: minus times minus
        ((0.5, 0.5, 0.5, 0.5), (0.5, 0.5, 0.5, 0.5), 0.0),  # two points: 0 / 0
        ((0.5, 0.2, 0.5, 0.8), (0.5, 0.2, 0.5, 0.8), 0.0),  # two lines
        ((0.5, 0.2, 0.5, 0.8), (0.1, 0.1, 0.9, 0.9), 0.0),  # a line inside a box
    ],
)
def test_iou_by_hand(box, other, expected):
    for one, two in ((box, other), (other, box)):
        iou = pairwise_iou(np.array([one], "float32"), np.array([two], "float32"))
        np.testing.assert_allclose(iou, [[expected]], atol=1e-6)


def test_iou_has_a_row_for_each_box_and_a_column_for_each_default_box():
    boxes, default_boxes = np.split(random_boxes(np.random.default_rng(1), 57), [17])
    expected = oracle.iou_matrix(boxes, default_boxes)
    assert expected.shape == (17, 40) and (expected > 0.3).sum() > 5
    # Largest difference seen: 4e-8.
    np.testing.assert_allclose(pairwise_iou(boxes, default_boxes), expected, atol=3e-7)


@pytest.mark.backends
@pytest.mark.parametrize("xp", [tf, ops], ids=["tensorflow", "keras.ops"])
def test_every_library_gives_the_same_bits(xp):
    generator = np.random.default_rng(6)
    boxes, others = random_boxes(generator, 5000), random_boxes(generator, 5000)
    boxes[:100] = others[:100]
    boxes[50:150, 2] = boxes[50:150, 0]  # no area
    expected = paired_iou(boxes, others)
    assert expected.dtype == np.float32 and (expected > 0.1).sum() > 100
    tensors = [xp.convert_to_tensor(each) for each in (boxes, others)]
    np.testing.assert_array_equal(paired_iou(*tensors, xp), expected)
    matrix = pairwise_iou(*(each[:200] for each in tensors), xp)
    np.testing.assert_array_equal(matrix, pairwise_iou(boxes[:200], others[:200]))
    deltas = generator.normal(0, 2, (5000, 4)).astype("float32")
    decoded = decode_boxes(deltas, others, ODD_VARIANCES)
    found = decode_boxes(xp.convert_to_tensor(deltas), tensors[1], ODD_VARIANCES, xp)
    # NumPy computes exponentials and logarithms by other routines.
    np.testing.assert_allclose(found, decoded, rtol=2e-6, atol=1e-6)
    found = encode_boxes(xp.convert_to_tensor(decoded), tensors[1], ODD_VARIANCES, xp)
    encoded = encode_boxes(decoded, others, ODD_VARIANCES)
    np.testing.assert_allclose(found, encoded, rtol=2e-6, atol=1e-6)
    assert decoded.dtype == encoded.dtype == np.float32


def test_iou_of_intervals():
    # From 0 to .4 and from .1 to .5: .3 of .5.
    assert iou((np.float32(0), np.float32(0.4)), (0.1, 0.5), np) == pytest.approx(0.6)
    # Of no length: 0 / 0.
    assert iou((np.float32(0.2), np.float32(0.2)), (0.2, 0.2), np) == 0


SCENE = {  # one box in an image of 40 x 100 pixels (height x width)
    "yxyx": [10, 20, 30, 50],
    "xyxy": [20, 10, 50, 30],
    "xywh": [20, 10, 30, 20],
    "rel_yxyx": [0.25, 0.2, 0.75, 0.5],
    "rel_xyxy": [0.2, 0.25, 0.5, 0.75],
    "rel_xywh": [0.2, 0.25, 0.3, 0.5],
}


@pytest.mark.parametrize("target", SCENE)
@pytest.mark.parametrize("source", SCENE)
def test_one_box_in_every_format(source, target):
    found = convert_boxes([SCENE[source]], source, target, (40, 100))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [SCENE[target]], rtol=1e-12)
    assert convert_boxes([], source, target, (40, 100)).shape == (0, 4)


def test_unknown_box_format():
    with pytest.raises(ValueError, match=r"^box_format='xxyy' is unknown; choose one of yxyx, xy"):
        convert_boxes([], "xyxy", "xxyy")


def test_iou_of_no_boxes_is_empty():
    default_boxes = np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5]], "float32")
    assert pairwise_iou(np.zeros((0, 4), "float32"), default_boxes).shape == (0, 2)


def test_encode_and_decode_by_hand():
    # Default box: centre (y, x) = (.4, .2), .4 high, .2 wide.
    default_box = np.array([[0.2, 0.1, 0.6, 0.3]], "float32")
    # Box: centre (.6, .25), .6 high, .1 wide.
    box = np.array([[0.3, 0.2, 0.9, 0.3]], "float32")
    expected = [
        [
            5.0,  # (.6 - .4) / .4 / .1
            1.25,  # (.25 - .2) / .2 / .2
            math.log(1.5) * 4,  # log(.6 / .4) / .25
            math.log(0.5) * 2,  # log(.1 / .2) / .5
        ]
    ]
    deltas = encode_boxes(box, default_box, ODD_VARIANCES)
    np.testing.assert_allclose(deltas, expected, atol=2e-6)
    decoded = decode_boxes(np.array(expected, "float32"), default_box, ODD_VARIANCES)
    np.testing.assert_allclose(decoded, box, atol=1e-7)


def test_default_variances_are_the_reciprocals_of_torchvisions_weights():
    boxes, default_boxes = np.split(random_boxes(np.random.default_rng(2), 40), 2)
    weights = np.array([10.0, 10.0, 5.0, 5.0], "float32")
    np.testing.assert_allclose(VARIANCES, 1 / weights)
    unweighted = encode_boxes(boxes, default_boxes, (1.0, 1.0, 1.0, 1.0))
    deltas = encode_boxes(boxes, default_boxes)
    assert np.abs(deltas).max() > 10
    np.testing.assert_allclose(deltas, weights * unweighted, rtol=1e-6)


def test_thousand_boxes_against_the_oracle_and_back():
    generator = np.random.default_rng(3)
    boxes, default_boxes = random_boxes(generator, 1000), random_boxes(generator, 1000)
    deltas = encode_boxes(boxes, default_boxes, ODD_VARIANCES)
    expected = oracle.encode(boxes, default_boxes, ODD_VARIANCES)
    # Deltas reach 320 here, a far box over a small default box: seen 3e-5 there.
    np.testing.assert_allclose(deltas, expected, rtol=2e-6, atol=1e-5)
    # Seen: 2e-7; float32 has steps of 6e-8 near 1.
    decoded = decode_boxes(deltas, default_boxes, ODD_VARIANCES)
    np.testing.assert_allclose(decoded, boxes, atol=1e-6)
    decoded = decode_boxes(expected.astype("float32"), default_boxes, ODD_VARIANCES)
    expected = oracle.decode(expected.astype("float32"), default_boxes, ODD_VARIANCES)
    np.testing.assert_allclose(decoded, expected, atol=1e-6)


def test_decode_takes_leading_axes_and_leaves_the_image():
    generator = np.random.default_rng(4)
    default_boxes = random_boxes(generator, 30)
    deltas = generator.normal(0, 2, (2, 3, 30, 4)).astype("float32")
    decoded = decode_boxes(deltas, default_boxes, ODD_VARIANCES)
    expected = [[oracle.decode(each, default_boxes, ODD_VARIANCES) for each in b] for b in deltas]
    np.testing.assert_allclose(decoded, expected, atol=2e-6)  # seen: 3e-7
    assert decoded.min() < -0.1 and decoded.max() > 1.1
