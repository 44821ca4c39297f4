"""Several data sets as one, by class name: VOC's years, COCO under VOC's names, data files."""

import re

import numpy as np
import pytest
from datasets import coco_image, coco_object, voc_object, write_coco, write_voc, write_voc_lists

from ssd_keras.core.class_names import (
    ALIASES,
    COCO_CLASSES,
    VOC_CLASSES,
    labels_by_name,
    united_names,
)
from ssd_keras.data import load_data
from ssd_keras.data.data_file import is_data_file
from ssd_keras.data.problems import problem_lines
from ssd_keras.data.sources import expand_data_files, formats_of, parts_of
from ssd_keras.data.splits import load_splits, split_names
from ssd_keras.data.unions import relabel


def names_of(data, index):
    return [data.class_names[label] for label in data.examples[index].labels]


# --- names ---


def test_every_name_of_voc_is_one_of_coco():
    labels = labels_by_name(COCO_CLASSES)
    found = {name: COCO_CLASSES[labels[name]] for name in VOC_CLASSES}
    changed = {name: other for name, other in found.items() if name != other}
    assert changed == {
        "aeroplane": "airplane",
        "diningtable": "dining table",
        "motorbike": "motorcycle",
        "pottedplant": "potted plant",
        "sofa": "couch",
        "tvmonitor": "tv",
    }
    assert len(set(found.values())) == 20
    assert len(ALIASES) == 6


def test_names_that_are_classes_are_no_aliases():
    assert labels_by_name(["tv", "tvmonitor"]) == {"tv": 0, "tvmonitor": 1}
    assert labels_by_name(["tv", "cat"]) == {"tv": 0, "cat": 1, "tvmonitor": 0}
    assert united_names([["tv", "tvmonitor"], ["sofa", "tv"], ["couch", "cat"]]) == (
        "tv",
        "tvmonitor",
        "sofa",
        "cat",
    )


def test_relabel_knows_aliases_and_reports_the_others(tmp_path):
    objects = [voc_object("sofa"), voc_object("dog", (1, 1, 50, 50)), voc_object("tvmonitor")]
    data = load_data(write_voc(tmp_path, {"a": objects}))
    found = relabel(data, ["tv", "couch"])
    assert found.class_names == ("tv", "couch")
    assert found.examples[0].labels.tolist() == [1, 0]
    # The box of the dog is gone, those of the others stay beside their labels: xmin = 11 - 1.
    np.testing.assert_array_equal(found.examples[0].boxes, [[10, 20, 30, 40]] * 2)
    (problem,) = found.problems
    assert str(problem) == (
        f"{tmp_path}/JPEGImages/a.jpg: object 2 (dog): unknown class 'dog'; "
        "expected one of tv, couch; dropped"
    )


# --- VOC's years ---


def voc_years(root):
    """VOC 2007 and 2012 in small: both have an image 000001."""
    year07 = write_voc(root / "07", {"000001": [voc_object("sofa")]}, "trainval")
    write_voc(root / "07", {"000007": [voc_object("cat"), voc_object("dog")]}, "test")
    write_voc_lists(root / "07")
    year12 = write_voc(root / "12", {"000001": [voc_object("tvmonitor")], "2008_2": []}, "trainval")
    return year07, year07.replace("@trainval", "@test"), year12


def test_07_and_12(tmp_path):
    trainval07, _, trainval12 = voc_years(tmp_path)
    data = load_data([trainval07, trainval12], bad_data="refuse")
    assert data.class_names == VOC_CLASSES
    assert data.category_ids == tuple(range(1, 21))
    assert [x.image_id for x in data.examples] == ["000001", "1:000001", "2008_2"]
    assert [names_of(data, i) for i in range(3)] == [["sofa"], ["tvmonitor"], []]


def test_07_with_its_test_set_and_12(tmp_path):
    data = load_data(voc_years(tmp_path), bad_data="refuse")
    assert [x.image_id for x in data.examples] == ["000001", "000007", "2:000001", "2008_2"]
    assert names_of(data, 1) == ["cat", "dog"]
    assert data.examples[1].labels.tolist() == [7, 11]  # the 8th and the 12th of the twenty


# --- COCO under VOC's names ---


def coco_like(root):
    """Categories with COCO's own ids and names; giraffe and tie are none of VOC's."""
    categories = [
        {"id": 5, "name": "airplane"},
        {"id": 25, "name": "giraffe"},
        {"id": 32, "name": "tie"},
        {"id": 63, "name": "couch"},
        {"id": 67, "name": "dining table"},
        {"id": 72, "name": "tv"},
    ]
    annotations = [
        coco_object(1, category_id=72),
        coco_object(2, category_id=25),
        coco_object(3, category_id=5, bbox=[0, 0, 100, 80]),
        coco_object(4, image_id=9, category_id=32),
        coco_object(5, image_id=9, category_id=67, iscrowd=1),
        coco_object(6, image_id=9, category_id=63),
    ]
    return write_coco(root, [coco_image(7), coco_image(9)], annotations, categories)


