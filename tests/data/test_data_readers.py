"""Readers of VOC and COCO: numbers, classes, and problems of bad data."""

import re
from pathlib import Path

import numpy as np
import pytest
from datasets import (
    SIZE,
    coco_image,
    coco_object,
    image_bytes,
    only_problem,
    turned_image,
    voc_object,
    write_coco,
    write_voc,
    write_voc_lists,
)

from ssd_keras.core import files
from ssd_keras.core.class_names import VOC_CLASSES
from ssd_keras.core.images import read_image
from ssd_keras.data import Example, Problem, ProblemKind, load_data
from ssd_keras.data.image_files import convert_image
from ssd_keras.data.images import decode_example
from ssd_keras.data.records import fit_box

# --- numbers ---


def test_voc_pixels_start_at_one_and_both_corners_belong_to_the_box(tmp_path):
    objects = [
        voc_object("dog", (11, 21, 40, 60)),
        voc_object("cat", (1, 1, 100, 80), difficult=1),
        voc_object("dog", ("1.5", "2.25", "31.5", "42.25")),
    ]
    spec = write_voc(tmp_path, {"000012": objects})
    write_voc_lists(tmp_path)
    data = load_data(spec)
    (example,) = data.examples
    assert data.class_names == VOC_CLASSES
    assert data.category_ids == tuple(range(1, 21))
    assert (example.image_id, example.height, example.width) == ("000012", 80, 100)
    # x = 11 - 1, y = 21 - 1, width = 40 - 11 + 1, height = 60 - 21 + 1
    expected = [[10, 20, 30, 40], [0, 0, 100, 80], [0.5, 1.25, 31, 41]]
    np.testing.assert_array_equal(example.boxes, np.array(expected, np.float64))
    assert example.labels.tolist() == [11, 7, 11]  # dog is the 12th, cat the 8th of the twenty
    assert example.is_difficult.tolist() == [False, True, False]
    assert example.is_crowd.tolist() == [False, False, False]
    assert example.areas.tolist() == [1200, 8000, 1271]
    # y 20/80, x 10/100, y 60/80, x 40/100
    np.testing.assert_allclose(example.relative_boxes()[0], [0.25, 0.1, 0.75, 0.4], rtol=1e-6)
    assert example.relative_boxes().dtype == np.float32
    assert data.problems == ()


def test_coco_keeps_its_own_doubles_and_closes_gaps_between_ids(tmp_path):
    annotations = [
        coco_object(1, bbox=[10.1, 20.2, 30.3, 40.4], area=0.1 + 0.2),
        coco_object(2, category_id=3, iscrowd=1, bbox=[0, 0, 100, 80], area=123.0),
        coco_object(3, bbox=[1, 2, 3, 4], area=None),
    ]
    data = load_data(write_coco(tmp_path, [coco_image(7), coco_image(9)], annotations))
    first, second = data.examples
    assert data.class_names == ("car", "dog")
    assert data.category_ids == (3, 18)
    assert first.image_id == 7
    assert first.boxes.dtype == np.float64
    assert first.boxes.tolist() == [[10.1, 20.2, 30.3, 40.4], [0, 0, 100, 80], [1, 2, 3, 4]]
    assert first.areas.tolist() == [0.1 + 0.2, 123.0, 12.0]
    assert first.labels.tolist() == [1, 0, 1]
    assert first.is_crowd.tolist() == [False, True, False]
    assert (second.image_id, second.boxes.shape) == (9, (0, 4))
    assert second.relative_boxes().shape == (0, 4)
    assert data.problems == ()


def test_read_gives_the_bytes_of_file_and_memory(tmp_path):
    (example,) = load_data(write_voc(tmp_path, {"a": []})).examples
    assert example.read() == image_bytes()
    empty = np.zeros((0, 4))
    flags = np.zeros(0, bool)
    held = Example("a", b"bytes", 8, 9, empty, np.zeros(0, np.int32), flags, flags, np.zeros(0))
    assert held.read() == b"bytes"


