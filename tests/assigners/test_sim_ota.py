"""SimOTA: gold by hand, the dense rule in plain NumPy, on every backend."""

import math

import numpy as np
import oracle
import pytest
from assignments import DEFAULT_BOXES, all_candidates, assign, random_batch

from ssd_keras.assigners import SimOTAAssigner

pytestmark = pytest.mark.backends


def plain_sim_ota(boxes, labels, predicted, scores, iou_weight, top_k):
    """The rule for one image in loops, over all default boxes: object of each, and its IoU."""
    number = len(DEFAULT_BOXES)
    centers = (DEFAULT_BOXES[:, :2] + DEFAULT_BOXES[:, 2:]) / 2
    ious = np.array([[oracle.iou(box, each) for each in predicted] for box in boxes])
    claims, costs = np.zeros((len(boxes), number), bool), np.zeros((len(boxes), number))
    for i, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        for j in range(number):
            there = np.arange(scores.shape[1]) == label
            entropy = -np.log(np.where(there, scores[j], 1 - scores[j])).sum()
            costs[i, j] = entropy - iou_weight * math.log(max(ious[i, j], 1e-7))
        inside = [j for j in range(number) if (box[:2] < centers[j]).all()
                  and (centers[j] < box[2:]).all()]  # fmt: skip
        allowed = inside or range(number)
        k = max(1, int(sum(sorted((ious[i, j] for j in allowed), reverse=True)[:top_k])))
        claims[i, sorted(allowed, key=lambda j: (costs[i, j], j))[:k]] = True
    objects = np.full(number, -1)
    for j in range(number):
        if claims[:, j].any():
            objects[j] = min(np.flatnonzero(claims[:, j]), key=lambda i: (costs[i, j], i))
    return objects, np.where(objects >= 0, ious[objects, np.arange(number)], 0)


@pytest.mark.parametrize(
    ("seed", "options"), [(1, {}), (2, {"iou_weight": 0.5, "top_k": 20}), (3, {"top_k": 1})]
)
def test_all_candidates_give_the_dense_rule(seed, options):
    truth, predictions = random_batch(seed)
    targets = assign(SimOTAAssigner(**options), all_candidates(truth), predictions)
    rule = {"iou_weight": 3.0, "top_k": 10, **options}
    num_positive = 0
    for image, labels in enumerate(truth["labels"]):
        count = (labels >= 0).sum()
        if not count:
            assert (targets["labels"][image] == -1).all()
            continue
        objects, quality = plain_sim_ota(
            truth["boxes"][image, :count].astype("float64"), labels[:count],
            predictions["boxes"][image].astype("float64"),
            predictions["scores"][image].astype("float64"), **rule,
        )  # fmt: skip
        positive = objects >= 0
        expected = np.where(positive, labels[objects], -1)
        np.testing.assert_array_equal(targets["labels"][image], expected)
        np.testing.assert_allclose(targets["quality"][image], quality, atol=1e-5)
        expected = truth["boxes"][image][objects[positive]]
        np.testing.assert_array_equal(targets["boxes"][image][positive], expected)
        num_positive += positive.sum()
    assert num_positive > (8 if options.get("top_k") == 1 else 25)


def test_by_hand():
    # Four default boxes in a row, of 1/4 of the width each, which predict themselves.
    default_boxes = np.array([[0, x / 4, 1, (x + 1) / 4] for x in range(4)], "float32")
    scores = np.array([[0.5, 0.5], [0.8, 0.2], [0.4, 0.4], [0.3, 0.6]], "float32")
    # Object 0, class 0, covers all four: IoUs 1/4 each, whose sum is 1 = k. With the weight 1 the
    # costs are log 4 and the entropies -log(.5 .5), -log(.8 .8), -log(.4 .6), -log(.3 .4): box 1.
    # Object 1, class 1, covers boxes 1 and 2: IoUs 1/2 each, k = 1; costs log 2 and -log(.2 .2),
    # -log(.6 .4): box 2. Object 2, class 1, lies between the centres .625 and .875; its best
    # candidate is box 3, which covers .1 of .25, an IoU of .4, so the sum .4 gives k = 1.
    boxes = [[0, 0, 1, 1], [0, 0.25, 1, 0.75], [0, 0.75, 1, 0.85]]
    truth = {
        "boxes": np.array([boxes], "float32"),
        "labels": np.array([[0, 1, 1]], "int32"),
        "candidates": np.array([[[0, 1, 2, 3], [2, 1, -1, -1], [3, 2, -1, -1]]], "int32"),
    }
    predictions = {"boxes": default_boxes[None], "scores": scores[None]}
    assigner = SimOTAAssigner(iou_weight=1, top_k=7, max_candidates=4)
    targets = assign(assigner, truth, predictions, default_boxes)
    np.testing.assert_array_equal(targets["labels"], [[-1, 0, 1, 1]])
    np.testing.assert_allclose(targets["quality"], [[0, 1 / 4, 1 / 2, 0.4]], rtol=1e-5)
    np.testing.assert_allclose(targets["boxes"][0, 1:], boxes)
    # Three of the best IoUs sum to 3/4: still one box. Predictions of the whole image have the
    # IoU 1 with object 0, and k is 4 or, of the 2 best, 2: boxes 1 and 0.
    predictions["boxes"] = np.array([[[0, 0, 1, 1]] * 4], "float32")
    truth["labels"] = np.array([[0, -1, -1]], "int32")
    assigner = SimOTAAssigner(top_k=2, max_candidates=4)
    targets = assign(assigner, truth, predictions, default_boxes)
    np.testing.assert_array_equal(targets["labels"], [[0, 0, -1, -1]])
    # Of two objects the one of the lower cost has the box, the other goes without: class 1 of box
    # 1 costs -log(.2 .2), class 0 -log(.8 .8).
    truth["labels"] = np.array([[1, 0, -1]], "int32")
    truth["boxes"][0, 1] = truth["boxes"][0, 0]
    truth["candidates"] = np.array([[[1, -1, -1, -1]] * 3], "int32")
    targets = assign(assigner, truth, predictions, default_boxes)
    np.testing.assert_array_equal(targets["labels"], [[-1, 0, -1, -1]])


def test_scores_and_boxes_at_the_ends_stay_finite():
    truth, predictions = random_batch(4)
    predictions["scores"] = np.round(predictions["scores"])  # 0 and 1
    predictions["boxes"][:, ::2] = 0  # no area
    targets = assign(SimOTAAssigner(), all_candidates(truth), predictions)
    assert np.isfinite(targets["quality"]).all()
    for image, labels in enumerate(truth["labels"]):
        assert set(targets["labels"][image]) - {-1} <= set(labels)
        assert (targets["labels"][image] >= 0).any() == (labels >= 0).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iou_weight": -1.0}, r"^iou_weight=-1.0 must be 0 or more\.$"),
        ({"top_k": 0}, r"^top_k=0 must be a whole number of 1 or more\.$"),
        ({"max_candidates": 2.5}, r"^max_candidates=2.5 must be a whole number of 1 or more\.$"),
    ],
)
def test_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        SimOTAAssigner(**options)


def test_predictions_are_needed():
    truth, _ = random_batch(5)
    with pytest.raises(ValueError, match="^SimOTAAssigner needs predictions; call it in the train"):
        SimOTAAssigner().assign(truth, DEFAULT_BOXES)