def test_coco_restricted_to_the_twenty(tmp_path):
    data = load_data(coco_like(tmp_path), class_names=VOC_CLASSES)
    assert data.class_names == VOC_CLASSES
    assert [names_of(data, i) for i in range(2)] == [
        ["tvmonitor", "aeroplane"],
        ["diningtable", "sofa"],
    ]
    # tvmonitor is the last of the twenty, aeroplane the first, diningtable the 11th, sofa the 18th.
    assert [x.labels.tolist() for x in data.examples] == [[19, 0], [10, 17]]
    assert data.examples[1].is_crowd.tolist() == [True, False]
    # The file's ids go with the names; those of classes that it lacks begin above all of its own.
    ids = dict(zip(data.class_names, data.category_ids, strict=True))
    picked = [ids[name] for name in ("aeroplane", "sofa", "diningtable", "tvmonitor")]
    assert picked == [5, 63, 67, 72]
    assert len(set(ids.values())) == 20
    assert sorted(ids.values())[4:] == list(range(73, 89))
    unknown = [
        re.search(r"annotation (\d) \((\w+)\): unknown class", str(p)) for p in data.problems
    ]
    assert [match.groups() for match in unknown] == [("2", "giraffe"), ("4", "tie")]


def test_voc_and_coco_are_one_class_under_two_names(tmp_path):
    voc = write_voc(tmp_path / "voc", {"a": [voc_object("tvmonitor"), voc_object("cat")]})
    write_voc_lists(tmp_path / "voc")
    data = load_data([voc, coco_like(tmp_path / "coco")], bad_data="refuse")
    assert data.class_names == (*VOC_CLASSES, "giraffe", "tie")
    assert names_of(data, 1) == ["tvmonitor", "giraffe", "aeroplane"]
    assert data.category_ids == tuple(range(1, 23))
    # The other way round the names are COCO's, and VOC's fourteen others follow.
    data = load_data([coco_like(tmp_path / "coco"), voc], bad_data="refuse")
    assert data.class_names[:6] == ("airplane", "giraffe", "tie", "couch", "dining table", "tv")
    assert len(data.class_names) == 6 + 20 - 4
    assert names_of(data, 2) == ["tv", "cat"]


def test_07_12_and_coco_restricted_to_the_twenty(tmp_path):
    specs = [*voc_years(tmp_path), coco_like(tmp_path / "coco")]
    data = load_data(specs, class_names=VOC_CLASSES)
    assert data.class_names == VOC_CLASSES
    assert len(data) == 6
    assert names_of(data, 4) == ["tvmonitor", "aeroplane"]
    assert len(data.problems) == 2


# --- data files ---


def write_data_file(root, text):
    voc_years(root)
    (root / "data.toml").write_text(text)
    return str(root / "data.toml")


DATA_FILE = """
train = ["voc:07@trainval", "voc:12@trainval"]
validation = "voc:07@test"
"""


def test_a_data_file_names_training_and_validation_data(tmp_path, monkeypatch):
    path = write_data_file(tmp_path, DATA_FILE)
    monkeypatch.chdir(tmp_path.parent)  # paths start at the file, wherever one stands
    assert len(load_data(path)) == 3
    for words, part in ((path, "validation"), (f"{path}@validation", "train")):
        data = load_data(words, part=part)
        assert [x.image_id for x in data.examples] == ["000007"]
        assert data.class_names == VOC_CLASSES
    assert parts_of(path) == [f"{path}@train", f"{path}@validation"]
    assert parts_of("voc:07@test") == ["voc:07@test"]
    splits = load_splits([path])
    assert [(split.name, len(split.data)) for split in splits] == [("train", 3), ("validation", 1)]


def test_a_data_file_with_classes_and_a_format(tmp_path):
    text = (
        'format = "voc"\nclasses = ["dog", "couch"]\ntrain = "07@trainval"\nvalidation = "07@test"'
    )
    path = write_data_file(tmp_path, text)
    data = load_data(path)
    assert data.class_names == ("dog", "couch")
    assert names_of(data, 0) == ["couch"]
    validation = load_data(path, part="validation")
    assert names_of(validation, 0) == ["dog"]
    assert len(validation.problems) == 1  # the cat
    assert load_data(path, class_names=["sofa"]).class_names == ("sofa",)


@pytest.mark.parametrize(("name", "classes"), [("voc", VOC_CLASSES), ("coco", COCO_CLASSES)])
def test_a_data_file_may_name_a_known_list_of_classes(tmp_path, name, classes):
    path = write_data_file(tmp_path, f'classes = "{name}"\ntrain = "voc:12@trainval"')
    data = load_data(path)
    assert data.class_names == classes
    assert names_of(data, 0) == ["tvmonitor" if name == "voc" else "tv"]


