"""The analysis of mistakes: scenes by hand, and corrected detections measured again."""

import numpy as np
import pytest
from scenes import coco_file, detection, example, random_scene

from ssd_keras.data.records import DetectionData
from ssd_keras.evaluation.calibration import expected_calibration_error, reliability_bins
from ssd_keras.evaluation.confusion import confusion_matrix
from ssd_keras.evaluation.errors import ERROR_TYPES, error_costs, error_types, missed_objects
from ssd_keras.evaluation.matches import match
from ssd_keras.evaluation.mistakes import (
    Mistake,
    draw_mistake,
    largest_missed,
    most_confident_false,
)
from ssd_keras.evaluation.precision_recall_curves import best_f1, class_curves
from ssd_keras.evaluation.slices import SLICES, mean_over_classes, sliced_average_precision
from ssd_keras.evaluation.summary import summarize
from ssd_keras.evaluation.voc import voc_metrics

CAT, DOG = 1, 2  # category ids


def scene():
    """Every type of error: cats A1 to A4, dogs D1, D2 and the difficult D3."""
    data = DetectionData(
        ("cat", "dog"),
        (
            example("a", [[0, 0, 100, 100], [300, 0, 100, 100], [0, 300, 100, 100]], [0, 1, 0]),
            example(
                "b",
                [[0, 0, 100, 100], [300, 300, 100, 100], [600, 0, 100, 100], [600, 300, 150, 100]],
                [0, 1, 1, 0],
                difficult=[False, False, True, False],
            ),
        ),
    )
    detections = [
        detection("b", [0, 0, 100, 60], 0.60, CAT),  # A3, IoU 0.6: true
        detection("a", [0, 0, 100, 100], 0.95, CAT),  # A1: true
        detection("a", [0, 0, 100, 80], 0.90, CAT),  # A1 again: duplicate
        detection("a", [0, 300, 100, 100], 0.85, DOG),  # the cat A2: confusion
        detection("b", [0, 0, 100, 30], 0.83, DOG),  # the cat A3, IoU 0.3: both
        detection("a", [300, 0, 100, 40], 0.80, DOG),  # D1, IoU 0.4: localisation
        detection("b", [600, 0, 100, 100], 0.75, DOG),  # the difficult D3: ignored
        detection("b", [500, 400, 50, 50], 0.70, CAT),  # background
        detection("b", [450, 100, 50, 50], 0.68, CAT),  # background
        detection("b", [300, 300, 100, 30], 0.65, CAT),  # the dog D2, IoU 0.3: both
    ]
    return data, detections


def types_of(data, detections):
    """The error type of each false detection by its score."""
    matches = match(data, detections)
    types = error_types(matches)
    return {
        round(float(score), 2): ERROR_TYPES[error]
        for score, error in zip(matches.detections.scores, types, strict=True)
        if error >= 0
    }


def test_every_false_detection_has_its_type():
    assert types_of(*scene()) == {
        0.90: "duplicate",
        0.85: "confusion",
        0.83: "both",
        0.80: "localisation",
        0.70: "background",
        0.68: "background",
        0.65: "both",
    }
    # Nothing would find A4 and D2; D1 and A2 would be found by corrected detections.
    assert missed_objects(match(*scene())).tolist() == [
        False,
        False,
        False,
        False,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("height", "label", "error"),
    [
        (9, CAT, "background"),  # IoU 0.09
        (10, CAT, "localisation"),  # exactly 0.1
        (49, CAT, "localisation"),
        (9, DOG, "background"),
        (10, DOG, "both"),
        (49, DOG, "both"),
        (50, DOG, "confusion"),  # exactly 0.5
    ],
)
def test_bounds_of_the_types(height, label, error):
    data = DetectionData(("cat", "dog"), (example("a", [[0, 0, 100, 100]], [0]),))
    assert types_of(data, [detection("a", [0, 0, 100, height], 0.5, label)]) == {0.5: error}


