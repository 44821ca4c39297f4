"""The reader of TensorFlow Datasets, on a set built in a temporary folder as the real ones are."""

import functools
import re

import numpy as np
import pytest
from datasets import SIZE, image_bytes, only_problem

from ssd_keras.core.class_names import VOC_CLASSES
from ssd_keras.data import load_data
from ssd_keras.data.image_sources import FileSlice
from ssd_keras.data.pipeline import make_lookup
from ssd_keras.data.readers.tfds import _image_id

WIDTH, HEIGHT = SIZE  # 100, 80
IMAGES = [image_bytes(), image_bytes("PNG"), image_bytes(quality=50)]


@pytest.fixture(autouse=True)
def needs_tfds():
    if not hasattr(pytest.importorskip("tensorflow_datasets"), "builder"):
        pytest.skip("NOT TESTED: tensorflow-datasets does not load with this protobuf")


def voc_element(tfds, folder, number):
    """What tfds' own builder of VOC makes: corners from 1, divided by the sides."""
    path = folder / f"00000{number}.jpg"
    path.write_bytes(IMAGES[number])
    corners = [(11, 21, 40, 60), (1, 1, 100, 80)][: 2 - number]
    return {
        "image": path,
        "image/filename": path.name,
        "labels": [],
        "labels_no_difficult": [],
        "objects": [
            {
                "label": ["dog", "cat"][index],
                "bbox": tfds.features.BBox(y0 / HEIGHT, x0 / WIDTH, y1 / HEIGHT, x1 / WIDTH),
                "pose": "frontal",
                "is_truncated": False,
                "is_difficult": index == 1,
            }
            for index, (x0, y0, x1, y1) in enumerate(corners)
        ],
    }


def coco_element(tfds, folder, number):
    path = folder / f"{number}.jpg"
    path.write_bytes(IMAGES[number])
    # x 10.5, y 20, width 30, height 40 pixels
    box = tfds.features.BBox(20 / HEIGHT, 10.5 / WIDTH, 60 / HEIGHT, 40.5 / WIDTH)
    crowd = {"area": 700, "bbox": box, "label": "zebra", "is_crowd": number == 1}
    return {"image": path, "image/id": 139 + number, "objects": [crowd] * number}


def build(folder, name, kind="tfrecord"):
    """Prepares the set `name` with a split train of three images and val of one."""
    import tensorflow_datasets as tfds

    box, flag, label = tfds.features.BBoxFeature(), np.bool_, tfds.features.ClassLabel
    if name == "voc":
        features = {"image/filename": tfds.features.Text()}
        labels = tfds.features.Sequence(label(names=VOC_CLASSES))
        features |= {"labels": labels, "labels_no_difficult": labels}
        inner = {"label": label(names=VOC_CLASSES), "bbox": box, "is_truncated": flag}
        inner |= {"pose": label(names=["frontal", "rear"]), "is_difficult": flag}
        make = functools.partial(voc_element, tfds)
    else:
        features = {"image/id": np.int64}
        inner = {"area": np.int64, "bbox": box, "label": label(names=["ant", "zebra"])}
        inner |= {"is_crowd": flag}
        make = functools.partial(coco_element, tfds)
    if name == "flat":
        inner = {"label": inner["label"]}
    features |= {"image": tfds.features.Image(), "objects": tfds.features.Sequence(inner)}

    def images(self, numbers):
        for number in numbers:
            element = make(folder, number)
            if name == "flat":
                element["objects"] = []
            yield number, element

    def splits(self, manager):
        return {"train": images(self, range(3)), "val": images(self, [1])}

    def info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    members = {"VERSION": tfds.core.Version("5.0.0"), "name": name, "pkg_dir_path": folder}
    if name == "voc":
        members["BUILDER_CONFIGS"] = [tfds.core.BuilderConfig(name="2007", version="5.0.0")]
    members |= {"_info": info, "_split_generators": splits, "_generate_examples": images}
    with tfds.core.registered.skip_registration():
        builder_type = type(name.title(), (tfds.core.GeneratorBasedBuilder,), members)
    builder = builder_type(data_dir=folder / "data", file_format=kind)
    builder.download_and_prepare()
    return builder.data_dir


def by_id(data):
    return {example.image_id: example for example in data.examples}


