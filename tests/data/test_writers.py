"""Data sets written in other formats and read again."""

import hashlib
import re

import numpy as np
import pytest
import tensorflow as tf
from datasets import (
    coco_image,
    coco_object,
    image_bytes,
    turned_image,
    voc_object,
    write_coco,
    write_voc,
)

from ssd_keras.cli.parser import main
from ssd_keras.core.data_formats import DATA_FORMATS
from ssd_keras.data import load_data
from ssd_keras.data.readers.label_map import read_label_map
from ssd_keras.data.splits import Split, load_splits
from ssd_keras.data.writers.write_splits import WRITERS, default_format, write_splits
from ssd_keras.data.writers.written_report import describe_copies


def source(root):
    """A VOC split of two images, one of them a PNG, and a split of one without objects."""
    objects = [
        voc_object("dog", (11, 21, 40, 60)),
        voc_object("cat", (1, 1, 100, 80), difficult=1),
        voc_object("dog", ("1.5", "2.25", "31.5", "42.25")),
    ]
    train = write_voc(root, {"000012": objects, "my photo 1": [voc_object("cat")]}, "train")
    (root / "JPEGImages" / "my photo 1.jpg").unlink()
    (root / "JPEGImages" / "my photo 1.png").write_bytes(image_bytes("PNG"))
    return load_splits([train, write_voc(root, {"b": []}, "val")])


@pytest.mark.parametrize("file_format", ["voc", "coco", "yolo", "tfrecord"])
def test_what_is_written_reads_the_same(tmp_path, file_format):
    splits = source(tmp_path / "source")
    specs = write_splits(splits, str(tmp_path / "copy"), file_format, shards=2)
    assert len(specs) == 2
    for split, spec in zip(splits, specs, strict=True):
        data = load_data(spec, class_names=split.data.class_names, bad_data="refuse")
        assert len(data) == len(split.data)
        for found, expected in zip(data.examples, split.data.examples, strict=True):
            assert found.read() == expected.read()
            assert (found.height, found.width) == (expected.height, expected.width)
            np.testing.assert_array_equal(found.boxes, expected.boxes)
            assert found.labels.tolist() == expected.labels.tolist()
            np.testing.assert_allclose(found.areas, expected.areas, rtol=1e-6)
            if file_format not in ("coco", "yolo"):  # which have no such flag
                assert found.is_difficult.tolist() == expected.is_difficult.tolist()
    assert load_data(specs[0]).class_names == splits[0].data.class_names
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "source"]


def test_yolo_files_are_as_ultralytics_reads_them(tmp_path):
    splits = source(tmp_path / "source")
    write_splits(splits, str(tmp_path / "copy"), "yolo")
    files = sorted(str(p.relative_to(tmp_path / "copy")) for p in (tmp_path / "copy").rglob("*.*"))
    assert files == [
        "classes.txt", "data.yaml", "images/train/000012.jpg", "images/train/my_photo_1.png",
        "images/val/b.jpg", "labels/train/000012.txt", "labels/train/classes.txt",
        "labels/train/my_photo_1.txt", "labels/val/b.txt", "labels/val/classes.txt",
    ]  # fmt: skip
    # x = (10 + 30 / 2) / 100, y = (20 + 40 / 2) / 80, 30 / 100, 40 / 80; then all of the image;
    # (.5 + 31 / 2) / 100, (1.25 + 41 / 2) / 80, 31 / 100, 41 / 80. Dog is 1, cat 0.
    assert (tmp_path / "copy/labels/train/000012.txt").read_text().splitlines() == [
        "1 0.25 0.5 0.3 0.5", "0 0.5 0.5 1 1", "1 0.16 0.271875 0.31 0.5125",
    ]  # fmt: skip
    assert (tmp_path / "copy/labels/val/b.txt").read_text() == ""
    yaml = pytest.importorskip("yaml", reason="NOT TESTED: PyYAML is not installed")
    content = yaml.safe_load((tmp_path / "copy/data.yaml").read_text())
    assert (content["train"], content["val"]) == ("images/train", "images/val")
    assert content["names"] == dict(enumerate(splits[0].data.class_names))


