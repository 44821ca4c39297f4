"""Differences with bootstrap intervals: COCO's own numbers, drawn images as copies, by hand."""

import dataclasses

import numpy as np
import pytest
from scenes import detection, example, random_scene

from ssd_keras.data.records import DetectionData
from ssd_keras.evaluation.coco import coco_evaluation, coco_metrics, coco_per_class
from ssd_keras.evaluation.coco_matches import coco_matches
from ssd_keras.evaluation.compare import compare_detections, comparison_table, verdict
from ssd_keras.evaluation.detection_table import as_table
from ssd_keras.evaluation.weighted_ap import RECALLS, _num_reached, weighted_average_precision

CAT, DOG = 1, 2  # category ids


def scene_with_crowds(seed, **options):
    """A random scene with crowds, and distinct scores where the boxes are no whole numbers."""
    data, found = random_scene(seed, **options)
    rng = np.random.default_rng(seed)
    examples = [
        dataclasses.replace(one, is_crowd=rng.random(len(one.labels)) < 0.15)
        for one in data.examples
    ]
    if not options.get("whole", True):
        found = [one | {"score": one["score"] + 1e-6 * k} for k, one in enumerate(found)]
    return dataclasses.replace(data, examples=tuple(examples)), found


def copies(data, found, counts):
    """The data with each image as often as it counts."""
    examples, detections = [], []
    for one, count in zip(data.examples, counts, strict=True):
        for number in range(count):
            image_id = f"{one.image_id} {number}"
            examples.append(dataclasses.replace(one, image_id=image_id))
            rows = (each for each in found if each["image_id"] == one.image_id)
            detections += [row | {"image_id": image_id} for row in rows]
    return dataclasses.replace(data, examples=tuple(examples)), detections


def assert_are_coco_s(rows, data, found, key):
    """Compares one column of a comparison with faster-coco-eval."""
    table = as_table(data, found)
    expected = coco_metrics(data, table)
    for name, row in rows["all"].items():
        assert row[key] == pytest.approx(expected[name], abs=1e-12), name
    for name, expected in coco_per_class(data, coco_evaluation(data, table)).items():
        for which, value in expected.items():
            assert rows["classes"][name][which][key] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_data_as_they_are_give_coco_s_numbers(seed):
    data, found = scene_with_crowds(seed, whole=seed < 2)
    _, other = scene_with_crowds(seed + 10)
    rows = compare_detections(data, as_table(data, found), as_table(data, other), num_resamples=2)
    assert_are_coco_s(rows, data, found, "first")
    assert_are_coco_s(rows, data, other, "second")
    assert 0.1 < rows["all"]["AP"]["first"] < 0.9
    for row in (rows["all"]["AP_small"], rows["classes"]["class 1"]["AP50"]):
        assert row["difference"] == row["second"] - row["first"]
    # The last class has no object.
    assert set(rows["classes"]["class 3"]["AP"].values()) == {None}


@pytest.mark.parametrize("seed", range(3))
def test_weights_count_images_as_copies_do(seed):
    data, found = scene_with_crowds(seed, whole=False)
    counts = np.random.default_rng(seed).multinomial(len(data), [1 / len(data)] * len(data))
    assert counts.max() > 1 and (counts == 0).any()
    expected = coco_metrics(*copies(data, found, counts))
    # More weights than one block has.
    weights = np.repeat(counts[:, None], 130, axis=1)
    matches = coco_matches(data, as_table(data, found))
    values = np.array([weighted_average_precision(each, weights) for each in matches])
    assert values.shape == (4, 10, 4, 130) and np.array_equal(
        values, np.repeat(values[..., :1], 130, axis=-1), equal_nan=True
    )
    is_known = ~np.isnan(values[:, 0, :, 0])
    for size, name in enumerate(("AP", "AP_small", "AP_medium", "AP_large")):
        mean = values[is_known[:, size], :, size, 0].mean()
        assert mean == pytest.approx(expected[name], abs=1e-12)
    half = values[is_known[:, 0], 0, 0, 0].mean()
    assert half == pytest.approx(expected["AP50"], abs=1e-12)