def test_localisation_goes_before_confusion_and_confusion_before_duplicate():
    # A cat at 0..100 and a dog at 60..160 of one row; a cat's box at 45..145 has 55 and 85 of 100
    # in common with them: IoU 55 / 145 = 0.38 with the cat, 85 / 115 = 0.74 with the dog.
    boxes = [[0, 0, 100, 100], [60, 0, 100, 100]]
    data = DetectionData(("cat", "dog"), (example("a", boxes, [0, 1]),))
    assert types_of(data, [detection("a", [45, 0, 100, 100], 0.5)]) == {0.5: "localisation"}
    # At 30..130: 70 / 130 = 0.54 with both. The first box finds the cat.
    found = [detection("a", boxes[0], 0.9), detection("a", [30, 0, 100, 100], 0.5)]
    assert types_of(data, found) == {0.5: "confusion"}


def test_costs_by_hand():
    # Cats by falling score, four to be found: T(.95) F(.90) F(.70) F(.68) F(.65) T(.60)
    #   AP = 1/4 * 1 + 1/4 * 2/6 = 1/3
    # Dogs, two to be found: F(.85) F(.83) F(.80): 0. Mean 1/6.
    costs = error_costs(match(*scene()))
    expected = {
        # dogs F(.85) F(.83) T(.80): 1/2 * 1/3 = 1/6, gain 1/12
        "localisation": (1, 1 / 12),
        # cats T F T(.85) F F F T: 1/4 * (1 + 2/3 + 3/7) = 11/21; (11/21 - 1/3) / 2 = 2/21
        "confusion": (1, 2 / 21),
        # cats T F F F T: 1/4 * (1 + 2/5) = 7/20; (7/20 - 1/3) / 2 = 1/120
        "both": (2, 1 / 120),
        "duplicate": (1, 1 / 120),
        # cats T F F T: 1/4 * (1 + 1/2) = 3/8; (3/8 - 1/3) / 2 = 1/48
        "background": (2, 1 / 48),
        # three cats to be found: 1/3 * (1 + 1/3) = 4/9; (4/9 - 1/3) / 2 = 1/18
        "missed": (2, 1 / 18),
        # cats T T: 2/4; (1/2 - 1/3) / 2
        "false positives": (7, 1 / 12),
        # two cats to be found: 1/2 * (1 + 1/3) = 2/3; no dog: 0; (2/3 - 1/3) / 2
        "false negatives": (4, 1 / 6),
    }
    assert {error: one["count"] for error, one in costs.items()} == {
        error: count for error, (count, _) in expected.items()
    }
    for error, (_, gain) in expected.items():
        assert costs[error]["AP"] == pytest.approx(gain, abs=1e-12), error


def test_of_two_corrected_detections_the_higher_score_stays():
    # F(.90, localisation of A) F(.85, background) T(.80, A): AP 1/3. Corrected, the first finds A
    # and the last goes: T F, AP 1.
    data = DetectionData(("cat",), (example("a", [[0, 0, 100, 100]], [0]),))
    found = [
        detection("a", [0, 0, 100, 40], 0.90),
        detection("a", [300, 300, 50, 50], 0.85),
        detection("a", [0, 0, 100, 100], 0.80),
        detection("a", [0, 0, 100, 45], 0.70),
    ]
    assert error_costs(match(data, found))["localisation"] == {
        "count": 2,
        "AP": pytest.approx(2 / 3, abs=1e-12),
    }


def test_a_corrected_detection_of_a_difficult_object_goes():
    # F(.9, IoU .4 with a difficult cat) T(.8): AP 1/2; corrected, the first does not count: 1.
    boxes = [[0, 0, 100, 100], [300, 0, 100, 100]]
    data = DetectionData(("cat", "dog"), (example("a", boxes, [0, 0], difficult=[True, False]),))
    found = [detection("a", [0, 0, 100, 40], 0.9), detection("a", boxes[1], 0.8)]
    costs = error_costs(match(data, found))
    assert costs["localisation"] == {"count": 1, "AP": pytest.approx(0.5, abs=1e-12)}
    # The same when it is a dog: the class of the cat makes it one that does not count. No dog is
    # to be found, so that the mean is the cat's.
    found[0] = detection("a", boxes[0], 0.9, DOG)
    assert error_costs(match(data, found))["confusion"] == {"count": 1, "AP": 0.0}


