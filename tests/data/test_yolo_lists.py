"""YOLO data whose images a text file lists, a path a line."""

import re

import pytest
from datasets import image_bytes, only_problem, write_yolo

from ssd_keras.data import ProblemKind, load_data

LABELS = {"a": "0 0.5 0.5 0.2 0.2", "b": "1 0.25 0.5 0.3 0.5", "c": None}


def listed(root, lines, list_path="train.txt", yaml="train: train.txt\n"):
    """Writes a YOLO folder of three images, a list and a data.yaml that names the list."""
    pytest.importorskip("yaml", reason="NOT TESTED: PyYAML is not installed")
    spec = write_yolo(root, LABELS)
    path = root / list_path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(lines)
    (root / "data.yaml").write_text(f"{yaml}names: [dog, cat]\n")
    return spec


def ids(data):
    return [example.image_id for example in data.examples]


FORMS = {
    "from the root, as CVAT writes it": ("images/train/c.jpg\nimages/train/b.jpg\n", {}),
    "with a point": ("./images/train/c.jpg\r\n\r\n  ./images/train/b.jpg  ", {}),
    "from the folder above": ("data/images/train/c.jpg\ndata/images/train/b.jpg", {}),
    "absolute": ("{root}/images/train/c.jpg\n{root}/images/train/b.jpg", {}),
    "from the list's own folder": (
        "../images/train/c.jpg\n../images/train/b.jpg",
        {"list_path": "lists/mine.txt", "yaml": "path: ./\ntrain: lists/mine.txt\n"},
    ),
    "below a base": (
        "../images/train/c.jpg\nimages/train/b.jpg",
        {"list_path": "base/train.txt", "yaml": "path: base\ntrain: train.txt\n"},
    ),
}


@pytest.mark.parametrize(("lines", "options"), FORMS.values(), ids=FORMS)
def test_a_list_names_images_in_its_order(tmp_path, lines, options):
    spec = listed(tmp_path, lines.format(root=tmp_path), **options)
    data = load_data(spec, bad_data="refuse")
    assert ids(data) == ["c", "b"]
    # (.25 - .3 / 2) * 100, (.5 - .5 / 2) * 80, .3 * 100, .5 * 80
    assert data.examples[1].boxes.tolist() == [[10, 20, 30, 40]]
    assert data.examples[1].labels.tolist() == [1]


def test_lists_and_folders_can_be_several(tmp_path):
    spec = listed(tmp_path, "images/train/b.jpg", yaml="train: [train.txt, more]\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "d.jpg").write_bytes(image_bytes())
    (tmp_path / "more" / "d.txt").write_text("0 0.5 0.5 1 1")
    data = load_data(spec, bad_data="refuse")
    assert ids(data) == ["images/train/b", "more/d"]
    assert data.examples[1].boxes.tolist() == [[0, 0, 100, 80]]


def test_a_list_beside_classes_txt_needs_no_yaml(tmp_path):
    write_yolo(tmp_path, LABELS)
    (tmp_path / "some.txt").write_text("images/train/b.jpg")
    for split in ("some", "some.txt"):
        assert ids(load_data(f"yolo:{tmp_path}@{split}", bad_data="refuse")) == ["b"]


def test_paths_count_from_where_the_user_is(tmp_path, monkeypatch):
    listed(tmp_path, f"images/train/c.jpg\n{tmp_path}/images/train/b.jpg")
    monkeypatch.chdir(tmp_path)
    for spec in ("yolo:data.yaml@train", "yolo:.@train"):
        assert ids(load_data(spec, bad_data="refuse")) == ["c", "b"]


BAD_LINES = {
    "out": (
        "../../x/secret.jpg",
        r"train\.txt: line 2: the path \.\./\.\./x/secret\.jpg leads out of .*; ex",
    ),
    "elsewhere": (
        "/etc/hostname",
        r"train\.txt: line 2: the path /etc/hostname leads out of .*; expected a",
    ),
    "twice": (
        "./images/train/b.jpg",
        r"train\.txt: line 2: image \./images/.* is listed twice; expected",
    ),
    "missing": (
        "images/train/z.jpg",
        r"images/train/z\.jpg: the image is missing; expected a fi",
    ),
    "no text": (
        "images/\x1b[2J.jpg",
        r"train\.txt: line 2: the path of the image is '.*'; expected one line",
    ),
}


@pytest.mark.parametrize(("line", "words"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_a_problem_and_left_out(tmp_path, line, words):
    root = tmp_path / "data"
    root.mkdir()
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "secret.jpg").write_bytes(image_bytes())
    data = load_data(listed(root, f"images/train/b.jpg\n{line}\nimages/train/a.jpg"))
    assert ids(data) == ["b", "a"]
    assert re.search(words + r".*; dropped$", only_problem(data))


def test_what_a_list_names_is_no_link_out(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    spec = listed(root, "images/train/a.jpg\nother/b.jpg\nimages/train/c.jpg")
    (root / "images/train/c.jpg").unlink()
    (tmp_path / "secret.jpg").write_bytes(image_bytes())
    (root / "images/train/c.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/b.jpg").write_bytes(image_bytes())
    (root / "other").symlink_to(tmp_path / "elsewhere")
    data = load_data(spec)
    assert ids(data) == ["images/train/a"]
    assert [problem.location.rpartition("/")[2] for problem in data.problems] == ["b.jpg", "c.jpg"]
    assert all(problem.kind is ProblemKind.SYMBOLIC_LINK for problem in data.problems)


def test_a_list_that_is_not_there_is_an_error(tmp_path):
    spec = listed(tmp_path, "images/train/a.jpg", yaml="train: lists/no.txt\n")
    with pytest.raises(FileNotFoundError, match=r"no images of 'train: lists/no\.txt' below"):
        load_data(spec)
