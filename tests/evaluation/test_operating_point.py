"""Precision, recall and counts at score thresholds, and the best thresholds: by hand, and against
detections that are filtered before they are matched.
"""

import numpy as np
import pytest
from scenes import detection, example, random_scene

from ssd_keras.data.records import DetectionData
from ssd_keras.evaluation.matches import match
from ssd_keras.evaluation.operating_point import (
    OPTIMISTIC,
    best_thresholds,
    operating_point,
    operating_point_line,
    operating_point_table,
)

CAT, DOG = 1, 2  # category ids
CATS = [[60 * k, 0, 50, 50] for k in range(10)]
DOGS = [[60 * k, 300, 50, 50] for k in range(2)]
NOTHING = [600, 500, 50, 50]


def cats_and_dogs():
    """Ten cats, T T T T T T F T F F; two dogs, T."""
    data = DetectionData(("cat", "dog"), (example("a", CATS + DOGS, [0] * 10 + [1] * 2),))
    scores = (0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.5)
    found = [detection("a", box, score) for box, score in zip(CATS, scores, strict=False)]
    found += [detection("a", NOTHING, score) for score in (0.6, 0.4, 0.3)]
    return match(data, [*found, detection("a", DOGS[0], 0.45, DOG)])


def test_best_thresholds_by_hand():
    # Cats, F1 = 2 T / (detections + 10): 12/16 from .65 on, 14/18 from .5 on, 14/19 from .4 on.
    # All, F1 = 2 T / (detections + 12): 14/20 from .5 on, 16/21 from .45 on, 16/22 from .4 on.
    thresholds, common, pooled = best_thresholds(cats_and_dogs())
    assert pooled == ["dog"]  # two objects are too few
    assert thresholds.tolist() == [0.45, common] and common == pytest.approx(0.425, abs=0.006)
    point = operating_point(cats_and_dogs(), "best", ("tv", "dog", "cat"))
    assert point["thresholds"] == {"tv": common, "dog": common, "cat": 0.45}
    assert point["all"] == {
        "precision": 8 / 9,
        "recall": 8 / 12,
        "F1": 16 / 21,
        "true_positives": 8,
        "false_positives": 1,
        "missed": 4,
    }
    assert point["classes"]["dog"] == {
        "threshold": common,
        "precision": 1.0,
        "recall": 0.5,
        "F1": 2 / 3,
        "true_positives": 1,
        "false_positives": 0,
        "missed": 1,
    }
    assert point["confusion"]["counts"] == [[7, 0, 3], [0, 1, 1], [1, 0, 0]]
    assert point["warning"] == OPTIMISTIC and point["common_classes"] == ["dog"]


def test_thresholds_by_label_of_the_detector():
    point = operating_point(cats_and_dogs(), (0.0, 0.44, 0.8), ("tv", "dog", "cat"))
    assert point["thresholds"] == {"tv": 0.0, "dog": 0.44, "cat": 0.8}
    assert point["all"]["true_positives"] == 4 and point["all"]["false_positives"] == 0
    assert "warning" not in point and "common_threshold" not in point
    # A detector that knows no dogs misses both.
    point = operating_point(cats_and_dogs(), 0.62, ("cat",))
    assert point["classes"]["cat"]["true_positives"] == 6
    assert point["classes"]["dog"]["missed"] == 1 + 1


def test_texts():
    point = operating_point(cats_and_dogs(), "best")
    low = f"{point['common_threshold']:g}"
    assert operating_point_line(point) == (
        f"from a score of {low} to 0.45, by class, on: precision 88.89, recall 66.67, F1 76.19; "
        "8 true, 1 false, 4 missed"
    )
    lines = operating_point_table(point).splitlines()
    assert [line.split() for line in lines[1:4]] == [
        ["cat", "0.45", "87.50", "70.00", "77.78", "7", "1", "3"],
        ["dog", low, "100.00", "50.00", "66.67", "1", "0", "1"],
        ["all", "88.89", "66.67", "76.19", "8", "1", "4"],
    ]
    assert lines[4:] == [
        f"{low}, the best for all together, is used for classes of fewer than 10 objects or "
        "without detections: dog",
        OPTIMISTIC,
    ]
    data = DetectionData(("cat", "dog", "cow"), (example("a", DOGS, [1, 1]),))
    point = operating_point(match(data, [detection("a", DOGS[0], 0.9, CAT)]))
    assert operating_point_line(point).startswith("from a score of 0.5 on: precision 0.00, ")
    lines = operating_point_table(point).splitlines()
    assert [line.split()[0] for line in lines] == ["operating", "cat", "dog", "all", "most"]
    assert lines[1].split()[3:5] == ["-", "0.00"]  # no cat could be found
    assert lines[-1] == "most confused: 1 dog as cat"


@pytest.mark.parametrize("seed", range(3))
def test_a_threshold_counts_what_filtered_detections_count(seed):
    data, detections = random_scene(seed)
    thresholds = np.array([0.2, 0.5, 0.8, 0.4])
    point = operating_point(match(data, detections), tuple(thresholds))
    kept = [one for one in detections if one["score"] >= thresholds[one["category_id"] - 1]]
    matches = match(data, kept)
    for label, row in enumerate(point["classes"].values()):
        rows = matches.detections.labels == label
        assert row["true_positives"] == matches.is_true[rows].sum()
        assert row["false_positives"] == matches.is_false[rows].sum()
        assert row["missed"] == matches.num_objects[label] - row["true_positives"]
    assert point["all"]["true_positives"] == matches.is_true.sum() > 10


@pytest.mark.parametrize("seed", range(3))
def test_no_other_threshold_has_a_larger_f1(seed):
    matches = match(*random_scene(seed, whole=False))
    thresholds, _, pooled = best_thresholds(matches)
    assert "class 3" in pooled and len(pooled) < 4  # it has no object
    best = operating_point(matches, "best")["classes"]
    for threshold in np.linspace(0, 1, 101):
        for name, row in operating_point(matches, float(threshold))["classes"].items():
            assert name in pooled or row["F1"] <= best[name]["F1"]
    assert all(0 < threshold < 1 for threshold in thresholds)


def test_thresholds_lie_between_scores_however_near():
    # Two neighbours in float32: no shorter number lies between them.
    high = float(np.float32(0.7))
    low = float(np.nextafter(np.float32(high), np.float32(0)))
    data = DetectionData(("cat",), (example("a", CATS, [0] * 10),))
    found = [detection("a", CATS[0], high), detection("a", NOTHING, low)]
    (threshold,), *_ = best_thresholds(match(data, found))
    assert low < threshold <= high and low < np.float32(threshold) <= high
    # Nothing found: 0.5.
    assert best_thresholds(match(data, [detection("a", NOTHING, 0.9)]))[1] == 0.5
