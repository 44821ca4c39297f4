"""Readers of YOLO folders, CSV tables and TFRecords: numbers, and problems of bad data."""

import re

import numpy as np
import pytest
from datasets import (
    SIZE,
    image_bytes,
    only_problem,
    record,
    turned_image,
    write_csv,
    write_records,
    write_yolo,
)

from ssd_keras.data import load_data
from ssd_keras.data.image_sources import FileSlice
from ssd_keras.data.pipeline import make_lookup
from ssd_keras.data.readers.assemble import to_pixels
from ssd_keras.data.readers.label_map import read_label_map, read_names

WIDTH, HEIGHT = SIZE  # 100, 80


# --- YOLO ---


@pytest.mark.parametrize("order", ["images/{split}", "{split}/images"])
def test_yolo_lines_are_class_and_centre_and_sides_as_shares(tmp_path, order):
    lines = "1 0.25 0.5 0.3 0.5\n0 0.5 0.5 1 1\n\n"
    data = load_data(write_yolo(tmp_path, {"b": lines, "a": "", "c": None}, order=order))
    assert data.class_names == ("dog", "cat")
    assert [example.image_id for example in data.examples] == ["a", "b", "c"]
    example = data.examples[1]
    assert (example.height, example.width) == (80, 100)
    # x = (.25 - .3 / 2) * 100, y = (.5 - .5 / 2) * 80, width = .3 * 100, height = .5 * 80
    assert example.boxes.tolist() == [[10, 20, 30, 40], [0, 0, 100, 80]]
    assert example.labels.tolist() == [1, 0]
    assert [len(x.labels) for x in data.examples] == [0, 2, 0]
    assert data.problems == ()


def test_yolo_boxes_are_of_the_image_as_exif_turns_it(tmp_path):
    spec = write_yolo(tmp_path, {"a": "0 0.5 0.25 0.2 0.1"})
    (tmp_path / "images/train/a.jpg").write_bytes(turned_image((HEIGHT, WIDTH)))
    (example,) = load_data(spec, bad_data="refuse").examples
    # Stored as 80 columns and 100 rows, shown as 100 columns and 80 rows.
    assert (example.height, example.width, example.orientation) == (80, 100, 6)
    assert example.boxes.tolist() == [[40, 16, 20, 8]]


BAD_YOLO = {
    "word": ("dog 0.5 0.5 0.2 0.2", r"line 2: 'dog 0\.5 .*' is not understood; expected class x y"),
    "five": ("0 0.5 0.5 0.2", r"line 2: .* is not understood; expected class x y width height"),
    "polygon": ("0 0.5 0.5 0.2 0.2 0.3 0.3", r"line 2: .* is not understood; expected class"),
    "class": ("2 0.5 0.5 0.2 0.2", r"line 2: unknown class 2; expected a number from 0 to 1"),
    "negative": ("-1 0.5 0.5 0.2 0.2", r"line 2: unknown class -1; expected"),
    "nan": ("0 nan 0.5 0.2 0.2", r"line 2 \(dog\): box .* is not four numbers"),
    "no area": ("0 0.5 0.5 0 0.2", r"line 2 \(dog\): box .* has no area; expected"),
    "outside": (
        "0 1.5 0.5 0.2 0.2",
        r"line 2 \(dog\): box .* in 100x80 pixels lies outside the image",
    ),
}


@pytest.mark.parametrize(("line", "words"), BAD_YOLO.values(), ids=BAD_YOLO)
def test_a_bad_yolo_line_is_left_out_and_its_neighbours_stay(tmp_path, line, words):
    data = load_data(write_yolo(tmp_path, {"a": f"0 0.5 0.5 0.2 0.2\n{line}\n1 0.5 0.5 0.4 0.4"}))
    assert data.examples[0].labels.tolist() == [0, 1]
    assert re.search(r"a\.txt: " + words + r".*; dropped$", only_problem(data))


def test_a_broken_yolo_image_is_left_out(tmp_path):
    spec = write_yolo(tmp_path, {"a": "0 0.5 0.5 0.2 0.2", "b": None})
    (tmp_path / "images/train/a.jpg").write_bytes(image_bytes()[:-300])
    data = load_data(spec)
    assert [example.image_id for example in data.examples] == ["b"]
    assert re.search(r"a\.jpg: the JPEG file is cut off", only_problem(data))


def test_yolo_without_names_or_images_is_an_error(tmp_path):
    spec = write_yolo(tmp_path, {"a": None})
    with pytest.raises(FileNotFoundError, match=r"no images of 'val' below .*images/val, val/im"):
        load_data(spec.replace("@train", "@val"))
    with pytest.raises(FileNotFoundError, match=r"no images of '\.\./x' below"):
        (tmp_path.parent / "x").mkdir(exist_ok=True)
        load_data(spec.replace("@train", "@../x"))
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no class names in .*; expected data\.yaml with"):
        load_data(spec)


