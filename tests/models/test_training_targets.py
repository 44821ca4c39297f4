"""Losses of a model: both ways of assigning, both spaces of the boxes, quality of the matches."""

import dataclasses
from typing import ClassVar

import keras
import numpy as np
import oracle
import pytest
from keras import ops

from ssd_keras import from_preset
from ssd_keras.assigners import Assigner, MaxIoUAssigner, TaskAlignedAssigner
from ssd_keras.losses import ClassLoss, FocalLoss, GIoULoss, SmoothL1Loss

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
    model = from_preset(
        "ssd192_small_shapes", ["a", "b", "c"], image_size=(64, 64), width=4, activation="sigmoid"
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
    model.compile("sgd", loss={"box_deltas": GIoULoss(), "class_logits": FocalLoss()})
    model.run_eagerly = keras.backend.backend() == "tensorflow"
    for labels in (TRUTH["labels"], np.full((2, 2), -1, "int32")):
        targets = model.target_encoder()(TRUTH["boxes"], labels)
        targets = {name: values.numpy() for name, values in targets.items()}
        model.reset_metrics()
        logs = model.train_on_batch(IMAGES, targets, return_dict=True)
        assert all(np.isfinite(value) for value in logs.values())
        assert (logs["box_deltas_loss"] > 0) == (labels >= 0).any()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