def test_relative_boxes_end_at_the_edge(tmp_path):
    objects = [voc_object(corners=(0, 0, 101, 81))]  # a tool that counts pixels its own way
    data = load_data(write_voc(tmp_path, {"a": objects}))
    assert data.examples[0].boxes.tolist() == [[-1, -1, 102, 82]]
    assert data.examples[0].relative_boxes().tolist() == [[0, 0, 1, 1]]
    assert data.problems == ()


# --- classes and splits ---


def test_other_classes_than_voc_are_sorted(tmp_path):
    objects = [voc_object("zebra"), voc_object("dog"), voc_object("ant")]
    data = load_data(write_voc(tmp_path, {"a": objects}))
    assert data.class_names == ("ant", "dog", "zebra")
    assert data.examples[0].labels.tolist() == [2, 1, 0]


def test_given_class_names_set_the_labels(tmp_path):
    objects = [voc_object("zebra"), voc_object("dog"), voc_object("ant")]
    data = load_data(write_voc(tmp_path, {"a": objects}), class_names=["zebra", "ant"])
    assert data.class_names == ("zebra", "ant")
    assert data.examples[0].labels.tolist() == [0, 1]
    assert re.fullmatch(
        r".*a\.xml: object 2 \(dog\): unknown class 'dog'; expected one of zebra, ant; dropped",
        only_problem(data),
    )


def test_given_class_names_keep_the_category_ids_of_the_file(tmp_path):
    spec = write_coco(tmp_path, annotations=[coco_object()])
    data = load_data(spec, class_names=["dog", "bus", "car"])
    assert data.category_ids == (18, 19, 3)  # the file has no bus: above all of its ids
    assert data.examples[0].labels.tolist() == [0]


def test_a_split_of_one_class_lists_an_id_and_a_flag(tmp_path):
    listed = ["000001 -1", "000002  1", "my photo 1", "000003  0"]
    stems = ["000001", "000002", "my photo 1", "000003"]
    spec = write_voc(tmp_path, dict.fromkeys(stems, []), split="dog_train", listed=listed)
    assert [example.image_id for example in load_data(spec).examples] == stems


def test_sources_are_united_by_class_name(tmp_path):
    first = write_voc(tmp_path / "a@b", {"000001": [voc_object("zebra"), voc_object("dog")]})
    second = write_voc(tmp_path / "c", {"000001": [voc_object("ant"), voc_object("dog")]})
    third = write_coco(tmp_path / "d", annotations=[coco_object(), coco_object(2, category_id=3)])
    data = load_data([first, second, third])
    assert data.class_names == ("dog", "zebra", "ant", "car")
    assert data.category_ids == (1, 2, 3, 4)
    assert [example.image_id for example in data.examples] == ["000001", "1:000001", 7]
    assert [example.labels.tolist() for example in data.examples] == [[1, 0], [2, 0], [0, 3]]


# --- images that are as they should be ---


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jpg", image_bytes(mode="L")),
        ("a.jpeg", image_bytes(mode="CMYK")),
        ("a.JPG", image_bytes(progressive=True)),
        ("a.png", image_bytes("PNG", mode="RGBA")),
        ("a.PNG", image_bytes("PNG", mode="L")),
        ("a.jfif", image_bytes()),
        ("a.jpg", image_bytes("PNG")),  # the extension lies
        ("a.jpg", image_bytes() + b"\0" * 9000),  # padded by a camera
    ],
)
def test_every_kind_of_image_is_accepted(tmp_path, name, content):
    spec = write_voc(tmp_path, {"a": [voc_object()]})
    (tmp_path / "JPEGImages" / "a.jpg").unlink()
    (tmp_path / "JPEGImages" / name).write_bytes(content)
    data = load_data(spec, bad_data="refuse")
    assert data.examples[0].read() == content
    assert data.examples[0].orientation == 1


@pytest.mark.parametrize(
    ("name", "kind"), [("a.webp", "WebP"), ("a.TIF", "TIFF"), ("a.bmp", "BMP"), ("a.jpg", "GIF")]
)
def test_other_formats_become_png(tmp_path, name, kind):
    spec = write_voc(tmp_path, {"a": [voc_object()]})
    (tmp_path / "JPEGImages" / "a.jpg").unlink()
    path = tmp_path / "JPEGImages" / name
    path.write_bytes(image_bytes(kind.upper()))
    data = load_data(spec, bad_data="refuse")
    assert data.examples[0].read().startswith(b"\x89PNG") and data.examples[0].location == str(path)
    np.testing.assert_array_equal(decode_example(data.examples[0]), read_image(str(path)))
    assert only_problem(data) == f"{path}: it is {kind}; converted to PNG"
    assert not data.problems[0].is_loss


