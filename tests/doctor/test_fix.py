"""The fixed copy of a data set."""

import re

import pytest
from datasets import voc_object, write_voc
from example_records import encoded, example, split_of, textured, titles, write_faulty_voc

from ssd_keras.cli import main
from ssd_keras.data.splits import load_splits
from ssd_keras.doctor.data_report import check_data
from ssd_keras.doctor.fix import fixed_copy, remaining_issues


def test_the_copy_has_no_certain_problem_and_the_source_stays(tmp_path):
    specs = write_faulty_voc(tmp_path / "data")
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    splits, changes = fixed_copy(check_data(load_splits(specs)))
    assert changes == [
        "boxes of no area dropped: 1",
        "boxes that reach outside their image clipped: 1",
        "repeated objects dropped: 1",
        "copies of images dropped: 1",
        "broken images dropped: 1",
    ]
    assert [[x.image_id for x in split.data.examples] for split in splits] == [["a", "c"], ["e"]]
    assert splits[0].data.examples[0].labels.tolist() == [11, 7]
    assert before == {p: p.read_bytes() for p in (tmp_path / "data").rglob("*") if p.is_file()}


def test_boxes_a_little_outside_are_clipped():
    boxes = [[-1, 10, 40, 40], [90, 20, 31, 20], [5, 5, 20, 20]]
    one = example(boxes=boxes)
    one.areas[1] = 100.0  # of a mask, not of the box
    (split,), changes = fixed_copy(check_data([split_of(one)]))
    found = split.data.examples[0]
    assert found.boxes.tolist() == [[0, 10, 39, 40], [90, 20, 30, 20], [5, 5, 20, 20]]
    assert found.areas.tolist() == [39 * 40, 100, 400]
    assert changes == ["boxes clipped to the image: 2"]


def test_remaining_issues(tmp_path):
    """A box of no area is dropped: its dog stays in the image. And an empty image stays."""
    write_faulty_voc(tmp_path)
    write_voc(tmp_path, {"x": []}, "test", size=(0, 0))
    specs = [f"voc:{tmp_path}@{name}" for name in ("train", "val", "test")]
    report = check_data(load_splits(specs))
    copies, _ = fixed_copy(report)
    assert remaining_issues(report, copies) == [
        "boxes dropped: 1; their objects are still in the images, without a label: annotate them "
        "again where it matters",
        "images without objects: 1, kept as background",
    ]


@pytest.mark.parametrize("data_format", ["voc", "coco", "yolo", "tfrecord"])
def test_check_with_fix_writes_a_copy_without_problems(tmp_path, capsys, data_format):
    specs = write_faulty_voc(tmp_path / "data")
    folder = tmp_path / "clean"
    assert main(["data", "check", *specs, "--fix", str(folder), "--format", data_format]) == 0
    printed = capsys.readouterr().out.partition("cleaned copy\n")[2]
    copies = re.findall(rf"wrote \d images; read them as '({data_format}:.*)'", printed)
    assert len(copies) == 2
    splits = load_splits(copies)
    assert [len(split.data) for split in splits] == [2, 1]
    few = "validation splits with fewer than 10 objects of a class"
    assert set(titles(check_data(splits).findings)) <= {"classes without objects", few}
    # b.jpg, whose copy in the validation set stays, byte for byte
    source = (tmp_path / "data" / "JPEGImages" / "b.jpg").read_bytes()
    assert splits[1].data.examples[0].read() == source
    assert main(["data", "check", *specs, "--fix", str(folder)]) == 2
    assert "is not an empty folder; choose another" in capsys.readouterr().err


@pytest.mark.parametrize("data_format", ["voc", "coco", "yolo"])
def test_wrong_sizes_and_extensions_are_mended_and_told(tmp_path, capsys, data_format):
    """A PNG named .jpg whose <size> is 0x0, one without <size>, and one that is right."""
    size = "<size><width>{0}</width><height>{0}</height></size>"
    texts = {
        "a": size.format(0),
        "b": "",
        "c": "<size><width>100</width><height>80</height></size>",
    }
    images = {
        stem: f"<annotation>{text}{voc_object()}</annotation>" for stem, text in texts.items()
    }
    spec = write_voc(tmp_path / "data", images)
    for seed, stem in enumerate("abc"):
        encoded_image = encoded(textured(seed, (100, 80)), "PNG" if stem == "a" else "JPEG")
        (tmp_path / "data" / "JPEGImages" / f"{stem}.jpg").write_bytes(encoded_image)
    folder = tmp_path / "clean"
    assert main(["data", "check", spec, "--fix", str(folder), "--format", data_format]) == 0
    printed, _, copy = capsys.readouterr().out.partition("cleaned copy\n")
    assert "  annotations without a usable size: 1 taken from the image\n    0x0: 1, the" in printed
    assert "  images with the extension of another format: 1; " in printed
    assert copy.splitlines()[:2] == [
        "  annotations without a usable size taken from the image: 1",
        "  files given the extension of their format: 1",
    ]
    names = {path.name for path in folder.rglob("*") if path.suffix in (".png", ".jpg")}
    assert names == {"a.png", "b.jpg", "c.jpg"}
    (read,) = re.findall(rf"read them as '({data_format}:.*)'", copy)
    again = check_data(load_splits([read]))
    assert not [
        each for each in again.findings if each.kind.title.startswith(("annot", "images w"))
    ]
    assert [(x.width, x.height) for x in again.splits[0].data.examples] == [(100, 80)] * 3


def test_a_recipe_value_without_a_recipe_is_an_error(capsys):
    words = ["data", "check", "synthetic:shapes@val[:1]", "--set", "run.seed=3"]
    assert main(words) == 2
    assert re.search(
        r"--set 'run.seed=3' changes a recipe; pass --preset or", capsys.readouterr().err
    )
