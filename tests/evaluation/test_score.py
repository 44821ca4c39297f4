"""`score` of a COCO file counts what pycocotools counts, in files with wrong boxes too."""

import json

import pytest
from datasets import coco_image, coco_object, image_bytes, write_coco

from ssd_keras.data import load_data
from ssd_keras.data.problems import problem_lines
from ssd_keras.engine.evaluate import score
from ssd_keras.evaluation.metrics import metrics_table

CATEGORIES = [{"id": 3, "name": "car"}, {"id": 18, "name": "dog"}]
BAD_BOXES = {
    "beyond an edge": [-10, 6, 40, 24],
    "beyond two edges": [90, 70, 40, 24],
    "outside": [200, 10, 20, 20],
    "no width": [5, 5, 0, 10],
    "no area": [5, 5, 0, 0],
    "half a pixel": [5, 5, 0.5, 10],
    "good": [36, 16, 22, 24],
}


def pycocotools_stats(truth, detections):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    data = COCO(str(truth))
    evaluation = COCOeval(data, data.loadRes(str(detections)), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("box", BAD_BOXES.values(), ids=BAD_BOXES)
def test_scores_are_those_of_pycocotools(tmp_path, box, capsys):
    annotations = [
        coco_object(1, bbox=box, area=box[2] * box[3]),
        coco_object(2, image_id=8, category_id=3, bbox=[36, 16, 22, 24], area=400),
        coco_object(3, image_id=8, category_id=18, bbox=[10, 10, 30, 30], area=900, iscrowd=1),
    ]
    spec = write_coco(tmp_path, [coco_image(7), coco_image(8)], annotations, CATEGORIES)
    detections = [
        {"image_id": 7, "category_id": 18, "bbox": box, "score": 0.9},
        {"image_id": 7, "category_id": 18, "bbox": [50, 50, 10, 10], "score": 0.95},
        {"image_id": 8, "category_id": 3, "bbox": [37, 16, 22, 24], "score": 0.8},
        {"image_id": 8, "category_id": 18, "bbox": [10, 10, 30, 20], "score": 0.99},
    ]
    path = tmp_path / "detections.json"
    path.write_text(json.dumps(detections))
    data = load_data(spec, check_images=False)
    found = score(str(path), data, plots=str(tmp_path / "plots"))
    expected = pycocotools_stats(tmp_path / "instances.json", path)
    capsys.readouterr()
    got = [-1.0 if value is None else value for value in found["coco"].values()]
    assert got == pytest.approx(list(expected), abs=1e-9)
    has_note = "COCO's numbers count 1 objects as annotated" in metrics_table(found)
    assert has_note == (box not in ([36, 16, 22, 24], [5, 5, 0.5, 10]))
    # Training sees boxes that lie within the image and have an area.
    assert all((example.boxes[:, 2:] > 0).all() for example in data.examples)


def test_two_categories_of_one_name_are_one_class_of_both_ids(tmp_path):
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat "}, {"id": 5, "name": "dog"}]
    annotations = [coco_object(1, category_id=1), coco_object(2, image_id=8, category_id=2)]
    spec = write_coco(tmp_path, [coco_image(7), coco_image(8)], annotations, categories)
    data = load_data(spec)
    assert (data.class_names, data.category_ids) == (("cat", "dog"), (1, 5))
    assert data.label_of_id == {1: 0, 2: 0, 5: 1}
    (problem,) = data.problems
    assert str(problem).endswith("categories 1 and 2 are both 'cat'; taken as one class")
    several = [{**category, "id": 10 + category["id"], "name": "owl"} for category in categories]
    spec_of_two = write_coco(tmp_path / "two", categories=[*categories, *several])
    assert len(problem_lines(load_data(spec_of_two).problems)) == 2  # a line for each name
    box = coco_object()["bbox"]
    path = tmp_path / "detections.json"
    for ids in ((1, 2), (2, 1), (1, 1)):
        detections = [
            {"image_id": image, "category_id": category, "bbox": box, "score": 0.9}
            for image, category in zip((7, 8), ids, strict=True)
        ]
        path.write_text(json.dumps(detections))
        assert score(str(path), data)["coco_per_class"]["cat"]["AP"] == pytest.approx(1)


def test_what_is_dropped_from_a_score_is_said(tmp_path):
    annotations = [
        coco_object(1, bbox=[1, 2, None, 4]),
        coco_object(2, category_id=99),
        coco_object(3, bbox=[-20, 6, 40, 24]),
        coco_object(4, bbox=[5, 5, 0, 10]),
        coco_object(5, image_id=8),
    ]
    spec = write_coco(tmp_path, [coco_image(7), coco_image(8)], annotations)
    (tmp_path / "images" / "8.jpg").write_bytes(image_bytes()[:-99])
    path = tmp_path / "detections.json"
    path.write_text("[]")
    found = score(str(path), load_data(spec))
    lines = metrics_table(found).splitlines()
    assert lines[1].startswith("not scored: 1 images and 2 objects that were dropped from the data")
    assert lines[2] == ("COCO's numbers count 2 objects as annotated that the others clip or drop")


@pytest.mark.parametrize("image_id", [7, "7", "7.jpg", "7.0"])
def test_detections_name_images_by_id_or_file(tmp_path, image_id):
    spec = write_coco(tmp_path, annotations=[coco_object()])
    detection = {"category_id": 18, "bbox": coco_object()["bbox"], "score": 0.9}
    path = tmp_path / "detections.json"
    path.write_text(json.dumps([detection | {"image_id": image_id}]))
    if image_id == "7.0":
        with pytest.raises(ValueError, match=r"image_id '7\.0' is unknown; expected an id"):
            score(str(path), load_data(spec))
    else:
        assert score(str(path), load_data(spec))["coco"]["AP"] == pytest.approx(1)