def plain_iou(a, b):
    """IoU of two x, y, width, height boxes, one pair at a time."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = width * height if min(width, height) > 0 else 0.0
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def sorted_out(data, detections):
    """Plain loops: (detection, "true", "ignored" or error type, correct target) by score."""
    objects = [
        {"image": e.image_id, "box": list(b), "label": int(lab), "difficult": bool(d)}
        for e in data.examples
        for b, lab, d in zip(e.boxes, e.labels, e.is_difficult, strict=True)
    ]
    taken, result = [], []
    for one in sorted(detections, key=lambda d: -d["score"]):
        same, other = (0.0, None), (0.0, None)
        for candidate in objects:
            if candidate["image"] != one["image_id"]:
                continue
            iou = plain_iou(one["bbox"], candidate["box"])
            if candidate["label"] == one["category_id"] - 1:
                same = max(same, (iou, candidate), key=lambda pair: pair[0])
            else:
                other = max(other, (iou, candidate), key=lambda pair: pair[0])
        if same[0] >= 0.5 and same[1]["difficult"]:
            result.append((one, "ignored", None))
        elif same[0] >= 0.5 and not any(t is same[1] for t in taken):
            taken.append(same[1])
            result.append((one, "true", same[1]))
        elif 0.1 <= same[0] < 0.5:
            result.append((one, "localisation", same[1]))
        elif other[0] >= 0.5:
            result.append((one, "confusion", other[1]))
        elif same[0] >= 0.5:
            result.append((one, "duplicate", None))
        else:
            result.append((one, "background" if max(same[0], other[0]) < 0.1 else "both", None))
    return result


def corrected(data, detections, error):
    """Detections and data after the oracle of the paper: boxes, classes and objects are edited."""
    sorted_detections = sorted_out(data, detections)
    if error == "missed":
        reached = [o for _, k, o in sorted_detections if k in ("true", "localisation", "confusion")]
        keys = {(o["image"], *o["box"], o["label"]) for o in reached}
        examples = []
        for e in data.examples:
            kept = [
                bool(d) or (e.image_id, *b, lab) in keys
                for b, lab, d in zip(e.boxes.tolist(), e.labels, e.is_difficult, strict=True)
            ]
            examples.append(
                example(e.image_id, e.boxes[kept], e.labels[kept], difficult=e.is_difficult[kept])
            )
        return DetectionData(data.class_names, tuple(examples)), detections
    kept, found = [], []
    for one, error_type, target in sorted_detections:
        if error_type not in (error, "true"):
            kept.append(one)
        elif target is not None and not any(f is target for f in found):
            found.append(target)
            edited = {"category_id": target["label"] + 1}
            kept.append(one | edited | ({"bbox": target["box"]} if error_type == error else {}))
    return data, kept


@pytest.mark.parametrize("seed", range(4))
def test_costs_equal_those_of_corrected_detections_measured_again(seed):
    data, detections = random_scene(seed, num_classes=4)
    # Fewer, for objects to be missed; every fourth of another class; all scores differ, so that
    # nothing depends on the order of equal ones.
    detections = [
        one
        | {"score": one["score"] + 1e-5 * k}
        | ({} if k % 4 else {"category_id": one["category_id"] % 3 + 1})
        for k, one in enumerate(detections[::3])
    ]
    costs = error_costs(match(data, detections))
    before = voc_metrics(data, detections)
    known = [name for name, value in before["AP"].items() if value is not None]
    for error in (*ERROR_TYPES, "missed"):
        after = voc_metrics(*corrected(data, detections, error))["AP"]
        gain = np.mean([after[name] or 0.0 for name in known]) - before["mAP"]
        assert costs[error]["AP"] == pytest.approx(gain, abs=1e-12), error
        assert costs[error]["count"] >= 3 and gain >= 0
    types = [error for _, error, _ in sorted_out(data, detections)]
    for error in ERROR_TYPES:
        assert costs[error]["count"] == types.count(error)


def test_curves_add_up_to_the_metric():
    data, detections = random_scene(5)
    curves = class_curves(match(data, detections))
    expected = voc_metrics(data, detections)["AP"]
    assert [curve.average_precision for curve in curves] == list(expected.values())


def test_best_threshold_by_hand():
    # Cats: T F F F F T over four. F1 = 2 T / (detections + objects): 2/5 at .95, 4/10 at .60:
    # the first of equal ones.
    cats, dogs = class_curves(match(*scene()))
    assert best_f1(cats) == pytest.approx(
        {"score": 0.95, "F1": 2 / 5, "precision": 1.0, "recall": 1 / 4}
    )
    assert best_f1(dogs)["F1"] == 0.0
    # Three detections of one score are one threshold, T F T over two objects: 4 / 5.
    boxes = [[0, 0, 100, 100], [300, 0, 100, 100]]
    data = DetectionData(("cat",), (example("a", boxes, [0, 0]),))
    found = [detection("a", box, 0.5) for box in (boxes[0], [0, 300, 50, 50], boxes[1])]
    (curve,) = class_curves(match(data, found))
    assert best_f1(curve) == pytest.approx(
        {"score": 0.5, "F1": 4 / 5, "precision": 2 / 3, "recall": 1.0}
    )
    # T F of one score over two: the threshold gives 2 / 4, and not 2 / 3 as the T alone would.
    (curve,) = class_curves(match(data, found[:2]))
    assert best_f1(curve)["F1"] == pytest.approx(1 / 2)
    (empty,) = class_curves(match(data, []))
    assert best_f1(empty) == {} and empty.average_precision == 0.0


def test_confusion_by_hand():
    # The duplicate (.90), the localisation (.80), two on background and two of "both" lie on
    # background; A2 is taken for a dog; A4, D1 and D2 are missed, D3 does not count.
    matches = match(*scene())
    assert confusion_matrix(matches).tolist() == [
        [2, 1, 1],
        [0, 0, 2],
        [4, 2, 0],
    ]
    # From .61 on the second true cat is not shown: A3 is missed too.
    assert confusion_matrix(matches, 0.61).tolist() == [
        [1, 1, 2],
        [0, 0, 2],
        [4, 2, 0],
    ]
    assert confusion_matrix(matches, 0.96).tolist() == [[0, 0, 4], [0, 0, 2], [0, 0, 0]]


def test_confusion_takes_each_object_once_and_leaves_difficult_ones_out():
    data, _ = scene()
    found = [
        detection("b", [600, 0, 100, 100], 0.9, CAT),  # the difficult dog: does not count
        detection("a", [300, 0, 100, 90], 0.8, CAT),  # the dog D1
        detection("a", [300, 0, 100, 95], 0.7, CAT),  # D1 is taken: background
    ]
    # A1, A2, A3, A4 and D2 are missed.
    assert confusion_matrix(match(data, found)).tolist() == [[0, 0, 4], [1, 0, 1], [1, 0, 0]]


def test_calibration_by_hand():
    boxes = [[0, 0, 9, 9], [20, 0, 9, 9], [40, 0, 9, 9], [60, 0, 9, 9]]
    data = DetectionData(
        ("cat",), (example("a", boxes, [0] * 4, difficult=[False, False, False, True]),)
    )
    nothing = [300, 300, 9, 9]
    found = [
        detection("a", nothing, 0.05),
        detection("a", nothing, 0.1),  # on a bound: of the higher bin
        detection("a", boxes[0], 0.2 - 1e-9),
        detection("a", boxes[1], 0.9),
        detection("a", boxes[2], 0.9),
        detection("a", nothing, 0.9),
        detection("a", boxes[3], 0.95),  # difficult: left out
        detection("a", nothing, 1.0),
    ]
    bins = reliability_bins(match(data, found))
    assert [(one["low"], one["high"], one["count"]) for one in bins] == [
        (0.0, 0.1, 1),
        (0.1, 0.2, 2),
        (0.9, 1.0, 4),
    ]
    assert [one["precision"] for one in bins] == [0, 0.5, 0.5]
    assert [one["mean_score"] for one in bins] == pytest.approx([0.05, 0.15, 0.925], abs=1e-8)
    # (1 * 0.05 + 2 * 0.35 + 4 * 0.425) / 7 = 2.45 / 7
    assert expected_calibration_error(bins) == pytest.approx(0.35, abs=1e-8)
    confident = reliability_bins(match(data, found), num_bins=4, score_threshold=0.3)
    assert [(one["low"], one["count"]) for one in confident] == [(0.75, 4)]
    assert expected_calibration_error(confident) == pytest.approx(0.425, abs=1e-8)
    assert expected_calibration_error([]) is None
    with pytest.raises(ValueError, match=r"^scores reach from 0\.5 to 3; expected probab"):
        reliability_bins(match(data, [detection("a", nothing, s) for s in (0.5, 3)]))


def sized_scene():
    """Ten square cats of sides 10 to 100, two dogs, found in part."""
    sides = range(10, 101, 10)
    boxes = [[5 * side - 50, 0, side, side] for side in sides[:7]]
    boxes += [[110 * k, 200, side, side] for k, side in enumerate(sides[7:])]
    dogs = [[600, 400, 50, 50], [700, 400, 50, 50]]
    examples = (example("a", boxes + dogs, [0] * 10 + [1] * 2),)
    data = DetectionData(("cat", "dog", "owl"), examples)  # and no owl
    found = [
        detection("a", boxes[0], 0.9),
        detection("a", [500, 400, 40, 40], 0.85),  # background
        detection("a", boxes[3], 0.8),
        detection("a", boxes[4], 0.7),
        detection("a", boxes[4], 0.6),  # duplicate
    ]
    return data, found


def test_sizes_by_hand():
    # Percentiles of the areas 100, 400, 900, ..., 10000, linear between neighbours:
    # 10 %: 100 + 0.9 * 300 = 370; 30 %: 900 + 0.7 * 700 = 1390; 70 %: 4900 + 0.3 * 1500 = 5350;
    # 90 %: 8100 + 0.1 * 1900 = 8290: sides 10 | 20 30 | 40 50 60 70 | 80 90 | 100.
    # A class that has objects has (10 + 2) / 2 = 6 on average.
    sliced = sliced_average_precision(match(*sized_scene()), "size")
    cats = sliced["cat"]
    assert {part: one["num_objects"] for part, one in cats.items()} == {
        "all": 10,
        "XS": 1,
        "S": 2,
        "M": 4,
        "L": 2,
        "XL": 1,
    }
    # XS: T(.9) F(.85); the others lie on objects of another slice.
    assert cats["XS"]["AP"] == cats["XS"]["normalised_AP"] == cats["XS"]["recall"] == 1.0
    # M: F(.85) T(.8) T(.7) F(.6), recall 1/4, 2/4, precision 1/2, 2/3: 2/4 * 2/3.
    # Normalised: (6 * 2/4) / (6 * 2/4 + 1) = 3/4 at recall 2/4, the best from the start.
    assert cats["M"]["AP"] == pytest.approx(1 / 3, abs=1e-12)
    assert cats["M"]["normalised_AP"] == pytest.approx(3 / 8, abs=1e-12)
    assert cats["M"]["recall"] == 0.5
    assert cats["S"]["AP"] == cats["S"]["normalised_AP"] == cats["XL"]["recall"] == 0.0
    # All: T F T T F, recall .1 .1 .2 .3, precision 1 1/2 2/3 3/4: .1 + .2 * 3/4 = 1/4.
    # Normalised: 0.6 / 0.6, then 1.8 / 2.8 at recall .3: .1 + .2 * 9/14 = 8/35.
    assert cats["all"]["AP"] == pytest.approx(1 / 4, abs=1e-12)
    assert cats["all"]["normalised_AP"] == pytest.approx(8 / 35, abs=1e-12)
    # Two dogs of one size: both percentiles are that size, and they belong to the lowest slice.
    assert (
        set(sliced) == {"cat", "dog"}
        and set(sliced["dog"]) == {"all", "XS"}
        and sliced["dog"]["XS"]["num_objects"] == 2
    )
    mean = mean_over_classes(sliced, "size")
    assert mean["XS"] == {
        "num_objects": 3,
        "AP": 0.5,  # (1 + 0) / 2
        "normalised_AP": 0.5,
        "recall": 0.5,
    }
    assert mean["M"] == cats["M"]


def test_shapes_by_hand():
    # Widths 10 to 100 at a height of 50: width / height 0.2 to 2. The tallest and the two widest
    # but one are found.
    boxes = [[0, 55 * k, 10 * (k + 1), 50] for k in range(10)]
    data = DetectionData(("cat",), (example("a", boxes, [0] * 10),))
    found = [detection("a", boxes[k], 0.9) for k in (0, 7, 8)]
    cats = sliced_average_precision(match(data, found), "aspect")["cat"]
    assert {part: (one["num_objects"], one["recall"]) for part, one in cats.items()} == {
        "all": (10, 0.3),
        "XT": (1, 1.0),
        "T": (2, 0.0),
        "M": (4, 0.0),
        "W": (2, 1.0),
        "XW": (1, 0.0),
    }
    with pytest.raises(ValueError, match=r"^by='shape' is unknown; choose 'size' or 'aspect'\.$"):
        sliced_average_precision(match(data, found), "shape")


@pytest.mark.parametrize("by", ["size", "aspect"])
def test_a_slice_is_what_remains_when_the_others_are_difficult(by):
    data, detections = random_scene(7)
    sliced = sliced_average_precision(match(data, detections), by)
    for label, name in enumerate(data.class_names[:3]):
        counted = np.concatenate(
            [e.boxes[(e.labels == label) & ~e.is_difficult] for e in data.examples]
        )
        sizes = {"size": counted[:, 2] * counted[:, 3], "aspect": counted[:, 2] / counted[:, 3]}
        bounds = [-np.inf, *np.percentile(sizes[by], (10, 30, 70, 90)), np.inf]
        for low, high, part in zip(bounds, bounds[1:], SLICES[by], strict=False):
            examples = []
            for e in data.examples:
                values = e.boxes[:, 2] * (e.boxes[:, 3] if by == "size" else 1 / e.boxes[:, 3])
                outside = ~((low < values) & (values <= high))
                examples.append(
                    example(e.image_id, e.boxes, e.labels, difficult=e.is_difficult | outside)
                )
            alone = voc_metrics(DetectionData(data.class_names, tuple(examples)), detections)
            assert sliced[name][part]["AP"] == pytest.approx(alone["AP"][name], abs=1e-12)


def test_recall_of_sizes_equals_pycocotools():
    """COCO's area ranges and ours agree where they cut alike and no detection is ambiguous."""
    from pycocotools.cocoeval import COCOeval

    data, detections = sized_scene()
    sliced = sliced_average_precision(match(data, detections), "size")["cat"]
    evaluation = COCOeval(*_coco(coco_file(data), detections), "bbox")
    bounds = [0, 370, 1390, 5350, 8290, 1e9]
    evaluation.params.areaRng = list(zip(bounds, bounds[1:], strict=False))
    evaluation.params.areaRngLbl = list(SLICES["size"])
    evaluation.params.iouThrs = np.array([0.5])
    evaluation.evaluate()
    evaluation.accumulate()
    recall = evaluation.eval["recall"][0, 0, :, -1]  # the cat's, 100 detections
    assert recall.tolist() == [sliced[part]["recall"] for part in SLICES["size"]]