def test_a_cache_that_cannot_be_used_ends_the_reading(tmp_path, monkeypatch):
    """Else every image would be dropped for a full disk."""
    (tmp_path / "cache").write_bytes(b"")
    monkeypatch.setenv("SSD_KERAS_CACHE", str(tmp_path / "cache"))
    spec = write_voc(tmp_path, {"a": [voc_object()], "b": [voc_object()]})
    (tmp_path / "JPEGImages" / "a.jpg").write_bytes(image_bytes("WEBP"))
    message = r"cache.images' cannot be written .*another path: SSD_KERAS_CACHE names the folder of"
    with pytest.raises(ValueError, match=message):
        load_data(spec)


def test_several_writers_of_one_converted_image_write_files_of_their_own(tmp_path, monkeypatch):
    """Else the second would cut the file of the first, which is then moved to its place."""
    monkeypatch.setenv("SSD_KERAS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.webp").write_bytes(image_bytes("WEBP"))
    others = []

    def flush(path):
        """The first writer has written its file: now another one converts the image."""
        if not others:
            others.append(path)
            others.append(convert_image(str(tmp_path / "a.webp")))
            assert Path(path).read_bytes() == Path(others[1].path).read_bytes()

    monkeypatch.setattr(files, "flush", flush)
    converted = convert_image(str(tmp_path / "a.webp"))
    assert converted == others[1]
    assert [str(path) for path in (tmp_path / "cache/images").iterdir()] == [converted.path]


def test_an_image_that_exif_turns_has_its_orientation(tmp_path):
    spec = write_voc(tmp_path, {"a": [voc_object()], "b": [voc_object()]})
    width, height = SIZE
    # a: the annotation is of the turned image; b: of the pixels as they are stored
    (tmp_path / "JPEGImages" / "a.jpg").write_bytes(turned_image((height, width)))
    (tmp_path / "JPEGImages" / "b.jpg").write_bytes(turned_image((width, height)))
    turned, stored = load_data(spec, bad_data="refuse").examples
    assert (turned.height, turned.width, turned.orientation) == (height, width, 6)
    assert (stored.height, stored.width, stored.orientation) == (height, width, 1)


@pytest.mark.parametrize("check_images", [True, False])
def test_a_missing_size_is_taken_from_the_image(tmp_path, check_images):
    spec = write_voc(tmp_path, {"a": [voc_object(corners=(1, 1, 100, 80))]}, size=(0, 0))
    data = load_data(spec, check_images=check_images)
    assert (data.examples[0].width, data.examples[0].height) == SIZE
    assert data.examples[0].relative_boxes().tolist() == [[0, 0, 1, 1]]
    images = [{"id": 7, "file_name": "7.jpg"}]
    data = load_data(write_coco(tmp_path, images), check_images=check_images)
    assert (data.examples[0].width, data.examples[0].height) == SIZE


def test_scoring_needs_no_image(tmp_path):
    voc = write_voc(tmp_path, {"a": [voc_object()]})
    coco = write_coco(tmp_path, annotations=[coco_object()])
    for folder in ("JPEGImages", "images"):
        for path in (tmp_path / folder).iterdir():
            path.unlink()
        (tmp_path / folder).rmdir()
    data = load_data([voc, coco], check_images=False, bad_data="refuse")
    assert [len(example.boxes) for example in data.examples] == [1, 1]


# --- images that are not ---

BROKEN_IMAGES = {
    "empty": (b"", r"the file is empty; expected an image; dropped"),
    "text": (b"<html>not found", r"not an image \(it starts with b'<html>no'\); expected JPEG, "),
    "cut JPEG": (image_bytes()[:-300], r"the JPEG file is cut off; expected its end mark"),
    "cut PNG": (image_bytes("PNG")[:-9], r"the PNG file is cut off; expected its end mark"),
    "no header": (b"\xff\xd8\xff\xe0\x00\x02\xff\xd9", r"the JPEG header cannot be read \("),
    "size": (image_bytes(size=(90, 80)), r"has 90x80 pixels; expected 100x80 as annotated"),
    "swapped": (image_bytes(size=(80, 100)), r"has 80x100 pixels; expected 100x80 as annotated"),
}


