"""COCO files as tools write them: names of images, flags, shares, and JSON that is not COCO's."""

import gzip
import json
import re
import unicodedata

import pytest
from datasets import coco_image, coco_object, image_bytes, only_problem, write_coco

from ssd_keras.cli.parser import main
from ssd_keras.data import load_data
from ssd_keras.data.problems import problem_lines

PATHS = {  # the name in the annotations, the file, whether a note names the difference
    "decomposed name, composed file": (unicodedata.normalize("NFD", "café.jpg"), "café.jpg", False),
    "composed name, decomposed file": ("café.jpg", unicodedata.normalize("NFD", "café.jpg"), False),
    "folder below": ("./x//a.jpg", "x/a.jpg", False),
    "folders of Windows": (r"x\a.jpg", "x/a.jpg", False),
    "other capitals": ("A.JPG", "a.jpg", False),
    "no ending": ("a", "a.jpg", False),
    "escapes": ("my%20car%231.jpg", "my car#1.jpg", False),
    "a percent sign": ("50%20.jpg", "50%20.jpg", False),
    "a folder that is not there": ("train2017/a.jpg", "a.jpg", True),
    "absolute": ("/home/me/data/x/a.jpg", "x/a.jpg", True),
    "absolute of Windows": (r"C:\Users\me\a.jpg", "a.jpg", True),
    "address": ("https://storage.org/b/my%20car.jpg?alt=media", "my car.jpg", True),
    "folder above": ("../images2/a.jpg", "a.jpg", True),
}


@pytest.mark.parametrize(("name", "file", "is_told"), PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("key", ["file_name", "coco_url"])
def test_images_are_found_by_names_of_any_form(tmp_path, name, file, is_told, key):
    spec = write_coco(tmp_path, annotations=[coco_object()])
    (tmp_path / "images/7.jpg").unlink()
    (tmp_path / "images" / file).parent.mkdir(exist_ok=True)
    (tmp_path / "images" / file).write_bytes(image_bytes())
    path = tmp_path / "instances.json"
    content = json.loads(path.read_text())
    del content["images"][0]["file_name"]
    content["images"][0][key] = name
    path.write_text(json.dumps(content))
    data = load_data(spec, bad_data="refuse")
    assert data.examples[0].labels.tolist() == [1]
    assert data.examples[0].image == str(tmp_path / "images" / file)
    assert len(data.problems) == is_told
    if is_told:
        words = r"image 1: the image folder has no '.*', but .*; read from there"
        assert re.search(words, only_problem(data))


def test_one_file_is_not_taken_for_two_names_of_other_folders(tmp_path):
    images = [coco_image(7, file_name="x/a.jpg"), coco_image(8, file_name="y/a.jpg"), coco_image(9)]
    for image in images[:2]:
        (tmp_path / "images" / image["file_name"]).parent.mkdir(parents=True)
    spec = write_coco(tmp_path, images, [coco_object(image_id=9)])
    for folder in "xy":
        (tmp_path / "images" / folder / "a.jpg").unlink()
    (tmp_path / "images" / "a.jpg").write_bytes(image_bytes())
    data = load_data(spec)
    assert [example.image_id for example in data.examples] == [9]
    (line,) = problem_lines(data.problems)
    assert "2 images dropped" in line and "the image is missing" in line


def test_two_images_of_one_file_are_told(tmp_path):
    spec = write_coco(tmp_path, [coco_image(7), coco_image(8, file_name="./7.jpg")])
    problem = only_problem(load_data(spec, bad_data="refuse"))
    assert problem.endswith("image 2: the image is of the same file as image 7; kept")


def test_categories_that_the_file_lacks_have_a_line_each(tmp_path):
    annotations = [coco_object(i, category_id=(18, 40, 50)[i % 3]) for i in range(1, 10)]
    lines = problem_lines(load_data(write_coco(tmp_path, annotations=annotations)).problems)
    assert ["unknown class 40" in line for line in lines] == [True, False]
    assert all(line.startswith("objects of unknown classes: 3 objects dropped") for line in lines)


@pytest.mark.parametrize(
    ("flag", "is_crowd"),
    [(1, True), ("1", True), (True, True), ("true", True), (1.0, True), (0, False), ("0", False),
     (None, False), ("", False)],
)  # fmt: skip
def test_crowd_flags_may_be_texts(tmp_path, flag, is_crowd):
    data = load_data(write_coco(tmp_path, annotations=[coco_object(iscrowd=flag)]))
    assert data.examples[0].is_crowd.tolist() == [is_crowd]
    assert not data.problems


def test_a_crowd_flag_that_is_no_flag_is_named(tmp_path):
    data = load_data(write_coco(tmp_path, annotations=[coco_object(iscrowd="perhaps")]))
    assert data.examples[0].is_crowd.tolist() == [False]
    assert "iscrowd is 'perhaps'; expected 0, 1, false or true; taken as no" in only_problem(data)


def test_a_file_of_shares_is_read_as_such_and_told(tmp_path):
    annotations = [
        coco_object(1, bbox=[0.1, 0.25, 0.305, 0.5], area=0.1525),
        coco_object(2, bbox=[0, 0, 1, 1], area=1, category_id=3),
    ]
    data = load_data(write_coco(tmp_path, annotations=annotations), bad_data="refuse")
    assert data.examples[0].boxes.tolist() == [[10, 20, 30.5, 40], [0, 0, 100, 80]]
    assert data.examples[0].areas.tolist() == [30.5 * 40, 8000]
    assert "all corners lie within 0 and 1; expected pixels; read as shares" in only_problem(data)
    # One box of pixels among them: they are read as pixels, and a note names those below one pixel.
    annotations.append(coco_object(3, bbox=[10, 20, 30, 40]))
    data = load_data(write_coco(tmp_path, annotations=annotations))
    assert data.examples[0].boxes.tolist()[2] == [10, 20, 30, 40]
    assert "box of 0.305 by 0.5 pixels is smaller than a pixel" in only_problem(data)


OTHERS = {
    "CreateML": [{"image": "a.jpg", "annotations": [{"label": "cat", "coordinates": {}}]}],
    "Label Studio": [{"id": 1, "data": {"image": "a.jpg"}, "annotations": [{"result": []}]}],
    "labelme": {"version": "5.0", "shapes": [], "imagePath": "a.jpg"},
    "VIA": {"a.jpg123": {"filename": "a.jpg", "size": 123, "regions": []}},
    "VIA, whole project": {"_via_settings": {}, "_via_img_metadata": {}},
    "detections": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}],
}