def _coco(truth, detections):
    from pycocotools.coco import COCO

    annotated = COCO()
    for image in truth["images"]:
        image["id"] = 1
    for one in truth["annotations"]:
        one["image_id"] = 1
    annotated.dataset = truth
    annotated.createIndex()
    return annotated, annotated.loadRes([one | {"image_id": 1} for one in detections])


def test_worst_mistakes_are_chosen_and_captioned():
    matches = match(*scene())
    false = most_confident_false(matches, count=3)
    assert [(one.image_index, one.caption) for one in false] == [
        (0, "cat 0.90: duplicate, IoU 0.80 with a cat"),
        (0, "dog 0.85: confusion, IoU 1.00 with a cat"),
        (1, "dog 0.83: both, IoU 0.30 with a cat"),
    ]
    # Two of an image: the dog of .80 is left out.
    last = most_confident_false(matches)[3]
    assert (last.caption, last.truth, last.detection_tag) == (
        "cat 0.70: background",
        None,
        "cat 0.70",
    )
    assert len(most_confident_false(matches)) == 4
    # A4 has 150 * 100 of 800 * 600 pixels, 3.1 %; the others 2.1 %, in the order of the data.
    missed = largest_missed(matches)
    assert [one.caption for one in missed] == [
        "cat, 3 % of the image: no cat detected near it",
        "dog, 2 % of the image: best box has score 0.80 and IoU 0.40",
        "cat, 2 % of the image: no cat detected near it",
        "dog, 2 % of the image: no dog detected near it",
    ]
    # From .61 on A3 is missed, though found with .60.
    words = [one.caption for one in largest_missed(matches, score_threshold=0.61)]
    assert "cat, 2 % of the image: best box has score 0.60 and IoU 0.60" in words


