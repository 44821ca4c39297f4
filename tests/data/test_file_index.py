"""Files below a folder: which are listed, and which names find them."""

import unicodedata

import pytest

from ssd_keras.data.readers.file_index import FileIndex

DECOMPOSED = unicodedata.normalize("NFD", "café")


def write(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def test_files_of_sub_folders_are_listed_without_those_of_systems(tmp_path):
    write(tmp_path, "b.jpg", "a/c.jpg", "a/d/e.JPG", ".hidden.jpg")
    write(tmp_path, ".ipynb_checkpoints/b.jpg", "__MACOSX/b.jpg", "a/@eaDir/c.jpg", "a/._c.jpg")
    assert FileIndex(str(tmp_path)).names == [".hidden.jpg", "a/c.jpg", "a/d/e.JPG", "b.jpg"]
    assert FileIndex(str(tmp_path / "none")).names == []


def test_links_to_folders_outside_are_named_and_not_followed(tmp_path):
    root = tmp_path / "root"
    write(tmp_path, "out/a.jpg", "root/in/b.jpg")
    (root / "outside").symlink_to(tmp_path / "out")
    (root / "inside").symlink_to(root / "in")
    (root / "in/round").symlink_to(root)
    (root / "c.jpg").symlink_to(root / "in/b.jpg")
    index = FileIndex(str(root))
    assert index.names == ["c.jpg", "in/b.jpg"]
    assert [problem.location for problem in index.problems] == [str(root / "outside")]
    assert index.find("outside/A.jpg") is None
    linked = tmp_path / "linked"  # the folder itself may be a link
    linked.symlink_to(root)
    assert FileIndex(str(linked)).names == ["c.jpg", "in/b.jpg"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("x/a.jpg", "x/a.jpg"),
        ("./x//a.jpg", "x/a.jpg"),
        ("x/../b.jpg", "b.jpg"),
        (r"x\a.jpg", "x/a.jpg"),
        ("X/A.JPG", "x/a.jpg"),
        ("café.jpg", f"{DECOMPOSED}.jpg"),
        ("CAFÉ.jpg", f"{DECOMPOSED}.jpg"),
        ("twice.jpg", None),  # Twice.jpg or TWICE.jpg
        ("TWICE.jpg", "TWICE.jpg"),
        ("x", None),
        (".", None),
        ("", None),
        ("no.jpg", None),
        ("x/a.jpg/b", None),
        ("../outside.jpg", None),
        (r"..\outside.jpg", None),
        ("/etc/hostname", None),
        ("\0", None),
        ("\ud800", None),
    ],
)
def test_a_name_finds_the_file_that_it_stands_for(tmp_path, name, found):
    write(tmp_path, "outside.jpg")
    root = tmp_path / "root"
    write(root, "x/a.jpg", "b.jpg", f"{DECOMPOSED}.jpg", "Twice.jpg", "TWICE.jpg")
    path = FileIndex(str(root)).find(name)
    assert path == (found and str(root / found))


def test_a_folder_in_two_unicode_forms_is_searched_in_both(tmp_path):
    write(tmp_path, f"{DECOMPOSED}/x/a.jpg", "café/x/b.jpg")
    index = FileIndex(str(tmp_path))
    for form in (DECOMPOSED, "café"):
        assert index.find(f"{form}/x/a.jpg") == str(tmp_path / f"{DECOMPOSED}/x/a.jpg")
        assert index.find(f"{form}/x/b.jpg") == str(tmp_path / "café/x/b.jpg")
        assert index.find(f"{form}/x/c.jpg") is None


def test_an_absolute_path_below_the_folder_is_that_of_a_file(tmp_path):
    write(tmp_path, "outside.jpg", "root/x/a.jpg")
    index = FileIndex(str(tmp_path / "root"))
    assert index.find(str(tmp_path / "root/x/a.jpg")) == str(tmp_path / "root/x/a.jpg")
    assert index.find(str(tmp_path / "root/../outside.jpg")) is None