def test_voc_of_tfds_is_read_as_voc(tmp_path):
    data = load_data(f"tfds:{build(tmp_path, 'voc')}@train", bad_data="refuse")
    assert data.class_names == VOC_CLASSES
    found = by_id(data)
    assert sorted(found) == ["000000", "000001", "000002"]
    # x = 11 - 1, y = 21 - 1, width = 40 - 11 + 1, height = 60 - 21 + 1
    assert found["000000"].boxes.tolist() == [[10, 20, 30, 40], [0, 0, 100, 80]]
    assert found["000000"].labels.tolist() == [11, 7]
    assert found["000000"].is_difficult.tolist() == [False, True]
    assert found["000001"].boxes.tolist() == [[10, 20, 30, 40]]
    assert len(found["000002"].labels) == 0


def test_a_set_is_found_by_its_name(tmp_path, monkeypatch):
    """Prepared by the test's builder, opened by tfds' own builder of VOC 2007."""
    assert str(build(tmp_path, "voc")).endswith("data/voc/2007/5.0.0")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    data = load_data("tfds:voc/2007@train", bad_data="refuse")
    assert data.class_names == VOC_CLASSES
    assert by_id(data)["000000"].boxes.tolist() == [[10, 20, 30, 40], [0, 0, 100, 80]]


def test_images_stay_in_the_records_undecoded(tmp_path):
    data = load_data(f"tfds:{build(tmp_path, 'voc')}@train")
    assert all(isinstance(example.image, FileSlice) for example in data.examples)
    for example in data.examples:
        assert example.read() == IMAGES[int(example.image_id)]
    elements = map(make_lookup(data), range(len(data)))
    found = {x["image_id"].numpy().decode(): x["image"].numpy() for x in elements}
    assert found == {f"00000{number}": content for number, content in enumerate(IMAGES)}


def test_coco_of_tfds_counts_pixels_from_zero(tmp_path):
    data = load_data(f"tfds:{build(tmp_path, 'coco')}@train", bad_data="refuse")
    assert data.class_names == ("ant", "zebra")
    found = by_id(data)
    assert sorted(found) == [139, 140, 141]
    assert found[141].boxes.tolist() == [[10.5, 20, 30, 40]] * 2
    assert found[141].areas.tolist() == [700, 700]
    assert found[141].labels.tolist() == [1, 1]
    assert (found[140].is_crowd.tolist(), found[141].is_crowd.tolist()) == ([True], [False] * 2)


def test_a_set_of_array_records_is_held_in_memory(tmp_path):
    pytest.importorskip("array_record", reason="NOT TESTED: array-record is not installed")
    data = load_data(f"tfds:{build(tmp_path, 'voc', 'array_record')}@train", bad_data="refuse")
    assert {x.image_id: x.image for x in data.examples} == {
        f"00000{number}": content for number, content in enumerate(IMAGES)
    }


def test_splits_as_tfds_writes_them(tmp_path):
    folder = build(tmp_path, "voc")
    assert len(load_data(f"tfds:{folder}@train[:2]")) == 2
    assert len(load_data(f"tfds:{folder}@train+val")) == 4
    with pytest.raises(ValueError, match=r"no split 'test'; expected train, val, or as train\[:10"):
        load_data(f"tfds:{folder}@test")


def test_a_broken_image_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "IMAGES", [image_bytes()[:-300], *IMAGES[1:]])
    data = load_data(f"tfds:{build(tmp_path, 'voc')}@train")
    assert len(data) == 2
    assert re.search(r"image 000000: the JPEG file is cut off; exp", only_problem(data))


def test_names_that_are_no_detection_data_are_errors(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "empty"))
    with pytest.raises(
        ValueError, match=r"unknown data set 'no_such_set' \(.*\); expected as voc/"
    ):
        load_data("tfds:no_such_set@train")
    with pytest.raises(
        ValueError, match=r"the features .* are not those of detection; expected an"
    ):
        load_data(f"tfds:{build(tmp_path, 'flat')}@train")


def test_a_set_that_is_not_prepared_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    words = r"'voc/2007' is not prepared in .*; run `tfds build voc/2007`, or set TFDS_DATA_DIR"
    with pytest.raises(ValueError, match=words):
        load_data("tfds:voc/2007@train")


@pytest.mark.parametrize(
    ("features", "image_id"),
    [
        ({"image/id": np.int64(139)}, 139),
        ({"image/id": b"k0", "image/filename": b"a.jpg"}, "k0"),
        ({"image/id": b"caf\xc3\xa9"}, "café"),
        ({"image/id": b"", "image/filename": b"x/a.jpg"}, "x/a"),
        ({"image/filename": b"a.jpg"}, "a"),
        ({}, 4),
    ],
)
def test_image_ids_are_numbers_texts_or_file_names(features, image_id):
    assert _image_id(features, 4) == image_id