@pytest.mark.parametrize(("name", "content"), OTHERS.items(), ids=OTHERS)
def test_json_of_other_tools_is_named(tmp_path, name, content):
    spec = write_coco(tmp_path)
    (tmp_path / "instances.json").write_text(json.dumps(content))
    words = "holds detections, not annotations" if name == "detections" else name.partition(",")[0]
    with pytest.raises(ValueError, match=rf"instances\.json .*{words}.*; export the data as COCO"):
        load_data(spec)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"caption": "a dog"}, r"annotations of .* are captions; expected boxes, such as those of"),
        ({"segments_info": []}, r"annotations of .* are panoptic segments; expected boxes"),
        ({"segmentation": [[1, 2]]}, r"no annotation of .* has a bbox; expected x, y, width, heig"),
    ],
)
def test_annotations_without_boxes_are_one_line(tmp_path, record, words):
    annotations = [{"id": number, "image_id": 7} | record for number in range(100)]
    with pytest.raises(ValueError, match=words):
        load_data(write_coco(tmp_path, annotations=annotations))


@pytest.mark.parametrize(
    "encode",
    [
        gzip.compress,
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.decode().encode("utf-16"),
    ],
    ids=["gzip", "byte order mark", "UTF-16"],
)
def test_encodings_of_json(tmp_path, encode):
    spec = write_coco(tmp_path, annotations=[coco_object()])
    path = tmp_path / "instances.json"
    path.write_bytes(encode(path.read_bytes()))
    assert load_data(spec, bad_data="refuse").examples[0].labels.tolist() == [1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b'{"images":\n["caf\xe9"]}',
            r"instances\.json: line 2 is not UTF-8; save the file",
        ),
        (
            gzip.compress(b"{}", mtime=0)[:-9],
            r"instances\.json is not JSON \(Compressed file ended",
        ),
        (b"{]", r"instances\.json is not JSON \("),
    ],
)
def test_files_that_are_not_json_are_errors(tmp_path, content, words):
    spec = write_coco(tmp_path)
    (tmp_path / "instances.json").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        load_data(spec)


def test_data_convert_renames_and_drops_classes(tmp_path, capsys):
    spec = write_coco(
        tmp_path, annotations=[coco_object(1), coco_object(2, category_id=3, bbox=[1, 2, 30, 40])]
    )
    arguments = ["data", "convert", spec, "--format", "coco", "--output", str(tmp_path / "copy")]
    assert main([*arguments, "--rename", "dog=animal", "--drop", "car", "--drop", "cra"]) == 0
    output = capsys.readouterr()
    assert "object 2 (car): class 'car' is to be dropped; not used" in output.err
    assert "the data have no class 'cra'; did you mean 'car'?; ignored" in output.err
    copy = json.loads(next((tmp_path / "copy").rglob("*.json")).read_text())
    assert [record["name"] for record in copy["categories"]] == ["animal"]
    assert [record["bbox"] for record in copy["annotations"]] == [[10.25, 20.5, 30.125, 40.0]]
    assert main([*arguments, "--rename", "dog"]) == 2
    assert (
        "--rename 'dog' is not understood; expected such as van=vehicle" in capsys.readouterr().err
    )


ROBOFLOW = [
    {"id": 0, "name": "objects", "supercategory": "none"},
    {"id": 1, "name": "cat", "supercategory": "objects"},
    {"id": 2, "name": "dog", "supercategory": "objects"},
]


def test_a_category_that_only_stands_for_all_others_is_no_class(tmp_path):
    spec = write_coco(tmp_path, annotations=[coco_object(category_id=2)], categories=ROBOFLOW)
    data = load_data(spec, bad_data="refuse")
    assert (data.class_names, data.category_ids) == (("cat", "dog"), (1, 2))
    assert data.examples[0].labels.tolist() == [1]
    words = r"category 0 'objects' has no object, and all others are of it; no class"
    assert re.search(words, only_problem(data))


@pytest.mark.parametrize("category_id", [0, 3])
def test_other_categories_without_objects_are_classes(tmp_path, category_id):
    """One that has an object, or that only some of the others are kinds of."""
    other = {"id": 3, "name": "car", "supercategory": "vehicle"}
    categories = [*ROBOFLOW, other] if category_id == 3 else ROBOFLOW
    spec = write_coco(
        tmp_path, annotations=[coco_object(category_id=category_id)], categories=categories
    )
    data = load_data(spec)
    assert data.class_names[0] == "objects" and len(data.problems) == 0