@pytest.mark.parametrize(("content", "words"), BROKEN_IMAGES.values(), ids=BROKEN_IMAGES)
def test_a_broken_image_is_left_out(tmp_path, content, words):
    spec = write_voc(tmp_path, {"good": [voc_object()], "bad": [voc_object()]})
    (tmp_path / "JPEGImages" / "bad.jpg").write_bytes(content)
    data = load_data(spec)
    assert [example.image_id for example in data.examples] == ["good"]
    assert re.search(r"bad\.jpg: .*" + words, only_problem(data))
    with pytest.raises(ValueError, match=words.removesuffix("; dropped")):
        load_data(spec, bad_data="refuse")


def test_a_thumbnail_does_not_hide_that_an_image_is_cut_off(tmp_path):
    thumbnail = image_bytes(size=(16, 12))
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = image_bytes()
    spec = write_voc(tmp_path, {"good": [], "bad": []})
    for stem, end in (("good", None), ("bad", -2)):
        content = whole[:2] + segment + whole[2:end]
        (tmp_path / "JPEGImages" / f"{stem}.jpg").write_bytes(content)
    assert re.search(r"bad\.jpg: the JPEG file is cut off", only_problem(load_data(spec)))


def test_missing_files_are_problems(tmp_path):
    listed = ["good", "no_image", "no_annotation", "../outside"]
    spec = write_voc(tmp_path, {"good": [], "no_image": []}, listed=listed)
    (tmp_path / "outside.xml").write_text("<annotation/>")
    (tmp_path / "JPEGImages" / "no_image.jpg").unlink()
    data = load_data(spec)
    assert [example.image_id for example in data.examples] == ["good"]
    first, second, third = map(str, data.problems)
    assert re.search(r"no_annotation\.xml: the annotation file is missing; expected", first)
    assert re.search(r"outside\.xml: the annotation file is missing; expected", second)
    assert re.search(r"no_image\.jpg: the image is missing; expected .*; dropped$", third)


def test_filename_in_the_annotation_is_not_trusted(tmp_path):
    text = "<annotation><filename>../../secret.png</filename></annotation>"
    spec = write_voc(tmp_path / "voc", {"a": text})
    assert load_data(spec).examples[0].image == str(tmp_path / "voc/JPEGImages/a.jpg")


# --- annotations that are not as they should be ---

BAD_XML = {
    "cut": ("<annotation><object>", r"the annotation file cannot be read \(no element found"),
    "empty": ("", r"the annotation file cannot be read \(no element found"),
    "entities": (
        '<!DOCTYPE a [<!ENTITY b "cccc">]><annotation>&b;</annotation>',
        r"the annotation file cannot be read \(it declares a document type, which is refused\); e",
    ),
}


@pytest.mark.parametrize(("text", "words"), BAD_XML.values(), ids=BAD_XML)
def test_bad_xml_is_left_out(tmp_path, text, words):
    data = load_data(write_voc(tmp_path, {"good": [], "bad": text}))
    assert [example.image_id for example in data.examples] == ["good"]
    assert re.search(r"bad\.xml: " + words + ".*; dropped$", only_problem(data))


BAD_VOC_OBJECTS = {
    "one pixel": ((50, 20, 50, 20), r"box xmin=50 ymin=20 xmax=50 ymax=20 has no area; expected"),
    "no height": ((50, 20, 60, 20), r"has no area; expected a width and a height above 0"),
    "word": (("left", 20, 50, 30), r"box xmin=left .* is not four numbers; expected finite pixels"),
    "empty": (("", 20, 50, 30), r"is not four numbers; expected finite pixels"),
    "nan": (("nan", 20, 50, 30), r"is not four numbers; expected finite pixels"),
    "infinite": ((10, 20, "inf", 30), r"is not four numbers; expected finite pixels"),
    "outside": ((101, 20, 120, 30), r"in 100x80 pixels lies outside the image"),
}


