"""VOC data without lists of splits: `@all` reads every image."""

import re

import pytest
from datasets import image_bytes, voc_object, write_voc

from ssd_keras.data import load_data


def test_voc_all_is_every_image_of_a_folder_without_lists(tmp_path):
    write_voc(tmp_path, {"b": [voc_object()], "a": [voc_object("cat")]})
    (tmp_path / "ImageSets/Main/train.txt").unlink()
    (tmp_path / "ImageSets/Main").rmdir()
    (tmp_path / "JPEGImages/c.jpg").write_bytes(image_bytes())  # not annotated yet
    data = load_data(f"voc:{tmp_path}@all")
    assert [x.image_id for x in data.examples] == ["a", "b"]
    assert data.examples[1].boxes.tolist() == [[10, 20, 30, 40]]
    (problem,) = data.problems
    assert re.search(r"c\.xml: the annotation file is missing; expected it there", str(problem))
    with pytest.raises(FileNotFoundError, match=r"no folder ImageSets/Main in .*; @all takes all"):
        load_data(f"voc:{tmp_path}@train")


def test_voc_all_takes_annotations_beside_their_images(tmp_path):
    """As labelling tools write them where no folder is chosen."""
    write_voc(tmp_path / "voc", {"a": [voc_object()], "b": []})
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in (tmp_path / "voc").rglob("[ab].*"):
        path.rename(flat / path.name)
    data = load_data(f"voc:{flat}@all", bad_data="refuse")
    assert [(x.image_id, len(x.labels)) for x in data.examples] == [("a", 1), ("b", 0)]
    with pytest.raises(
        FileNotFoundError, match=r"no folder Annotations in .*flat; expected the folders of VOC"
    ):
        load_data(f"voc:{flat}@train")


def test_a_list_named_all_is_a_list(tmp_path):
    write_voc(tmp_path, {"a": [], "b": []}, split="all", listed=["b"])
    assert [x.image_id for x in load_data(f"voc:{tmp_path}@all").examples] == ["b"]
