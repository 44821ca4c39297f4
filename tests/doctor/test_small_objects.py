"""The hint on objects that are too small for a model, or unlike its default boxes."""

import numpy as np
import pytest
from example_records import example, split_of

from ssd_keras import from_preset
from ssd_keras.boxes.default_box_grid import DefaultBoxGrid
from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.doctor.default_box_report import check_default_boxes, larger_sizes
from ssd_keras.doctor.small_objects import hard_objects, small_objects_hint

# Of ten objects: the number with an IoU below 0.45, and the number of sides below 8 pixels.
CASES = {
    "well": (1, 1, ""),
    "unmatched": (2, 0, "20% match no default box at IoU 0.45 and 0% are smaller than 8 pixels"),
    "small": (0, 3, "0% match no default box at IoU 0.45 and 30% are smaller than 8 pixels"),
    "both": (5, 2, "50% match no default box at IoU 0.45 and 20% are smaller than 8 pixels"),
}


@pytest.mark.parametrize(("unmatched", "small", "words"), CASES.values(), ids=CASES)
def test_more_than_a_tenth_is_hard(unmatched, small, words):
    best = np.array([0.449] * unmatched + [0.45] * (10 - unmatched))
    sides = np.array([7.9] * small + [8.0] * (10 - small))
    assert hard_objects(best, sides, 0.45) == words


def test_without_a_threshold_only_the_size_counts():
    best = np.array([0.01] * 10)  # an assigner such as ATSS matches them all the same
    assert hard_objects(best, np.full(10, 8.0), 0.0) == ""
    assert hard_objects(best, np.full(10, 7.9), 0.0) == "100% are smaller than 8 pixels"


def objects_of_side(side):
    """Twenty squares in an image of 640 x 640, in the middles of cells of 8 of 64 pixels."""
    corners = [(40 + 80 * (n % 7) - side / 2, 40 + 80 * (n // 7) - side / 2) for n in range(20)]
    return split_of(example(boxes=[[x, y, side, side] for x, y in corners], size=(640, 640))).data


def test_a_model_with_small_objects():
    """Input 64 x 64, a tenth of the image: 60 pixels are 6 there, 200 are 20."""
    sizes = (20, 30, 40, 50, 60)
    model = from_preset("ssd192_small_shapes", ["dog", "cat"], image_size=(64, 64), sizes=sizes)
    hint = small_objects_hint(objects_of_side(60), model)
    # In a square of 20 with the same centre: an IoU of 36 / 400 = 0.09.
    assert hint == (
        "hint: of the objects 100% match no default box at IoU 0.5 and 100% are smaller than 8 "
        "pixels, at an input of 64x64; what helps: a larger model.options.image_size, fitted "
        "default boxes (`ssd-keras data check` with --recipe prints both), or finer "
        "model.options.feature_layers."
    )
    assert small_objects_hint(objects_of_side(200), model) == ""
    # Squares of 120 of 640 are 12 of 64: 144 / 400 = 0.36.
    assert small_objects_hint(objects_of_side(120), model, threshold=0.3) == ""
    assert small_objects_hint(objects_of_side(120), model, threshold=0.4).startswith(
        "hint: of the objects 100% match"
    )
    assert small_objects_hint(split_of(example()).data, model) == ""


def test_the_report_ends_with_the_shares_at_larger_inputs():
    """Objects of 60 of 640 pixels are 6 at an input of 64, 12 at 128, like the boxes of 20."""
    boxes = DefaultBoxes.paper((20, 40, 60), ((), ()))
    grid = DefaultBoxGrid(boxes, (64, 64), ((8, 8), (4, 4)))
    splits = [split_of(example(boxes=objects_of_side(60).examples[0].boxes, size=(640, 640)))]
    report = check_default_boxes(splits, grid, "a model as --set changes it")
    assert report.hard_objects.startswith("100% match no default box")
    larger = [DefaultBoxGrid(boxes, (side, side), ((8, 8), (4, 4))) for side in (128, 256)]
    lines = str(report._replace(larger=larger)).splitlines()
    assert lines[0].startswith("default boxes of a model as --set changes it (160, input 64x64), m")
    assert lines[-3:] == [
        "hint: of the objects of train 100% match no default box at IoU 0.5 and 100% are smaller "
        "than 8 pixels; what helps: the fitted boxes, finer model.options.feature_layers, or a "
        "larger input:",
        # 12 * 12 / (20 * 20) = .36 of the square of 20; at 256 the object has 24: 400 / 576 = .69.
        "  model.options.image_size=[128,128]: train 100% unmatched, 0% smaller than 8 pixels",
        "  model.options.image_size=[256,256]: train 0% unmatched, 0% smaller than 8 pixels",
    ]


def test_larger_inputs_are_one_and_two_steps_up():
    assert larger_sizes((320, 320)) == [(480, 480), (640, 640)]
    assert larger_sizes((300, 300)) == [(448, 448), (608, 608)]
    assert larger_sizes((192, 320)) == [(288, 480), (384, 640)]
