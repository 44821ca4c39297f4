"""Rows of YOLO label files and class names of YOLO folders."""

import re

import pytest
from datasets import only_problem, write_yolo

from ssd_keras.data import load_data

BOX = [10, 20, 30, 40]
FORMS = {
    "box": "1 0.25 0.5 0.3 0.5",
    "float class": "1.0 0.25 0.5 0.3 0.5",
    "exponents": "1.000000e+00 2.5e-1 5e-1 3e-1 5e-1",
    "confidence": "1 0.25 0.5 0.3 0.5 0.93",
    "surest": "1 0.25 0.5 0.3 0.5 1",
    "polygon": "1 0.1 0.25 0.4 0.25 0.4 0.75 0.1 0.75",
    "triangle": "1 0.1 0.25 0.4 0.5 0.2 0.75",
    "closed polygon": "1 0.1 0.25 0.4 0.25 0.4 0.75 0.1 0.75 0.1 0.25",
    "oriented box": "1 0.25 0.25 0.4 0.5 0.25 0.75 0.1 0.5",
    "tabs": "1\t0.25\t0.5\t0.3\t0.5",
    "commas": "1,0.25,0.5,0.3,0.5",
    "commas and blanks": "1, 0.25, 0.5, 0.3, 0.5",
    "semicolons": "1;0.25;0.5;0.3;0.5;",
    "decimal commas": "1 0,25 0,5 0,3 0,5",
    "decimal commas and semicolons": "1;0,25;0,5;0,3;0,5",
    "comment": "1 0.25 0.5 0.3 0.5 # cat",
    "comment alone": "# class x y w h\n1 0.25 0.5 0.3 0.5",
}


@pytest.mark.parametrize("row", FORMS.values(), ids=FORMS)
def test_a_row_is_a_box_or_a_polygon(tmp_path, row):
    data = load_data(write_yolo(tmp_path, {"a": f"0 0.5 0.5 1 1\n{row}\n"}), bad_data="refuse")
    assert data.examples[0].boxes.tolist() == [[0, 0, 100, 80], BOX]
    assert data.examples[0].labels.tolist() == [0, 1]
    assert data.problems == ()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_label_files_and_names_may_have_a_byte_order_mark(tmp_path, encoding):
    spec = write_yolo(tmp_path, {"a": None})
    (tmp_path / "labels/train/a.txt").write_bytes("1 0.25 0.5 0.3 0.5\r\n".encode(encoding))
    (tmp_path / "classes.txt").write_bytes("dog\r\ncafé\r\n".encode(encoding))
    data = load_data(spec, bad_data="refuse")
    assert data.class_names == ("dog", "café")
    assert data.examples[0].boxes.tolist() == [BOX]


UNCLEAR = {
    "angle": "1 0.25 0.5 0.3 0.5 1.57",
    "odd": "1 0.1 0.25 0.4 0.25 0.4 0.75 0.1",
    "half class": "0.5 0.25 0.5 0.3 0.5",
    "name": "cat 0.25 0.5 0.3 0.5",
    "pose": "1 0.25 0.5 0.3 0.5 0.2 0.4 2 0.3 0.6 2",
    "pose of points that are not hidden": "1 0.25 0.5 0.3 0.5 0.2 0.4 1 0.3 0.6 0",
    "score and track": "1 0.25 0.5 0.3 0.5 0.93 17",
    "NaN class": "nan 0.25 0.5 0.3 0.5",
}


@pytest.mark.parametrize("row", UNCLEAR.values(), ids=UNCLEAR)
def test_an_unclear_row_is_told(tmp_path, row):
    data = load_data(write_yolo(tmp_path, {"a": f"0 0.5 0.5 1 1\n{row}\n"}))
    assert data.examples[0].labels.tolist() == [0]
    words = rf"a\.txt: line 2: '{re.escape(row[:20])}.* is not understood; expected class x y"
    assert re.search(words, only_problem(data))
    assert ("kpt_shape" in only_problem(data)) == ("2 0.3 0.6" in row or "1 0.3" in row)


def test_a_polygon_in_a_corner_is_no_pose(tmp_path):
    row = "1 0.7 0.6 0.8 0.5 0.9 0.5 1 0.6 0.9 1"
    data = load_data(write_yolo(tmp_path, {"a": row}), bad_data="refuse")
    assert data.examples[0].boxes.tolist() == [[70, 40, 30, 40]]


