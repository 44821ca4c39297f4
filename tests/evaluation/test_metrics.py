"""Metrics: gold by hand, a plain-loop oracle of the VOC rule, pycocotools on files."""

import contextlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scenes import coco_file, detection, example, random_scene

from ssd_keras.data.records import DetectionData
from ssd_keras.evaluation import (
    average_precision,
    coco_metrics,
    detection_metrics,
    metrics_table,
    read_detections,
    voc_metrics,
)
from ssd_keras.evaluation.coco import COCO_NAMES, coco_evaluation, coco_per_class
from ssd_keras.evaluation.detection_table import DetectionTable


def gold_scene():
    """Four cats that count and a difficult one over two images; one dog that nobody finds."""
    data = DetectionData(
        ("cat", "dog", "owl"),
        (
            example(
                "a",
                [[0, 0, 100, 50], [200, 0, 100, 50], [400, 0, 100, 50]],
                [0, 0, 0],
                difficult=[False, False, True],
            ),
            example("b", [[10, 10, 40, 40], [300, 300, 60, 60], [500, 0, 50, 50]], [0, 0, 1]),
        ),
    )
    detections = [
        detection("a", [0, 0, 100, 50], 0.95),  # IoU 1: true
        detection("a", [400, 0, 100, 50], 0.90),  # on the difficult cat: ignored
        detection("a", [0, 0, 100, 40], 0.85),  # IoU 0.8 with the first, claimed: false
        detection("b", [10, 10, 40, 20], 0.80),  # IoU exactly 0.5: true
        detection("b", [100, 400, 30, 30], 0.70),  # on nothing: false
        detection("a", [200, 0, 100, 49], 0.60),  # IoU 0.98: true
        detection("a", [400, 0, 100, 49], 0.50),  # difficult once more: ignored again
        detection("b", [300, 300, 60, 29], 0.40),  # IoU 29 / 60 < 0.5: false
    ]
    return data, detections


def test_gold_curve_of_a_duplicate_a_difficult_object_and_a_miss():
    # Ignored detections leave T F T F T F over four cats:
    #   recall    1/4  1/4  2/4  2/4  3/4  3/4
    #   precision 1/1  1/2  2/3  2/4  3/5  3/6
    # area: 1/4 * 1 + 1/4 * 2/3 + 1/4 * 3/5 = (1 + 2/3 + 3/5) / 4 = 34/60
    # 11 points: 0, .1, .2 -> 1; .3, .4, .5 -> 2/3; .6, .7 -> 3/5; .8, .9, 1 -> 0
    #   (3 + 3 * 2/3 + 2 * 3/5) / 11 = 6.2 / 11
    data, detections = gold_scene()
    area = voc_metrics(data, detections)
    points = voc_metrics(data, detections, method="11point")
    assert area["AP"]["cat"] == pytest.approx(34 / 60, abs=1e-15)
    assert points["AP"]["cat"] == pytest.approx(6.2 / 11, abs=1e-15)
    # The dog was not found: 0. There is no owl: left out of the mean.
    assert area["AP"]["dog"] == 0.0 and area["AP"]["owl"] is None
    assert area["mAP"] == pytest.approx(34 / 120, abs=1e-15)
    assert points["mAP"] == pytest.approx(3.1 / 11, abs=1e-15)


def test_threshold_moves_the_iou_of_one_half():
    # Above 0.5 the detection of IoU 0.5 is false: T F F F T F -> recall 1/4 ... 2/4 at rank 5;
    # area: 1/4 * 1 + 1/4 * 2/5 = 0.35.
    data, detections = gold_scene()
    above = voc_metrics(data, detections, iou_threshold=np.nextafter(0.5, 1))
    assert above["AP"]["cat"] == pytest.approx(0.35, abs=1e-15)
    # At 29/60 the last one becomes true: T F T F T T, recall 1 at precision 4/6, which is the
    # best from recall 1/2 on: 1/4 * 1 + 3/4 * 2/3 = 0.75.
    below = voc_metrics(data, detections, iou_threshold=29 / 60)
    assert below["AP"]["cat"] == pytest.approx(0.75, abs=1e-15)


