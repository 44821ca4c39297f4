"""Layouts of YOLO folders: which images a split has, and where their label files lie."""

import re
import unicodedata

import pytest
from datasets import image_bytes, only_problem

from ssd_keras.data import ProblemKind, load_data

ROW = "1 0.25 0.5 0.3 0.5\n"
BOX = [10, 20, 30, 40]  # (.25 - .3 / 2) * 100, (.5 - .5 / 2) * 80, .3 * 100, .5 * 80
CLASSES = "dog\ncat\n"
DECOMPOSED = unicodedata.normalize("NFD", "café")


def write(root, files):
    """Writes {name: text}; None stands for an image, and classes.txt is there unless given."""
    yaml = pytest.importorskip("yaml", reason="NOT TESTED: PyYAML is not installed")
    assert yaml
    if not any(name.endswith((".yaml", ".data", ".names", "classes.txt")) for name in files):
        files = {**files, "classes.txt": CLASSES}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes() if text is None else text.encode())


def yaml_of(**splits):
    return "".join(f"{name}: {value}\n" for name, value in splits.items()) + "names: [dog, cat]\n"


LAYOUTS = {
    "beside the image": {"images/train/a.jpg": None, "images/train/a.txt": ROW},
    "capitals": {"Images/Train/a.jpg": None, "Labels/Train/a.txt": ROW},
    "JPEGImages": {
        "data.yaml": yaml_of(train="JPEGImages"),
        "JPEGImages/a.jpg": None,
        "labels/a.txt": ROW,
    },
    "a folder in each split": {"train/images/a.jpg": None, "train/labels/a.txt": ROW},
    "labels in the split's folder": {"train/a.jpg": None, "train/labels/a.txt": ROW},
    "labels mirror the split": {"train/a.jpg": None, "labels/train/a.txt": ROW},
    "split in the name": {"images/train/a.jpg": None, "labels/train/a.txt": ROW},
    "names with the split": {
        "data.yaml": yaml_of(train="train_images"),
        "train_images/a.jpg": None,
        "train_labels/a.txt": ROW,
    },
    "img": {"data.yaml": yaml_of(train="img/train"), "img/train/a.jpg": None,
            "labels/train/a.txt": ROW},
    "images twice": {"images/train/images/a.jpg": None, "images/train/labels/a.txt": ROW},
    "ending kept": {"images/train/a.jpg": None, "labels/train/a.jpg.txt": ROW},
    "TXT": {"images/train/a.jpg": None, "labels/train/A.TXT": ROW},
    "Unicode form": {f"images/train/{DECOMPOSED}.jpg": None, "labels/train/café.txt": ROW},
    "CVAT": {
        "obj.data": "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = b/\n",
        "obj.names": CLASSES,
        "train.txt": "data/obj_train_data/a.jpg\n",
        "obj_train_data/a.jpg": None,
        "obj_train_data/a.txt": ROW,
    },
    "CVAT without lists": {
        "obj.names": CLASSES, "obj_train_data/a.jpg": None, "obj_train_data/a.txt": ROW,
    },
    "CVAT with folders": {
        "obj.names": CLASSES,
        "train.txt": "data/obj_train_data/images/a.jpg\n",
        "obj_train_data/images/a.jpg": None,
        "obj_train_data/images/a.txt": ROW,
    },
    "Roboflow for Darknet": {
        "train/_darknet.labels": CLASSES, "train/a.jpg": None, "train/a.txt": ROW,
        "valid/_darknet.labels": CLASSES,
    },
    "names beside the labels": {
        "images/train/a.jpg": None, "labels/train/a.txt": ROW, "labels/train/classes.txt": CLASSES,
    },
    "another YAML file": {
        "coco8.yaml": yaml_of(train="images/train"), "images/train/a.jpg": None,
        "labels/train/a.txt": ROW,
    },
    "folder of this computer": {
        "data.yaml": yaml_of(train="{root}/images/train"), "images/train/a.jpg": None,
        "labels/train/a.txt": ROW,
    },
    "list of Windows": {
        "train.txt": "data\\images\\train\\a.jpg\r\n", "images/train/a.jpg": None,
        "labels/train/a.txt": ROW,
    },
    "list in UTF-16": {
        "classes.txt": CLASSES, "train.txt": "images/train/a.jpg", "images/train/a.jpg": None,
        "labels/train/a.txt": ROW,
    },
}  # fmt: skip


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS)
def test_the_label_file_of_an_image_is_found(tmp_path, files):
    root = tmp_path / "images"  # parts above the root say nothing
    write(root, {name: text and text.format(root=root) for name, text in files.items()})
    data = load_data(f"yolo:{root}@train")
    (example,) = data.examples
    assert data.class_names == ("dog", "cat")
    assert (example.boxes.tolist(), example.labels.tolist()) == ([BOX], [1])
    assert data.problems == ()


OTHER_COMPUTERS = {
    "folder": {"data.yaml": yaml_of(train="/home/me/data/images/train")},
    "folder of Windows": {"data.yaml": yaml_of(train="D:\\data\\images\\train")},
    "above": {"data.yaml": yaml_of(train="../../data/images/train")},
    "list": {"train.txt": "/home/me/data/images/train/a.jpg\n"},
    "list of Windows": {"train.txt": "D:\\data\\images\\train\\a.jpg\n"},
    "list above": {"train.txt": "../data/images/train/a.jpg\n"},
}


