"""The CSV reader: columns by name, dialects, and problems of bad tables."""

import re

import pytest
from datasets import (
    SIZE,
    only_problem,
    turned_image,
    write_csv,
)

from ssd_keras.data import load_data

WIDTH, HEIGHT = SIZE  # 100, 80


CSV_FORMS = {
    "plain": "filename,class,xmin,ymin,xmax,ymax\na.jpg,dog,10,20,40.5,60\nb.jpg,,,,,\n"
    "a.jpg,cat,0,0,100,80\n",
    "others": '\ufeff"X2";"Label";x1;y1;"y2";image;more\n40.5;dog;10;20;60;a.jpg;1\n'
    ";;;;;b.jpg\n100;cat;0;0;80;a.jpg;2\n\n",
    "pipes": "filename|class|xmin|ymin|xmax|ymax\na.jpg|dog|10|20|40,5|60\nb.jpg|||||\n"
    "a.jpg|cat|0|0|100|80\n",
    "sep": "sep=;\r\nfilename;class;xmin;ymin;xmax;ymax\r\na.jpg;dog;10;20;40,5;60\r\n"
    "b.jpg;;;;;\r\na.jpg;cat;0;0;100;80\r\n",
    "comments": "# made by hand\n\nfilename,class,xmin,ymin,xmax,ymax\n./a.jpg,dog,10,20,40.5,60\n"
    "b.jpg,nan,nan,nan,nan,nan\na.jpg,cat,0,0,100,80\n",
    "sides": "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height\n"
    "dog,10,20,30.5,40,a.jpg,100,80\n,,,,,b.jpg,100,80\ncat,0,0,100,80,a.jpg,100,80\n",
    "folders of another machine": "image,label,xmin,ymin,xmax,ymax\nhttp://x.org/a.jpg?raw,dog,10,"
    "20,40.5,60\nC:\\data\\b.jpg,,,,,\nhttp://x.org/a.jpg?raw,cat,0,0,100,80\n",
    "no names": "a.jpg,10,20,40.5,60,dog\nb.jpg,,,,,\na.jpg,0,0,100,80,cat\n",
    "shares": "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded\n"
    "a,x,dog,1,0.1,0.405,0.25,0.75,0\nb,,,,,,,,\na,x,cat,1,0,1,0,1,0\n",
    "numbers of names": "id,filename,label,name,xmin,ymin,xmax,ymax\n1,a.jpg,7,dog,10,20,40.5,60\n"
    "2,b.jpg,,,,,,\n3,a.jpg,3,cat,0,0,100,80\n",
}


@pytest.mark.parametrize("text", CSV_FORMS.values(), ids=CSV_FORMS)
def test_csv_columns_go_by_name(tmp_path, text):
    data = load_data(write_csv(tmp_path, text), bad_data="refuse")
    assert data.class_names == ("cat", "dog")
    first, second = data.examples
    assert (first.image_id, first.height, first.width) == ("a", 80, 100)
    assert first.annotated is None
    assert first.boxes.tolist() == [[10, 20, 30.5, 40], [0, 0, 100, 80]]  # 40.5 - 10, 60 - 20
    assert first.labels.tolist() == [1, 0]
    assert (second.image_id, len(second.labels)) == ("b", 0)


def test_csv_with_difficult_objects_and_folders_below(tmp_path):
    text = "filename,class,xmin,ymin,xmax,ymax,difficult\nx/a.jpg,dog,1,2,30,40,1\n"
    (example,) = load_data(write_csv(tmp_path, text, ["x/a.jpg"])).examples
    assert (example.image_id, example.is_difficult.tolist()) == ("x/a", [True])