YAML = {
    "list": "train: images/train\nnames: [dog, cat]\n",
    "numbers": "path: elsewhere\ntrain: images/train\nnames:\n  0: dog\n  1: cat\n",
    "roboflow": "train: ../images/train\nval: ../valid/images\nnc: 2\nnames: ['dog', 'cat']\n",
    "several": "train:\n  - images/train\nnames:\n- dog\n- cat\n",
}


@pytest.mark.parametrize("text", YAML.values(), ids=YAML)
def test_data_yaml_names_folders_and_classes(tmp_path, text):
    pytest.importorskip("yaml", reason="NOT TESTED: PyYAML is not installed")
    spec = write_yolo(tmp_path, {"a": "1 0.5 0.5 0.2 0.2"}, names=["wrong"])
    (tmp_path / "data.yaml").write_text(text)
    for words in (spec, f"yolo:{tmp_path}/data.yaml@train"):
        data = load_data(words, bad_data="refuse")
        assert data.class_names == ("dog", "cat")
        assert data.examples[0].labels.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("names: 3", r"data\.yaml has no 'names'; expected a list, or names by number from 0"),
        ("names: {1: dog}", r"has no 'names'; expected"),
        ("names: [dog", r"data\.yaml is not YAML \("),
        ("names: [dog]\ntrain: ../../secret", r"no images of 'train: \.\./\.\./secret' below"),
        ("names: [dog]\ntrain: /etc", r"no images of 'train: /etc' below"),
    ],
)
def test_a_data_yaml_that_cannot_be_used_is_an_error(tmp_path, text, words):
    pytest.importorskip("yaml", reason="NOT TESTED: PyYAML is not installed")
    spec = write_yolo(tmp_path, {"a": None})
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        load_data(spec)


def test_data_yaml_without_pyyaml_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    spec = write_yolo(tmp_path, {"a": None})
    (tmp_path / "data.yaml").write_text("names: [mouse]")
    assert load_data(spec).class_names == ("dog", "cat")  # those of classes.txt
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(ValueError, match=r"PyYAML is missing; pip install pyyaml, or write the na"):
        load_data(spec)


# --- CSV ---


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
    "swapped": ("a.jpg,dog,40,20,10,60", r"line 3: box xmin=40 .* has swapped corners; expected"),
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
    with pytest.raises(FileNotFoundError, match=r"no folder .*elsewhere; expected the folder of"):
        load_data(spec.replace("/images", "/elsewhere"))


# --- TFRecords ---


def test_tfrecords_keep_their_images_and_give_pixels(tmp_path):
    other = image_bytes("PNG", size=(60, 40))
    second = record(
        encoded=[other], source_id=[b"13"], text=[b"cow"], label=[7], difficult=None,
        height=None, width=None, ymin=[0.5], xmin=[0.5], ymax=[1.0], xmax=[0.75],
    )  # fmt: skip
    empty = record(
        source_id=None,
        text=None,
        label=None,
        difficult=None,
        ymin=None,
        xmin=None,
        ymax=None,
        xmax=None,
    )
    data = load_data(write_records(tmp_path, record(), second, empty), bad_data="refuse")
    assert data.class_names == ("cat", "dog", "cow")  # by the numbers 1, 2 and 7
    assert data.category_ids == (1, 2, 7)
    first, small, last = data.examples
    assert [x.image_id for x in data.examples] == ["000012", "13", "a.jpg"]
    # x = .1 * 100, y = .25 * 80, width = .3 * 100, height = .5 * 80; float32 holds .1 inexactly
    assert first.boxes.tolist() == [[10, 20, 30, 40], [0, 0, 100, 80]]
    assert first.labels.tolist() == [1, 0]
    assert first.is_difficult.tolist() == [False, True]
    assert (small.height, small.width) == (40, 60)
    assert small.boxes.tolist() == [[30, 20, 15, 20]]
    assert len(last.labels) == 0
    assert all(isinstance(x.image, FileSlice) for x in data.examples)
    assert [x.read() for x in data.examples] == [image_bytes(), other, image_bytes()]
    lookup = make_lookup(data)
    found = [lookup(index)["image"].numpy() for index in range(3)]
    assert found == [image_bytes(), other, image_bytes()]