@pytest.mark.parametrize("files", OTHER_COMPUTERS.values(), ids=OTHER_COMPUTERS)
def test_paths_of_another_computer_are_found_by_their_last_parts(tmp_path, files):
    name = "list.txt" if "train.txt" in files else "data.yaml"
    files = {name if key == "train.txt" else key: text for key, text in files.items()}
    write(tmp_path, {**files, "images/train/a.jpg": None, "labels/train/a.txt": ROW})
    data = load_data(f"yolo:{tmp_path}@{'list' if name == 'list.txt' else 'train'}")
    assert [example.boxes.tolist() for example in data.examples] == [[BOX]]
    words = r"the image folder has no '.*', but images/train.*; read from there$"
    assert re.search(words, only_problem(data))
    assert not data.problems[0].is_loss


@pytest.mark.parametrize(
    ("folder", "split"),
    [("valid", "val"), ("val", "valid"), ("validation", "val"), ("training", "train"),
     ("testing", "test"), ("Val", "validation")],
)  # fmt: skip
def test_splits_have_several_names(tmp_path, folder, split):
    write(tmp_path, {f"{folder}/images/a.jpg": None, f"{folder}/labels/a.txt": ROW})
    assert len(load_data(f"yolo:{tmp_path}@{split}").examples[0].labels) == 1
    (tmp_path / "data.yaml").write_text(yaml_of(**{folder.lower(): f"{folder}/images"}))
    assert len(load_data(f"yolo:{tmp_path}@{split}").examples[0].labels) == 1


def test_images_of_sub_folders_keep_their_folders_as_ids(tmp_path):
    files = {f"images/train/{stem}.jpg": None for stem in ("cam1/a", "cam2/a", "cam2/day/b")}
    labels = {f"labels/train/{stem}.txt": ROW for stem in ("cam1/a", "cam2/a", "cam2/day/b")}
    write(tmp_path, {**files, **labels})
    data = load_data(f"yolo:{tmp_path}@train", bad_data="refuse")
    assert [x.image_id for x in data.examples] == ["cam1/a", "cam2/a", "cam2/day/b"]
    assert [len(x.labels) for x in data.examples] == [1, 1, 1]


def test_a_flat_folder_is_named_by_a_point(tmp_path):
    write(tmp_path, {"a.jpg": None, "a.txt": ROW})
    assert len(load_data(f"yolo:{tmp_path}@.", bad_data="refuse").examples[0].labels) == 1
    with pytest.raises(FileNotFoundError, match=r"no images of 'all' .* \(@\. takes images in"):
        load_data(f"yolo:{tmp_path}@all")


def test_equal_stems_get_the_ending_of_their_files_as_ids(tmp_path):
    images = dict.fromkeys((f"images/train/a{x}" for x in (".jpg", ".png", ".JPG")), None)
    write(tmp_path, {**images, "labels/train/a.txt": ROW})
    data = load_data(f"yolo:{tmp_path}@train")
    assert [x.image_id for x in data.examples] == ["a", "a.jpg", "a.png"]
    assert [x.image[-5:] for x in data.examples] == ["a.JPG", "a.jpg", "a.png"]


def test_an_image_with_another_ending_is_read_where_a_label_file_has_its_name(tmp_path):
    labels = {f"labels/train/{stem}.txt": ROW for stem in "abc"}
    write(tmp_path, {"images/train/a": None, "images/train/b.jpg_large": None, **labels})
    (tmp_path / "images/train/c.svg").write_bytes(b"<svg/>")
    (tmp_path / "images/train/d.svg").write_bytes(b"<svg/>")
    data = load_data(f"yolo:{tmp_path}@train")
    assert [x.image_id for x in data.examples] == ["a", "b"]
    assert re.search(r"images/train/c\.svg: ", only_problem(data))


def test_label_files_without_an_image_are_named_once(tmp_path):
    labels = {f"labels/train/{stem}.txt": ROW for stem in "abcd"}
    others = {"labels/train/classes.txt": CLASSES, "labels/train/README.txt": "written by hand\n"}
    write(tmp_path, {"images/train/a.jpg": None, **labels, **others, "classes.txt": CLASSES})
    data = load_data(f"yolo:{tmp_path}@train")
    assert len(data) == 1
    assert [problem.location[-5:] for problem in data.problems] == ["b.txt", "c.txt", "d.txt"]
    assert re.search(r"b\.txt: no image has the name of the label file; expected it in .*train; dr",
                     str(data.problems[0]))  # fmt: skip
    assert all(problem.is_loss for problem in data.problems)


def test_a_split_without_any_label_file_says_where_they_were_looked_for(tmp_path):
    write(tmp_path, {"images/train/a.jpg": None, "images/train/b.jpg": None, "txt/a.txt": ROW})
    data = load_data(f"yolo:{tmp_path}@train")
    assert [len(x.labels) for x in data.examples] == [0, 0]
    assert re.search(
        r"none of 2 images has a label file; looked at .*labels/train/a\.txt and beside the "
        r"image; there is txt/a\.txt; expected",
        only_problem(data),
    )


def test_a_linked_folder_below_a_split_is_a_problem(tmp_path):
    root = tmp_path / "data"
    write(root, {"images/train/a.jpg": None, "labels/train/a.txt": ROW})
    write(tmp_path / "out", {"b.jpg": None})
    (root / "images/train/more").symlink_to(tmp_path / "out")
    data = load_data(f"yolo:{root}@train")
    assert [x.image_id for x in data.examples] == ["a"]
    assert data.problems[0].kind is ProblemKind.SYMBOLIC_LINK


def test_an_archive_is_named_as_such(tmp_path):
    (tmp_path / "data.zip").write_bytes(b"PK\3\4")
    for form in ("yolo:{}@train", "voc:{}@all", "images:{}"):
        with pytest.raises(ValueError, match=r"data\.zip is an archive; unpack it, and name"):
            load_data(form.format(tmp_path / "data.zip"))