def test_second_best_object_is_not_tried():
    # Both detections have their best IoU with the left object; the second does not fall back on
    # the right one (IoU 0.6) as COCO's matching would: T F over two objects.
    data = DetectionData(("cat",), (example("a", [[0, 0, 100, 10], [40, 0, 100, 10]], [0, 0]),))
    detections = [detection("a", [0, 0, 100, 10], 0.9), detection("a", [15, 0, 100, 10], 0.8)]
    assert voc_metrics(data, detections)["AP"]["cat"] == 0.5


def test_equal_scores_keep_the_order_given():
    data = DetectionData(("cat",), (example("a", [[0, 0, 100, 10]], [0]),))
    hit, miss = detection("a", [0, 0, 100, 10], 0.5), detection("a", [300, 300, 9, 9], 0.5)
    assert voc_metrics(data, [hit, miss])["mAP"] == 1.0
    assert voc_metrics(data, [miss, hit])["mAP"] == 0.5


def test_crowd_boxes_are_ignored_by_voc():
    boxes = [[0, 0, 100, 10], [200, 0, 100, 10]]
    data = DetectionData(("cat",), (example("a", boxes, [0, 0], crowd=[True, False]),))
    found = [detection("a", boxes[0], 0.9), detection("a", boxes[1], 0.8)]
    assert voc_metrics(data, found)["mAP"] == 1.0
    only_crowd = DetectionData(("cat",), (example("a", boxes[:1], [0], crowd=[True]),))
    assert voc_metrics(only_crowd, found[:1]) == {"mAP": None, "AP": {"cat": None}}


@pytest.mark.parametrize(
    ("recall", "precision", "area", "points"),
    [
        ([], [], 0.0, 0.0),
        ([1.0], [1.0], 1.0, 1.0),
        # 3 of 10 objects reach the threshold 0.3 (0, .1, .2, .3): 4/11; 3 * 0.1 would miss it.
        ([0.3], [1.0], 0.3, 4 / 11),
        ([7 / 10], [1.0], 0.7, 8 / 11),
        # precision is made monotonic: 0.5 at recall .5 counts as 0.8, reached at recall 1
        ([0.5, 1.0], [0.5, 0.8], 0.8, 0.8),
        # .25 * 1 + .25 * .5; 0, .1, .2 -> 1; .3, .4, .5 -> .5
        ([0.25, 0.25, 0.5], [1.0, 0.5, 0.5], 0.375, 4.5 / 11),
    ],
)
def test_average_precision_gold(recall, precision, area, points):
    recall, precision = np.array(recall), np.array(precision)
    assert average_precision(recall, precision) == pytest.approx(area, abs=1e-15)
    assert average_precision(recall, precision, "11point") == pytest.approx(points, abs=1e-15)


def test_average_precision_refuses_other_arguments():
    with pytest.raises(ValueError, match=r"method is '12point'; expected \"area\" or \"11point\""):
        average_precision(np.ones(1), np.ones(1), "12point")
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(1,\); expected two vectors"):
        average_precision(np.ones(2), np.ones(1))


