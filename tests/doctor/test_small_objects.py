"""The hint on objects that are too small for a model, or unlike its default boxes."""

import numpy as np
import pytest
from example_records import example, split_of

from ssd_keras import from_preset
from ssd_keras.boxes.default_box_grid import DefaultBoxGrid
from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.doctor.default_box_report import check_default_boxes
from ssd_keras.doctor.small_objects import hard_objects_hint, small_objects_hint

REMEDY = (
    "; what helps: a larger model.options.image_size, the default boxes that `ssd-keras data "
    "check` fits, or finer model.options.feature_layers."
)
# Of ten objects: the number with an IoU below 0.45, and the number of sides below 8 pixels.
CASES = {
    "well": (1, 1, ""),
    "unmatched": (2, 0, "hint: 20% of the objects match no default box at IoU 0.45"),
    "small": (0, 3, "hint: 30% of the objects are smaller than 8 pixels of the input (64x96)"),
    "both": (
        5, 2, "hint: 50% of the objects match no default box at IoU 0.45 and 20% of the objects "
        "are smaller than 8 pixels of the input (64x96)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("unmatched", "small", "words"), CASES.values(), ids=CASES)
def test_more_than_a_tenth_gives_a_hint(unmatched, small, words):
    best = np.array([0.449] * unmatched + [0.45] * (10 - unmatched))
    sides = np.array([7.9] * small + [8.0] * (10 - small))
    assert hard_objects_hint(best, sides, 0.45, (64, 96)) == (words + REMEDY if words else "")


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
        "hint: 100% of the objects match no default box at IoU 0.5 and 100% of the objects are "
        "smaller than 8 pixels of the input (64x64)" + REMEDY
    )
    assert small_objects_hint(objects_of_side(200), model) == ""
    # Squares of 120 of 640 are 12 of 64: 144 / 400 = 0.36.
    assert small_objects_hint(objects_of_side(120), model, threshold=0.3) == ""
    assert small_objects_hint(objects_of_side(120), model, threshold=0.4).startswith(
        "hint: 100% of the o"
    )
    assert small_objects_hint(split_of(example()).data, model) == ""


def test_the_report_ends_with_the_hint():
    grid = DefaultBoxGrid(DefaultBoxes.paper((20, 40, 60), ((), ())), (64, 64), ((8, 8), (4, 4)))
    splits = [split_of(example(boxes=objects_of_side(60).examples[0].boxes, size=(640, 640)))]
    lines = str(check_default_boxes(splits, grid, "a model as --set changes it")).splitlines()
    assert lines[0].startswith("default boxes of a model as --set changes it (160, input 64x64), m")
    assert lines[-1].startswith(
        "hint: 100% of the objects match no default box at IoU 0.5 and 100% of"
    )
