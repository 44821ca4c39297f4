"""Kinds of data problems: each occurs, and none is found by the words of a message."""

import numpy as np
import pytest
from datasets import (
    coco_image,
    coco_object,
    image_bytes,
    record,
    turned_image,
    voc_object,
    write_coco,
    write_csv,
    write_records,
    write_voc,
    write_yolo,
)

from ssd_keras.data import DetectionData, Problem, ProblemKind, load_data
from ssd_keras.data.problems import CLIPPED, DROPPED, LOSSES, REST_DROPPED, Scope, problem_lines
from ssd_keras.doctor.findings import reader_findings


def voc(root):
    bad = {
        "area": [voc_object(corners=(9, 9, 9, 9))],
        "swapped": [voc_object(corners=(60, 20, 50, 30))],
        "numbers": [voc_object(corners=("nan", 20, 50, 30))],
        "outside": [voc_object(corners=(101, 20, 120, 30))],
        "reaches": [voc_object(corners=(-9, 21, 103, 60))],
        "nameless": [voc_object(" ")],
        "xml": "<annotation>",
        "missing": [],
        "broken": [],
        "size": [],
        "link": [],
        "heic": [],
        "large": [],
        "webp": [],
        "good": [],
    }
    spec = write_voc(root / "voc", bad, listed=[*bad, "good", "unannotated"])
    folder = root / "voc" / "JPEGImages"
    (folder / "missing.jpg").unlink()
    (folder / "broken.jpg").write_bytes(b"")
    (folder / "size.jpg").write_bytes(image_bytes(size=(90, 80)))
    (folder / "heic.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
    (folder / "large.jpg").write_bytes(image_bytes("PNG", size=(201, 100)))
    (folder / "webp.jpg").write_bytes(image_bytes("WEBP"))
    (folder / "link.jpg").unlink()
    (root / "secret.jpg").write_bytes(image_bytes())
    (folder / "link.jpg").symlink_to(root / "secret.jpg")
    return spec


def coco(root):
    images = [coco_image(7), coco_image(None, file_name="8.jpg"), coco_image(9, file_name=None)]
    images += [coco_image(10, file_name="../x.jpg")]
    annotations = [coco_object(1, image_id=99), coco_object(2, category_id=4)]
    categories = [{"id": 1, "name": "dog"}, {"id": 1, "name": "cat"}, {"name": "cow"}]
    return write_coco(root, images, annotations, categories)


def coco_umbrella(root):
    categories = [{"id": 0, "name": "pets"}, {"id": 1, "name": "dog", "supercategory": "pets"}]
    return write_coco(root, annotations=[coco_object(category_id=1)], categories=categories)


def coco_notes(root):
    annotations = [coco_object(1, bbox=[0.1, 0.2, 0.4, 0.009]), coco_object(2, category_id=3)]
    annotations[1]["bbox"] = [0, 0, 1, 0.5]
    categories = [{"id": 3, "name": "Dog"}, {"id": 18, "name": "dog"}, {"id": 4, "name": "car"}]
    categories.append({"id": 5, "name": "dog"})
    annotations.append(coco_object(3, category_id=4, bbox=[0, 0, 0.5, 1]))
    images = [coco_image(7), coco_image(8, file_name="./7.jpg")]
    write_coco(root, images, annotations, categories)
    text = 'train = "coco:instances.json@images"\nrename = {cra = "car"}\ndrop = ["car"]'
    (root / "data.toml").write_text(text)
    return f"{root}/data.toml"


def turned(root):
    spec = write_yolo(root, {"a": "0 0.5 0.5 0.2 0.2"})
    (root / "images/train/a.jpg").write_bytes(turned_image((100, 80)))
    return spec


def csv_notes(root):
    header = "path,label,name,xmin,ymin,xmax,ymax,difficult"
    return write_csv(root, f"{header}\n/home/me/a.jpg,1,dog,1,2,30,40,perhaps\nb.jpg,,,,,,,\n")


def tfrecord_notes(root):
    (root / "map.pbtxt").write_text(
        "item { id: 0 name: 'background' } item { id: 1 name: 'a' } item { id: 2 name: 'b' }"
    )
    return f"{write_records(root, record())}@{root}/map.pbtxt"


def damaged_records(root):
    spec = write_records(root, record(), record(encoded=None))
    path = root / "train-00000-of-00001"
    path.write_bytes(path.read_bytes() + b"end")
    return spec


def yolo_notes(root):
    spec = write_yolo(root, {"a": "0 0.5 0.5 0.2 0.2 0.5 0.5 2", "b": "0 0.5 0.5 1 1"})
    (root / "data.yaml").write_text("kpt_shape: [1, 3]\nnames: [dog]\n")
    (root / "images/train/b.jpg").unlink()
    return spec


def voc_of_one_stem(root):
    spec = write_voc(root, {"a": []})
    (root / "JPEGImages/a.png").write_bytes(image_bytes("PNG"))
    return spec


SOURCES = {
    voc: {
        ProblemKind.NO_AREA: 1,
        ProblemKind.SWAPPED_CORNERS: 1,
        ProblemKind.NOT_FOUR_NUMBERS: 1,
        ProblemKind.OUTSIDE_IMAGE: 1,
        ProblemKind.REACHES_OUTSIDE: 1,
        ProblemKind.NO_CLASS_NAME: 1,
        ProblemKind.BAD_ANNOTATION: 1,
        ProblemKind.MISSING_IMAGE: 1,
        ProblemKind.BROKEN_IMAGE: 1,
        ProblemKind.OTHER_SIZE: 1,
        ProblemKind.UNREAD_FORMAT: 1,
        ProblemKind.TOO_LARGE: 1,
        ProblemKind.OTHER_FORMAT: 1,
        ProblemKind.SYMBOLIC_LINK: 1,
        ProblemKind.DUPLICATE_IMAGE: 1,
        ProblemKind.MISSING_ANNOTATION: 1,
    },
    coco: {
        ProblemKind.DUPLICATE_CATEGORY: 1,
        ProblemKind.BAD_CATEGORY: 1,
        ProblemKind.NO_IMAGE_ID: 1,
        ProblemKind.NO_IMAGE_PATH: 1,
        ProblemKind.PATH_OUTSIDE: 1,
        ProblemKind.UNKNOWN_IMAGE: 1,
        ProblemKind.UNKNOWN_CLASS: 1,
    },
    coco_notes: {
        ProblemKind.RELATIVE_BOXES: 1,
        ProblemKind.BELOW_ONE_PIXEL: 1,
        ProblemKind.SAME_CATEGORY: 1,
        ProblemKind.SIMILAR_NAMES: 1,
        ProblemKind.SAME_FILE: 1,
        ProblemKind.DROPPED_CLASS: 1,
        ProblemKind.UNKNOWN_CHANGE: 1,
    },
    coco_umbrella: {ProblemKind.UMBRELLA_CATEGORY: 1},
    turned: {ProblemKind.TURNED: 1},
    lambda root: write_voc(root, {"a": []}, size=(0, 80)): {ProblemKind.BAD_SIZE: 1},
    csv_notes: {
        ProblemKind.OTHER_PATH: 1,
        ProblemKind.SEVERAL_COLUMNS: 1,
        ProblemKind.BAD_FLAG: 1,
    },
    lambda root: write_csv(root, "a.jpg,1,2,30,40,dog"): {ProblemKind.NO_COLUMN_NAMES: 1},
    tfrecord_notes: {ProblemKind.OTHER_TEXT: 2, ProblemKind.BACKGROUND: 1},
    damaged_records: {ProblemKind.BAD_RECORD: 1, ProblemKind.DAMAGED_FILE: 1},
    lambda root: write_yolo(root, {"a": "dog 0.5 0.5 0.2 0.2"}): {ProblemKind.BAD_LINE: 1},
    lambda root: write_yolo(root, {"a": None}): {ProblemKind.NO_LABEL_FILE: 1},
    yolo_notes: {ProblemKind.POSE_ROW: 1, ProblemKind.LABELS_WITHOUT_IMAGE: 1},
    voc_of_one_stem: {ProblemKind.SHARED_ANNOTATION: 1},
}
# An image that its owner may not read cannot be made where tests run as root.
# `predict` and `data check` find images that are nearly black, which takes decoding.
UNTESTED = {ProblemKind.UNREADABLE, ProblemKind.DARK}


@pytest.mark.parametrize("write", SOURCES)
def test_each_kind_of_problem_is_found_and_counted(tmp_path, write):
    data = load_data(write(tmp_path), max_pixels=20_000)
    expected = SOURCES[write]
    kinds = [problem.kind for problem in data.problems]
    assert {kind: kinds.count(kind) for kind in kinds} == expected
    titles = [finding.title for finding in reader_findings(data)]
    assert {title: titles.count(title) for title in titles} == {
        kind.title: count for kind, count in expected.items()
    }


def test_every_kind_is_among_them():
    found = {kind for kinds in SOURCES.values() for kind in kinds}
    assert found == set(ProblemKind) - UNTESTED


def test_an_unreadable_image_is_a_problem(tmp_path, monkeypatch):
    from ssd_keras.data.readers import assemble

    def refuse(image, max_pixels):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(assemble, "read_image_header", refuse)
    spec = write_voc(tmp_path, {"a": []})
    with pytest.raises(ValueError, match=r"a\.jpg: the file cannot be read \(.*Permission denied"):
        load_data(spec)


def test_kinds_have_titles_scopes_and_actions():
    assert len({kind.title for kind in ProblemKind}) == len(ProblemKind)
    assert all(kind.sentence.count("{}") <= 1 for kind in ProblemKind)
    losses = [kind for kind in ProblemKind if kind.action in LOSSES]
    actions = {kind: kind.action for kind in losses if kind.action != DROPPED}
    assert actions == {
        ProblemKind.REACHES_OUTSIDE: CLIPPED,
        ProblemKind.DAMAGED_FILE: REST_DROPPED,
    }
    assert {kind for kind in losses if kind.scope is Scope.FILE} == {
        ProblemKind.BAD_CATEGORY,
        ProblemKind.DUPLICATE_CATEGORY,
        ProblemKind.DAMAGED_FILE,
        ProblemKind.LABELS_WITHOUT_IMAGE,
    }


def test_words_of_another_kind_change_no_group(tmp_path):
    objects = [voc_object("sign has no area"), voc_object("is cut off", (1, 1, 50, 50))]
    data = load_data(write_voc(tmp_path, {"a": objects}), class_names=["dog"])
    assert [problem.kind for problem in data.problems] == [ProblemKind.UNKNOWN_CLASS] * 2
    assert {finding.title for finding in reader_findings(data)} == {"objects of unknown classes"}


@pytest.mark.parametrize("kind", ProblemKind)
def test_a_reworded_detail_changes_no_group(kind):
    for detail in ("", "has no area", "unknown class", "{} {0} is cut off"):
        problem = Problem(kind, "a.xml: object 1", detail)
        (finding,) = reader_findings(DetectionData(("dog",), (), (problem,)))
        assert (finding.kind, finding.title) == (kind, kind.title)
        assert f"{finding}; {finding.action}" == str(problem)


def test_problems_are_records(tmp_path):
    data = load_data(write_voc(tmp_path, {"a": [voc_object(corners=(9, 9, 9, 9))]}))
    expected = Problem(
        ProblemKind.NO_AREA,
        f"{tmp_path}/Annotations/a.xml: object 1 (dog)",
        "box xmin=9 ymin=9 xmax=9 ymax=9",
    )
    assert data.problems == (expected,)
    assert (expected.kind.scope, expected.action) == ("object", "dropped")
    assert np.array_equal(data.examples[0].boxes, np.zeros((0, 4)))


def test_lines_count_a_kind_and_keep_groups_apart():
    def unknown(name, file):
        detail = f"'{name}'; expected one of cat"
        location = f"{file}.xml: object 1 ({name})"
        return Problem(ProblemKind.UNKNOWN_CLASS, location, detail, group=name, image=f"{file}.jpg")

    problems = [unknown("sun", file) for file in "abcd"]
    problems.insert(1, Problem(ProblemKind.NO_AREA, "e.xml: object 2 (cat)", "box"))
    problems.append(unknown("moon", "a"))
    assert problem_lines(problems) == [
        "objects of unknown classes: 4 objects of 4 images dropped; first a.xml: object 1 (sun): "
        "unknown class 'sun'; expected one of cat; also b.xml: object 1 (sun), "
        "c.xml: object 1 (sun) and 1 more",
        "a.xml: object 1 (moon): unknown class 'moon'; expected one of cat; dropped",
        "e.xml: object 2 (cat): box has no area; expected a width and a height above 0; dropped",
    ]


def test_a_note_loses_nothing_and_is_never_refused():
    note = Problem(ProblemKind.BROKEN_IMAGE, "a.webp", "WebP", action="converted to PNG")
    assert not note.is_loss and Problem(ProblemKind.BROKEN_IMAGE, "a.webp", "WebP").is_loss