def test_one_data_set_holds_images_in_files_records_and_memory(tmp_path):
    yolo = write_yolo(tmp_path, {"a": "1 0.5 0.5 0.2 0.2"})
    records = write_records(tmp_path, record(encoded=[image_bytes("PNG")]))
    data = load_data([yolo, records, "synthetic:shapes@val[:1]"])
    assert data.class_names[:2] == ("dog", "cat")
    assert [example.labels.tolist() for example in data.examples[:2]] == [[1], [0, 1]]
    lookup = make_lookup(data)
    found = [lookup(index)["image"].numpy() for index in range(3)]
    assert found == [example.read() for example in data.examples]
    assert len(set(found)) == 3


def test_a_label_map_names_classes_that_have_numbers_alone(tmp_path):
    (tmp_path / "map.pbtxt").write_text(
        "item {\n  name: '/m/1'\n  id: 2\n  display_name: \"dog\"\n}\nitem{id:1 name:'cat'}"
        "\nitem { id: 5 name: 'cow' }"
    )
    spec = write_records(tmp_path, record(text=None))
    data = load_data(f"{spec}@{tmp_path}/map.pbtxt", bad_data="refuse")
    assert (data.class_names, data.category_ids) == (("cat", "dog", "cow"), (1, 2, 5))
    assert data.examples[0].labels.tolist() == [1, 0]
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    data = load_data(f"{spec}@{tmp_path}/names.txt", bad_data="refuse")
    assert data.class_names == ("cat", "dog")


def test_names_without_numbers_are_sorted(tmp_path):
    data = load_data(write_records(tmp_path, record(label=None)))
    assert (data.class_names, data.category_ids) == (("cat", "dog"), (1, 2))


BAD_RECORDS = {
    "no example": (b"\xff\xff\xff", r"record 1: the record has another content; expected a tf\.tr"),
    "no image": (record(encoded=None), r"record 1: the record has no image/encoded; expected"),
    "image": (record(encoded=[b"<html>"]), r"image 000012: not an image"),
    "cut": (record(encoded=[image_bytes()[:-99]]), r"image 000012: the JPEG file is cut off"),
    "size": (
        record(height=[90]),
        r"image 000012: the image has 100x80 pixels; expected 100x90",
    ),
    "lengths": (
        record(xmin=[0.1]),
        r"record 1: the record has 2, 1, 2, 2 numbers of ymin, xmin, ymax, xmax; exp",
    ),
}


