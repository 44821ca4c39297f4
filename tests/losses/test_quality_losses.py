"""Quality focal and varifocal loss: numbers worked by hand, plain NumPy, ends of the ranges."""

import math

import numpy as np
import pytest
from gradients import value_and_gradient
from keras import ops

from ssd_keras.losses import FocalLoss, QualityFocalLoss, VarifocalLoss

pytestmark = pytest.mark.backends

LOG2 = math.log(2)
# Scores 1/4 and 3/4 of two classes; the background's logit, 9, counts nowhere.
ROW = [9, -math.log(3), math.log(3)]
LOGITS = np.array([[ROW, ROW, ROW], [ROW, ROW, ROW]], "float32")
# Class, quality: class 1 well, background, ignored; class 2 by half, class 1 badly, background.
TARGETS = np.array([[[1, 0.75], [0, 0], [-1, 0]], [[2, 0.5], [1, 0], [0, 0]]], "float32")
RIGHT, WRONG = math.log(4 / 3), 2 * LOG2  # -log(3/4), -log(1/4)


def test_quality_focal_loss_by_hand():
    # The score 1/4 of class 1 with the target 3/4, an error of 1/2; 3/4 where there is none.
    first = (1 / 2) ** 3 * (0.75 * WRONG + 0.25 * RIGHT) + (3 / 4) ** 3 * WRONG
    none = (1 / 4) ** 3 * RIGHT + (3 / 4) ** 3 * WRONG
    second = (1 / 4) ** 3 * RIGHT + (1 / 4) ** 3 * (RIGHT + WRONG) / 2  # 3/4 with the target 1/2
    value, gradient = value_and_gradient(QualityFocalLoss(beta=3), TARGETS, LOGITS)
    # A quality of 0 is a target of 0, like background; yet it counts as one of three matches.
    assert value == pytest.approx((first + second + 3 * none) / 3, rel=1e-5)
    # Of (q - p)^3 (-q log p - (1 - q) log(1 - p)), by p' = p (1 - p):
    # -3 (q - p)^2 p (1 - p) (...) - (q - p)^4.
    slope = -3 / 4 * 3 / 16 * (0.75 * WRONG + 0.25 * RIGHT) - (1 / 2) ** 4
    assert gradient[0, 0, 1] == pytest.approx(slope / 3, rel=1e-5)
    assert not gradient[0, 2].any() and not gradient[..., 0].any()


def test_varifocal_loss_by_hand():
    # Weight 3/4 for the class, .5 p^3 for the other.
    first = 0.75 * (0.75 * WRONG + 0.25 * RIGHT) + 0.5 * (3 / 4) ** 3 * WRONG
    none = 0.5 * ((1 / 4) ** 3 * RIGHT + (3 / 4) ** 3 * WRONG)
    second = 0.5 * (1 / 4) ** 3 * RIGHT + 0.5 * (RIGHT + WRONG) / 2
    value, gradient = value_and_gradient(VarifocalLoss(alpha=0.5, gamma=3), TARGETS, LOGITS)
    assert value == pytest.approx((first + second + 3 * none) / 3, rel=1e-5)
    assert gradient[0, 0, 1] == pytest.approx(0.75 * (1 / 4 - 3 / 4) / 3, rel=1e-5)
    # Of -p^3 log(1 - p) / 2: p^3 (-3 (1 - p) log(1 - p) + p) / 2.
    slope = (3 / 4) ** 3 * (3 / 4 * WRONG + 3 / 4) / 2
    assert gradient[0, 0, 2] == pytest.approx(slope / 3, rel=1e-5)
    assert not gradient[0, 2].any() and not gradient[..., 0].any()


def random_batch(seed, images=3, default_boxes=40, classes=4):
    generator = np.random.default_rng(seed)
    labels = generator.integers(-1, 1 + classes, (images, default_boxes))
    labels[generator.uniform(size=labels.shape) < 0.6] = 0
    quality = np.where(labels > 0, generator.uniform(0, 1, labels.shape), 0)
    logits = generator.normal(0, 2, (*labels.shape, 1 + classes)).astype("float32")
    return labels, quality.astype("float32"), logits