@pytest.mark.parametrize(("corners", "words"), BAD_VOC_OBJECTS.values(), ids=BAD_VOC_OBJECTS)
def test_a_bad_object_is_left_out_and_its_neighbours_stay(tmp_path, corners, words):
    objects = [voc_object("cat"), voc_object("dog", corners), voc_object("cow")]
    data = load_data(write_voc(tmp_path, {"a": objects}))
    assert [data.class_names[label] for label in data.examples[0].labels] == ["cat", "cow"]
    assert re.search(r"a\.xml: object 2 \(dog\): .*" + words, only_problem(data))
    assert data.problems[0].action == "dropped"


def test_an_object_without_a_name_is_left_out(tmp_path):
    data = load_data(write_voc(tmp_path, {"a": [voc_object(" ")]}))
    assert re.search(r"a\.xml: object 1: the object has no class name; exp", only_problem(data))


def test_a_box_that_reaches_outside_is_clipped(tmp_path):
    data = load_data(write_voc(tmp_path, {"a": [voc_object(corners=(-9, 21, 103, 60))]}))
    assert data.examples[0].boxes.tolist() == [[0, 20, 100, 40]]
    assert re.search(
        r"object 1 \(dog\): box x=-10 y=20 width=113 height=40 in 100x80 pixels reaches outside "
        r"the image; clipped$",
        only_problem(data),
    )


@pytest.mark.parametrize(
    ("box", "expected", "expected_kind"),
    [
        ((10, 20, 30, 40), (10, 20, 30, 40), None),
        ((-1, -1, 102, 82), (-1, -1, 102, 82), None),  # one pixel over each edge: as it is
        ((-1.5, 0, 50, 50), (0, 0, 48.5, 50), ProblemKind.REACHES_OUTSIDE),
        ((90, 70, 11.5, 10), (90, 70, 10, 10), ProblemKind.REACHES_OUTSIDE),
        ((-5, 10, 5, 10), None, ProblemKind.OUTSIDE_IMAGE),  # touches the edge from outside
        ((10, 10, 0, 10), None, ProblemKind.NO_AREA),
        ((10, 10, 5, -3), None, ProblemKind.NO_AREA),
        ((float("nan"), 10, 5, 3), None, ProblemKind.NOT_FOUR_NUMBERS),
    ],
)
def test_fit_box(box, expected, expected_kind):
    kept, kind, detail = fit_box(box, height=80, width=100)
    assert (kept, kind) == (expected, expected_kind)
    assert bool(detail) == bool(kind)


BAD_COCO = {
    "image": ({"image_id": 8}, r"annotation 1: unknown image_id 8; expected the id of one of"),
    "list": ({"image_id": [7]}, r"annotation 1: unknown image_id \[7\]; expected"),
    "category": ({"category_id": 4}, r"annotation 1: unknown class 4 \(category_id\); expected"),
    "three": ({"bbox": [1, 2, 3]}, r"annotation 1: bbox \[1, 2, 3\] .* is not four numbers; exp"),
    "nan": (
        {"bbox": [1, 2, 3, float("nan")]},
        r".* is not four numbers; expected finite pixels",
    ),
    "words": ({"bbox": ["1", "2", "3", "4"]}, r".* is not four numbers; expected finite pixels"),
    "none": ({"bbox": None}, r".*bbox None \(x, y, width, height\) is not four numbers; exp"),
    "area": ({"bbox": [1, 2, 0, 4]}, r"annotation 1 \(dog\): box x=1 .* has no area; expected"),
    "outside": ({"bbox": [100, 2, 9, 4]}, r"annotation 1 \(dog\): box .* lies outside the image"),
}


@pytest.mark.parametrize(("changes", "words"), BAD_COCO.values(), ids=BAD_COCO)
def test_a_bad_coco_annotation_is_left_out(tmp_path, changes, words):
    good = coco_object(2, category_id=3)
    data = load_data(write_coco(tmp_path, annotations=[coco_object(**changes), good]))
    assert data.examples[0].labels.tolist() == [0]
    assert re.search(r"instances\.json: " + words + r".*; dropped$", only_problem(data))


