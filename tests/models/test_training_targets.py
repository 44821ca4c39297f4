"""Losses of a model: both ways of assigning, both spaces of the boxes, quality of the matches."""

import dataclasses
from typing import ClassVar

import keras
import numpy as np
import oracle
import pytest
from gradients import value_and_gradient
from keras import ops

from ssd_keras import from_preset
from ssd_keras.assigners import Assigner, MaxIoUAssigner, TaskAlignedAssigner
from ssd_keras.losses import (
    ClassLoss,
    DIoULoss,
    FocalLoss,
    GIoULoss,
    QualityFocalLoss,
    SmoothL1Loss,
    VarifocalLoss,
)
from ssd_keras.models.training_targets import loss_arguments

pytestmark = pytest.mark.backends

BOXES = np.array([[[0.1, 0.2, 0.5, 0.7], [0.3, 0.3, 0.9, 0.8]], [[0.4, 0.1, 0.9, 0.6], [-1] * 4]])
TRUTH = {"boxes": BOXES.astype("float32"), "labels": np.array([[0, 2], [1, -1]], "int32")}
IMAGES = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3)).astype("float32")


@dataclasses.dataclass(frozen=True)
class GivenAssigner(Assigner):
    """Assigns in the training step what another assigner has assigned before."""

    needs_predictions: ClassVar[bool] = True
    max_candidates: int = 5
    given: tuple = ()

    def assign(self, ground_truth, default_boxes, predictions=None):
        assert predictions["boxes"].shape[1:] == default_boxes.boxes().shape
        assert predictions["scores"].shape[2] == 3
        return {name: ops.convert_to_tensor(values) for name, values in self.given}


class WeightedLoss(ClassLoss):
    """Adds quality * class of all default boxes, so that a test can add them too."""

    activation: ClassVar[str] = "sigmoid"
    uses_quality: ClassVar[bool] = True

    def call(self, y_true, y_pred):
        product = ops.maximum(y_true[..., 0], 0.0) * y_true[..., 1]
        return self.normalize(ops.sum(product, axis=-1) + 0 * ops.sum(y_pred), 1.0)


@pytest.fixture(scope="module")
def model():
    return make_model((64, 64))


def make_model(image_size):
    model = from_preset(
        "ssd192_small_shapes", ["a", "b", "c"], image_size=image_size, width=4, activation="sigmoid"
    )
    generator = np.random.default_rng(2)
    for layer in model.layers:
        if layer.name.startswith(("box_head", "class_head")):
            layer.set_weights([generator.normal(0, 0.2, w.shape) for w in layer.get_weights()])
    return model


def encoded(model, truth=None):
    targets = model.target_encoder()(**(truth or TRUTH))
    return {name: ops.convert_to_tensor(value.numpy()) for name, value in targets.items()}


def loss_of(model, targets, outputs):
    return float(model.compute_loss(IMAGES, targets, outputs, training=False))


@pytest.mark.parametrize("box_loss", [SmoothL1Loss, GIoULoss])
def test_both_ways_of_assigning_give_the_same_loss(model, box_loss):
    model.assigner = MaxIoUAssigner()
    model.compile(loss={"box_deltas": box_loss(), "class_logits": WeightedLoss()})
    outputs = model(IMAGES)
    targets = encoded(model)
    assert targets.keys() == {"box_deltas", "class_logits", "quality"}
    expected = loss_of(model, targets, outputs)
    assigned = model.assigner.assign(TRUTH, model.default_box_grid)
    given = tuple((name, values.numpy()) for name, values in assigned.items())
    model.assigner = GivenAssigner(given=given)
    ground_truth = encoded(model)
    assert ground_truth["candidates"].shape == (2, 2, 5)
    assert loss_of(model, ground_truth, outputs) == pytest.approx(expected, rel=1e-5)
    # The loss of classes alone, by hand, and that of boxes by the oracle's decoding.
    labels, quality = assigned["labels"].numpy(), assigned["quality"].numpy()
    class_loss = ((labels + 1) * quality)[labels >= 0].sum()
    box_losses = []
    for image, default_box in np.argwhere(labels >= 0):
        default = model.default_box_array[default_box]
        target = assigned["boxes"].numpy()[image, default_box]
        deltas = ops.convert_to_numpy(outputs["box_deltas"])[image, default_box]
        if box_loss is GIoULoss:
            box = oracle.decode(deltas, default)
            around = np.maximum(target[2:], box[2:]) - np.minimum(target[:2], box[:2])
            iou = oracle.iou(target, box)
            areas = np.prod(target[2:] - target[:2]) + np.prod(box[2:] - box[:2])
            union = areas / (1 + iou)
            box_losses.append(1 - iou + (np.prod(around) - union) / np.prod(around))
        else:
            errors = deltas - oracle.encode(target, default)
            box_losses.append(sum(map(oracle.smooth_l1, errors)))
    assert expected == pytest.approx(class_loss + np.mean(box_losses), rel=1e-5)


