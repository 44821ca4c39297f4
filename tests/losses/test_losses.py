"""Losses: a ladder of numbers worked by hand, the oracle, torchvision's values and gradients."""

import math
from pathlib import Path

import keras
import numpy as np
import oracle
import pytest
from gold import scene
from gradients import value_and_gradient
from keras import ops

from ssd_keras.assigners import MaxIoUAssigner
from ssd_keras.losses import (
    CIoULoss,
    ClassLoss,
    DIoULoss,
    FocalLoss,
    GIoULoss,
    QualityFocalLoss,
    SigmoidLoss,
    SmoothL1Loss,
    SoftmaxLoss,
    VarifocalLoss,
)
from ssd_keras.losses.box import smooth_l1
from ssd_keras.losses.mining import mine_hard_negatives
from ssd_keras.models.target_encoder import TargetEncoder

pytestmark = pytest.mark.backends

GOLD = Path(__file__).parents[1] / "gold"
LOG2 = math.log(2)


def logits_of(*probabilities):
    """Logits whose softmax is these probabilities, with an offset that must not matter."""
    return np.log(np.array(probabilities)).astype("float32") + 3


def random_batch(seed, images=4, default_boxes=60, classes=5, positive_share=0.1, ignored=0.05):
    """Box targets, class targets, deltas and logits of a batch; the last image has no object."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(1, 1 + classes, (images, default_boxes))
    draw = generator.uniform(size=labels.shape)
    labels[draw > positive_share] = 0
    labels[draw > 1 - ignored] = -1
    labels[-1] = np.minimum(labels[-1], 0)
    deltas = generator.normal(0, 1.5, (*labels.shape, 4))
    box_targets = np.concatenate([deltas, (labels > 0)[..., None]], axis=-1).astype("float32")
    box_targets[..., :4] *= box_targets[..., 4:]
    predictions = generator.normal(0, 1.5, (*labels.shape, 4)).astype("float32")
    logits = generator.normal(0, 2.0, (*labels.shape, 1 + classes)).astype("float32")
    return box_targets, labels.astype("int32"), predictions, logits


def oracle_loss(batch, **options):
    box_targets, labels, predictions, logits = batch
    return oracle.loss(predictions, logits, box_targets[..., :4], labels, **options)


def test_smooth_l1_by_hand():
    # .5 * .6^2 = .18; at the bend .5 * 1 = 1 - .5; 2 - .5; the same to the left.
    target = np.array([0.0, 0.0, 1.0, 0.0, 0.0, 3.0], "float32")
    prediction = np.array([0.0, 0.6, 2.0, 2.0, -0.6, 1.0], "float32")
    expected = [0.0, 0.18, 0.5, 1.5, 0.18, 1.5]
    np.testing.assert_allclose(smooth_l1(target, prediction), expected, rtol=1e-6)


def test_perfect_prediction_costs_nothing():
    box_targets, labels, _, _ = random_batch(1)
    value, gradient = value_and_gradient(SmoothL1Loss(), box_targets, box_targets[..., :4])
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)
    logits = 30.0 * np.eye(6, dtype="float32")[np.maximum(labels, 0)]
    value, gradient = value_and_gradient(SoftmaxLoss(), labels, logits)
    assert 0 <= value < 1e-6  # 4 * 5 * exp(-30) = 2e-12
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_box_loss_of_two_images_by_hand():
    targets = np.zeros((2, 3, 5), "float32")
    predictions = np.zeros((2, 3, 4), "float32")
    targets[0, 0] = (1, 0, 0, 0, 1)
    predictions[0, 0] = (1.6, 0.2, 0, 0)  # .5 * .6^2 + .5 * .2^2 = .18 + .02 = .2
    targets[0, 2] = (0, 0, -2, 0, 1)
    predictions[0, 2] = (0, 0, 1, 0)  # 3 - .5 = 2.5
    predictions[0, 1] = 7  # background
    targets[1, 1] = (0, 0, 0, 0.5, 1)
    predictions[1, 1] = (0, 0, 0, -1)  # 1.5 - .5 = 1
    # (.2 + 2.5 + 1) / 3 matched default boxes of the batch; not the mean of 1.35 and 1.
    value, gradient = value_and_gradient(SmoothL1Loss(), targets, predictions)
    assert value == pytest.approx(3.7 / 3, rel=1e-6)
    # Slope of each: the distance within 1, else its sign; over 3.
    expected = np.zeros((2, 3, 4))
    expected[0, 0, :2], expected[0, 2, 2], expected[1, 1, 3] = (0.6, 0.2), 1, -1
    np.testing.assert_allclose(gradient, expected / 3, atol=1e-6)


# Two images of five default boxes, background and two classes. Losses are -log(probability).
HAND_LABELS = np.array([[1, 0, 0, 0, 0], [2, 2, 0, 0, 0]], "int32")
HAND_LOGITS = np.stack(
    [
        logits_of(
            (1 / 4, 1 / 2, 1 / 4),  # class 1: log 2
            (1 / 8, 3 / 8, 4 / 8),  # background: log 8 = 3 log 2
            (1 / 2, 1 / 4, 1 / 4),  # log 2
            (1 / 4, 1 / 2, 1 / 4),  # 2 log 2
            (1 / 64, 62 / 64, 1 / 64),  # 6 log 2
        ),
        logits_of(
            (1 / 4, 1 / 2, 1 / 4),  # class 2: 2 log 2
            (1 / 8, 3 / 8, 4 / 8),  # class 2: log 2
            (1 / 2, 1 / 4, 1 / 4),  # log 2
            (1 / 2, 1 / 4, 1 / 4),  # log 2
            (1 / 4, 1 / 2, 1 / 4),  # 2 log 2
        ),
    ]
)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # Image 1: 1 positive, its 3 hardest negatives 6 + 3 + 2; image 2: 2 positives, 6
        # negatives at most, all 3 taken: 1 + 1 + 2. (1 + 11) + (3 + 4) = 19, over 3 positives.
        # Mining over the batch would take all 7 negatives of at most 9: 16 + 4 = 20.
        ({}, 19 / 3),
        # 1 and 2 negatives: (1 + 6) + (3 + 2 + 1) = 13. Over the batch 3: 4 + 6 + 3 + 2 = 15.
        ({"negatives_per_positive": 1}, 13 / 3),
        # 1.5 rounds down to 1, and 3: (1 + 6) + (3 + 4) = 14
        ({"negatives_per_positive": 1.5}, 14 / 3),
        ({"negatives_per_positive": 0}, 4 / 3),
        # At least 2: (1 + 6 + 3) + (3 + 2 + 1) = 16
        ({"negatives_per_positive": 1, "min_negatives": 2}, 16 / 3),
        # More than there are: all, 12 + 1 (the easiest of image 1) + 7 = 20
        ({"min_negatives": 99}, 20 / 3),
    ],
)
def test_class_loss_of_two_images_by_hand(options, expected):
    value = float(SoftmaxLoss(**options)(HAND_LABELS, HAND_LOGITS))
    assert value == pytest.approx(expected * LOG2, rel=1e-6)


def test_class_gradient_by_hand():
    _, gradient = value_and_gradient(
        SoftmaxLoss(negatives_per_positive=1), HAND_LABELS, HAND_LOGITS
    )
    # Probabilities less 1 at the label, over 3 positives, where the box is used.
    expected = np.zeros((2, 5, 3))
    expected[0, 0] = (1 / 4, 1 / 2 - 1, 1 / 4)
    expected[0, 4] = (1 / 64 - 1, 62 / 64, 1 / 64)
    expected[1, 0] = (1 / 4, 1 / 2, 1 / 4 - 1)
    expected[1, 1] = (1 / 8, 3 / 8, 4 / 8 - 1)
    expected[1, 4] = (1 / 4 - 1, 1 / 2, 1 / 4)
    expected[1, 2] = (1 / 2 - 1, 1 / 4, 1 / 4)  # as hard as the next: the lower is taken
    np.testing.assert_allclose(gradient, expected / 3, atol=1e-6)


@pytest.mark.parametrize("seed", [2, 3, 4])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"negatives_per_positive": 2},
        {"negatives_per_positive": 3.5},
        {"min_negatives": 7},
        {"negatives_per_positive": 0.5, "min_negatives": 2},
    ],
)
def test_random_batches_against_the_oracle(seed, options):
    batch = box_targets, labels, predictions, logits = random_batch(seed)
    assert (labels > 0).any() and (labels < 0).any()
    expected_box, expected_class = oracle_loss(batch, **options)
    # Largest relative difference seen: 9e-8 with TensorFlow, 1.5e-7 with JAX.
    assert float(SmoothL1Loss()(box_targets, predictions)) == pytest.approx(expected_box, rel=2e-6)
    class_loss = float(SoftmaxLoss(**options)(labels, logits))
    assert class_loss == pytest.approx(expected_class, rel=2e-6)


def test_mining_is_not_over_the_batch():
    _, labels, _, logits = batch = random_batch(5)
    per_image = float(SoftmaxLoss(negatives_per_positive=1)(labels, logits))
    over_batch = float(
        SoftmaxLoss(negatives_per_positive=1)(labels.reshape(1, -1), logits.reshape(1, -1, 6))
    )
    expected = oracle_loss(batch, negatives_per_positive=1)[1]
    assert per_image == pytest.approx(expected, rel=2e-6)
    assert over_batch > 1.02 * per_image  # the hardest of all are harder than each image's


@pytest.mark.parametrize(
    ("file", "settings", "outputs"),
    [
        ("torchvision_ssd300_vgg16.npz", scene.SSD300, scene.SSD300_OUTPUTS),
        (
            "torchvision_ssdlite320_mobilenet_v3_large.npz",
            scene.SSDLITE320,
            scene.SSDLITE320_OUTPUTS,
        ),
    ],
)
def test_torchvision_gold(file, settings, outputs):
    gold = np.load(GOLD / file)
    encoder = TargetEncoder(MaxIoUAssigner(), gold["default_boxes"], outputs["variances"])
    targets = [encoder(boxes, labels) for boxes, labels in scene.scene()]
    deltas, logits = scene.raw_outputs(settings, **outputs)
    for kind, loss, key, y_pred in [
        ("box", SmoothL1Loss(), "box_deltas", deltas),
        ("class", SoftmaxLoss(), "class_logits", logits),
    ]:
        y_true = np.stack([target[key].numpy() for target in targets])
        value, gradient = value_and_gradient(loss, y_true, y_pred)
        # Seen on both backends: values and norms 3e-7 relative, gradients 6e-8.
        assert value == pytest.approx(float(gold[f"{kind}_loss"]), rel=1e-5)
        expected = np.zeros_like(gradient)
        expected[tuple(gold[f"{kind}_gradient_rows"].T)] = gold[f"{kind}_gradient"]
        np.testing.assert_allclose(gradient, expected, atol=1e-6)
        is_zero = (expected == 0).all(axis=-1)
        assert is_zero.sum() > 8000
        np.testing.assert_array_equal(gradient[is_zero], 0)
        norm = np.linalg.norm(gradient.astype("float64"))
        assert norm == pytest.approx(float(gold[f"{kind}_gradient_norm"]), rel=1e-5)


def test_batch_without_any_object():
    generator = np.random.default_rng(6)
    for loss, y_true, y_pred in [
        (SmoothL1Loss(), np.zeros((2, 9, 5), "float32"), generator.normal(size=(2, 9, 4))),
        (CIoULoss(), np.zeros((2, 9, 5), "float32"), np.zeros((2, 9, 4))),
        (SoftmaxLoss(), np.zeros((2, 9), "int32"), generator.normal(size=(2, 9, 3))),
    ]:
        value, gradient = value_and_gradient(loss, y_true, y_pred.astype("float32"))
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)
    # Focal loss has negatives without any object: 18 boxes, 2 classes, .75 / 4 * log 2 each.
    value, _ = value_and_gradient(FocalLoss(), np.zeros((2, 9)), np.zeros((2, 9, 3), "float32"))
    assert value == pytest.approx(18 * 2 * 0.75 / 4 * LOG2, rel=1e-5)


def test_image_without_objects_adds_nothing_to_its_neighbours():
    box_targets, labels, predictions, logits = random_batch(7)
    assert (labels[:3] > 0).any(axis=1).all() and not (labels[3] > 0).any()
    for loss, y_true, y_pred in [
        (SmoothL1Loss(), box_targets, predictions),
        (SoftmaxLoss(), labels, logits),
    ]:
        value, gradient = value_and_gradient(loss, y_true, y_pred)
        without = float(loss(y_true[:3], y_pred[:3]))
        assert value == pytest.approx(without, rel=1e-6) and value > 0.1
        np.testing.assert_array_equal(gradient[3], 0)
        assert np.abs(gradient[:3]).max() > 0.01


def test_min_negatives_teach_background_on_empty_images():
    labels = np.zeros((2, 6), "int32")
    logits = np.zeros((2, 6, 4), "float32")
    logits[0, 4] = (-2, 1, 0, 0)
    value, gradient = value_and_gradient(SoftmaxLoss(min_negatives=2), labels, logits)
    # Image 1: box 4 and, of equals, box 0; image 2: boxes 0 and 1. Divided by max(1, 0).
    hardest = math.log(math.exp(-2) + math.exp(1) + 2) + 2
    assert value == pytest.approx(hardest + 3 * math.log(4), rel=1e-6)
    used = np.abs(gradient).max(axis=-1) > 0
    np.testing.assert_array_equal(np.argwhere(used), [(0, 0), (0, 4), (1, 0), (1, 1)])
    batch = (np.zeros((2, 6, 5)), labels, np.zeros((2, 6, 4)), logits)
    assert value == pytest.approx(oracle_loss(batch, min_negatives=2)[1], rel=1e-6)


def test_ignored_boxes_are_neither_counted_nor_mined():
    _, labels, _, logits = random_batch(8, ignored=0.3)
    ignored = labels < 0
    assert ignored.sum() > 40
    loss = SoftmaxLoss(negatives_per_positive=2, min_negatives=3)
    value, gradient = value_and_gradient(loss, labels, logits)
    np.testing.assert_array_equal(gradient[ignored], 0)
    # They would be the hardest negatives if they counted.
    logits[ignored] = (-50, 9, 8, 7, 6, 5)
    assert float(loss(labels, logits)) == pytest.approx(value, rel=1e-6)
    # Ignored boxes stay out even where there are fewer negatives than `min_negatives`.
    value, gradient = value_and_gradient(SoftmaxLoss(min_negatives=60), labels, logits)
    np.testing.assert_array_equal(gradient[ignored], 0)
    assert value == pytest.approx(
        oracle.loss(np.zeros((4, 60, 4)), logits, np.zeros((4, 60, 4)), labels, 3, 60)[1],
        rel=2e-6,
    )


@pytest.mark.parametrize("num_positives", [1, 2, 5])
def test_equal_logits_select_exactly_three_negatives_for_each_positive(num_positives):
    labels = np.zeros((1, 8732), "int32")
    positives = 1000 + 7 * np.arange(num_positives)
    labels[0, positives] = 1
    value, gradient = value_and_gradient(SoftmaxLoss(), labels, np.zeros((1, 8732, 3), "float32"))
    # (1 + 3) log 3 for each positive, over their number.
    assert value == pytest.approx(4 * math.log(3), rel=1e-6)
    used = np.flatnonzero(np.abs(gradient[0]).max(axis=-1))
    np.testing.assert_array_equal(used, [*range(3 * num_positives), *positives])


def test_mined_boxes_by_hand():
    losses = np.array([[5, 9, 1, 9, 4], [3, 2, 8, 7, 6], [1, 2, 3, 4, 5]], "float32")
    is_negative = np.array([[1, 0, 1, 1, 1], [1, 1, 0, 1, 0], [1, 1, 1, 1, 1]], bool)
    mined = mine_hard_negatives(losses, is_negative, np.array([1, 3, 0], "int32"), 2)
    # The two hardest negatives; at most six, but there are three; none.
    expected = np.array([[1, 0, 0, 1, 0], [1, 1, 0, 1, 0], [0, 0, 0, 0, 0]], bool)
    np.testing.assert_array_equal(ops.convert_to_numpy(mined), expected)
    mined = mine_hard_negatives(
        losses, is_negative, np.array([1, 0, 0], "int32"), 2, min_negatives=1
    )
    expected = np.array([[1, 0, 0, 1, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]], bool)
    np.testing.assert_array_equal(ops.convert_to_numpy(mined), expected)


def test_huge_outputs_stay_finite():
    logits = np.array([[[1e4, -1e4, 0], [-1e4, 1e4, 0], [0, 1e4, 1e4]]], "float32")
    value, gradient = value_and_gradient(SoftmaxLoss(), np.array([[1, 1, 0]]), logits)
    # 2e4 for the first positive, 0 for the second, 1e4 + log 2 for the negative; over 2.
    assert value == pytest.approx((3e4 + LOG2) / 2, rel=1e-6)
    expected = np.array([[[1, -1, 0], [0, 0, 0], [-1, 0.5, 0.5]]]) / 2
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
    value, gradient = value_and_gradient(FocalLoss(), np.array([[1, 1, 0]]), logits)
    # Wrong classes -1e4, 1e4, 1e4 weigh .25, .75 twice, beside exact ones and the logits of 0,
    # of .75 / 4 log 2 each; over 2.
    assert value == pytest.approx((0.25 + 0.75 + 0.75) * 1e4 / 2, rel=1e-3)
    assert np.isfinite(gradient).all()
    targets = np.array([[[0, 0, 0, 0, 1]]], "float32")
    value, gradient = value_and_gradient(
        SmoothL1Loss(), targets, np.full((1, 1, 4), -1e4, "float32")
    )
    assert value == pytest.approx(4e4 - 2) and (gradient == -1).all()


def test_bfloat16_outputs_are_computed_in_float32():
    box_targets, labels, predictions, logits = random_batch(9)
    for loss, y_true, y_pred in [
        (SmoothL1Loss(), box_targets, predictions),
        (CIoULoss(), box_targets, predictions),
        (SoftmaxLoss(), labels, logits),
        (FocalLoss(), labels, logits),
        (QualityFocalLoss(), np.stack([labels, 0.3 + 0 * labels], axis=-1), logits),
        (VarifocalLoss(), np.stack([labels, 0.3 + 0 * labels], axis=-1), logits),
    ]:
        rounded = ops.cast(y_pred, "bfloat16")
        value = loss(y_true, rounded)
        assert keras.backend.standardize_dtype(value.dtype) == "float32"
        assert float(value) == float(loss(y_true, ops.cast(rounded, "float32")))


class LossOfAUser(ClassLoss):
    """A loss of a user, which knows nothing of labels that are wrong."""

    uses_quality = True

    def call(self, y_true, y_pred):
        one_hot = ops.one_hot(ops.cast(y_true[..., 0], "int32"), y_pred.shape[-1])
        return self.normalize(ops.sum(one_hot * y_pred, axis=(1, 2)), 1)


@pytest.mark.parametrize(
    "loss",
    [
        SoftmaxLoss(),
        SigmoidLoss(),
        FocalLoss(),
        QualityFocalLoss(),
        VarifocalLoss(),
        LossOfAUser(),
    ],
)
def test_a_class_without_a_logit_gives_nan_and_no_gradient(loss):
    """It would else count as none: logsumexp alone, which falls below 0 with all logits."""
    logits = np.full((1, 3, 3), -5, "float32")
    for last, is_known in ((2, True), (3, False), (40, False)):
        labels = np.array([[0, -1, last]])
        if loss.uses_quality:
            labels = np.stack([labels, np.ones_like(labels)], axis=-1).astype("float32")
        value, gradient = value_and_gradient(loss, labels, logits)
        assert np.isfinite(value) == is_known and np.isfinite(gradient).all()
        assert gradient.any() == is_known


@pytest.mark.parametrize(
    ("loss_class", "arguments"),
    [
        (SmoothL1Loss, {"quality_weight": True}),
        (GIoULoss, {"quality_weight": True}),
        (DIoULoss, {"quality_weight": True}),
        (CIoULoss, {"quality_weight": True}),
        (SoftmaxLoss, {"negatives_per_positive": 2.5, "min_negatives": 4}),
        (SigmoidLoss, {"negatives_per_positive": 1.5, "min_negatives": 2}),
        (FocalLoss, {"alpha": 0.75, "gamma": 1.5}),
        (QualityFocalLoss, {"quality": "assigner", "beta": 1.5}),
        (VarifocalLoss, {"quality": "assigner", "alpha": 0.5, "gamma": 1.5}),
    ],
)
def test_config_equals_the_arguments(loss_class, arguments):
    loss = loss_class(**arguments)
    assert loss.get_config() == arguments
    restored = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(restored) is loss_class and restored.get_config() == arguments


@pytest.mark.parametrize("arguments", [(-1, 0), (3.0, -2)])
def test_negative_arguments(arguments):
    ratio, least = arguments
    message = f"^negatives_per_positive={ratio} and min_negatives={least} must be 0 or more\\.$"
    with pytest.raises(ValueError, match=message):
        SoftmaxLoss(*arguments)


def test_sigmoid_loss_by_hand():
    # Classes at logits (log 3, 0): -log(3/4) when the first is there, -log(1/4) when it is not,
    # and log 2 for the other. The background's logit, 9, counts nowhere.
    logits = np.log(np.array([[[8103.0, 3, 1], [8103, 1, 1], [8103, 3, 1]]])).astype("float32")
    labels = np.array([[1, 0, 0]])
    loss = SigmoidLoss(negatives_per_positive=1)
    # One positive: log(4/3) + log 2. The harder negative is the last: log 4 + log 2.
    value, gradient = value_and_gradient(loss, labels, logits)
    assert value == pytest.approx(math.log(4 / 3) + math.log(4) + 2 * LOG2, rel=1e-5)
    # sigmoid - target: 3/4 - 1 and 1/2; nothing for the easier negative; 3/4 and 1/2.
    expected = [[[0, -0.25, 0.5], [0, 0, 0], [0, 0.75, 0.5]]]
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_sigmoid_loss_is_the_oracles_cross_entropy_of_each_class():
    _, labels, _, logits = random_batch(4)
    value, gradient = value_and_gradient(SigmoidLoss(), labels, logits)
    x = logits[..., 1:].astype("float64")
    targets = np.eye(6)[np.maximum(labels, 0)][..., 1:]
    score = 1 / (1 + np.exp(-x))
    per_box = -(targets * np.log(score) + (1 - targets) * np.log(1 - score)).sum(axis=-1)
    total = 0.0
    for image, classes in zip(per_box, labels, strict=True):
        positives = image[classes > 0]
        negatives = np.sort(image[classes == 0])[::-1][: 3 * len(positives)]
        total += positives.sum() + negatives.sum()
    assert value == pytest.approx(total / (labels > 0).sum(), rel=1e-5)
    assert np.isfinite(gradient).all() and not gradient[..., 0].any() and gradient[..., 1:].any()


# Focal loss


def test_focal_loss_by_hand():
    # Scores 1/4 and 3/4 of two classes; the background's logit, 9, counts nowhere.
    row = [9, -math.log(3), math.log(3)]
    logits = np.array([[row, row, row], [row, row, row]], "float32")
    labels = np.array([[1, 0, -1], [2, 0, 0]])
    right = math.log(4 / 3)  # -log(3/4); wrong is -log(1/4) = 2 log 2
    # Class 1 there: .3 (3/4)^3 2 log 2 for it, and .7 (3/4)^3 2 log 2 for the score of class 2.
    first = (3 / 4) ** 3 * 2 * LOG2
    # No class: the scores 1/4 and 3/4 are errors of that size. Class 2 there: .3 and .7 of 1/4.
    none = 0.7 * ((1 / 4) ** 3 * right + (3 / 4) ** 3 * 2 * LOG2)
    second = (1 / 4) ** 3 * right
    loss = FocalLoss(alpha=0.3, gamma=3)
    value, gradient = value_and_gradient(loss, labels, logits)
    assert value == pytest.approx((first + second + 3 * none) / 2, rel=1e-5)
    # d/dx of -.3 (1 - p)^3 log p, x = -log 3: .3 (3 p (1 - p)^3 log p - (1 - p)^4), over 2.
    p = 1 / 4
    slope = 0.3 * (3 * p * (1 - p) ** 3 * math.log(p) - (1 - p) ** 4) / 2
    assert gradient[0, 0, 1] == pytest.approx(slope, rel=1e-5)
    assert not gradient[0, 2].any() and not gradient[..., 0].any()


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.6, 0.5), (0.5, 0.0)])
def test_focal_loss_against_plain_numpy(alpha, gamma):
    _, labels, _, logits = random_batch(11, ignored=0.2)
    value, gradient = value_and_gradient(FocalLoss(alpha, gamma), labels, logits)

    def plain(x):
        """The loss of each logit, by the scores themselves."""
        p = 1 / (1 + np.exp(-x.astype("float64")))
        there = np.eye(6)[np.maximum(labels, 0)][..., 1:] > 0
        right, weight = np.where(there, p, 1 - p), np.where(there, alpha, 1 - alpha)
        loss = -weight * (1 - right) ** gamma * np.log(right)
        return np.where(labels[..., None] >= 0, loss, 0) / (labels > 0).sum()

    x = logits[..., 1:].astype("float64")
    assert value == pytest.approx(plain(x).sum(), rel=1e-5)
    numerical = (plain(x + 1e-5) - plain(x - 1e-5)) / 2e-5
    np.testing.assert_allclose(gradient[..., 1:], numerical, atol=2e-6)


def test_focal_loss_of_half_the_weight_and_no_focus_is_half_the_sigmoid_loss():
    _, labels, _, logits = random_batch(12)
    everything = SigmoidLoss(min_negatives=999)(labels, logits)
    assert float(FocalLoss(0.5, 0)(labels, logits)) == pytest.approx(
        float(everything) / 2, rel=1e-5
    )


@pytest.mark.parametrize("arguments", [(-0.1, 2.0), (1.1, 2.0), (0.25, -1.0)])
def test_focal_loss_out_of_range(arguments):
    message = "^alpha={} and gamma={} are out of range".format(*arguments)
    with pytest.raises(ValueError, match=message):
        FocalLoss(*arguments)