BAD_COCO_IMAGES = {
    "twice": (coco_image(7, file_name="8.jpg"), r"image 2: image 7 \(.*7\.jpg\) is listed"),
    "missing": (coco_image(8, file_name="missing.jpg"), r"missing\.jpg: the image is missing"),
    "outside": (coco_image(8, file_name="../x.jpg"), r"image 2: the path \.\./x\.jpg leads out"),
    "no name": (coco_image(8, file_name=None), r"image 2: the path of the image is missing"),
    "no id": (coco_image(None, file_name="8.jpg"), r"image 2: the image has no id; expected"),
}


@pytest.mark.parametrize(("image", "words"), BAD_COCO_IMAGES.values(), ids=BAD_COCO_IMAGES)
def test_a_bad_coco_image_is_left_out(tmp_path, image, words):
    data = load_data(write_coco(tmp_path, [coco_image(7), image]))
    assert [example.image_id for example in data.examples] == [7]
    assert re.search(words, only_problem(data))


def test_bad_coco_categories_are_problems(tmp_path):
    categories = [{"id": 1, "name": "dog"}, {"id": 1, "name": "cat"}, {"name": "cow"}]
    data = load_data(write_coco(tmp_path, categories=categories))
    assert data.class_names == ("dog",)
    first, second = map(str, data.problems)
    assert re.search(r"category 2: category id 1 is already 'dog'; expected", first)
    assert re.search(r"category 3: the category has no id or no name; expected a whole", second)


def test_an_id_that_is_listed_twice_counts_once(tmp_path):
    spec = write_voc(tmp_path, {"a": [], "b": []}, listed=["a", "b", "a"])
    data = load_data(spec)
    assert [example.image_id for example in data.examples] == ["a", "b"]
    assert re.search(r"train\.txt: image a is listed twice", only_problem(data))


# --- policies and messages ---


def test_refuse_names_the_first_problem_and_counts_the_others(tmp_path):
    bad = voc_object(corners=(9, 9, 9, 9))
    spec = write_voc(tmp_path, {"a": [voc_object(), bad], "b": [bad, bad, bad]})
    assert len(load_data(spec).problems) == 4
    with pytest.raises(
        ValueError,
        match=r"a\.xml: object 2 \(dog\): box .* has no area; expected .* \.\.\. and 3 more; "
        r"correct the data, or pass bad_data='drop' \(--bad-data drop\) to drop them$",
    ):
        load_data(spec, bad_data="refuse")


def test_refuse_of_a_single_problem(tmp_path):
    spec = write_voc(tmp_path, {"a": [voc_object(corners=(9, 9, 9, 9))]})
    with pytest.raises(ValueError, match=r"above 0; correct .*--bad-data drop\) to drop it$"):
        load_data(spec, bad_data="refuse")


def test_a_problem_is_one_line():
    problem = Problem(ProblemKind.NO_CLASS_NAME, "a.xml: object 3")
    assert str(problem) == (
        "a.xml: object 3: the object has no class name; expected one line of text; dropped"
    )
    problem = Problem(ProblemKind.BROKEN_IMAGE, "two\nlines.jpg", "{} it is\nbad", "kept")
    assert str(problem) == r"two\nlines.jpg: {} it is\nbad; kept"