@pytest.fixture(scope="module")
def wide_model():
    model = make_model((64, 128))
    model.images = np.random.default_rng(3).integers(0, 256, (2, 64, 128, 3)).astype("float32")
    model.outputs_of_images = model(model.images)
    return model


def predicted_ious(model):
    """Assigned labels, and of the positives their row, object, predicted box and IoU, in pixels."""
    assigned = model.assigner.assign(TRUTH, model.default_box_grid)
    labels, boxes = assigned["labels"].numpy(), assigned["boxes"].numpy()
    deltas = ops.convert_to_numpy(model.outputs_of_images["box_deltas"])
    sides, rows = np.array([64, 128, 64, 128]), []
    for image, default_box in np.argwhere(labels >= 0):
        box = oracle.decode(deltas[image, default_box], model.default_box_array[default_box])
        target = boxes[image, default_box]
        rows.append((image, default_box, target * sides, box * sides, oracle.iou(target, box)))
    return labels, rows


@pytest.mark.parametrize("box_loss", [SmoothL1Loss, DIoULoss])
@pytest.mark.parametrize("class_loss", [QualityFocalLoss, VarifocalLoss])
def test_quality_is_the_iou_of_the_prediction(wide_model, box_loss, class_loss):
    model = wide_model
    model.assigner = MaxIoUAssigner()
    model.compile(loss={"box_deltas": box_loss(), "class_logits": class_loss()})
    targets = encoded(model)
    assert targets.keys() == {"box_deltas", "class_logits"}
    y_true, y_pred = loss_arguments(model, targets, model.outputs_of_images)
    labels, rows = predicted_ious(model)
    quality, distances = np.zeros(labels.shape), []
    for image, default_box, target, box, iou in rows:
        quality[image, default_box] = iou
        centers = [(b[:2] + b[2:]) / 2 for b in (target, box)]
        sides = np.maximum(target[2:], box[2:]) - np.minimum(target[:2], box[:2])
        distances.append(1 - iou + np.sum((centers[0] - centers[1]) ** 2) / np.sum(sides**2))
    assert 0.1 < quality[labels >= 0].mean() < 0.9
    given = ops.convert_to_numpy(y_true["class_logits"])
    np.testing.assert_array_equal(given[..., 0], labels + 1)
    np.testing.assert_allclose(given[..., 1], quality, atol=1e-5)
    # The losses of both outputs, the one of boxes in pixels of an image of 64 x 128.
    logits = model.outputs_of_images["class_logits"]
    expected = float(class_loss()(given, logits))
    if box_loss is DIoULoss:
        expected += np.mean(distances)
    else:
        expected += float(box_loss()(targets["box_deltas"], model.outputs_of_images["box_deltas"]))
    found = model.compute_loss(model.images, targets, model.outputs_of_images, training=False)
    assert float(found) == pytest.approx(expected, rel=1e-5)

    def class_loss_of(targets, deltas):
        outputs = {"box_deltas": deltas, "class_logits": logits}
        y_true, y_pred = loss_arguments(model, targets, outputs)
        return class_loss()(y_true["class_logits"], logits) + 0 * ops.sum(deltas)

    # The quality carries no gradient.
    _, gradient = value_and_gradient(class_loss_of, targets, model.outputs_of_images["box_deltas"])
    np.testing.assert_array_equal(gradient, 0)


def test_quality_of_the_assigner(wide_model):
    model = wide_model
    model.assigner = MaxIoUAssigner()
    model.compile(loss={"class_logits": QualityFocalLoss(quality="assigner")})
    targets = encoded(model)
    y_true, _ = loss_arguments(model, targets, model.outputs_of_images)
    assigned = model.assigner.assign(TRUTH, model.default_box_grid)
    given = ops.convert_to_numpy(y_true["class_logits"])
    np.testing.assert_array_equal(given[..., 1], assigned["quality"])
    assert (given[..., 1] > 0.1).sum() == (given[..., 0] > 0).sum() > 2