def test_odd_names_survive_in_yaml(tmp_path):
    names = ("bird's nest", 'a "b": c', "# 7", "null", "Vögel 🦆")
    data = load_data(write_voc(tmp_path / "a", {"x": []}), class_names=names)
    (spec,) = write_splits([Split("2007", data)], str(tmp_path / "copy"), "yolo")
    assert spec.endswith("copy@2007")
    assert load_data(spec).class_names == names


def test_boxes_of_an_image_as_it_is_stored_are_no_yolo(tmp_path):
    """Its EXIF data turn the image, the annotation is of 80 x 100 pixels before that."""
    write_voc(tmp_path / "a", {"x": [voc_object()]}, size=(80, 100))
    (tmp_path / "a/JPEGImages/x.jpg").write_bytes(turned_image((80, 100)))
    data = load_data(f"voc:{tmp_path}/a@train", bad_data="refuse")
    with pytest.raises(ValueError, match=r"x\.jpg: its EXIF data turn the image but not its boxes"):
        write_splits([Split("train", data)], str(tmp_path / "copy"), "yolo")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("file_format", ["voc", "yolo"])
def test_gifs_are_written_under_a_name_that_is_read(tmp_path, file_format):
    write_voc(tmp_path / "a", {"x": [voc_object()]})
    (tmp_path / "a/JPEGImages/x.jpg").write_bytes(image_bytes("GIF"))
    data = load_data(f"voc:{tmp_path}/a@train", bad_data="refuse")
    (spec,) = write_splits([Split("train", data)], str(tmp_path / "copy"), file_format)
    assert len(load_data(spec, bad_data="refuse")) == 1


def test_the_default_format_is_that_of_the_source(tmp_path):
    assert tuple(WRITERS) == DATA_FORMATS
    (tmp_path / "data.toml").write_text('train = "coco:a.json@b"\nvalidation = "coco:c.json@b"')
    assert default_format([f"{tmp_path}/data.toml"]) == "coco"
    assert default_format(["yolo:a@train", "voc:b@train"]) == "voc"
    assert default_format(["tfds:voc/2007@train"]) == "voc"


# --- lines about copies ---


def test_lines_say_what_a_copy_could_not_hold(tmp_path):
    """A box one pixel wide, which our reader of VOC takes for a slip; a flag that YOLO lacks."""
    table = "filename,class,xmin,ymin,xmax,ymax,difficult\n"
    rows = "x.jpg,zebra,5,5,6,20,0\nx.jpg,apple,5,5,30,20,1\n"
    (tmp_path / "a.csv").write_text(table + rows)
    (tmp_path / "x.jpg").write_bytes(image_bytes())
    splits = load_splits([f"csv:{tmp_path}/a.csv@{tmp_path}"])
    lines = {}
    for file_format in ("voc", "yolo"):
        specs = write_splits(splits, str(tmp_path / file_format), file_format)
        wrote, *lines[file_format] = describe_copies(splits, specs)
        assert wrote == f"wrote 1 images; read them as '{specs[0]}'"
    assert len(lines["voc"]) == 2 and lines["voc"][1] == (
        "classes lost, because no object has them: zebra"
    )
    assert re.search(
        r"^objects that the format cannot hold and that are lost: 1, the first: .*x\.xml: object"
        r" 1 \(zebra\): box .* has no area",
        lines["voc"][0],
    )
    assert lines["yolo"] == ["difficult flags that the format cannot hold and that are lost: 1"]


def test_lines_say_which_class_indices_changed(tmp_path):
    """VOC's files have the names of their objects alone."""
    data = load_data(write_voc(tmp_path / "a", {"x": [voc_object(), voc_object("cat")]}),
                     class_names=["dog", "aeroplane", "cat"])  # fmt: skip
    specs = write_splits([Split("train", data)], str(tmp_path / "copy"), "voc")
    assert describe_copies([Split("train", data)], specs)[1:] == [
        "class indices changed (old -> new): dog 0 -> 1, cat 2 -> 0; to keep them, name the "
        "classes in a data.toml",
        "classes lost, because no object has them: aeroplane",
    ]
    same = write_splits([Split("train", data)], str(tmp_path / "same"), "coco")
    assert describe_copies([Split("train", data)], same)[1:] == []


