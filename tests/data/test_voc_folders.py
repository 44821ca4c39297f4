"""Layouts of VOC folders, lists of splits, and what annotation files may hold."""

import re

import pytest
from datasets import image_bytes, voc_object, write_voc

from ssd_keras.core.class_names import VOC_CLASSES
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
    with pytest.raises(FileNotFoundError, match=r"no folder ImageSets/Main with lists in .*; @all"):
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
    words = r"no folder ImageSets/Main with lists in .*flat, nor a folder 'train' with XML files; e"
    with pytest.raises(FileNotFoundError, match=words):
        load_data(f"voc:{flat}@train")


def test_a_list_named_all_is_a_list(tmp_path):
    write_voc(tmp_path, {"a": [], "b": []}, split="all", listed=["b"])
    assert [x.image_id for x in load_data(f"voc:{tmp_path}@all").examples] == ["b"]


def write_files(root, files):
    """Writes {name: text, or None for an image}."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes() if text is None else text.encode())


def xml(*objects, filename=""):
    tag = f"<filename>{filename}</filename>"
    return f"<annotation>{tag}{''.join(objects or [voc_object()])}</annotation>"


BOX = [10, 20, 30, 40]
LAYOUTS = {
    "small letters": ("all", {"annotations/a.xml": xml(), "images/a.jpg": None}),
    "sub-folders": ("all", {"Annotations/c/a.xml": xml(), "JPEGImages/c/a.jpg": None}),
    "annotations in a folder below": (
        "all", {"annotations/xmls/a.xml": xml(), "images/a.jpg": None}),
    "XML in the root": ("all", {"a.xml": xml(), "images/a.jpg": None}),
    "XML beside the images in a folder": ("all", {"images/a.xml": xml(), "images/a.jpg": None}),
    "a folder for the split": ("train", {"train/a.xml": xml(), "train/a.jpg": None}),
    "folders below that of the split": (
        "train", {"train/Annotations/a.xml": xml(), "train/images/a.jpg": None}),
    "folders of the split below": (
        "train", {"annotations/train/a.xml": xml(), "images/train/a.jpg": None}),
    "another name of the split": ("val", {"valid/a.xml": xml(), "valid/a.jpg": None}),
    "lists in ImageSets": (
        "train",
        {"ImageSets/train.txt": "a", "Annotations/a.xml": xml(), "JPEGImages/a.jpg": None}),
    "list in the root": (
        "train", {"train.txt": "a\n", "Annotations/a.xml": xml(), "JPEGImages/a.jpg": None}),
    "another file name": (
        "all", {"Annotations/a.xml": xml(filename="b.jpg"), "JPEGImages/b.jpg": None}),
    "another file name with a folder": (
        "all", {"Annotations/a.xml": xml(filename="C:\\x\\b.jpg"), "JPEGImages/b.jpg": None}),
    "other capitals": ("all", {"Annotations/a.XML": xml(), "JPEGImages/A.Jpg": None}),
    "no ending that is known": ("all", {"Annotations/a.xml": xml(), "JPEGImages/a.jpg_1": None}),
}  # fmt: skip


@pytest.mark.parametrize(("split", "files"), LAYOUTS.values(), ids=LAYOUTS)
def test_the_image_of_an_annotation_is_found(tmp_path, split, files):
    write_files(tmp_path, files)
    (example,) = load_data(f"voc:{tmp_path}@{split}", bad_data="refuse").examples
    assert example.boxes.tolist() == [BOX]
    assert load_data(f"voc:{tmp_path}@{split}").problems == ()


LINES = ["a", "a.jpg", "JPEGImages/a.jpg", "./JPEGImages/a.jpg 1", "/home/me/VOC/JPEGImages/a.jpg",
         "JPEGImages/a.jpg Annotations/a.xml", "a  1", "a\t-1", r"JPEGImages\a.jpg", "A.JPG",
         "Annotations/a.xml"]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_a_list_names_images_in_several_ways(tmp_path, line):
    spec = write_voc(tmp_path, {"a": [voc_object()], "b": []}, listed=[line])
    assert [x.image_id for x in load_data(spec, bad_data="refuse").examples] == ["a"]


def test_equal_stems_in_several_folders_stay_apart(tmp_path):
    folders = ("cam1", "cam2", "cam2/day")
    write_files(tmp_path, {f"Annotations/{folder}/a.xml": xml() for folder in folders})
    write_files(tmp_path, {f"JPEGImages/{folder}/a.jpg": None for folder in folders})
    write_files(tmp_path, {"ImageSets/Main/train.txt": "cam2/day/a\ncam1/a\n"})
    ids = [x.image_id for x in load_data(f"voc:{tmp_path}@all", bad_data="refuse").examples]
    assert ids == ["cam1/a", "cam2/a", "cam2/day/a"]
    ids = [x.image_id for x in load_data(f"voc:{tmp_path}@train", bad_data="refuse").examples]
    assert ids == ["cam2/day/a", "cam1/a"]


@pytest.mark.parametrize(("filename", "chosen"), [("a.png", "a.png"), ("x", "a.jpg")])
def test_the_file_name_decides_between_images_of_one_stem(tmp_path, filename, chosen):
    write_files(tmp_path, {"a.xml": xml(filename=filename), "a.jpg": None, "a.png": None})
    data = load_data(f"voc:{tmp_path}@all")
    assert [x.image for x in data.examples] == [f"{tmp_path}/{chosen}"]
    (problem,) = data.problems
    words = rf"the annotation file is that of .*/{chosen}; expected one for each image; dropped$"
    assert re.search(words, str(problem))


def test_images_without_annotations_are_negatives_on_request(tmp_path):
    write_voc(tmp_path, {"a": [voc_object()], "b": []}, listed=["a", "c", "d"])
    write_files(tmp_path, {"JPEGImages/c.jpg": None, "JPEGImages/x/c.png": None})
    data = load_data(f"voc:{tmp_path}@all+negatives", bad_data="refuse")
    assert [x.image_id for x in data.examples] == ["a", "b", "c", "x/c"]
    assert [len(x.labels) for x in data.examples] == [1, 0, 0, 0]
    assert (data.examples[2].width, data.examples[2].height) == (100, 80)
    assert [problem.is_loss for problem in data.problems] == [False, False]
    assert str(data.problems[0]).endswith("read as images without objects")
    data = load_data(f"voc:{tmp_path}@train+negatives")
    assert [x.image_id for x in data.examples] == ["a", "c"]
    assert [problem.is_loss for problem in data.problems] == [False, True]  # d is nowhere


def test_the_list_of_voc_is_that_of_a_folder_with_its_lists(tmp_path):
    spec = write_voc(tmp_path, {"a": [voc_object("car"), voc_object("dog")]})
    assert load_data(spec).class_names == ("car", "dog")
    for name in VOC_CLASSES:
        (tmp_path / f"ImageSets/Main/{name}_train.txt").write_text("a -1\n")
    assert load_data(spec).class_names == VOC_CLASSES
    assert load_data(write_voc(tmp_path, {"a": [voc_object("cart")]})).class_names == ("cart",)


DIALECTS = {
    "namespace": '<annotation xmlns="http://x/y">{}</annotation>',
    "prefix": '<v:annotation xmlns:v="u">{}</v:annotation>',
    "wrapper": "<annotation><objects>{}</objects></annotation>",
    "another root": "<root>{}</root>",
    "blank lines first": '\n\n <?xml version="1.0"?><annotation>{}</annotation>',
    "untrue UTF-16": '<?xml version="1.0" encoding="utf-16"?><annotation>{}</annotation>',
}


@pytest.mark.parametrize("form", DIALECTS.values(), ids=DIALECTS)
def test_objects_of_a_dialect_are_read(tmp_path, form):
    data = load_data(write_voc(tmp_path, {"a": form.format(voc_object())}), bad_data="refuse")
    assert data.examples[0].boxes.tolist() == [BOX]


def test_tags_may_have_capitals(tmp_path):
    text = xml().replace("object>", "Object>").replace("name>", "Name>").replace("bnd", "Bnd")
    data = load_data(write_voc(tmp_path, {"a": text.replace("annotation", "Annotation")}))
    assert data.examples[0].boxes.tolist() == [BOX]
    data = load_data(write_voc(tmp_path, {"a": xml().replace("bndbox", "bbox")}))
    assert data.examples[0].boxes.tolist() == [BOX]


OTHER_FILES = {
    "CVAT": ("<annotations><image name='a.jpg'><box label='dog'/></image></annotations>",
             r"it is in CVAT's own format: export the task as PASCAL VOC or COCO"),
    "HTML": ("<html><body/></html>", r"its root is <html> instead of <annotation>"),
    "no object": ("<annotation><item><bndbox/></item></annotation>", r"has boxes but no <object>"),
    "several": ("<all><filename>a</filename><filename>b</filename></all>",
                r"it holds several images: write a file for each"),
    "Latin-1": (b"<annotation><folder>caf\xe9</folder></annotation>",
                r"it is not UTF-8, line 1: save it as UTF-8, or declare its encoding"),
    "unknown encoding": ("<?xml version='1.0' encoding='x-none'?><annotation/>",
                         r"unknown encoding: x-none"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "words"), OTHER_FILES.values(), ids=OTHER_FILES)
def test_a_file_that_is_no_voc_annotation_says_what_it_is(tmp_path, content, words):
    spec = write_voc(tmp_path, {"good": [], "bad": []})
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "Annotations/bad.xml").write_bytes(content)
    (problem,) = load_data(spec).problems
    assert re.search(rf"bad\.xml: the annotation file cannot be read \(.*{words}", str(problem))


def test_an_object_without_a_box_says_what_it_has(tmp_path):
    bad = "<object><name>dog</name><robndbox><cx>3</cx></robndbox></object>"
    (problem,) = load_data(write_voc(tmp_path, {"a": xml(bad)})).problems
    assert "an object of name, robndbox without <bndbox> is not four numbers" in str(problem)


@pytest.mark.parametrize("encoding", ["windows-1252", "iso-8859-1", "gbk", "gb2312", "shift_jis",
                                      "utf-16", "utf-8-sig"])  # fmt: skip
def test_a_declared_encoding_is_read(tmp_path, encoding):
    name = "狗" if encoding.startswith("gb") else "犬" if "jis" in encoding else "café"
    spec = write_voc(tmp_path, {"a": []})
    declared = encoding.removesuffix("-sig")
    text = f"<?xml version='1.0' encoding='{declared}'?>{xml(voc_object(name))}"
    (tmp_path / "Annotations/a.xml").write_bytes(text.encode(encoding))
    assert load_data(spec, bad_data="refuse").class_names == (name,)


@pytest.mark.parametrize(
    ("word", "expected"),
    [("1", True), ("true", True), (" Yes ", True), ("1.0", True), ("0", False), ("false", False),
     ("Unspecified", False), ("", False)],
)  # fmt: skip
def test_difficult_is_a_word_of_yes(tmp_path, word, expected):
    (example,) = load_data(write_voc(tmp_path, {"a": [voc_object(difficult=word)]})).examples
    assert example.is_difficult.tolist() == [expected]


@pytest.mark.parametrize("corners", [(40, 21, 11, 60), (11, 60, 40, 21), (40, 60, 11, 21),
                                     ("40.0", "60.", 11, 21)])  # fmt: skip
def test_swapped_corners_are_put_in_order(tmp_path, corners):
    data = load_data(write_voc(tmp_path, {"a": [voc_object("dog", corners)]}), bad_data="refuse")
    assert data.examples[0].boxes.tolist() == [BOX]
    (problem,) = data.problems
    assert re.search(r"object 1 \(dog\): .* has swapped corners; .*; put in order", str(problem))


def test_swapped_corners_that_do_not_fit_in_order_are_dropped(tmp_path):
    """A typing error in one number, such as 911 for 11, must not become a box of half the image."""
    spec = write_voc(tmp_path, {"a": [voc_object("dog", (911, 21, 40, 60)), voc_object("cat")]})
    data = load_data(spec)
    assert [data.class_names[label] for label in data.examples[0].labels] == ["cat"]
    (problem,) = data.problems
    words = r"object 1 \(dog\): box xmin=911 .* has swapped corners; .*; dropped"
    assert re.search(words, str(problem))
    assert problem.box is not None and problem.is_loss


def test_class_names_have_one_unicode_form(tmp_path):
    objects = [voc_object("cafe\u0301"), voc_object(" café\n")]
    assert load_data(write_voc(tmp_path, {"a": objects})).class_names == ("café",)


def test_corners_that_are_shares_of_the_sides_are_read_as_such(tmp_path):
    objects = [voc_object("dog", (0.1, 0.25, 0.4, 0.75)), voc_object("dog", (0, 0, 1, 1))]
    data = load_data(write_voc(tmp_path, {"a": objects, "b": []}), bad_data="refuse")
    assert data.examples[0].boxes.tolist() == [[10, 20, 30, 40], [0, 0, 100, 80]]
    (problem,) = data.problems
    assert re.search(r"Annotations: all corners lie within 0 and 1", str(problem))
