"""Folders of images without objects."""

import re

import pytest
from datasets import image_bytes, only_problem, turned_image, voc_object, write_voc

from ssd_keras.data import load_data
from ssd_keras.data.splits import Split, load_splits
from ssd_keras.data.writers.write_splits import write_splits


def write_images(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(image_bytes())
    return f"images:{root}"


def test_images_of_a_folder_have_no_objects(tmp_path):
    spec = write_images(tmp_path, "b.jpg", "x/a.png", "x/y/c.JPG", ".cache/d.jpg")
    (tmp_path / "notes.txt").write_text("0 0.5 0.5 1 1")
    (tmp_path / "turned.jpg").write_bytes(turned_image((80, 100)))
    data = load_data(spec, bad_data="refuse")
    assert [x.image_id for x in data.examples] == ["b", "turned", "x/a", "x/y/c"]
    assert [len(x.labels) for x in data.examples] == [0] * 4
    assert {(x.width, x.height) for x in data.examples} == {(100, 80)}
    assert data.class_names == ()
    assert load_data(spec, class_names=["dog"]).class_names == ("dog",)


def test_classes_come_from_the_other_sources(tmp_path):
    voc = write_voc(tmp_path / "voc", {"a": [voc_object("dog"), voc_object("cat")]})
    spec = write_images(tmp_path / "empty", "a.jpg", "b.jpg")
    for specs in ([voc, spec], [spec, voc]):
        data = load_data(specs)
        assert data.class_names == ("cat", "dog")
        assert sorted(len(x.labels) for x in data.examples) == [0, 0, 2]
        assert len({x.image_id for x in data.examples}) == 3
    (tmp_path / "data.toml").write_text('train = ["voc:voc@train", "images:empty"]\n')
    assert len(load_data(str(tmp_path / "data.toml"))) == 3
    splits = load_splits([voc, spec])
    assert [split.data.class_names for split in splits] == [("cat", "dog")] * 2


def test_what_is_no_image_is_a_problem(tmp_path):
    spec = write_images(tmp_path / "in", "a.jpg")
    (tmp_path / "in/b.jpg").write_bytes(b"<html>")
    assert re.search(r"b\.jpg: not an image", only_problem(load_data(spec)))
    (tmp_path / "in/b.jpg").unlink()
    (tmp_path / "out.jpg").write_bytes(image_bytes())
    (tmp_path / "in/b.jpg").symlink_to(tmp_path / "out.jpg")
    assert "a symbolic link leads out" in only_problem(load_data(spec))


@pytest.mark.parametrize(
    ("name", "words"),
    [("none", r"the folder .*none does not exist; expected images there"),
     ("a.txt", r"the folder .*a\.txt is a file; expected images there"),
     ("empty", r"no image below .*empty \(1 other files\); expected files such as a\.jpg")],
)  # fmt: skip
def test_a_folder_without_images_is_an_error(tmp_path, name, words):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "a.txt", tmp_path / "empty/b.txt"):
        path.write_text("")
    with pytest.raises((FileNotFoundError, ValueError), match=words):
        load_data(f"images:{tmp_path / name}")


def test_equal_stems_of_several_folders_stay_apart_in_a_copy(tmp_path):
    names = ["cam1/a.jpg", "cam2/a.jpg", "a.jpg", "a.png"]
    spec = write_images(tmp_path / "in", *names)
    splits = [Split("train", load_data(spec, class_names=["dog"]))]
    assert [x.image_id for x in splits[0].data.examples] == ["a", "a.png", "cam1/a", "cam2/a"]
    for file_format in ("voc", "yolo"):
        copies = write_splits(splits, str(tmp_path / file_format), file_format)
        found = load_data(copies, class_names=["dog"]).examples
        assert sorted(x.image_id for x in found) == ["a", "a_2", "cam1_a", "cam2_a"]