@pytest.mark.parametrize("box_loss", [SmoothL1Loss, GIoULoss])
def test_boxes_weigh_as_their_best_score(wide_model, box_loss):
    model = wide_model
    model.assigner = MaxIoUAssigner()
    model.compile(loss={"box_deltas": box_loss(quality_weight=True), "class_logits": FocalLoss()})
    targets = encoded(model)
    y_true, y_pred = loss_arguments(model, targets, model.outputs_of_images)
    logits = ops.convert_to_numpy(model.outputs_of_images["class_logits"])
    best = 1 / (1 + np.exp(-logits[..., 1:].max(axis=-1)))
    labels, rows = predicted_ious(model)
    given = ops.convert_to_numpy(y_true["box_deltas"])
    np.testing.assert_allclose(given[..., 4], np.where(labels >= 0, best, 0), rtol=1e-5)
    # The mean of single losses, by weight.
    losses, weights = [], []
    for image, default_box, *_ in rows:
        row = image, slice(default_box, default_box + 1)
        single = np.append(given[row][0, :4], 1).astype("float32")
        losses.append(float(box_loss()(single[None, None], y_pred["box_deltas"][row][None])))
        weights.append(best[image, default_box])
    found = float(box_loss()(y_true["box_deltas"], y_pred["box_deltas"]))
    assert sum(weights) > 1 and np.ptp(weights) > 0.01
    assert found == pytest.approx(np.average(losses, weights=weights), rel=1e-5)


def test_deltas_of_other_default_boxes_may_overflow(model):
    model.assigner = MaxIoUAssigner()
    model.compile(loss={"box_deltas": GIoULoss(), "class_logits": FocalLoss()})
    targets = encoded(model)
    outputs = {name: ops.convert_to_numpy(values).copy() for name, values in model(IMAGES).items()}
    expected = loss_of(model, targets, outputs)
    is_positive = ops.convert_to_numpy(targets["box_deltas"])[..., 4] > 0
    outputs["box_deltas"][~is_positive] = 1e4  # exp(2000) is infinite
    assert loss_of(model, targets, outputs) == expected


def test_quality_is_asked_for(model):
    model.assigner = MaxIoUAssigner()
    model.compile(loss={"class_logits": FocalLoss()})
    targets = encoded(model)
    assert targets.keys() == {"box_deltas", "class_logits"}
    model.compile(loss={"class_logits": WeightedLoss()})
    message = r"^WeightedLoss\(\) uses the quality of matches, which the targets do not hold; comp"
    with pytest.raises(ValueError, match=message):
        loss_of(model, targets, model(IMAGES))


def test_candidates_are_the_default_boxes_of_the_highest_giou(model):
    model.assigner = TaskAlignedAssigner(max_candidates=7)
    targets = model.target_encoder()(**TRUTH)
    candidates = targets["candidates"].numpy()
    assert candidates.shape == (2, 2, 7) and (candidates[1, 1] == -1).all()
    for image, row in [(0, 0), (0, 1), (1, 0)]:
        target, values = BOXES[image, row], []
        for box in model.default_box_array.astype("float64"):
            around = np.maximum(target[2:], box[2:]) - np.minimum(target[:2], box[:2])
            shared = np.maximum(
                np.minimum(target[2:], box[2:]) - np.maximum(target[:2], box[:2]), 0
            ).prod()
            union = (target[2:] - target[:2]).prod() + (box[2:] - box[:2]).prod() - shared
            values.append(shared / union - (around.prod() - union) / around.prod())
        values = np.array(values)
        np.testing.assert_allclose(
            values[candidates[image, row]], np.sort(values)[:-8:-1], rtol=1e-5
        )


def test_steps_with_mixed_precision_with_and_without_objects():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = from_preset(
            "ssd192_small_shapes", ["a", "b", "c"], image_size=(64, 64), width=4,
            activation="sigmoid",
        )  # fmt: skip
    finally:
        keras.config.set_dtype_policy("float32")
    model.assigner = TaskAlignedAssigner(top_k=5, max_candidates=32)
    losses = {"box_deltas": GIoULoss(quality_weight=True), "class_logits": QualityFocalLoss()}
    model.compile("sgd", loss=losses)
    model.run_eagerly = keras.backend.backend() == "tensorflow"
    for labels in (TRUTH["labels"], np.full((2, 2), -1, "int32")):
        targets = model.target_encoder()(TRUTH["boxes"], labels)
        targets = {name: values.numpy() for name, values in targets.items()}
        model.reset_metrics()
        logs = model.train_on_batch(IMAGES, targets, return_dict=True)
        assert all(np.isfinite(value) for value in logs.values())
        assert (logs["box_deltas_loss"] > 0) == (labels >= 0).any()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
