"""Losses of boxes by their IoU: numbers worked by hand, plain NumPy, numerical gradients."""

import math

import numpy as np
import pytest
from gradients import value_and_gradient
from keras import ops

from ssd_keras.boxes.iou import ciou, diou, edges
from ssd_keras.losses import CIoULoss, DIoULoss, GIoULoss

pytestmark = pytest.mark.backends


def test_diou_and_ciou_by_hand():
    targets = np.zeros((2, 3, 5), "float32")
    predictions = np.zeros((2, 3, 4), "float32")
    # The right half of 60 x 80: IoU 1/2, centres 20 apart, diagonal 100.
    targets[0, 0], predictions[0, 0] = (0, 0, 60, 80, 1), (0, 40, 60, 80)
    # Apart, of equal shape: centres 30 and 40 apart, diagonal of 60 x 80 once more.
    targets[0, 2], predictions[0, 2] = (10, 10, 40, 50, 1), (40, 50, 70, 90)
    # The same centre, 20 x 40 inside 40 x 80: IoU 1/4, nothing else.
    targets[1, 1], predictions[1, 1] = (0, 0, 40, 80, 1), (10, 20, 30, 60)
    predictions[1, 2] = np.inf  # no object
    distances = (1 - 1 / 2 + 0.2**2) + (1 + 0.5**2) + (1 - 1 / 4)
    value, gradient = value_and_gradient(DIoULoss(), targets, predictions)
    assert value == pytest.approx(distances / 3, rel=1e-6)
    assert np.isfinite(gradient).all() and not gradient[1, 2].any()
    # The left edge of the first, at x = 40: IoU's slope -60 / 4800 = -1/80. The centre moves by
    # half: ((x - 0) / 2)^2 / 100^2 has the slope 2 * 20 / 2 / 10,000 = 1/500.
    assert gradient[0, 0, 1] == pytest.approx((1 / 80 + 1 / 500) / 3, rel=1e-5)
    # CIoU: widths over heights 80/60 and 40/60, v = .0466; a = v / (1 - 1/2 + v). The others have
    # equal shapes.
    v = 4 / math.pi**2 * (math.atan(4 / 3) - math.atan(2 / 3)) ** 2
    a = v / (1 / 2 + v)
    assert v == pytest.approx(0.0466, abs=1e-4)
    value, gradient = value_and_gradient(CIoULoss(), targets, predictions)
    assert value == pytest.approx((distances + a * v) / 3, rel=1e-6)
    assert np.isfinite(gradient).all() and not gradient[1, 2].any()
    # The slope of a * v, a fixed, with the width w = 80 - x: dv = 8 / pi^2 * (difference) * h /
    # (w^2 + h^2) for a growing x, h = 60 and w = 40.
    slope = a * 8 / math.pi**2 * (math.atan(4 / 3) - math.atan(2 / 3)) * 60 / (40**2 + 60**2)
    assert gradient[0, 0, 1] == pytest.approx((1 / 80 + 1 / 500 + slope) / 3, rel=1e-5)


@pytest.mark.parametrize("kind", [GIoULoss, DIoULoss, CIoULoss])
def test_equal_boxes_and_predictions_of_no_area_stay_finite(kind):
    targets = np.array([[[5, 5, 9, 25, 1]] * 4], "float32")
    predictions = np.array([[[5, 5, 9, 25], [6, 6, 6, 6], [4, 4, 4, 9], [7, 9, 9, 9]]], "float32")
    assert float(kind()(targets[:, :1], predictions[:, :1])) == pytest.approx(0, abs=1e-6)
    value, gradient = value_and_gradient(kind(), targets, predictions)
    assert 3 / 4 <= value < 2 and np.isfinite(gradient).all() and np.abs(gradient).max() < 10


@pytest.mark.parametrize("function", [diou, ciou])
def test_array_namespaces_agree(function):
    tf = pytest.importorskip("tensorflow")
    generator = np.random.default_rng(3)
    corner, side = generator.uniform(1, 50, (2, 2, 20, 2))
    box, other = np.concatenate([corner, corner + side], axis=-1).astype("float32")
    expected = function(edges(box), edges(other), np)
    for xp in (tf, ops):
        np.testing.assert_allclose(function(edges(box), edges(other), xp), expected, atol=1e-6)
    plain = {diou: plain_diou_loss, ciou: lambda a, b: plain_ciou_loss(a, b, b)}[function]
    assert expected[0] == pytest.approx(1 - plain(box[0], other[0]), abs=1e-6)


