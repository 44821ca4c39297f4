"""The table of default boxes: what is lost comes first, what loses nothing in one line."""

import numpy as np
import pytest
from example_records import example, split_of

from ssd_keras.boxes.default_box_grid import DefaultBoxGrid
from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.doctor.default_box_recall import DefaultBoxIoUs
from ssd_keras.doctor.default_box_report import DefaultBoxReport, check_default_boxes
from ssd_keras.doctor.object_boxes import ObjectBoxes

GRID = DefaultBoxGrid(DefaultBoxes.explicit([[(20, 20)]]), (320, 320), ((16, 16),))
FITTED = DefaultBoxGrid(DefaultBoxes.explicit([[(24, 24)]]), (320, 320), ((16, 16),))
NAMES = tuple(f"class_{number:02d}" for number in range(14))


def report(before, after=None, names=NAMES):
    """Two objects of each class; best IoUs by object."""
    labels = [label for label in range(len(names)) for _ in range(2)]
    split = split_of(
        example(boxes=[[9, 9, 24, 24]] * len(labels), labels=labels, size=(320, 320), image=b""),
        names=names,
    )
    ious = [[DefaultBoxIoUs(np.array(x), np.array(x))] for x in (before, after or before)]
    fitted = GRID if after is None else FITTED
    objects = [ObjectBoxes.from_data(split.data)]
    return DefaultBoxReport("a model", 0.5, GRID, fitted, [split], objects, *ious)


@pytest.fixture
def mixed():
    """Of 14 classes, the second loses two after the fit, the third one, the first none."""
    before, after = np.full(28, 0.6), np.full(28, 0.6)
    before[0:2] = 0.4  # class_00: 2 -> 0
    after[2:4] = 0.3  # class_01: 0 -> 2
    before[4] = after[4] = 0.2  # class_02: 1 -> 1
    return str(report(before.tolist(), after.tolist())).splitlines()


def test_classes_of_many_unmatched_objects_come_first(mixed):
    rows = [line.split() for line in mixed if line.startswith("    class_")]
    assert [[row[0], *row[2:5]] for row in rows] == [
        ["class_01", "0", "->", "2"],
        ["class_02", "1", "->", "1"],
        ["class_00", "2", "->", "0"],
    ]


def test_what_loses_nothing_is_one_line(mixed):
    (line,) = (line for line in mixed if "nothing unmatched" in line)
    names = ", ".join(NAMES[3:11])
    assert line == f"    nothing unmatched: {names} and 3 more"


def test_what_the_fitted_boxes_lose_is_named_below_the_argument(mixed):
    (index,) = (i for i, line in enumerate(mixed) if line.startswith("  --set"))
    assert mixed[index + 1] == "  but more are unmatched than before in: train class_01 0 -> 2 of 2"


def test_many_classes_are_cut():
    lines = str(report([0.4] * 28)).splitlines()
    assert sum(line.startswith("    class_") for line in lines) == 10
    assert "    ... and 4 classes more: 8 unmatched" in lines
    assert not [line for line in lines if "than before" in line or "nothing unmatched" in line]
    both = str(report([0.4] * 28, [0.4] * 27 + [0.6])).splitlines()
    assert "    ... and 4 classes more: 8 -> 7 unmatched" in both


def test_default_boxes_are_not_fitted_for_an_assigner_without_a_threshold():
    split = split_of(
        example(boxes=[[9, 9, 40, 40], [90, 90, 8, 60]], labels=[0, 0], size=(320, 320))
    )
    fitted = check_default_boxes([split], GRID, "a model")
    assert fitted.is_fitted and fitted.unmatched()
    report = check_default_boxes([split], GRID, "a model", threshold=0.0)
    assert not report.is_fitted and not report.unmatched()
    assert "matched by an assigner without a threshold" in str(report).splitlines()[0]
    assert str(report).splitlines()[-1].startswith("  not fitted: the assigner needs no")