def test_file_names_are_safe_and_unique(tmp_path):
    (split, _) = source(tmp_path / "source")
    twins = (*split.data.examples, *split.data.examples)
    odd = [type(x)(**{**vars(x), "image_id": name}) for x, name in zip(
        twins, ("a/b", "../../a b", "A_B", ".e\u0301t\u0301"), strict=True
    )]  # fmt: skip
    data = type(split.data)(split.data.class_names, tuple(odd))
    folder = tmp_path / "copy"
    write_splits([Split("first half", data)], str(folder), "voc")
    names = sorted(path.name for path in (folder / "JPEGImages").iterdir())
    # "../../a b" becomes "a_b", which "a/b" has already; file systems may not tell a_b from A_B.
    assert names == ["A_B_3.jpg", "a_b.jpg", "a_b_2.png", "ét.png"]
    assert len(load_data(f"voc:{folder}@first_half", bad_data="refuse")) == 4


def test_the_ids_of_deep_folders_become_names_that_a_disk_takes(tmp_path):
    (split, _) = source(tmp_path / "source")
    odd = [type(x)(**{**vars(x), "image_id": "é/" * 150 + str(n)})
           for n, x in enumerate(split.data.examples)]  # fmt: skip
    data = type(split.data)(split.data.class_names, tuple(odd))
    (spec,) = write_splits([Split("train", data)], str(tmp_path / "copy"), "yolo")
    assert len(load_data(spec, bad_data="refuse")) == 2


def test_coco_keeps_whole_numbers_as_ids_and_crowds(tmp_path):
    annotations = [
        coco_object(1, iscrowd=1, bbox=[10.1, 20.2, 30.3, 40.4], area=0.1 + 0.2),
        coco_object(2, image_id=9, category_id=3),
    ]
    spec = write_coco(tmp_path / "source", [coco_image(7), coco_image(9)], annotations)
    splits = load_splits([spec])
    (copy,) = write_splits(splits, str(tmp_path / "copy"), "coco")
    data = load_data(copy, bad_data="refuse")
    assert [example.image_id for example in data.examples] == [7, 9]
    assert (data.class_names, data.category_ids) == (("car", "dog"), (3, 18))
    assert data.examples[0].boxes.tolist() == [[10.1, 20.2, 30.3, 40.4]]
    assert data.examples[0].areas.tolist() == [0.1 + 0.2]
    assert data.examples[0].is_crowd.tolist() == [True]
    (records,) = write_splits(splits, str(tmp_path / "records"), "tfrecord")
    data = load_data(records, bad_data="refuse")
    assert (data.class_names, data.category_ids) == (("car", "dog"), (3, 18))
    assert data.examples[0].is_crowd.tolist() == [True]
    assert data.examples[0].boxes.tolist() == [[10.1, 20.2, 30.3, 40.4]]
    for file_format in ("voc", "yolo"):
        message = rf"7\.jpg: has a crowd, which {file_format.upper()} has no flag for; choose the "
        with pytest.raises(ValueError, match=message):
            write_splits(splits, str(tmp_path / file_format), file_format)
        assert not (tmp_path / file_format).exists()


