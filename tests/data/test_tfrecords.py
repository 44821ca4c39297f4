"""The TFRecord reader: numbers, class texts and label maps, and problems of bad records."""

import re
import subprocess
import sys

import pytest
from datasets import (
    SIZE,
    image_bytes,
    only_problem,
    record,
    write_records,
    write_yolo,
)

from ssd_keras.data import load_data
from ssd_keras.data.image_sources import FileSlice
from ssd_keras.data.pipeline import make_lookup
from ssd_keras.data.problems import problem_lines
from ssd_keras.data.readers.label_map import read_label_map, read_names

WIDTH, HEIGHT = SIZE  # 100, 80


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
        record(text=[b"\r", b"cat"]),
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
    assert read_label_map(str(path))[0].name_of == {1: "dog", 2: "cat"}
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
    assert read_label_map(str(path))[0].name_of == {1: "cat", 2: "moon"}


def test_names_of_label_maps_may_have_quotes_braces_and_escapes(tmp_path):
    path = tmp_path / "map.pbtxt"
    path.write_text(
        r"""item { id: 1 name: 'cat\'s eye' } item { id: 2 name: "caf\303\251" }
        item { id: 3 name: "a}b" } item { id: 4 name: 'it"s {small}' }"""
    )
    found, notes = read_label_map(str(path))
    assert (notes, found.name_of) == ([], {1: "cat's eye", 2: "café", 3: "a}b", 4: 'it"s {small}'})


@pytest.mark.parametrize("text", ["item {", "item { id: one }", "item {" * 5000, "cat\nmoon\n"])
def test_label_maps_that_cannot_be_parsed_are_errors(tmp_path, text):
    path = tmp_path / "map.pbtxt"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"label map '.*map\.pbtxt' cannot be parsed \(.*correct"):
        read_label_map(str(path))


DISPLAY_NAMES = """
item { name: '/m/01' id: 1 display_name: 'cat' }
item { name: '/m/02' id: 2 display_name: 'dog' }
"""
CLASS_TEXTS = {
    "names of the map": ([b"/m/02", b"/m/01"], [0, 0], 0),
    "its display names": ([b"dog", b"cat"], [0, 0], 0),
    "empty": ([b"", b""], [2, 1], 0),
    "fewer than objects": ([b"dog"], [2, 1], 0),
    "line ends and blanks": ([b"dog\r", b" cat\n"], [0, 0], 0),
    "none of the map": ([b"Hund", b"Katze"], [2, 1], 2),
}


@pytest.mark.parametrize(("texts", "labels", "notes"), CLASS_TEXTS.values(), ids=CLASS_TEXTS)
def test_class_texts_that_the_label_map_lacks_leave_it_to_the_number(
    tmp_path, texts, labels, notes
):
    (tmp_path / "map.pbtxt").write_text(DISPLAY_NAMES)
    spec = write_records(tmp_path, record(text=texts, label=labels))
    data = load_data(f"{spec}@{tmp_path}/map.pbtxt", bad_data="refuse")
    assert data.class_names == ("cat", "dog")
    assert data.examples[0].labels.tolist() == [1, 0]
    assert len(data.problems) == notes
    if notes:
        (line,) = problem_lines(data.problems)
        assert re.search(
            r"2 objects read by number; first .*'Hund'; its number 2 is 'dog'; al", line
        )


def test_class_texts_without_a_label_map_lose_their_line_ends(tmp_path):
    data = load_data(write_records(tmp_path, record(text=[b"dog\r", b"cat\r"])), bad_data="refuse")
    assert (data.class_names, data.problems) == (("cat", "dog"), ())


def test_a_label_map_names_each_id_once_and_no_background(tmp_path):
    (tmp_path / "map.pbtxt").write_text(
        "item { id: 0 name: 'background' } item { id: 1 name: 'cow' } item { id: 1 name: 'cat' } "
        "item { id: 2 name: 'do\\147' }"
    )
    data = load_data(f"{write_records(tmp_path, record())}@{tmp_path}/map.pbtxt", bad_data="refuse")
    assert data.class_names == ("cat", "dog")
    background, twice = map(str, data.problems)
    assert re.search(
        r"pbtxt: item 1: item 0 of the label map is the background.*; not us", background
    )
    assert re.search(
        r"pbtxt: item 3: category id 1 is already 'cow', and now 'cat'; .*by the last name", twice
    )


def test_records_of_one_id_and_other_images_are_all_kept(tmp_path):
    other = record(encoded=[image_bytes("PNG")])
    data = load_data(write_records(tmp_path, record(), other), bad_data="refuse")
    assert [example.image_id for example in data.examples] == ["000012", "000012_2"]


def test_records_are_read_without_tensorflow(tmp_path):
    spec = write_records(tmp_path, record())
    code = (
        "import sys; from ssd_keras.data import load_data; "
        f"print(len(load_data({spec!r})), 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1 False\n", "")


def test_compressed_records_are_named(tmp_path):
    import tensorflow as tf

    for kind, words in (("GZIP", "with gzip"), ("ZLIB", "with zlib")):
        options = tf.io.TFRecordOptions(compression_type=kind)
        with tf.io.TFRecordWriter(str(tmp_path / kind), options) as writer:
            writer.write(record())
        with pytest.raises(ValueError, match=rf"the file is compressed {words} \("):
            load_data(f"tfrecord:{tmp_path}/{kind}")


@pytest.mark.parametrize("folder", ["copy [1]", "me@work", "a b", "x@y [z]"])
def test_a_path_that_exists_is_no_pattern(tmp_path, folder):
    root = tmp_path / folder
    root.mkdir()
    write_records(root, record(), name="a.tfrecord")
    (root / "map.pbtxt").write_text("item { id: 1 name: 'cat' } item { id: 2 name: 'dog' }")
    for spec in ("a.tfrecord", "*.tfrecord", "?.tfrecord"):
        assert len(load_data(f"tfrecord:{root}/{spec}")) == 1
        assert len(load_data(f"tfrecord:{root}/{spec}@{root}/map.pbtxt")) == 1
    with pytest.raises(FileNotFoundError, match=r"no file matches .*; it is a folder: write .*/\*"):
        load_data(f"tfrecord:{root}")
