"""Argmax assignment: conflicts by hand, scenes against plain NumPy and torchvision's rule."""

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras.assigners import ArgmaxAssigner
from ssd_keras.boxes.default_box_grid import DefaultBoxGrid
from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.boxes.iou import pairwise_iou

GRID = DefaultBoxGrid(
    DefaultBoxes((((24, 24), (17, 34), (34, 17)), ((60, 60), (42, 85)), ((140, 150),))),
    (160, 240),
    ((16, 24), (8, 12), (2, 3)),
)
# Columns of a strip: default boxes are intervals of it.
STRIP = np.array([[0, 0, 1, 0.4], [0, 0.4, 1, 0.8], [0, 0.8, 1, 1.0], [0, 0, 1, 0.8]], "float32")


def assign(intervals, default_boxes=STRIP, **options):
    boxes = np.array([[0, left, 1, right] for left, right in intervals], "float32")[None]
    labels = np.arange(len(intervals), dtype="int32")[None]
    targets = ArgmaxAssigner(**options).assign({"boxes": boxes, "labels": labels}, default_boxes)
    return {name: values[0].numpy() for name, values in targets.items()}


def test_thresholds_by_hand():
    # Object 0 from 0 to .3: IoUs .75, 0, 0, .375. Object 1 from .5 to .9: .3 / .5 = .6 with box 1,
    # .1 / .5 = .2 with box 2, .3 / .9 = .333 with box 3, whose best is object 0.
    intervals = [(0, 0.3), (0.5, 0.9)]
    targets = assign(intervals)
    np.testing.assert_array_equal(targets["labels"], [0, 1, -1, -1])
    np.testing.assert_allclose(targets["quality"], [0.75, 0.6, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(targets["boxes"][1], [0, 0.5, 1, 0.9])
    assert not targets["boxes"][2:].any()
    targets = assign(intervals, unmatched_threshold=0.35)
    np.testing.assert_array_equal(targets["labels"], [0, 1, -1, -2])
    targets = assign(intervals, matched_threshold=0.35, unmatched_threshold=0.15)
    np.testing.assert_array_equal(targets["labels"], [0, 1, -2, 0])
    # Only object 0 reaches .7; the best box of object 1 is forced out of the ignored ones.
    options = {"matched_threshold": 0.7, "unmatched_threshold": 0.15}
    targets = assign(intervals, **options, force_match=False)
    np.testing.assert_array_equal(targets["labels"], [0, -2, -2, -2])
    np.testing.assert_allclose(targets["quality"], [0.75, 0, 0, 0], rtol=1e-5)
    targets = assign(intervals, **options)
    np.testing.assert_array_equal(targets["labels"], [0, 1, -2, -2])
    np.testing.assert_allclose(targets["quality"], [0.75, 0.6, 0, 0], rtol=1e-5)


def test_the_first_of_two_objects_keeps_their_best_default_box():
    # Both are best in box 0, with IoUs .5 and 1. By its IoU the box would be of object 1, but
    # object 0 is forced first; object 1 goes without, since no other box reaches .6.
    intervals = [(0, 0.2), (0, 0.4)]
    options = {"matched_threshold": 0.6, "unmatched_threshold": 0.6}
    np.testing.assert_array_equal(assign(intervals, **options)["labels"], [0, -1, -1, -1])
    targets = assign(intervals, **options, force_match=False)
    np.testing.assert_array_equal(targets["labels"], [1, -1, -1, -1])
    # At .45 object 1 has box 3 as well: IoUs .25 and .5.
    options = {"matched_threshold": 0.45, "unmatched_threshold": 0.45}
    np.testing.assert_array_equal(assign(intervals, **options)["labels"], [0, -1, -1, 1])


def test_an_object_that_overlaps_nothing():
    targets = assign([(0.9, 1.0)], STRIP[:2])
    np.testing.assert_array_equal(targets["labels"], [-1, -1])
    nothing = {"boxes": np.zeros((2, 0, 4), "float32"), "labels": np.zeros((2, 0), "int32")}
    labels = ArgmaxAssigner().assign(nothing, STRIP)["labels"].numpy()
    np.testing.assert_array_equal(labels, np.full((2, 4), -1))


def plain_rule(ious, matched_threshold, unmatched_threshold):
    """Object of each default box, -1 background, -2 ignored: the API's, in loops."""
    matched = np.full(ious.shape[1], -1)
    for j, column in enumerate(ious.T):
        best = int(np.argmax(column))
        if column[best] >= matched_threshold:
            matched[j] = best
        elif column[best] >= unmatched_threshold:
            matched[j] = -2
    taken = set()
    for i, row in enumerate(ious):
        best = int(np.argmax(row))
        if best not in taken:
            matched[best] = i
            taken.add(best)
    return matched


def torchvision_rule(ious, threshold):
    """`SSDMatcher` as torchvision writes it: vectors, and the last object wins."""
    values, matched = ious.max(axis=0), ious.argmax(axis=0)
    matched[values < threshold] = -1
    matched[ious.argmax(axis=1)] = np.arange(len(ious))
    return matched


def random_objects(generator, count):
    """Objects of a photograph; some overlap heavily, some are tiny."""
    size = np.exp(generator.uniform(np.log(0.02), np.log(0.8), (count, 2)))
    corner = generator.uniform(0, 1, (count, 2)) * (1 - size)
    boxes = np.concatenate([corner, corner + size], axis=1)
    boxes[1::4] = np.clip(boxes[0] + generator.normal(0, 0.01, boxes[1::4].shape), 0, 1)
    return boxes.astype("float32")


@pytest.mark.parametrize("thresholds", [(0.5, 0.5), (0.5, 0.4), (0.7, 0.3)])
def test_scenes_against_plain_numpy(thresholds):
    generator = np.random.default_rng(7)
    images = [random_objects(generator, count) for count in (1, 7, 20, 33)]
    boxes, labels = np.zeros((5, 40, 4), "float32"), np.full((5, 40), -1, "int32")
    for image, each in enumerate(images):  # padding on both sides; the last image has no object
        boxes[image, 2 : 2 + len(each)] = each
        labels[image, 2 : 2 + len(each)] = np.arange(len(each))
    truth = {"boxes": tf.constant(boxes), "labels": tf.constant(labels)}
    assigner = ArgmaxAssigner(*thresholds)
    targets = tf.function(lambda t: assigner.assign(t, GRID), autograph=False)(truth)
    num_ignored = num_positive = 0
    for image, each in enumerate(images):
        # The library's float32: many IoUs are equal, and only rounding decides.
        ious = pairwise_iou(each, GRID.boxes())
        matched = plain_rule(ious, *thresholds)
        np.testing.assert_array_equal(targets["labels"][image], matched)
        is_positive = matched >= 0
        quality = ious[np.maximum(matched, 0), np.arange(len(matched))] * is_positive
        np.testing.assert_allclose(targets["quality"][image], quality, atol=1e-6)
        expected = each[matched[is_positive]]
        np.testing.assert_array_equal(targets["boxes"][image][is_positive], expected)
        num_ignored, num_positive = (
            num_ignored + (matched == -2).sum(),
            num_positive + is_positive.sum(),
        )
        if thresholds == (0.5, 0.5):
            # With the objects in the other order the last of torchvision's is the first of ours.
            other = torchvision_rule(ious[::-1], 0.5)
            other = np.where(other >= 0, len(each) - 1 - other, -1)
            np.testing.assert_array_equal(matched, other)
    assert num_positive >= 50 and (num_ignored > 30) == (thresholds != (0.5, 0.5))
    assert (targets["labels"][4].numpy() == -1).all()


@pytest.mark.parametrize("thresholds", [(0.5, 0.6), (0.5, 0.0), (1.1, 0.5)])
def test_thresholds_out_of_range(thresholds):
    message = "^unmatched_threshold={1} and matched_threshold={0} are out of".format(*thresholds)
    with pytest.raises(ValueError, match=message):
        ArgmaxAssigner(*thresholds)
