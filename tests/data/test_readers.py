"""Readers of YOLO folders, CSV tables and TFRecords: numbers, and problems of bad data."""

import re
import sys
import types

import numpy as np
import pytest
from datasets import (
    SIZE,
    image_bytes,
    only_problem,
    turned_image,
    write_yolo,
)

from ssd_keras.data import load_data
from ssd_keras.data.readers.assemble import to_pixels

WIDTH, HEIGHT = SIZE  # 100, 80


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
    "seven": ("0 0.5 0.5 0.2 0.2 0.3 0.3 0.1", r"line 2: .* is not understood; expected class"),
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
    with pytest.raises(FileNotFoundError, match=r"no images of 'Trian' .*; did you mean 'train'\?"):
        load_data(spec.replace("@train", "@Trian"))
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
        (
            "names: 3",
            r"data\.yaml has no 'names' of YOLO's form \(.*; expected a list, or n",
        ),
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


def test_tensorflow_datasets_that_does_not_load_names_the_command(monkeypatch):
    # With protobuf 5 and tensorflow-metadata 1.21, as on Colab, it is a module without functions.
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", types.ModuleType("tensorflow_datasets"))
    with pytest.raises(
        ImportError, match=r"does not .*; run: pip install 'tensorflow-metadata<1\.1"
    ):
        load_data("tfds:voc/2007@train")


def test_relative_boxes_of_float32_give_back_whole_pixels():
    rng = np.random.default_rng(0)
    low = rng.integers(0, 1000, size=(500, 2))
    sides = rng.integers(1, 1000, size=(500, 2))
    high = low + sides
    shares = np.concatenate([low / 2000, high / 2000], axis=1).astype(np.float32)
    found = [to_pixels(share, 2000, 2000) for share in shares]
    expected = np.stack([low[:, 1], low[:, 0], sides[:, 1], sides[:, 0]], axis=1)
    assert np.array(found).tolist() == expected.tolist()