def test_a_missed_object_names_the_box_that_found_it():
    # The first box is true, though a later one is nearer.
    data = DetectionData(("cat",), (example("a", [[0, 0, 100, 100]], [0]),))
    found = [detection("a", [0, 0, 100, 60], 0.4), detection("a", [0, 0, 100, 90], 0.3)]
    (missed,) = largest_missed(match(data, found))
    assert missed.caption == "cat, 2 % of the image: best box has score 0.40 and IoU 0.60"
    assert missed.detection_tag == "cat 0.40" and missed.detection[3] == 60


def test_a_mistake_is_drawn_with_its_surroundings():
    image = np.full((600, 800, 3), 120, np.uint8)
    detected, truth = np.array([300.0, 200, 40, 40]), np.array([310.0, 210, 40, 40])
    mistake = Mistake(0, "", detected, "cat 0.90", truth, "dog")
    drawing = draw_mistake(image, mistake, side=400)
    # The boxes span 50 pixels; with 25 around them, 100 by 100 pixels, enlarged four times.
    assert drawing.shape == (400, 400, 3)
    red, green, blue = drawing.astype(int).transpose(2, 0, 1)
    # Left edge of the detection: (300 - 275) * 4 = 100; right edge of the object: 75 * 4 = 300.
    middle = slice(190, 210)
    assert ((red - blue)[middle, 98:108] > 100).any()
    assert ((blue - red)[middle, 292:302] > 50).any()
    # In a corner of the image no surroundings are made up.
    corner = draw_mistake(image, Mistake(0, "", truth=np.array([0.0, 0, 80, 40]), truth_tag="dog"))
    # 40 pixels around, cut at the image: 120 by 80.
    assert corner.shape == (267, 400, 3)


def test_nothing_detected_and_nothing_annotated():
    data, _ = scene()
    numbers = summarize(match(data, []))
    assert numbers["errors"]["missed"] == {"count": 6, "AP": pytest.approx(0.0)}
    assert numbers["calibration"]["expected_calibration_error"] is None
    assert numbers["classes"]["cat"] == {"num_objects": 4, "AP": 0.0, "best_threshold": {}}
    assert numbers["operating_point"]["confusion"]["counts"] == [[0, 0, 4], [0, 0, 2], [0, 0, 0]]
    empty = DetectionData(("cat",), (example("a", [], []),))
    numbers = summarize(match(empty, [detection("a", [0, 0, 9, 9], 0.5)]))
    assert numbers["errors"]["background"] == {"count": 1, "AP": None}
    assert numbers["by_size"] == {} and numbers["classes"]["cat"]["AP"] is None
    assert summarize(match(empty, [detection("a", [0, 0, 9, 9], 7)]))["calibration"] is None