BAD_CSV = {
    "no area": ("a.jpg,dog,10,20,10,60", r"line 3: box xmin=10 .* has no area; expected"),
    "word": ("a.jpg,dog,left,20,10,60", r"line 3: box xmin=left .* is not four numbers; expected"),
    "short": ("a.jpg,dog,10,20", r"line 3: box .* xmax= ymax= is not four numbers; expected"),
    "no class": ("a.jpg,,10,20,40,60", r"line 3: the object has no class name; expected one"),
    "no file": (",dog,10,20,40,60", r"line 3: the path of the image is missing; expected one"),
    "two lines": (
        '"x\ny.jpg",dog,1,2,3,4',
        r"the path of the image is 'x\\ny\.jpg'; expected one line",
    ),
    "leaves": (
        "../x.jpg,dog,1,2,3,4",
        r"line 3: the path \.\./x\.jpg leads out of the image folder",
    ),
    "absolute": ("/x.jpg,dog,1,2,3,4", r"line 3: the path /x\.jpg leads out of the image folder"),
    "outside": (
        "a.jpg,dog,100,2,130,4",
        r"line 3 \(dog\): box .* in 100x80 pixels lies outside",
    ),
}


@pytest.mark.parametrize(("line", "words"), BAD_CSV.values(), ids=BAD_CSV)
def test_a_bad_csv_line_is_left_out_and_its_neighbours_stay(tmp_path, line, words):
    good = "a.jpg,dog,10,20,40,60\n"
    spec = write_csv(tmp_path, f"filename,class,xmin,ymin,xmax,ymax\n{good}{line}\n{good}")
    data = load_data(spec)
    assert [len(example.labels) for example in data.examples] == [2]
    assert re.search(words + r".*; dropped$", only_problem(data))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"has no column 'filename' \(filename, file_name, image, .*\) in its first line"),
        ("a.jpg,10,20,dog\n", r"has no column names in its first line: .*; write a line of names"),
        ("TRAIN,gs://x/a.jpg,dog,0.1,0.2,,,0.3,0.4,,\n", r"has no column names in its first line"),
        ("filename,region_shape_attributes\n", r"is a table of VIA; export COCO's JSON there"),
        ("filename,class,xmin,ymin,xmax\n", r"has no column 'ymax' \(ymax, y_max, y2, bottom, "),
        ("image_id,width,height,bbox\n", r"has no column 'class' \(class, .*'image_id, width, he"),
        ("filename,class,xmin,ymin,xmax,ymax\n" + "a" * 200_000, r"line \d is not CSV \(field l"),
    ],
)
def test_a_table_that_cannot_be_read_is_an_error(tmp_path, text, words):
    with pytest.raises(ValueError, match=words) as caught:
        load_data(write_csv(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_missing_csv_files_are_errors(tmp_path):
    spec = write_csv(tmp_path, "")
    with pytest.raises(FileNotFoundError, match=r"no table .*no\.csv; expected a CSV file there"):
        load_data(spec.replace("boxes.csv", "no.csv"))
    with pytest.raises(FileNotFoundError, match=r"the folder .*elsewhere does not exist; exp"):
        load_data(spec.replace("/images", "/elsewhere"))


@pytest.mark.parametrize(
    ("cell", "is_difficult"),
    [("1", True), ("1.0", True), ("1.00", True), ("TRUE", True), ("yes", True), ("0", False),
     ("0.0", False), ("False", False), ("no", False), ("", False), ("nan", False),
     ("y", None), ("2", None), ("Unspecified", None)],
)  # fmt: skip
def test_flags_are_words_or_numbers_and_others_are_told(tmp_path, cell, is_difficult):
    text = f"filename,class,xmin,ymin,xmax,ymax,difficult\na.jpg,dog,1,2,30,40,{cell}\n"
    data = load_data(write_csv(tmp_path, text), bad_data="refuse")
    assert data.examples[0].is_difficult.tolist() == [bool(is_difficult)]
    assert len(data.problems) == (is_difficult is None)
    if data.problems:
        words = rf"line 2: difficult is '{cell}'; expected 0, 1, false or true; taken as no"
        assert re.search(words, only_problem(data))


def test_spellings_of_one_path_are_one_image(tmp_path):
    rows = ["a.jpg", "./a.jpg", "x/../a.jpg", ".//a.jpg", "A.JPG", r".\a.jpg"]
    lines = "".join(f"{name},dog,{10 * i},2,{10 * i + 8},40\n" for i, name in enumerate(rows))
    data = load_data(write_csv(tmp_path, f"filename,class,xmin,ymin,xmax,ymax\n{lines}"))
    assert [len(example.labels) for example in data.examples] == [6]
    assert data.examples[0].image_id == "a"


SIZES = {
    "equal": ((100, 80), (100, 80), 1),
    "turned": ((100, 80), (80, 100), 6),  # the stored pixels are 80 wide
    "other": ((200, 160), (100, 80), None),
    "none": (("", ""), (100, 80), 1),
    "words": (("nan", "?"), (100, 80), 1),
}


@pytest.mark.parametrize(("sides", "stored", "orientation"), SIZES.values(), ids=SIZES)
def test_widths_and_heights_are_the_annotated_size(tmp_path, sides, stored, orientation):
    header = "filename,width,height,class,xmin,ymin,xmax,ymax"
    row = f"{sides[0]},{sides[1]},dog,10,20,40,60"
    spec = write_csv(tmp_path, f"{header}\na.jpg,{row}\nb.jpg,100,80,dog,10,20,40,60\n")
    if orientation == 6:
        (tmp_path / "images/a.jpg").write_bytes(turned_image(stored))
    data = load_data(spec)
    found = {example.image_id: example for example in data.examples}
    assert ("a" in found) == (orientation is not None)
    if orientation is None:
        assert "a.jpg: the image has 100x80 pixels; expected 200x160" in only_problem(data)
    else:
        example = found["a"]
        assert (example.height, example.width, example.orientation) == (80, 100, orientation)
        assert example.boxes.tolist() == [[10, 20, 30, 40]]


def test_class_numbers_are_sorted_as_numbers(tmp_path):
    lines = "".join(f"a.jpg,{name},1,2,30,40\n" for name in (10, 2, 33, 1))
    data = load_data(write_csv(tmp_path, f"filename,class,xmin,ymin,xmax,ymax\n{lines}"))
    assert data.class_names == ("1", "2", "10", "33")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_tables_with_a_byte_order_mark_are_read(tmp_path, encoding):
    spec = write_csv(tmp_path, "")
    mark = "\ufeff" if encoding.endswith("le") else ""
    text = f"{mark}filename,class,xmin,ymin,xmax,ymax\na.jpg,épin,1,2,30,40\n"
    (tmp_path / "boxes.csv").write_bytes(text.encode(encoding))
    assert load_data(spec).class_names == ("épin",)


def test_tables_of_other_encodings_are_refused_with_the_line(tmp_path):
    spec = write_csv(tmp_path, "")
    text = "filename,class,xmin,ymin,xmax,ymax\na.jpg,épin,1,2,30,40\n"
    (tmp_path / "boxes.csv").write_bytes(text.encode("cp1252"))
    with pytest.raises(
        ValueError, match=r"boxes\.csv: line 2 is not UTF-8; save the file as UTF-8"
    ):
        load_data(spec)


def test_a_table_of_shares_is_read_as_such_and_told(tmp_path):
    text = "filename,class,xmin,ymin,xmax,ymax\na.jpg,dog,0.1,0.25,0.4,0.75\nb.jpg,cat,0,0,1,1.01\n"
    data = load_data(write_csv(tmp_path, text), bad_data="refuse")
    assert [example.boxes.tolist() for example in data.examples] == [
        [[10, 20, 30, 40]], [[0, 0, 100, 80.8]]
    ]  # fmt: skip
    assert "boxes.csv: all corners lie within 0 and 1; expected pixels" in only_problem(data)


def test_swapped_corners_are_put_in_order_and_told(tmp_path):
    text = "filename,class,xmin,ymin,xmax,ymax\na.jpg,dog,40,60,10,20\n"
    data = load_data(write_csv(tmp_path, text), bad_data="refuse")
    assert data.examples[0].boxes.tolist() == [[10, 20, 30, 40]]
    words = r"line 2 \(dog\): box xmin=40 .* has swapped corners; .*; put in"
    assert re.search(words, only_problem(data))


def test_lines_that_give_an_image_another_size_are_dropped(tmp_path):
    text = "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,100,80,dog,1,2,30,40\n"
    data = load_data(write_csv(tmp_path, f"{text}a.jpg,200,160,dog,10,20,40,60\n"))
    assert data.examples[0].boxes.tolist() == [[1, 2, 29, 38]]
    assert "line 3: the image has 100x80 pixels in an earlier line; exp" in only_problem(data)