def test_recalls_are_reached_as_in_coco_s_search():
    counts = np.array([(found, total) for total in range(1, 150) for found in range(total + 1)])
    recall = counts[:, 0] / counts[:, 1]
    # 7 of 20 objects do not reach the 36th recall, which is 0.35000000000000003.
    assert RECALLS[35] > 7 / 20 and _num_reached(np.array([7 / 20])) == 35
    np.testing.assert_array_equal(_num_reached(recall), np.searchsorted(RECALLS, recall, "right"))


def test_two_images_by_hand():
    # Each image has a cat. The first detector finds both, the second that of image a alone.
    box, nowhere = [0, 0, 100, 100], [400, 400, 100, 100]
    data = DetectionData(("cat", "dog"), tuple(example(name, [box], [0]) for name in ("a", "b")))
    found = [detection("a", box, 0.9), detection("b", box, 0.8)]
    rows = compare_detections(
        data,
        as_table(data, found),
        as_table(data, [*found[:1], detection("b", nowhere, 0.95)]),
        num_resamples=400,
    )
    # False .95, true .9: precision 1/2 up to a recall of 1/2, which 51 of 101 recalls are.
    row = rows["all"]["AP50"]
    assert row["first"] == 1.0 and row["second"] == pytest.approx(0.5 * 51 / 101)
    # Drawn are aa (AP 1 and 1), bb (1 and 0), ab; a quarter, a quarter, a half.
    assert (row["low"], row["high"]) == (-1.0, 0.0)
    assert rows["classes"]["dog"]["AP"]["difference"] is None
    assert rows["left_out"] == [] and rows["all"]["AP_small"]["low"] is None
    same = compare_detections(data, as_table(data, found), as_table(data, found), ["cat"])
    assert same["all"]["AP"] == {"first": 1, "second": 1, "difference": 0, "low": 0, "high": 0}
    assert same["left_out"] == ["dog"] and set(same["classes"]) == {"cat"}


def test_a_seed_repeats_the_intervals_and_another_changes_them():
    data, found = random_scene(5)
    tables = as_table(data, found), as_table(data, found[::2])
    rows = [
        compare_detections(data, *tables, num_resamples=50, seed=seed)["all"]["AP"]
        for seed in (3, 3, 4)
    ]
    assert rows[0] == rows[1] != rows[2]
    assert rows[0]["low"] < rows[0]["difference"] < rows[0]["high"]


def test_table():
    data, found = random_scene(1)
    rows = compare_detections(data, as_table(data, found), as_table(data, found[::3]), ["class 0"])
    lines = comparison_table(rows).splitlines()
    assert lines[0].startswith("12 images; numbers in percent; intervals of 95 % from 1000 resam")
    row = rows["all"]["AP"]
    assert lines[2].split() == [
        "AP",
        *(f"{100 * row[key]:.2f}" for key in ("first", "second", "difference", "low")),
        "to",
        f"{100 * row['high']:.2f}",
        "worse",
    ]
    assert lines[-2].startswith("AP of class 0 ") and lines[-1] == (
        "not compared, because not both detectors know them: class 1, class 2, class 3"
    )
    assert verdict({"low": 0.01, "high": 0.2}) == "better" and verdict({"low": 0, "high": 1}) == ""
    assert verdict({"low": None, "high": None}) == ""


def test_an_interval_covers_the_true_difference():
    """Two detectors find each of 60 objects, one in an image, with 0.8 and 0.6: AP50 is so much."""
    box = [0, 0, 100, 100]
    data = DetectionData(("cat",), tuple(example(f"{k}", [box], [0]) for k in range(60)))
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        tables = [
            as_table(data, [detection(f"{k}", box, 0.9) for k in np.flatnonzero(found)])
            for found in (rng.random(60) < 0.8, rng.random(60) < 0.6)
        ]
        row = compare_detections(data, *tables, num_resamples=200)["all"]["AP50"]
        covered += row["low"] <= -0.2 <= row["high"]
    # Of 60 intervals of 95 %, 57 are expected; fewer than 52 have a probability of 0.3 %.
    assert covered >= 52
