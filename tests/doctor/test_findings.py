"""Problems of boxes and classes, and those that the readers found."""

import re

from datasets import coco_object, image_bytes, voc_object, write_coco, write_voc
from example_records import example, split_of, titles

from ssd_keras.data import DetectionData, ProblemKind, load_data
from ssd_keras.doctor.findings import (
    FindingKind,
    box_findings,
    class_findings,
    disputed_boxes,
    no_object_findings,
    one_object_findings,
    reader_findings,
    repeated_boxes,
)


def test_each_copy_of_an_object_is_found_once():
    boxes = [
        [10, 10, 40, 40],
        [50, 10, 20, 20],
        [11, 10, 40, 40],
        [10, 10, 40, 40],
        [10, 10, 40, 36],
    ]
    # Of box 2 with box 0: 39 * 40 / (2 * 1600 - 1560) = 0.951; of box 4: 36 / 40 = 0.9.
    assert repeated_boxes(example(boxes=boxes)) == {2: 0, 3: 0, 4: 0}
    # 8 pixels off: 32 / 48 = 0.67 is another object.
    assert repeated_boxes(example(boxes=[[10, 10, 40, 40], [18, 10, 40, 40]])) == {}


def test_crowds_and_objects_of_other_classes_are_not_repeated():
    boxes = [[10, 10, 40, 40]] * 2
    assert repeated_boxes(example(boxes=boxes, crowd=[True, False])) == {}
    both = example(boxes=boxes, labels=[1, 0])
    assert repeated_boxes(both) == {}
    assert disputed_boxes(both) == {1: 0}
    (finding,) = box_findings(DetectionData(("dog", "cat"), (both,)))
    assert finding.kind is FindingKind.DISPUTED
    assert str(finding) == "a: object 2 (dog) lies on object 1 (cat)"


def test_problems_of_the_readers_are_grouped_by_kind(tmp_path):
    bad = {
        "a": [voc_object(corners=(9, 9, 9, 9)), voc_object(corners=(60, 20, 50, 30))],
        "b": [voc_object(corners=(101, 20, 120, 30)), voc_object(corners=(-9, 21, 103, 60))],
        "c": [voc_object(corners=("nan", 20, 50, 30)), voc_object(" ")],
        "d": [], "e": [], "f": [], "g": [],
    }  # fmt: skip
    listed = [*bad, "h", "a"]
    spec = write_voc(tmp_path, bad, listed=listed)
    folder = tmp_path / "JPEGImages"
    (folder / "d.jpg").unlink()
    (folder / "e.jpg").write_bytes(image_bytes()[:-300])
    (folder / "f.jpg").write_bytes(b"")
    (folder / "g.jpg").write_bytes(image_bytes(size=(90, 80)))
    findings = reader_findings(load_data(spec))
    assert titles(findings) == {
        "boxes of no area": 1,
        "boxes with swapped corners": 1,
        "boxes outside their image": 1,
        "boxes that reach outside their image": 1,
        "boxes that are not four numbers": 1,
        "missing images": 1,
        "missing annotation files": 1,
        "broken images": 2,
        "images of another size than annotated": 1,
        "images that are listed twice": 1,
        "objects without a class name": 1,
    }
    (area,) = (finding for finding in findings if finding.kind is ProblemKind.NO_AREA)
    assert re.search(r"a\.xml: object 1 \(dog\): box xmin=9 .* has no area; ", str(area))
    assert area.action == "dropped"


def test_unknown_classes_have_their_own_kind(tmp_path):
    data = load_data(write_coco(tmp_path, annotations=[coco_object()]), class_names=["car"])
    assert titles(reader_findings(data)) == {"objects of unknown classes": 1}


def test_classes_without_objects_are_one_finding_for_each_split():
    names = ("dog", "cat", "cow")
    train = split_of(example(boxes=[[1, 1, 9, 9]] * 2), names=names)
    val = split_of(example(boxes=[[1, 1, 9, 9]], labels=[1]), name="val", names=names)
    assert [str(finding) for finding in class_findings([train, val])] == [
        "train: 2 of 3 classes have no object, 1 of them are in val (cat)",
        "val: 2 of 3 classes have no object, 1 of them are in train (dog)",
    ]
    assert [str(finding) for finding in class_findings([val])] == [
        "val: 2 of 3 classes have no object: dog, cow"
    ]
    both = split_of(example(boxes=[[1, 1, 9, 9]] * 2, labels=[0, 1]))
    assert class_findings([both]) == []


def test_a_split_without_any_object_is_found():
    full, empty = split_of(example(boxes=[[1, 1, 9, 9]])), split_of(example("b"), name="val")
    (finding,) = no_object_findings([full, empty])
    assert str(finding) == "val: none of 1 images has an object"
    assert [f.location for f in class_findings([full, empty])] == ["train"]
    assert no_object_findings([full]) == []


def test_a_split_of_one_object_in_each_image_is_noted():
    one = [example(n, b"", boxes=[[1, 1, 9, 9]]) for n in range(20)]
    (finding,) = one_object_findings([split_of(*one)])
    assert str(finding) == "train: all of its 20 images"
    assert one_object_findings([split_of(*one[:19])]) == []
    assert one_object_findings([split_of(*one, example("x", b""))]) == []