def test_records_have_the_keys_of_the_object_detection_api(tmp_path):
    splits = source(tmp_path / "source")
    write_splits(splits, str(tmp_path / "copy"), "tfrecord", shards=2)
    names = sorted(path.name for path in (tmp_path / "copy").iterdir())
    assert names == [
        "label_map.pbtxt",
        "train-00000-of-00002.tfrecord",
        "train-00001-of-00002.tfrecord",
        "val-00000-of-00002.tfrecord",
        "val-00001-of-00002.tfrecord",
    ]
    assert read_label_map(str(tmp_path / "copy/label_map.pbtxt"))[0].name_of[2] == "dog"
    path = str(tmp_path / "copy" / "train-00000-of-00002.tfrecord")
    (content,) = tf.data.TFRecordDataset(path).as_numpy_iterator()
    shares = tf.io.VarLenFeature(tf.float32)
    features = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/format": tf.io.FixedLenFeature([], tf.string),
        "image/key/sha256": tf.io.FixedLenFeature([], tf.string),
        "image/source_id": tf.io.FixedLenFeature([], tf.string),
        "image/height": tf.io.FixedLenFeature([], tf.int64),
        "image/width": tf.io.FixedLenFeature([], tf.int64),
        "image/object/bbox/xmin": shares,
        "image/object/bbox/ymax": shares,
        "image/object/class/text": tf.io.VarLenFeature(tf.string),
        "image/object/class/label": tf.io.VarLenFeature(tf.int64),
    }
    parsed = tf.io.parse_single_example(content, features)
    parsed = {key: tf.sparse.to_dense(v).numpy() if isinstance(v, tf.SparseTensor) else v.numpy()
              for key, v in parsed.items()}  # fmt: skip
    assert parsed["image/encoded"] == image_bytes()
    assert parsed["image/key/sha256"].decode() == hashlib.sha256(image_bytes()).hexdigest()
    assert (parsed["image/format"], parsed["image/source_id"]) == (b"jpeg", b"000012")
    assert (parsed["image/height"], parsed["image/width"]) == (80, 100)
    # xmin = 10 / 100, 0, .5 / 100; ymax = 60 / 80, 1, 42.25 / 80
    np.testing.assert_allclose(parsed["image/object/bbox/xmin"], [0.1, 0, 0.005], rtol=1e-6)
    np.testing.assert_allclose(parsed["image/object/bbox/ymax"], [0.75, 1, 0.528125], rtol=1e-6)
    assert parsed["image/object/class/text"].tolist() == [b"dog", b"cat", b"dog"]
    assert parsed["image/object/class/label"].tolist() == [2, 1, 2]


@pytest.mark.parametrize("name", ["bird's nest", 'a 5" disk', """it's "odd" \\"""])
def test_quotes_in_a_name_survive(tmp_path, name):
    data = load_data(write_voc(tmp_path / "a", {"x": []}), class_names=[name])
    (spec,) = write_splits([Split("train", data)], str(tmp_path / "copy"), "tfrecord")
    assert load_data(spec).class_names == (name,)


def test_a_full_folder_and_an_unknown_format_are_errors(tmp_path):
    splits = source(tmp_path / "source")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"output '.*taken' is not an empty folder; choose"):
        write_splits(splits, str(tmp_path / "taken"), "voc")
    with pytest.raises(ValueError, match=r"format 'via' is unknown; choose one of voc, coco, y"):
        write_splits(splits, str(tmp_path / "copy"), "via")
    assert (tmp_path / "taken" / "notes.txt").read_text() == "mine"
    empty = Split("val", type(splits[0].data)(splits[0].data.class_names, ()))
    with pytest.raises(ValueError, match=r"the split 'val' has no image; nothing was written"):
        write_splits([splits[0], empty], str(tmp_path / "copy"), "coco")


def test_a_failure_leaves_nothing_behind(tmp_path):
    splits = source(tmp_path / "source")
    (tmp_path / "source" / "JPEGImages" / "my photo 1.png").unlink()
    with pytest.raises(FileNotFoundError):
        write_splits(splits, str(tmp_path / "copy"), "tfrecord")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_convert_prints_words_that_read_the_copy(tmp_path, capsys):
    words = ["data", "convert", "synthetic:shapes@val[:5]", "--format", "tfrecord"]
    assert main([*words, "--shards", "3", "--output", str(tmp_path / "copy")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("wrote 5 images; read them as 'tfrecord:")
    spec = printed.split("'")[1]
    data, original = load_data(spec, bad_data="refuse"), load_data("synthetic:shapes@val[:5]")
    assert data.class_names == original.class_names
    for found, expected in zip(data.examples, original.examples, strict=True):
        assert (found.image_id, found.read()) == (expected.image_id, expected.read())
        np.testing.assert_array_equal(found.boxes, expected.boxes)