def test_giou_loss_by_hand():
    targets = np.zeros((2, 3, 5), "float32")
    predictions = np.zeros((2, 3, 4), "float32")
    # A quarter shared, .2 x .2 of .4 x .4 each: union .28, around both .6 x .6 = .36.
    targets[0, 0], predictions[0, 0] = (0.1, 0.1, 0.5, 0.5, 1), (0.3, 0.3, 0.7, 0.7)
    # Apart by .2: union .08, around both .2 x .6 = .12.
    targets[0, 2], predictions[0, 2] = (0.2, 0.1, 0.4, 0.3, 1), (0.2, 0.5, 0.4, 0.7)
    targets[1, 1], predictions[1, 1] = (0.3, 0.2, 0.6, 0.9, 1), (0.3, 0.2, 0.6, 0.9)  # equal: 0
    predictions[1, 2] = np.inf  # no object
    # 1 - (.04 / .28 - .08 / .36), 1 - (0 - .04 / .12), 0; over 3.
    expected = (1 - 1 / 7 + 2 / 9) + (1 + 1 / 3)
    value, gradient = value_and_gradient(GIoULoss(), targets, predictions)
    assert value == pytest.approx(expected / 3, rel=1e-6)
    assert np.isfinite(gradient).all() and not gradient[1, 2].any()
    # The right edge of the second: union's slope .2, around's .2 too, .6 wide and .2 high:
    # d(1 + (C - U) / C) = d(2 - U / C) = -(.2 * .12 - .08 * .2) / .12^2
    assert gradient[0, 2, 3] == pytest.approx(-(0.024 - 0.016) / 0.0144 / 3 + 0, rel=1e-4)


def plain_giou_loss(target, box):
    """1 - GIoU of two boxes, by counting the parts of a plane that their edges cut it into."""
    ys, xs = np.unique([*target[::2], *box[::2]]), np.unique([*target[1::2], *box[1::2]])
    shared = union = 0.0
    for low, high in zip(ys[:-1], ys[1:], strict=True):
        for left, right in zip(xs[:-1], xs[1:], strict=True):
            y, x, area = (low + high) / 2, (left + right) / 2, (high - low) * (right - left)
            inside = [b[0] < y < b[2] and b[1] < x < b[3] for b in (target, box)]
            shared, union = shared + all(inside) * area, union + any(inside) * area
    around = (ys[-1] - ys[0]) * (xs[-1] - xs[0])
    return 1 - (shared / union - (around - union) / around)


def plain_iou(target, box):
    lengths = (min(target[i + 2], box[i + 2]) - max(target[i], box[i]) for i in (0, 1))
    shared = math.prod(max(0.0, length) for length in lengths)
    areas = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (target, box))
    return shared / (areas - shared)


def plain_diou_loss(target, box):
    centers = [((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in (target, box)]
    sides = [max(target[i + 2], box[i + 2]) - min(target[i], box[i]) for i in (0, 1)]
    return 1 - plain_iou(target, box) + (math.dist(*centers) / math.hypot(*sides)) ** 2


def plain_ciou_loss(target, box, start):
    """The loss of a box that moves from `start`, where it has the factor a that it keeps."""

    def v(box):
        angles = [math.atan((b[3] - b[1]) / (b[2] - b[0])) for b in (target, box)]
        return 4 / math.pi**2 * (angles[0] - angles[1]) ** 2

    a = v(start) / (1 - plain_iou(target, start) + v(start))
    return plain_diou_loss(target, box) + a * v(box)


PLAIN = {
    GIoULoss: lambda target, box, _: plain_giou_loss(target, box),
    DIoULoss: lambda target, box, _: plain_diou_loss(target, box),
    CIoULoss: plain_ciou_loss,
}


@pytest.mark.parametrize("kind", PLAIN)
def test_random_boxes_against_plain_python_and_numerical_gradients(kind):
    # Boxes of an image of 200 x 400 pixels, of all shapes; some overlap.
    generator, image = np.random.default_rng(21), np.array([200, 400])
    corner = generator.uniform(0, 0.7, (2, 30, 2)) * image
    side = generator.uniform(0.05, 0.6, (2, 30, 2)) * image
    target, predicted = np.concatenate([corner, corner + side], axis=-1).astype("float32")
    is_positive = generator.uniform(size=30) < 0.7
    y_true = np.concatenate([target, is_positive[:, None]], axis=-1)[None].astype("float32")
    value, gradient = value_and_gradient(kind(), y_true, predicted[None])
    count, rows = is_positive.sum(), np.flatnonzero(is_positive)
    target, predicted = target.astype("float64"), predicted.astype("float64")
    plain = PLAIN[kind]
    expected = sum(plain(target[row], predicted[row], predicted[row]) for row in rows)
    assert value == pytest.approx(expected / count, rel=2e-6)
    numerical = np.zeros((30, 4))
    for row in rows:
        for edge in range(4):
            low, high = (predicted[row] + sign * 1e-4 * np.eye(4)[edge] for sign in (-1, 1))
            slope = plain(target[row], high, predicted[row])
            slope -= plain(target[row], low, predicted[row])
            numerical[row, edge] = slope / 2e-4 / count
    np.testing.assert_allclose(gradient[0], numerical, atol=1e-7)
    assert np.abs(numerical).max() > 1e-4
