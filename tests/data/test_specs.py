"""Specs are taken apart by their text and by what exists: "@" in paths, drives, "~"."""

import ntpath
import re

import pytest
from datasets import coco_image, coco_object, write_coco, write_csv

from ssd_keras.data import load_data
from ssd_keras.data.sources import READERS, join_folder, parse_spec
from ssd_keras.data.specs import SpecForm, join_parts, split_parts


def form(*existing, second=True, ending=".json"):
    """A form of two paths, of which those given exist."""
    test = existing.__contains__
    return SpecForm("coco:FILE@DIR", test, test if second else None, ending)


NOTHING = form()
DIVIDED = {
    "one": ("a.json@img", NOTHING, ("a.json", "img")),
    "in both": ("u@s/i.json@u@s/img", form("u@s/i.json", "u@s/img"), ("u@s/i.json", "u@s/img")),
    "in the first": ("u@s/i.json@img", form("u@s/i.json", "img"), ("u@s/i.json", "img")),
    "in the second": ("i.json@a@b", form("i.json", "a@b"), ("i.json", "a@b")),
    "second is missing": ("u@s/i.json@a@b", form("u@s/i.json"), ("u@s/i.json", "a@b")),
    "all are missing": ("u@s/i.json@a@b", NOTHING, ("u@s/i.json", "a@b")),
    "ending in capitals": ("u@s/I.JSON@a@b", NOTHING, ("u@s/I.JSON", "a@b")),
    "compressed": ("u@s/i.json.gz@a@b", NOTHING, ("u@s/i.json.gz", "a@b")),
    "a split": ("u@s/voc@train", form("u@s/voc", second=False, ending=""), ("u@s/voc", "train")),
    "a missing root": ("u@s/voc@train", form(second=False, ending=""), ("u@s/voc", "train")),
    "a drive": (r"C:\a.json@C:\img", form(r"C:\a.json"), (r"C:\a.json", r"C:\img")),
    "a share": (
        r"\\server\share\a.json@\\server\share\img", NOTHING,
        (r"\\server\share\a.json", r"\\server\share\img"),
    ),
    "a drive and a mail address": (
        r"C:\Users\me@work\a.json@C:\Users\me@work\img", NOTHING,
        (r"C:\Users\me@work\a.json", r"C:\Users\me@work\img"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("rest", "spec_form", "parts"), DIVIDED.values(), ids=DIVIDED)
def test_the_at_sign_counts_whose_two_sides_exist(rest, spec_form, parts):
    assert split_parts(rest, spec_form) == parts


@pytest.mark.parametrize(
    ("rest", "spec_form", "words"),
    [
        ("a@b@c", NOTHING, r"'@' can stand in .*no side exists: 'a@b' @ 'c' and 'a' @ 'b@c'; exp"),
        ("a@b@c", form("a", "a@b", "b@c", "c"), r"both sides exist: 'a@b' @ 'c' and 'a' @ 'b@c'"),
        ("a.json", NOTHING, r"a part is missing around '@'; expected coco:FILE@DIR"),
        ("a.json@", NOTHING, r"a part is missing around '@'"),
        ("@img", NOTHING, r"a part is missing around '@'"),
    ],
)
def test_at_signs_that_do_not_divide_are_told_in_one_line(rest, spec_form, words):
    with pytest.raises(ValueError, match=words):
        split_parts(rest, spec_form)


WINDOWS = {
    r"voc:C:\data@train": ("voc", r"C:\data", "train"),
    r"voc:\\server\share\voc@val": ("voc", r"\\server\share\voc", "val"),
    r"coco:C:\a.json@C:\img": ("coco", r"C:\a.json", r"C:\img"),
    r"coco:\\s\x\a.json@\\s\x\img": ("coco", r"\\s\x\a.json", r"\\s\x\img"),
    r"csv:D:\me@work\t.csv@D:\me@work\img": ("csv", r"D:\me@work\t.csv", r"D:\me@work\img"),
    r"yolo:C:\my data\data.yaml@val": ("yolo", r"C:\my data\data.yaml", "val"),
    r"tfrecord:C:\r\train-*@C:\r\map.pbtxt": ("tfrecord", r"C:\r\train-*", r"C:\r\map.pbtxt"),
    r"tfrecord:C:\me@work\a.tfrecord": ("tfrecord", r"C:\me@work\a.tfrecord", ""),
    "coco:C:/a.json@C:/img": ("coco", "C:/a.json", "C:/img"),
}


@pytest.mark.parametrize(("spec", "expected"), WINDOWS.items(), ids=WINDOWS)
def test_drives_and_shares_of_windows(spec, expected):
    reader, first, second = parse_spec(spec)
    assert (reader.prefix, first, second) == expected


@pytest.mark.parametrize(
    ("entry", "joined"),
    [
        (("a.json", "img"), (r"D:\data\a.json", r"D:\data\img")),
        ((r"C:\a.json", r"\\s\x\img"), (r"C:\a.json", r"\\s\x\img")),
        ((r"..\a.json", ""), (r"D:\data\..\a.json", "")),
    ],
)
def test_paths_of_data_files_are_joined_as_on_windows(entry, joined):
    assert join_parts(entry, READERS["coco"].form, "D:\\data", ntpath) == joined


@pytest.mark.parametrize("folder", ["user@site", "a@b@c", "copy [1]", "@", "a b@c d"])
def test_data_lie_in_folders_of_any_name(tmp_path, monkeypatch, folder):
    root = tmp_path / folder
    root.mkdir()
    coco = write_coco(root, annotations=[coco_object()])
    table = write_csv(root, "filename,class,xmin,ymin,xmax,ymax\na.jpg,dog,10,20,40,60\n")
    assert len(load_data(coco)) == len(load_data(table)) == 1
    monkeypatch.chdir(tmp_path)
    relative = [spec.replace(f"{tmp_path}/", "") for spec in (coco, table)]
    assert len(load_data(relative)) == 2
    (tmp_path / "data.toml").write_text(f"train = {relative!r}")
    assert len(load_data(f"{tmp_path}/data.toml")) == 2
    (root / "data.toml").write_text('train = "coco:instances.json@images"')
    assert len(load_data(f"{root}/data.toml")) == 1


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_coco(tmp_path, [coco_image(7)], [coco_object()])
    assert len(load_data("coco:~/instances.json@~/images")) == 1
    (tmp_path / "x").mkdir()
    (tmp_path / "x/data.toml").write_text('train = "coco:~/instances.json@~/images"')
    assert len(load_data("~/x/data.toml")) == 1
    assert join_folder("voc:~/a@train", "/x") == f"voc:{tmp_path}/a@train"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            "VOC:a@train",
            r"unknown format 'VOC'; did you mean voc:ROOT@SPLIT\? `ssd-keras info d",
        ),
        ("coc:a.json@b", r"unknown format 'coc'; did you mean coco:ANNOTATIONS.json@I"),
        ("tf_record:a", r"unknown format 'tf_record'; did you mean tfrecord:PATTERN"),
        (r"C:\data@train", r"unknown format 'C'; expected such as voc:ROOT@SPLIT; `ssd-"),
        ("a.json@b", r"data 'a\.json@b': it begins with no format; expected such as voc:"),
    ],
)
def test_unknown_formats_name_the_nearest(spec, words):
    with pytest.raises(ValueError, match=words) as caught:
        load_data(spec)
    assert not re.search(r"\n", str(caught.value))