@pytest.mark.parametrize("shape", ["[2, 3]", "[3, 2]"])
def test_pose_rows_give_their_box_where_the_data_say_so(tmp_path, shape):
    spec = write_yolo(tmp_path, {"a": "1 0.25 0.5 0.3 0.5 0.2 0.4 1 0.3 0.6 0\n"})
    (tmp_path / "data.yaml").write_text(f"kpt_shape: {shape}\nnames: [dog, cat]\n")
    data = load_data(spec, bad_data="refuse")
    assert data.examples[0].boxes.tolist() == [BOX]
    assert re.search(
        r"line 1: .* is a box with key points; read without the key points", only_problem(data)
    )


def test_unknown_classes_have_a_line_each(tmp_path):
    data = load_data(write_yolo(tmp_path, {"a": "2 0.25 0.5 0.3 0.5\n7 0.5 0.5 1 1\n"}))
    assert [x.group for x in data.problems] == ["2", "7"]


NAMES = {
    "booleans": ("[yes, no, on, Off, true]", ("yes", "no", "on", "Off", "true")),
    "numbers": ("[007, 012, 1:30, 1e3, 0x1F, 1_000]",
                ("007", "012", "1:30", "1e3", "0x1F", "1_000")),
    "null": ("[null, ~, 2020-01-01, 3.10]", ("null", "~", "2020-01-01", "3.10")),
    "blanks": ("['cat ', ' moon']", ("cat", "moon")),
    "quoted numbers": ("{'1': moon, \"0\": cat}", ("cat", "moon")),
    "numbers of two digits": ("{" + ", ".join(f"{n}: c{n}" for n in range(11)) + "}",
                              tuple(f"c{n}" for n in range(11))),
    "Unicode form": ("[cafe\u0301]", ("café",)),
    "block": ("\n  - yes\n  - no", ("yes", "no")),
    "a file": ("names.txt", ("dog", "cat")),
}  # fmt: skip


@pytest.mark.parametrize(("text", "names"), NAMES.values(), ids=NAMES)
def test_class_names_are_the_texts_of_the_file(tmp_path, text, names):
    pytest.importorskip("yaml", reason="NOT TESTED: PyYAML is not installed")
    spec = write_yolo(tmp_path, {"a": "0 0.25 0.5 0.3 0.5"})
    (tmp_path / "names.txt").write_text("dog\ncat\n")
    (tmp_path / "data.yaml").write_text(f"names: {text}\n", encoding="utf-8")
    assert load_data(spec).class_names == names


BAD_NAMES = {
    "twice": (
        "names: [cat, dog, cat]",
        r"data\.yaml has the class name 'cat' twice, as number 0",
    ),
    "twice but blanks": ("names: [cat, 'cat ']", r"has the class name 'cat' twice"),
    "a number twice": ("names: {0: cat, 0: dog}", r"data\.yaml has the key '0' twice; expected"),
    "names twice": ("names: [cat]\nnames: [dog]", r"has the key 'names' twice"),
    "from 1": (
        "names: {1: cat, 2: dog}",
        r"of YOLO's form \(\{'1': 'cat', .*; expected a list, or",
    ),
    "inverse": (
        "names: {cat: 0, dog: 1}",
        r"of YOLO's form \(\{'cat': '0', .*; expected a list, or",
    ),
    "records": (
        "names: [{id: 0, name: cat}]",
        r"of YOLO's form \(\[\{'id': '0'.*; expected a list, or",
    ),
    "of Python": ("names: !!python/tuple [dog]", r"is not YAML \(the tag .* an object of Python\)"),
    "empty": ("names: [cat, '']", r"an empty line or name \(number 1, from 0\); expected one name"),
    "count": ("nc: 3", r"data\.yaml has no 'names'; expected a list, or names by number from 0"),
    "cp1252": ("names: [caf\udce9]", r"data\.yaml: line 1 is not UTF-8; save the file as UTF-8"),
}


@pytest.mark.parametrize(("text", "words"), BAD_NAMES.values(), ids=BAD_NAMES)
def test_class_names_that_cannot_be_used_are_an_error(tmp_path, text, words):
    pytest.importorskip("yaml", reason="NOT TESTED: PyYAML is not installed")
    spec = write_yolo(tmp_path, {"a": None})
    (tmp_path / "data.yaml").write_bytes(text.encode("utf-8", errors="surrogateescape"))
    with pytest.raises(ValueError, match=words):
        load_data(spec)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"caf\xe9\n", r"classes\.txt: line 1 is not UTF-8; save the file as UTF-8"),
        (b"dog\ndog\n", r"classes\.txt has the class name 'dog' twice, as number 0 and 1"),
        (b"dog\n\ncat\n", r"have an empty line or name \(number 1, from 0\)"),
        (b"\n", r"classes\.txt' are empty; expected one name a line"),
    ],
)
def test_lists_of_names_that_cannot_be_used_are_an_error(tmp_path, content, words):
    spec = write_yolo(tmp_path, {"a": None})
    (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        load_data(spec)