def test_paths_of_a_data_file_start_at_the_file(tmp_path):
    path = tmp_path / "data.toml"
    path.write_text(
        'train = ["coco:a.json@b", "voc:/c@d", "tfds:voc/2007@train", "synthetic:shapes@val", '
        '"tfrecord:e-*", "tfrecord:e-*@f.pbtxt", "csv:g.csv@h", "yolo:i@j"]'
    )
    assert [spec for spec, *_ in expand_data_files([str(path)])[0]] == [
        f"coco:{tmp_path}/a.json@{tmp_path}/b",
        "voc:/c@d",
        "tfds:voc/2007@train",
        "synthetic:shapes@val",
        f"tfrecord:{tmp_path}/e-*",
        f"tfrecord:{tmp_path}/e-*@{tmp_path}/f.pbtxt",
        f"csv:{tmp_path}/g.csv@{tmp_path}/h",
        f"yolo:{tmp_path}/i@j",
    ]
    assert formats_of([str(path), "yolo:a@b"]) == {
        "coco", "voc", "tfds", "synthetic", "tfrecord", "csv", "yolo"
    }  # fmt: skip
    assert [is_data_file(x) for x in ("a.toml", "a.toml@train", "voc:a@b")] == [True, True, False]


BAD_DATA_FILES = {
    "not TOML": ("train = voc:", r"data\.toml is not TOML \("),
    "name": ('trian = "voc:07@test"', r"data\.toml: name 'trian' is unknown; did you mean 'train'"),
    "part of a name": ('val = "voc:07@test"', r"name 'val' is unknown; did you mean 'validation'"),
    "no data": ('classes = "voc"', r'data\.toml names no data; expected such as train = "voc:ROOT'),
    "number": ("train = 3", r"data\.toml: train is 3; expected a data set or a list of them"),
    "nested": ('train = "a.toml"', r"train names the data file 'a\.toml'; expected data sets"),
    "classes": (
        'train = "voc:07@test"\nclasses = "pets"',
        r"classes is 'pets'; expected a list of",
    ),
    "repeated": (
        'train = "voc:07@test"\nclasses = ["a", "a"]',
        r"class_names holds 'a' twice; name",
    ),
    "format": (
        'train = "07@test"\nformat = 7',
        r"data\.toml: format is 7; expected a word such as",
    ),
    "kind": (
        'train = "07@test"\nformat = "pascal"',
        r"data\.toml: unknown format 'pascal'; expected such as voc:",
    ),
    "part": (
        'validation = "voc:07@test"',
        r"data file .*data\.toml: part 'train' is unknown; choose one of validation",
    ),
}


@pytest.mark.parametrize(("text", "words"), BAD_DATA_FILES.values(), ids=BAD_DATA_FILES)
def test_a_data_file_that_cannot_be_used_is_an_error(tmp_path, text, words):
    path = write_data_file(tmp_path, text)
    with pytest.raises(ValueError, match=words) as caught:
        load_data(path)
    assert "\n" not in str(caught.value)


def test_a_missing_data_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no data file .*no\.toml; expected TOML there"):
        load_data(f"{tmp_path}/no.toml")


# --- classes renamed, merged and dropped ---


CHANGES = """
train = ["voc:07@trainval", "coco:coco/instances.json@coco/images"]
rename = {sofa = "seat", couch = "seat", "dining table" = "table "}
drop = ["tie", "giraffe"]
"""


def test_a_data_file_renames_merges_and_drops_classes_of_all_sources(tmp_path):
    coco_like(tmp_path / "coco")
    data = load_data(write_data_file(tmp_path, CHANGES), bad_data="refuse")
    assert set(data.class_names) == {*VOC_CLASSES, "seat", "table"} - {"sofa"}
    assert [names_of(data, index) for index in range(3)] == [
        ["seat"], ["tvmonitor", "aeroplane"], ["table", "seat"]
    ]  # fmt: skip
    # The boxes stay beside their labels: the giraffe was second of three.
    assert data.examples[1].boxes.tolist() == [[10.25, 20.5, 30.125, 40], [0, 0, 100, 80]]
    lines = problem_lines(data.problems)
    assert len(lines) == 2
    assert re.search(r"\.jpg: object 2 \(giraffe\): class 'giraffe' is to be dropped", lines[0])
    assert re.search(r"object 1 \(tie\): class 'tie' is to be dropped; not used", lines[1])