@pytest.mark.parametrize(("bad", "words"), BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_a_bad_record_is_left_out_and_its_neighbours_stay(tmp_path, bad, words):
    data = load_data(write_records(tmp_path, bad, record(source_id=[b"good"])))
    assert [example.image_id for example in data.examples] == ["good"]
    assert re.search(r"train-00000-of-00001: " + words, only_problem(data))


BAD_RECORD_OBJECTS = {
    "swapped": (record(xmin=[0.5, 0.0]), r"record 1, object 1 \(dog\): box .* has no area"),
    "nan": (record(ymax=[float("nan"), 1.0]), r"object 1 \(dog\): box .* is not four numbers"),
    "infinite": (record(xmax=[float("inf"), 1.0]), r"object 1 \(dog\): box .* is not four numbers"),
    "no name": (
        record(text=[b"", b"cat"]),
        r"record 1, object 1: unknown class 2; expected class/",
    ),
}


@pytest.mark.parametrize(("bad", "words"), BAD_RECORD_OBJECTS.values(), ids=BAD_RECORD_OBJECTS)
def test_a_bad_object_of_a_record_is_left_out(tmp_path, bad, words):
    data = load_data(write_records(tmp_path, bad))
    (example,) = data.examples
    assert [data.class_names[label] for label in example.labels] == ["cat"]
    assert re.search(words, only_problem(data))


def test_a_damaged_file_gives_the_records_before_the_damage(tmp_path):
    spec = write_records(tmp_path, record(), record(source_id=[b"2"]), record(source_id=[b"3"]))
    path = tmp_path / "train-00000-of-00001"
    content = bytearray(path.read_bytes())
    start = 16 + len(record())  # of the second record: a header of 12 and a footer of 4 bytes
    content[start + 40] ^= 1
    path.write_bytes(content)
    data = load_data(spec)
    assert [example.image_id for example in data.examples] == ["000012"]
    assert re.search(
        rf"of-00001: the file is damaged after record 1 \(byte {start}\); expected TFRecords; the "
        r"rest dropped$",
        only_problem(data),
    )


def test_a_record_that_is_there_twice_counts_once(tmp_path):
    data = load_data(write_records(tmp_path, record(), record()))
    assert len(data) == 1
    assert re.search(r"of-00001: image 000012 is listed twice; expected", only_problem(data))


def test_files_that_are_not_tfrecords_are_errors(tmp_path):
    import gzip

    with pytest.raises(FileNotFoundError, match=r"no file matches .*train-\*; expected TFRecord"):
        load_data(f"tfrecord:{tmp_path}/train-*")
    (tmp_path / "train-0").write_bytes(b"a,b,c")
    with pytest.raises(
        ValueError, match=r"the file is damaged after record 0 \(byte 0\); expected"
    ):
        load_data(f"tfrecord:{tmp_path}/train-*")
    (tmp_path / "train-0").write_bytes(gzip.compress(b"text"))
    with pytest.raises(
        ValueError, match=r"the file is compressed with gzip \(decompress it with g"
    ):
        load_data(f"tfrecord:{tmp_path}/train-*")


# --- names ---


def test_bad_lists_of_names_are_errors(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("dog\n\ncat\n")
    with pytest.raises(ValueError, match=r"names\.txt' have an empty line; expected one name a l"):
        read_names(str(path))
    path.write_text("dog\r\ncat\r\n\n")
    assert read_names(str(path)) == ["dog", "cat"]
    assert read_label_map(str(path)) == {1: "dog", 2: "cat"}
    empty = tmp_path / "map.pbtxt"
    empty.write_text("item { name: 'dog' }")
    with pytest.raises(ValueError, match=r"map\.pbtxt' has no items; expected item \{ id: 1 name"):
        read_label_map(str(empty))
    with pytest.raises(FileNotFoundError, match=r"label map '.*no\.pbtxt' does not exist; pass"):
        read_label_map(str(tmp_path / "no.pbtxt"))


LABEL_MAPS = {
    "plain": "item {\n  id: 1\n  name: 'cat'\n}\nitem {\n  id: 2\n  name: 'moon'\n}",
    "several items a line": "item{id:1 name:'cat'} item { id: 2, name: \"moon\"; }",
    "comments": "# item { id: 9 name: 'old' }\nitem { id: 1 name: 'cat' } # }\n"
    "item { # the moon }\n id: 2 name: 'moon' }",
    "colon": "item: { id: 1 name: 'cat' } item: { id: 2 name: 'moon' }",
    "angle brackets": "item < id: 1 name: 'cat' > item: < id: 2 name: 'moon' >",
    "hexadecimal and octal ids": "item { id: 0x1 name: 'cat' } item { id: 02 name: 'moon' }",
    "keypoints before the name": "item { id: 1 keypoints { id: 7 label: 'ear' } keypoints { id: 8 "
    "label: '}' } name: 'cat' } item { ancestor_ids: [3, 4] id: 2 name: 'moon' }",
    "display names": "item { name: '/m/01' id: 1 display_name: 'cat' } "
    "item { display_name: 'moon' name: '/m/02' id: 2 }",
    "parts of a text": "item { id: 1 name: 'c' \"at\" } item { id: 2 name: 'mo' 'on' }",
    "byte order mark": "\ufeffitem { id: 1 name: 'cat' } item { id: 2 name: 'moon' }",
    "items without id or name": "item { id: 1 name: 'cat' } item { name: 'lost' } item { id: 3 } "
    "item { id: 2 name: 'moon' } item { id: 4 name: 'two\\nlines' }",
}


@pytest.mark.parametrize("text", LABEL_MAPS.values(), ids=LABEL_MAPS)
def test_label_maps_are_read_in_every_legal_spelling(tmp_path, text):
    path = tmp_path / "map.pbtxt"
    path.write_text(text)
    assert read_label_map(str(path)) == {1: "cat", 2: "moon"}


def test_names_of_label_maps_may_have_quotes_braces_and_escapes(tmp_path):
    path = tmp_path / "map.pbtxt"
    path.write_text(
        r"""item { id: 1 name: 'cat\'s eye' } item { id: 2 name: "caf\303\251" }
        item { id: 3 name: "a}b" } item { id: 4 name: 'it"s {small}' }"""
    )
    assert read_label_map(str(path)) == {1: "cat's eye", 2: "café", 3: "a}b", 4: 'it"s {small}'}


@pytest.mark.parametrize("text", ["item {", "item { id: one }", "item {" * 5000, "cat\nmoon\n"])
def test_label_maps_that_cannot_be_parsed_are_errors(tmp_path, text):
    path = tmp_path / "map.pbtxt"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"label map '.*map\.pbtxt' cannot be parsed \(.*correct"):
        read_label_map(str(path))


def test_relative_boxes_of_float32_give_back_whole_pixels():
    rng = np.random.default_rng(0)
    low = rng.integers(0, 1000, size=(500, 2))
    sides = rng.integers(1, 1000, size=(500, 2))
    high = low + sides
    shares = np.concatenate([low / 2000, high / 2000], axis=1).astype(np.float32)
    found = [to_pixels(share, 2000, 2000) for share in shares]
    expected = np.stack([low[:, 1], low[:, 0], sides[:, 1], sides[:, 0]], axis=1)
    assert np.array(found).tolist() == expected.tolist()