@pytest.mark.parametrize(
    "loss",
    [
        QualityFocalLoss(beta=2),
        QualityFocalLoss(beta=0.5),
        QualityFocalLoss(beta=0),
        VarifocalLoss(),
        VarifocalLoss(alpha=0.3, gamma=0.5),
    ],
)
def test_random_batches_against_plain_numpy(loss):
    labels, quality, logits = random_batch(5)
    targets = np.stack([labels, quality], axis=-1).astype("float32")
    value, gradient = value_and_gradient(loss, targets, logits)
    q = np.eye(5)[np.maximum(labels, 0)][..., 1:] * quality[..., None].astype("float64")

    def plain(x):
        """The loss of each logit, by the scores themselves."""
        p = 1 / (1 + np.exp(-x))
        entropy = -q * np.log(p) - (1 - q) * np.log(1 - p)
        if isinstance(loss, QualityFocalLoss):
            weight = np.abs(q - p) ** loss.beta
        else:
            weight = np.where(q > 0, q, loss.alpha * p**loss.gamma)
        return np.where(labels[..., None] >= 0, weight * entropy, 0) / (labels > 0).sum()

    x = logits[..., 1:].astype("float64")
    assert (labels < 0).any() and value == pytest.approx(plain(x).sum(), rel=1e-5)
    numerical = (plain(x + 1e-5) - plain(x - 1e-5)) / 2e-5
    np.testing.assert_allclose(gradient[..., 1:], numerical, atol=2e-6)


def test_whole_qualities_are_focal_loss():
    labels, _, logits = random_batch(6)
    targets = np.stack([labels, labels > 0], axis=-1).astype("float32")
    focal = float(FocalLoss(alpha=0.5, gamma=2)(labels, logits))  # which has the weight 1/2
    assert float(QualityFocalLoss()(targets, logits)) == pytest.approx(2 * focal, rel=1e-5)


@pytest.mark.parametrize(
    "loss",
    [*(QualityFocalLoss(beta=beta) for beta in (0, 0.5, 1, 2)), VarifocalLoss(alpha=1, gamma=0)],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_ends_of_scores_and_qualities(loss, dtype):
    # Scores 0, 1/2 and 1 in float32, of which the far ones are wrong by 1 or right.
    logits = [-1e4, -200, -20, 0, 20, 200, 1e4]
    for quality in (0, 0.5, 1):
        targets = np.full((1, 7, 2), [1, quality], "float32")
        y_pred = ops.cast(np.stack([np.zeros((1, 7)), [logits]], axis=-1), dtype)
        value, gradient = value_and_gradient(loss, targets, y_pred)
        gradient = gradient.astype("float32")[0, :, 1] * 7
        assert np.isfinite(value) and np.isfinite(gradient).all()
        # Weight 1 or q, times p - q, where the score is wrong by more than the half.
        if quality == 1:
            np.testing.assert_allclose(gradient[:2], -1, rtol=1e-2)
            np.testing.assert_allclose(gradient[-2:], 0, atol=1e-2)
        elif quality == 0:
            np.testing.assert_allclose(gradient[:2], 0, atol=1e-2)
            np.testing.assert_allclose(gradient[-2:], 1, rtol=1e-2)
        else:
            assert (gradient[:3] < -0.1).all() and (gradient[-3:] > 0.1).all()


def test_without_any_object():
    targets, logits = np.zeros((2, 9, 2), "float32"), np.zeros((2, 9, 3), "float32")
    # 18 boxes, 2 classes with the score 1/2, over max(1, 0).
    assert float(QualityFocalLoss()(targets, logits)) == pytest.approx(36 / 4 * LOG2, rel=1e-5)
    assert float(VarifocalLoss()(targets, logits)) == pytest.approx(27 / 4 * LOG2, rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        (QualityFocalLoss, {"beta": -1.0}, r"^beta=-1.0 must be 0 or more\.$"),
        (VarifocalLoss, {"alpha": -0.5}, r"^alpha=-0.5 must be 0 or more\.$"),
        (VarifocalLoss, {"quality": "iou"}, "^quality='iou' is unknown; choose 'prediction' or"),
    ],
)
def test_out_of_range(loss, options, message):
    with pytest.raises(ValueError, match=message):
        loss(**options)
