"""Images with their objects beside the detections: what is drawn where, and what captions count."""

import numpy as np
import pytest
from scenes import detection, example

from ssd_keras.data.records import DetectionData
from ssd_keras.drawing.draw import draw_boxes, draw_false, draw_missed
from ssd_keras.evaluation.matches import match
from ssd_keras.evaluation.outcome import (
    GAP,
    draw_outcome,
    num_mistakes,
    outcome_caption,
)

GREY = np.full((600, 800, 3), 90, np.uint8)
DOG, CAT, HIDDEN = [80, 60, 160, 120], [400, 300, 200, 150], [600, 60, 80, 120]  # xywh
FALSE, WEAK = [80, 420, 160, 120], [400, 60, 80, 60]


@pytest.fixture(scope="module")
def matches():
    """A dog that is found, a cat that is missed, a difficult dog, and an image without objects."""
    first = example("a", [DOG, CAT, HIDDEN], [0, 1, 0], difficult=[False, False, True])
    data = DetectionData(("dog", "cat"), (first, example("b", [], [])))
    found = [
        detection("a", DOG, 0.9),
        detection("a", FALSE, 0.75, 2),
        detection("a", WEAK, 0.3),
        detection("a", CAT, 0.4, 2),
        detection("a", HIDDEN, 0.8),
        detection("b", WEAK, 0.6),
    ]
    return match(data, found)


def relative(*boxes):
    """xywh in pixels of 800x600 as relative yxyx."""
    return np.array([[y / 600, x / 800, (y + h) / 600, (x + w) / 800] for x, y, w, h in boxes])


def test_objects_are_left_and_detections_with_their_mistakes_right(matches):
    drawn = draw_outcome(matches, 0, GREY, 0.5)
    assert drawn.shape == (600, 800 + GAP + 800, 3)
    names = ("dog", "cat")
    left = draw_boxes(GREY, relative(DOG, CAT, HIDDEN), np.array([0, 1, 0]), class_names=names)
    np.testing.assert_array_equal(drawn[:, :800], left)
    assert (drawn[:, 800:-800] == 40).all()
    # The cat's box of 0.4 and the dog of 0.3 are below 0.5; the difficult dog counts for nothing.
    right = draw_missed(GREY, relative(CAT), ["cat"])
    found = (relative(DOG, HIDDEN), np.array([0, 0]), np.array([0.9, 0.8]))
    right = draw_false(draw_boxes(right, *found, names), relative(FALSE), ["cat"], np.array([0.75]))
    np.testing.assert_array_equal(drawn[:, -800:], right)
    # From scores by class: the cat is found from 0.35 on, and the dog of 0.3 is still too weak.
    by_class = draw_outcome(matches, 0, GREY, [0.5, 0.35])
    np.testing.assert_array_equal(by_class[:, :800], left)
    found = (relative(DOG, HIDDEN, CAT), np.array([0, 0, 1]), np.array([0.9, 0.8, 0.4]))
    right = draw_false(draw_boxes(GREY, *found, names), relative(FALSE), ["cat"], np.array([0.75]))
    np.testing.assert_array_equal(by_class[:, -800:], right)


def test_boxes_are_drawn_after_the_image_is_resized(matches):
    drawn = draw_outcome(matches, 0, GREY, 0.5, side=400)
    small = np.full((300, 400, 3), 90, np.uint8)
    left = draw_boxes(
        small, relative(DOG, CAT, HIDDEN), np.array([0, 1, 0]), class_names=("dog", "cat")
    )
    np.testing.assert_array_equal(drawn[:, :400], left)


def test_captions_and_counts_by_hand(matches):
    assert outcome_caption(matches, 0) == "1 of 2 objects found, 1 false"
    assert outcome_caption(matches, 0, [0.5, 0.35]) == "2 of 2 objects found, 1 false"
    assert outcome_caption(matches, 0, 0.8) == "1 of 2 objects found"
    assert outcome_caption(matches, 1, 0.2) == "no objects, 1 false"
    missed, false = num_mistakes(matches, 0.2)
    assert (missed.tolist(), false.tolist()) == ([0, 0], [2, 1])
    missed, false = num_mistakes(matches, 0.95)
    assert (missed.tolist(), false.tolist()) == ([2, 0], [0, 0])
