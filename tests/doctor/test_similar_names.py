"""Class names that may be misspelt."""

import pytest
from example_records import example, split_of

from ssd_keras.core.class_names import COCO_CLASSES, VOC_CLASSES
from ssd_keras.doctor.similar_names import differ_in_one_letter, similar_name_findings


def found(counts):
    labels = [label for label, count in enumerate(counts.values()) for _ in range(count)]
    boxes = [[0, 0, 9, 9]] * len(labels)
    return [
        str(finding)
        for finding in similar_name_findings(
            [split_of(example(boxes=boxes, labels=labels, image=b""), names=tuple(counts))]
        )
    ]


# counts by name: is the pair found
PAIRS = {
    "a letter is missing": ({"motorbike": 40, "motobike": 2}, True),
    "a letter too many": ({"vehicle": 40, "vehicles": 2}, True),
    "letters swapped": ({"person": 40, "perosn": 1}, True),
    "a wrong letter": ({"traffic_light": 40, "trafficxlight": 1}, True),
    "the rare one first": ({"motobike": 2, "motorbike": 40}, True),
    "case and separators too": ({"Traffic Light": 40, "traffic-ligth": 1}, True),
    "case and separators alone": ({"traffic light": 40, "Traffic_Light": 1}, False),
    "both frequent": ({"motorbike": 40, "motobike": 20}, False),
    "short words": ({"cat": 400, "car": 1}, False),
    "another first letter": ({"boat": 400, "goat": 1}, False),
    "numbers": ({"Raspberry_Pi_3": 400, "Raspberry_Pi_4": 1}, False),
    "a number more": ({"class_1": 400, "class_11": 1}, False),
    "without objects": ({"motorbike": 40, "motobike": 0}, False),
    "a compound": ({"bike": 400, "motobike": 1}, False),
}


@pytest.mark.parametrize(("counts", "is_found"), PAIRS.values(), ids=PAIRS)
def test_slips_in_names(counts, is_found):
    assert bool(found(counts)) is is_found


def test_a_slip_is_named_with_both_counts():
    assert found({"motorbike": 40, "motobike": 2}) == [
        "'motobike': 2 objects; 'motorbike': 40 objects"
    ]


@pytest.mark.parametrize("names", [COCO_CLASSES, VOC_CLASSES], ids=["COCO", "VOC"])
def test_the_names_of_known_sets_are_no_slips(names):
    pairs = [(a, b) for a in names for b in names if differ_in_one_letter(a, b)]
    assert pairs == []