WRONG_SPECS = {
    "kind": (
        "pascal:x@y",
        ValueError,
        r"data 'pascal:x@y': unknown format 'pascal'; expected .*voc:",
    ),
    "no kind": (
        "some/folder",
        ValueError,
        r"data 'some/folder': it begins with no format; expected such as voc:ROOT",
    ),
    "no split": ("voc:{root}", ValueError, r"a part is missing around '@'; expected voc:ROOT@SPL"),
    "no folder": ("coco:a.json@", ValueError, r"missing around '@'; expected coco:ANNOTATIONS"),
    "root": (
        "voc:{root}/no@train",
        FileNotFoundError,
        r"folder .*no does not exist",
    ),
    "split": (
        "voc:{root}@tset",
        FileNotFoundError,
        r"data 'voc:.*@tset': no split file .*tset\.txt; expected one of the splits there: "
        r"empty, train, or all for all images$",
    ),
    "split that is nearly one": (
        "voc:{root}@Trian",
        FileNotFoundError,
        r"data 'voc:.*@Trian': no split file .*Trian\.txt; did you mean 'train'\? expected one",
    ),
    "empty split": ("voc:{root}@empty", ValueError, r"split file .*empty\.txt is empty; expected"),
    "file": ("coco:{root}/no.json@{root}", FileNotFoundError, r"no annotation file .*no\.json; e"),
    "images": (
        "coco:{root}/instances.json@{root}/no",
        FileNotFoundError,
        r"folder .*no does not exist",
    ),
    "not JSON": ("coco:{root}/text.json@{root}", ValueError, r"text\.json is not JSON \(.*; exp"),
    "not COCO": ("coco:{root}/list.json@{root}", ValueError, r"has no list of records 'images'; e"),
    "set": ("synthetic:faces@train", ValueError, r"unknown generated set 'faces'; expected shap"),
    "part": (
        "synthetic:shapes@all",
        ValueError,
        r"unknown split 'all'; .*expected train, val, test",
    ),
    "count": (
        "synthetic:shapes@val[:201]",
        ValueError,
        r"has 201 images; expected 1 to 200",
    ),
}


@pytest.mark.parametrize(("spec", "error", "words"), WRONG_SPECS.values(), ids=WRONG_SPECS)
def test_wrong_specs_are_errors_of_one_line(tmp_path, spec, error, words):
    write_voc(tmp_path, {"a": []})
    write_voc(tmp_path, {}, split="empty")
    write_coco(tmp_path)
    (tmp_path / "text.json").write_text("{ no")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(error, match=words) as caught:
        load_data(spec.format(root=tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bad_data": "keep"}, r"unknown bad_data 'keep'; expected 'drop' or 'refuse'"),
        ({"class_names": "dog"}, r"class_names='dog' is a string; pass a list of names"),
        ({"class_names": []}, r"class_names is empty; pass the name of at least one"),
        ({"class_names": ["a", "b", "a"]}, r"class_names holds 'a' twice; name each class once"),
    ],
)
def test_wrong_options_are_errors(options, words):
    with pytest.raises(ValueError, match=words):
        load_data("synthetic:shapes@val[:1]", **options)


def test_no_data_and_no_image_are_errors(tmp_path):
    with pytest.raises(ValueError, match=r"no data given; expected at least one of voc:"):
        load_data([])
    spec = write_voc(tmp_path, {"a": []})
    (tmp_path / "JPEGImages" / "a.jpg").unlink()
    words = r"no image is left; expected at .*; the first problem: .*a\.jpg: the image"
    with pytest.raises(ValueError, match=words):
        load_data([spec, "synthetic:shapes@val[:1]"])


def test_progress_shows_a_bar(tmp_path, capsys):
    spec = write_voc(tmp_path, {"a": []})
    load_data(spec)
    assert capsys.readouterr().err == ""
    load_data(spec, progress=True)
    assert "reading annotations" in capsys.readouterr().err


# --- real data ---


@pytest.mark.parametrize(
    ("split", "num_images", "num_objects", "bad_object"),
    [
        ("train", 205, 2804, r"BloodImage_00343\.xml: object 4 \(RBC\): box xmin=181 .* no area"),
        ("val", 87, 1137, r"BloodImage_00338\.xml: object 13 \(RBC\): box xmin=504 .* no area"),
    ],
)
def test_blood_cells(shared, split, num_images, num_objects, bad_object):
    data = load_data(f"voc:{shared}/data/bccd@{split}")
    assert data.class_names == ("Platelets", "RBC", "WBC")
    assert len(data) == num_images
    assert sum(len(example.boxes) for example in data.examples) == num_objects
    assert re.search(bad_object, only_problem(data))


def test_voc2012_sample(shared):
    data = load_data(f"voc:{shared}/data/voc2012_sample@val", bad_data="refuse")
    assert data.class_names == VOC_CLASSES
    assert len(data) == 100
    counts = np.bincount(np.concatenate([example.labels for example in data.examples]))
    assert counts.sum() == 273
    assert counts[VOC_CLASSES.index("person")] == 91