def oracle_voc(data, detections, label, method, threshold=0.5):
    """VOCevaldet.m and VOCap.m line by line, in 1-based inclusive corners."""

    def corners(box):
        return [box[0] + 1, box[1] + 1, box[0] + box[2], box[1] + box[3]]

    truth = {
        e.image_id: [
            {"box": corners(b), "difficult": d, "found": False}
            for b, lab, d in zip(e.boxes, e.labels, e.is_difficult, strict=True)
            if lab == label
        ]
        for e in data.examples
    }
    num_objects = sum(not g["difficult"] for objects in truth.values() for g in objects)
    if not num_objects:
        return None
    of_class = [d for d in detections if d["category_id"] == data.category_ids[label]]
    outcomes = []
    for d in sorted(of_class, key=lambda d: -d["score"]):
        bb, best, chosen = corners(d["bbox"]), -np.inf, None
        for g in truth[d["image_id"]]:
            gb = g["box"]
            iw = min(bb[2], gb[2]) - max(bb[0], gb[0]) + 1
            ih = min(bb[3], gb[3]) - max(bb[1], gb[1]) + 1
            if iw > 0 and ih > 0:
                union = (bb[2] - bb[0] + 1) * (bb[3] - bb[1] + 1)
                union += (gb[2] - gb[0] + 1) * (gb[3] - gb[1] + 1) - iw * ih
                if iw * ih / union > best:
                    best, chosen = iw * ih / union, g
        if best >= threshold and chosen["difficult"]:
            continue
        outcomes.append(best >= threshold and not chosen["found"])
        if outcomes[-1]:
            chosen["found"] = True
    curve = [
        (sum(outcomes[:n]) / num_objects, sum(outcomes[:n]) / n)
        for n in range(1, len(outcomes) + 1)
    ]
    if method == "11point":
        return sum(max((p for r, p in curve if r >= k / 10), default=0) for k in range(11)) / 11
    total, last = 0.0, 0.0
    for recall, _ in curve:
        total += (recall - last) * max(p for r, p in curve if r >= recall)
        last = recall
    return total


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("method", ["area", "11point"])
def test_voc_equals_the_plain_loop_in_inclusive_pixels(seed, method):
    # Whole pixels make every IoU exact in both forms, so that no threshold can differ.
    data, detections = random_scene(seed)
    got = voc_metrics(data, detections, method=method)
    expected = [oracle_voc(data, detections, label, method) for label in range(4)]
    assert expected[3] is None and min(expected[:3]) > 0.05
    assert list(got["AP"].values()) == pytest.approx(expected, abs=1e-12)
    assert got["mAP"] == pytest.approx(np.mean(expected[:3]), abs=1e-12)


