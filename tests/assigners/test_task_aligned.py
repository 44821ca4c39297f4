"""Task-aligned assignment: gold by hand, the dense rule in plain NumPy, on every backend."""

import numpy as np
import oracle
import pytest
from assignments import DEFAULT_BOXES, all_candidates, assign, random_batch

from ssd_keras.assigners import TaskAlignedAssigner

pytestmark = pytest.mark.backends


def plain_task_aligned(boxes, labels, predicted, scores, default_boxes, alpha, beta, top_k):
    """The rule for one image in loops, over all default boxes: labels, objects and quality."""
    number = len(default_boxes)
    centers = (default_boxes[:, :2] + default_boxes[:, 2:]) / 2
    ious = np.array([[oracle.iou(box, each) for each in predicted] for box in boxes])
    claims = np.zeros((len(boxes), number), bool)
    alignment = np.zeros((len(boxes), number))
    for i, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        alignment[i] = scores[:, label] ** alpha * ious[i] ** beta
        inside = [j for j in range(number) if (box[:2] < centers[j]).all()
                  and (centers[j] < box[2:]).all()]  # fmt: skip
        order = sorted(inside or range(number), key=lambda j: (-alignment[i, j], j))
        chosen = [j for j in order[:top_k] if alignment[i, j] > 0] if inside else []
        claims[i, chosen or order[:1]] = True
    found, quality = np.full(number, -1), np.zeros(number)
    objects = np.full(number, -1)
    for j in range(number):
        if claims[:, j].any():
            objects[j] = max(np.flatnonzero(claims[:, j]), key=lambda i: (ious[i, j], -i))
            found[j] = labels[objects[j]]
    for i in range(len(boxes)):
        own = np.flatnonzero(objects == i)
        if len(own) and alignment[i, own].max() > 0:
            scale = ious[i, own].max() / alignment[i, own].max()
            quality[own] = alignment[i, own] * scale
    return found, objects, quality


@pytest.mark.parametrize(
    ("seed", "options"), [(1, {}), (2, {"alpha": 0.5, "beta": 4.0, "top_k": 5}), (3, {"top_k": 1})]
)
def test_all_candidates_give_the_dense_rule(seed, options):
    truth, predictions = random_batch(seed)
    targets = assign(TaskAlignedAssigner(**options), all_candidates(truth), predictions)
    rule = {"alpha": 1.0, "beta": 6.0, "top_k": 13, **options}
    num_positive = 0
    for image, labels in enumerate(truth["labels"]):
        count = (labels >= 0).sum()
        found, objects, quality = plain_task_aligned(
            truth["boxes"][image, :count].astype("float64"), labels[:count],
            predictions["boxes"][image].astype("float64"),
            predictions["scores"][image].astype("float64"), DEFAULT_BOXES, **rule,
        )  # fmt: skip
        np.testing.assert_array_equal(targets["labels"][image], found)
        np.testing.assert_allclose(targets["quality"][image], quality, atol=1e-5)
        positive = objects >= 0
        expected = truth["boxes"][image][objects[positive]]
        np.testing.assert_array_equal(targets["boxes"][image][positive], expected)
        num_positive += positive.sum()
    assert num_positive > (8 if options.get("top_k") == 1 else 40)
    assert (targets["labels"][1] == -1).all()


def test_by_hand():
    # Four default boxes in a row, of 1/4 of the width each; predictions are where they are, of
    # half the height or all of it.
    default_boxes = np.array([[0, x / 4, 1, (x + 1) / 4] for x in range(4)], "float32")
    predicted = default_boxes.copy()
    predicted[[1, 3], 2] = 0.5
    scores = np.array([[0.5, 0.1], [0.8, 0.2], [0.9, 0.4], [0.3, 0.6]], "float32")
    # Object 0, class 0, covers the left half: IoUs 1/2, 1/4 and 0. With alpha 1 and beta 2 the
    # alignments .5 / 4 = .125 and .8 / 16 = .05. Object 1, class 1, covers boxes 1 and 2: IoUs
    # .125 / .5 = 1/4 and 1/2; alignments .2 / 16 = .0125 and .4 / 4 = .1. Box 1 is equally good
    # for both, and goes to the first. Object 2 lies between the centres .625 and .875, and takes
    # its best candidate, box 3: it covers .1 * .5 of .25 * .5, an IoU of .4.
    boxes = [[0, 0, 1, 0.5], [0, 0.25, 1, 0.75], [0, 0.75, 0.5, 0.85]]
    truth = {
        "boxes": np.array([boxes], "float32"),
        "labels": np.array([[0, 1, 0]], "int32"),
        "candidates": np.array([[[0, 1, 2, 3], [2, 1, 3, -1], [3, 2, -1, -1]]], "int32"),
    }
    predictions = {"boxes": predicted[None], "scores": scores[None]}
    assigner = TaskAlignedAssigner(alpha=1, beta=2, top_k=3, max_candidates=4)
    targets = assign(assigner, truth, predictions, default_boxes)
    np.testing.assert_array_equal(targets["labels"], [[0, 0, 1, 0]])
    # Of object 0 .125 becomes 1/2, and .05 becomes .2; the others have one box each: their IoUs.
    np.testing.assert_allclose(targets["quality"], [[0.5, 0.2, 0.5, 0.4]], rtol=1e-5)
    np.testing.assert_allclose(targets["boxes"][0, 3], boxes[2])
    # The candidates of object 2 without box 3: no overlap with box 2's prediction, yet it takes
    # the first candidate, with the quality 0, if object 1 leaves it.
    truth["candidates"][0, 1:] = [[1, -1, -1, -1], [2, -1, -1, -1]]
    targets = assign(assigner, truth, predictions, default_boxes)
    np.testing.assert_array_equal(targets["labels"], [[0, 0, 0, -1]])
    np.testing.assert_allclose(targets["quality"], [[0.5, 0.2, 0, 0]], rtol=1e-5)


def test_boxes_of_no_area_and_padding_change_nothing():
    truth, predictions = random_batch(4)
    assigner = TaskAlignedAssigner()
    expected = assign(assigner, all_candidates(truth), predictions)
    longer = {
        "boxes": np.concatenate([np.full((4, 3, 4), 0.4, "float32"), truth["boxes"]], axis=1),
        "labels": np.concatenate([np.full((4, 3), 2, "int32"), truth["labels"]], axis=1),
    }
    targets = assign(assigner, all_candidates(longer), predictions)
    for name, values in expected.items():
        is_used = expected["labels"] >= 0 if name == "boxes" else slice(None)
        np.testing.assert_array_equal(targets[name][is_used], values[is_used])


@pytest.mark.parametrize(
    "arguments", [{"alpha": -1.0}, {"beta": -0.1}, {"top_k": 0}, {"max_candidates": 0}]
)
def test_out_of_range(arguments):
    message = r"^TaskAlignedAssigner\(.*\) is out of range; alpha and beta must be 0 or more, top_k"
    with pytest.raises(ValueError, match=message):
        TaskAlignedAssigner(**arguments)


def test_predictions_are_needed():
    truth, _ = random_batch(5)
    with pytest.raises(ValueError, match="^TaskAlignedAssigner needs predictions; call it in the"):
        TaskAlignedAssigner().assign(truth, DEFAULT_BOXES)
