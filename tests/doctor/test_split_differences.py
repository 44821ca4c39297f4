"""Splits that say little, and splits that differ."""

import re

import numpy as np
import pytest
from example_records import example, split_of

from ssd_keras.doctor.split_differences import (
    difference_findings,
    few_object_findings,
    is_validation,
)

IMAGE = b""  # never read


def split(labels_of_images, side=20.0, name="train"):
    """Images of 100 x 100 pixels with objects of these labels, squares of this side."""
    examples = [
        example(n, IMAGE, [[0, 0, side, side]] * len(labels), labels, size=(100, 100))
        for n, labels in enumerate(labels_of_images)
    ]
    return split_of(*examples, name=name)


# names of the splits, index: whether it is one for validation
NAMES = {
    "the first is not": (["train", "val"], 0, False),
    "the second is": (["a", "b"], 1, True),
    "a second one to train on is not": (["train1", "train2"], 1, False),
    "a single one of such a name is": (["images/val"], 0, True),
    "another single one is not": (["all"], 0, False),
    "val inside a word is not": (["trainval"], 0, False),
    "a year after it": (["val2017"], 0, True),
}


@pytest.mark.parametrize(("names", "index", "expected"), NAMES.values(), ids=NAMES)
def test_splits_to_measure_on(names, index, expected):
    splits = [split([[0]], name=name) for name in names]
    assert is_validation(splits, index) is expected


def test_few_objects_of_a_class_in_a_validation_split():
    train = split([[0, 1]] * 3)
    few = split([[0]] * 10 + [[1]] * 9, name="val")
    assert [str(finding) for finding in few_object_findings([train, few])] == ["val: cat 9"]
    enough = split([[0, 1]] * 10, name="val")
    assert few_object_findings([train, enough]) == []
    none = split([[0]] * 10, name="val")  # a class without objects is another finding
    assert few_object_findings([train, none]) == []


def test_difficult_objects_do_not_count_where_an_ap_ignores_them():
    val = split([[0]] * 10, name="val")
    val.data.examples[0].is_difficult[0] = True
    assert [str(finding) for finding in few_object_findings([val])] == ["val: dog 9"]


def random_images(rng, count, share):
    """Images of up to 6 objects, a share of them cats."""
    return [(rng.random(rng.integers(0, 7)) < share).astype(int) for _ in range(count)]


def test_shares_of_classes_that_differ_are_found():
    rng = np.random.default_rng(0)
    train, val = split(random_images(rng, 100, 0.5)), split(random_images(rng, 40, 0.2), name="val")
    # The share of dogs rises from 50 to 80 %, a factor of about 1.5; that of cats falls by 2.5.
    text = str(difference_findings([train, val])[-1])
    assert re.fullmatch(r"val: (1|2)\d% of the objects are cat, (4|5)\d% in train", text)


@pytest.mark.parametrize("seed", range(5))
def test_splits_of_one_kind_do_not_differ(seed):
    rng = np.random.default_rng(seed)
    train, val = split(random_images(rng, 100, 0.3)), split(random_images(rng, 40, 0.3), name="val")
    assert difference_findings([train, val]) == []


def test_one_image_of_many_objects_is_no_evidence():
    """40 cats of one image are one draw, not forty."""
    train = split([[0]] * 50 + [[1]] * 5)
    val = split([[0]] * 10 + [[1] * 40], name="val")
    assert difference_findings([train, val]) == []


def test_sizes_that_differ_are_found():
    train, val = split([[0]] * 30, side=10.0), split([[0]] * 30, side=16.0, name="val")
    assert [str(finding) for finding in difference_findings([train, val])] == [
        "val: the median side of dog is 16.0% of the image's, 10.0% in train",
        "val: the median side of all objects is 16.0% of the image's, 10.0% in train",
    ]
    alike = split([[0]] * 30, side=14.0, name="val")
    assert difference_findings([train, alike]) == []


def test_splits_without_objects_are_not_compared():
    assert difference_findings([split([[0]] * 30), split([[]] * 30, name="val")]) == []
    assert difference_findings([split([[]] * 30), split([[0]] * 30, name="val")]) == []


@pytest.mark.parametrize("name", ["bccd", "raccoon", "deep_pcb", "groceries"])
def test_well_divided_sets_do_not_differ(shared, name):
    from ssd_keras.data.splits import load_splits

    splits = load_splits([f"voc:{shared}/data/{name}@{part}" for part in ("train", "val")])
    assert difference_findings(splits) == []


def test_towns_differ(shared):
    from ssd_keras.data.splits import load_splits

    splits = load_splits([f"voc:{shared}/data/carla@{part}" for part in ("train", "val")])
    found = [str(finding) for finding in difference_findings(splits)]
    assert found[:2] == [
        "val: 23% of the objects are traffic_light, 47% in train",
        "val: 14% of the objects are traffic_sign, 2% in train",
    ]
    assert [str(finding) for finding in few_object_findings(splits)] == ["val: bike 4, motobike 9"]