def pycocotools_evaluation(folder, truth, detections):
    """pycocotools on two files, as in its demonstration."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "detections.json").write_text(json.dumps(detections))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "truth.json"))
        results = coco.loadRes(str(folder / "detections.json"))
        evaluation = COCOeval(coco, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def coco_scene(seed, ids, category_ids, *, whole=False, areas=(0.3, 0.9), num_classes=4):
    """A random scene with crowds, difficult objects, an empty image, and areas of masks."""
    rng = np.random.default_rng(seed)
    data, detections = random_scene(
        seed, ids=ids, category_ids=category_ids, whole=whole, num_classes=num_classes
    )
    examples = tuple(
        example(
            e.image_id,
            e.boxes,
            e.labels,
            difficult=e.is_difficult,
            crowd=rng.random(len(e.labels)) < 0.2,
            areas=e.areas * rng.uniform(*areas, len(e.labels)),
        )
        for e in data.examples
    )
    return DetectionData(data.class_names, examples, category_ids=data.category_ids), detections


COCO_SCENES = {
    # Ids out of order and with gaps, scores with ties across images.
    "unsorted": coco_scene(0, [900, 7, 139, 25, 1, 42, 88, 1000, 3, 5, 11, 64], (90, 1, 18, 44)),
    # Whole pixels: equal IoUs too. Ids from 0; categories as large as a database's.
    "ties": coco_scene(1, list(range(12)), (0, 2**40, 7, 2**31), whole=True),
    "negative": coco_scene(2, [-5, 3, -1, 2**33, 0, 9, 8, 7, 6, 5, 4, 1], (5, -3, 12, 1)),
    # Areas in every range of COCO (32**2, 96**2), on their bounds and beyond the boxes.
    "areas": coco_scene(3, list(range(40, 80)), (4, 3, 2, 1), areas=(0.01, 3.0)),
    "many": coco_scene(4, list(range(60)), tuple(range(1, 13)), num_classes=12),
}


def crowded():
    """More than 100 detections of one class in an image, of few scores; areas on the bounds."""
    rng = np.random.default_rng(5)
    boxes = np.round(rng.uniform(8, 300, (40, 4)))
    data = DetectionData(
        ("cat", "dog"),
        (
            example(
                3, boxes, np.arange(40) % 2, areas=[1024.0, 9216.0] * 20, crowd=boxes[:, 0] > 250
            ),
            example(1, [], []),
            example(2, boxes[:3], [1, 1, 1], difficult=[True, False, True]),
        ),
    )
    found = np.abs(np.round(boxes[rng.integers(40, size=250)] + rng.normal(0, 6, (250, 4))))
    detections = [
        detection(int(rng.integers(1, 4)), box.tolist(), float(rng.integers(1, 6)) / 5, k % 2 + 1)
        for k, box in enumerate(found)
    ]
    return data, detections


COCO_SCENES["crowded"] = crowded()


@pytest.mark.parametrize("name", COCO_SCENES)
def test_coco_equals_pycocotools(name, tmp_path, capsys):
    data, detections = COCO_SCENES[name]
    assert sum(e.is_crowd.sum() for e in data.examples) >= 3
    evaluation = coco_evaluation(data, DetectionTable.from_coco(data, detections))
    assert capsys.readouterr().out == ""
    oracle = pycocotools_evaluation(tmp_path, coco_file(data), detections)
    assert len(evaluation.stats) == len(COCO_NAMES)
    np.testing.assert_allclose(evaluation.stats, oracle.stats, rtol=0, atol=1e-12)
    for array in ("precision", "recall", "scores"):
        np.testing.assert_allclose(evaluation.eval[array], oracle.eval[array], rtol=0, atol=1e-12)
    assert evaluation.eval["precision"].shape == (10, 101, len(data.class_names), 4, 3)
    metrics = coco_metrics(data, detections)
    expected = [None if value == -1 else value for value in oracle.stats]
    assert list(metrics) == list(COCO_NAMES)
    assert list(metrics.values()) == pytest.approx(expected, abs=1e-12)
    assert 0.05 < metrics["AP"] < metrics["AP50"] < 1
    # By class, which pycocotools sorts by its id.
    per_class = coco_per_class(data, evaluation)
    assert list(per_class) == list(data.class_names)
    for rank, (_, class_name) in enumerate(
        sorted(zip(data.category_ids, data.class_names, strict=True))
    ):
        precision = oracle.eval["precision"][..., rank, 0, 2]
        expected = None if precision[0, 0] == -1 else pytest.approx(precision.mean(), abs=1e-12)
        assert per_class[class_name]["AP"] == expected


def test_coco_crowd_absorbs_detections():
    # Two detections inside a crowd box are ignored; the single object is found: AP 1. As an
    # ordinary object the first box would be missed and its detections false.
    boxes = [[0, 0, 300, 300], [400, 0, 100, 100]]
    found = [
        detection(1, [0, 0, 50, 50], 0.9),
        detection(1, [60, 60, 50, 50], 0.8),
        detection(1, boxes[1], 0.7),
    ]
    crowd = DetectionData(("cat",), (example(1, boxes, [0, 0], crowd=[True, False]),))
    plain = DetectionData(("cat",), (example(1, boxes, [0, 0]),))
    assert coco_metrics(crowd, found)["AP"] == pytest.approx(1.0, abs=1e-12)
    # T at rank 3 of two objects: recall 1/2 at precision 1/3 over 51 of 101 points.
    assert coco_metrics(plain, found)["AP"] == pytest.approx(51 / 101 / 3, abs=1e-12)


def test_boxes_are_doubles():
    # 15.1 / 30.2 is exactly one half in doubles; float32(30.2) is a little larger than 30.2, which
    # puts the IoU below one half.
    box, found = [0.0, 0.0, 100.0, 30.2], [0.0, 0.0, 100.0, 15.1]
    data = DetectionData(("cat",), (example(1, [box], [0]),))
    rounded = DetectionData(("cat",), (example(1, [np.float32(box)], [0]),))
    detections = [detection(1, found, 0.9)]
    assert float(np.float32(30.2)) > 30.2
    assert voc_metrics(data, detections)["mAP"] == 1.0
    assert voc_metrics(rounded, detections)["mAP"] == 0.0
    assert coco_metrics(data, detections)["AP50"] == pytest.approx(1.0, abs=1e-12)
    assert coco_metrics(rounded, detections)["AP50"] == 0.0


def test_text_ids_and_difficult_objects_count_in_coco():
    data, detections = gold_scene()
    got = detection_metrics(data, detections)
    # At IoU 0.5 all five cats count; COCO's greedy match: T(.95) T(.90) F T(.80) F T(.60) F F.
    # recall 1/5 2/5 . 3/5 . 4/5; precision 1 1 . 3/4 . 4/6
    # 101 points: 41 of 1 (0..0.40), 20 of 3/4 (0.41..0.60), 20 of 2/3 (0.61..0.80), 20 of 0.
    assert got["coco_per_class"]["cat"]["AP50"] == pytest.approx(
        (41 + 20 * 3 / 4 + 20 * 2 / 3) / 101, abs=1e-12
    )
    assert got["coco_per_class"]["owl"] == {"AP": None, "AP50": None}
    assert got["coco"]["AP50"] == pytest.approx(got["coco_per_class"]["cat"]["AP50"] / 2)
    assert got["num_images"] == 2
    assert got["num_dropped_images"] == got["num_dropped_objects"] == 0
    assert list(got)[4:] == ["coco", "coco_per_class", "voc07", "voc12"]
    assert got["voc12"] == voc_metrics(data, detections, method="area")
    assert got["voc07"] == voc_metrics(data, detections, method="11point")
    assert json.loads(json.dumps(got, allow_nan=False)) == got


def test_no_detections_give_zeros_and_no_data_give_none():
    data, _ = gold_scene()
    got = detection_metrics(data, [])
    assert got["coco"]["AP"] == got["coco"]["AR_100"] == got["voc07"]["mAP"] == 0.0
    assert got["voc12"]["AP"] == {"cat": 0.0, "dog": 0.0, "owl": None}
    empty = detection_metrics(DetectionData(("cat",), ()), [])
    assert empty["coco"] == dict.fromkeys(COCO_NAMES) and empty["voc12"]["mAP"] is None
    table = metrics_table(empty)
    assert table.endswith("\n1 class without objects: cat")


def test_table_shows_percent():
    table = metrics_table(detection_metrics(*gold_scene()))
    assert table.startswith("2 images")
    # 6.2 / 11 and 34 / 60, as worked above; (41 + 15 + 13.33) / 101 = 68.65
    assert re.search(r"^cat +56\.36 +56\.67 +\d+\.\d\d +68\.65$", table, re.MULTILINE)
    assert len({len(line) for line in table.splitlines() if line.startswith(("cat", "dog"))}) == 1


def test_classes_without_objects_share_one_line_of_the_table():
    names = tuple(f"thing{i}" for i in range(60))
    data = DetectionData(names, (example(1, [[0, 0, 9, 9]], [3]),))
    rows = metrics_table(detection_metrics(data, [])).splitlines()[-2:]
    assert rows[0].startswith("thing3 ")
    assert rows[1].startswith("59 classes without objects: thing0, thing1, thing2, thing4, ")
    assert rows[1].endswith(" and 49 more")


def test_names_of_classes_and_images_are_understood(tmp_path):
    data = DetectionData(
        ("cat", "dog"),
        (
            example(12, [[0, 0, 9, 9]], [1], image="folder/000000000012.jpg"),
            example(7, [[0, 0, 9, 9]], [0], image="folder/street.png"),
        ),
        category_ids=(17, 90),
    )
    path = tmp_path / "detections.json"
    entries = [
        {"image_id": "12", "category_name": "dog", "bbox": [0, 0, 9, 9], "score": 1},
        {"image_id": "000012", "category_id": 17, "bbox": [0, 1.5, 9, 9], "score": 0.25},
        {"image_id": "street", "category_id": 90, "category_name": "dog"}
        | {"bbox": [1, 2, 3, 4], "score": -3},
    ]
    path.write_text(json.dumps(entries))
    assert read_detections(path, data).to_coco(data) == [
        {"image_id": 12, "category_id": 90, "bbox": [0.0, 0.0, 9.0, 9.0], "score": 1.0},
        {"image_id": 12, "category_id": 17, "bbox": [0.0, 1.5, 9.0, 9.0], "score": 0.25},
        {"image_id": 7, "category_id": 90, "bbox": [1.0, 2.0, 3.0, 4.0], "score": -3.0},
    ]


GOOD = {"image_id": "a", "category_id": 1, "bbox": [0, 0, 10, 10], "score": 0.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": "z"}, r"image_id 'z' is unknown; expected an id of the data, such as 'a'"),
        ({"image_id": ["a"]}, r"image_id \['a'\] is unknown"),
        ({"category_id": 4}, r"category_id 4 is unknown; expected one of \(1, 2, 3\)"),
        ({"category_name": "cow"}, r"category_name 'cow' is unknown; expected .*'dog'"),
        ({"category_name": "dog"}, r"category_id and category_name are different classes"),
        ({"bbox": [1, 2, 3]}, r"bbox is \[1, 2, 3\]; expected four finite numbers"),
        ({"bbox": [1, 2, 3, "4"]}, r"bbox is .*; expected four finite numbers"),
        ({"bbox": [1, 2, 3, float("nan")]}, r"bbox is \[1, 2, 3, nan\]; expected four finite"),
        ({"bbox": [1, 2, 3, 10**400]}, r"bbox is .*; expected four finite numbers"),
        ({"bbox": [9, 9, -3, 4]}, r"bbox is \[9, 9, -3, 4\]; .* no size negative; turn corners"),
        ({"bbox": {"x": 1}}, r"bbox is \{'x': 1\}; expected four finite numbers"),
        ({"score": float("inf")}, r"score is inf; expected a finite number"),
        ({"score": None}, r"score is None; expected a finite number"),
        ({"score": True}, r"score is True; expected a finite number"),
    ],
)
def test_malformed_entries_are_named(tmp_path, change, message):
    data, _ = gold_scene()
    path = tmp_path / "detections.json"
    path.write_text(json.dumps([GOOD, GOOD, GOOD | change]))
    with pytest.raises(ValueError, match=r"detections\.json: entry 2: " + message) as caught:
        read_detections(path, data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["image_id", "bbox", "score", "category_id"])
def test_missing_keys_are_named(key):
    data, _ = gold_scene()
    entry = {name: value for name, value in GOOD.items() if name != key}
    with pytest.raises(ValueError, match=rf"detections: entry 0: lacks {key}"):
        coco_metrics(data, [entry])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"annotations": []}', r"d\.json: holds a dict; expected a list of detections"),
        ("[1, ", r"d\.json: is not JSON \(.*\); expected a list of detections"),
        ("\x00", r"d\.json: is not JSON"),
        ("[[1, 2]]", r"d\.json: entry 0: is \[1, 2\]; expected an object"),
        ("[" * 100_000, r"d\.json: is not JSON"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, text, message):
    path = tmp_path / "d.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_detections(path, gold_scene()[0])
    assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.json: cannot be read .*; correct the path"):
        read_detections(tmp_path / "no.json", gold_scene()[0])


def test_images_of_one_name_are_refused():
    twice = DetectionData(("cat",), (example("a", [], []), example("a", [], [])))
    with pytest.raises(ValueError, match=r"the data hold image_id 'a' twice; expected each"):
        voc_metrics(twice, [])
    # 1.jpg has the id 2 and the other way round: "1" could mean either.
    crossed = DetectionData(
        ("cat",), (example(1, [], [], image="2.jpg"), example(2, [], [], image="1.jpg"))
    )
    with pytest.raises(ValueError, match=r"image_id '1' fits 2 images by id or file name"):
        voc_metrics(crossed, [detection("1", [0, 0, 1, 1], 0.5)])
    assert voc_metrics(crossed, [detection(1, [0, 0, 1, 1], 0.5)])["mAP"] is None


def test_metrics_import_no_framework():
    source = """
import sys
from ssd_keras.evaluation import coco_metrics, read_detections
heavy = {"tensorflow", "keras", "jax", "faster_coco_eval", "matplotlib", "jinja2"}
sys.exit(str(heavy & sys.modules.keys()))
"""
    result = subprocess.run(
        [sys.executable, "-c", source],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr.splitlines()[-1] == "set()"