def test_classes_are_restricted_after_they_are_renamed(tmp_path):
    path = write_data_file(tmp_path, 'classes = ["seat"]' + CHANGES.replace("couch", "tv"))
    coco_like(tmp_path / "coco")
    data = load_data(path)
    assert data.class_names == ("seat",)
    assert [names_of(data, index) for index in range(3)] == [["seat"], ["seat"], []]


def test_merged_classes_keep_all_their_ids(tmp_path):
    data = load_data(coco_like(tmp_path), rename={"tie": "thing", "giraffe": "thing"}, drop="tv")
    assert data.class_names == ("airplane", "thing", "couch", "dining table")
    assert data.category_ids == (5, 25, 63, 67)
    assert data.label_of_id == {5: 0, 25: 1, 32: 1, 63: 2, 67: 3}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rename": {"girafe": "animal"}}, r"no class 'girafe'; did you mean 'giraffe'\?; ignored"),
        ({"drop": ["Giraffe"]}, r"no class 'Giraffe'; did you mean 'giraffe'\?; ignored"),
        ({"drop": ["zzz"]}, r"no class 'zzz'; they have airplane, giraffe, tie, couch, dining ta"),
    ],
)
def test_classes_to_change_that_the_data_lack_are_told(tmp_path, changes, words):
    (problem,) = load_data(coco_like(tmp_path), bad_data="refuse", **changes).problems
    assert re.search(words, str(problem))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            'rename = ["a"]',
            r"data\.toml: rename is \['a'\]; expected such as \{van = \"vehicle\"\}",
        ),
        ("rename = {a = 3}", r"rename is \{'a': 3\}; expected such as"),
        ('rename = {a = " "}', r"rename is .*; expected such as"),
        ("drop = [3]", r'drop is \[3\]; expected a list of classes, as \["person"\]'),
        ('rename = {a = "b"}\ndrop = ["a"]', r"'a' is in rename and in drop; leave it out of one"),
        ("classses = 3", r"name 'classses' is unknown; did you mean 'classes'"),
    ],
)
def test_changes_that_cannot_be_understood_are_errors(tmp_path, text, words):
    path = write_data_file(tmp_path, f'train = "voc:07@test"\n{text}')
    with pytest.raises(ValueError, match=words):
        load_data(path)


def test_unknown_classes_are_few_lines_and_the_nearest_is_named(tmp_path):
    objects = [voc_object(name) for name in ("Cat", "sun", "moon ", "a", "b", "c", "d", "sun")]
    data = load_data(write_voc(tmp_path, {"x": objects, "y": objects[:2]}), class_names=["cat"])
    lines = problem_lines(data.problems)
    assert len(lines) == 5
    assert re.search(
        r"3 objects of 2 images dropped; .*unknown class 'sun'; expected one of cat;", lines[0]
    )
    assert re.search(
        r"2 objects of 2 images dropped; .*unknown class 'Cat'; the data have 'cat';", lines[1]
    )
    assert lines[4].endswith("unknown classes: 3 more objects dropped: 'b', 'c', 'd'")


# --- splits ---


def test_splits_have_the_same_classes(tmp_path):
    first = write_voc(tmp_path / "a", {"1": [voc_object("ant"), voc_object("zebra")]})
    second = write_voc(tmp_path / "b", {"2": [voc_object("zebra"), voc_object("bee")]}, "val")
    train, val = load_splits([first, second])
    assert (train.name, val.name) == ("train", "val")
    assert train.data.class_names == val.data.class_names == ("ant", "zebra", "bee")
    assert val.data.examples[0].labels.tolist() == [1, 2]


def test_splits_of_one_name_are_numbered():
    assert split_names(["voc:a@val", "voc:b@val"]) == ["a_val", "b_val"]
    assert split_names(["voc:a@val", "voc:a@val"]) == ["val_1", "val_2"]


@pytest.mark.parametrize(
    ("specs", "names"),
    [
        (["voc:x/images/train@all", "voc:x/images/test@all"], ["train", "test"]),
        (["tfrecord:x/train.record@m.pbtxt", "tfrecord:x/test.record@m.pbtxt"], ["train", "test"]),
        (["tfrecord:x/val-*", "tfrecord:x/val-00000-of-00002"], ["val_1", "val_2"]),
        (
            ["tfrecord:x/voc-07_a.record-?????-of-00010", "tfrecord:x/b.tfrecord-*"],
            ["voc-07_a", "b"],
        ),
        (["csv:x/train_labels.csv@x/train", "csv:x/val.csv@x/val"], ["train_labels", "val"]),
        (["coco:x/train/_a.coco.json@x", "coco:x/val/_a.coco.json@x"], ["train__a", "val__a"]),
        (["yolo:x@images/train", "yolo:x@images/val"], ["images/train", "images/val"]),
        (["data.toml@train", "data.toml@validation"], ["train", "validation"]),
    ],
)
def test_splits_are_named_after_what_differs(specs, names):
    assert split_names(specs) == names
