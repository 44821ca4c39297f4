"""What data sets say of their licence is found; what they do not say is "not stated"."""

import json

import pytest
from datasets import coco_image, coco_object, voc_object, write_coco, write_voc, write_yolo

from ssd_keras.core.origin import DataOrigin
from ssd_keras.data import load_data
from ssd_keras.data.splits import load_splits
from ssd_keras.data.writers.write_splits import write_splits


@pytest.mark.parametrize(
    ("name", "text", "licence"),
    [
        ("LICENSE", "MIT License\n\nCopyright (c)", "MIT License"),
        ("LICENCE.md", "\n# The MIT License (MIT)\n", "The MIT License (MIT)"),
        ("license.txt", "  Apache License\n  Version 2.0, J\n", "Apache License, Version 2.0, J"),
        (
            "License-CC0",
            "Creative Commons Legal Code\n\nCC0 1.0",
            "Creative Commons Legal Code, CC0 1.0",
        ),
        ("README.dataset.txt", "# cells\nProvided by X\nLicense: CC BY 4.0\n", "CC BY 4.0"),
        ("README.md", "**Licence**: CC BY-NC 4.0\r\n", "CC BY-NC 4.0"),
        ("README.md", "The licences of the images differ.", "not stated"),
        ("LICENSE", "", "not stated"),
        ("licensed.jpg.txt", "no", "not stated"),
    ],
)
def test_a_licence_file_or_a_line_of_the_readme_counts(tmp_path, name, text, licence):
    spec = write_voc(tmp_path, {"a": [voc_object(), voc_object()]})
    (tmp_path / name).write_text(text)
    assert load_data(spec).origin == DataOrigin((spec,), 1, 2, licence)


@pytest.mark.parametrize(
    ("licences", "used", "licence"),
    [
        ([{"id": 1, "name": "CC BY 4.0", "url": "u"}], 1, "CC BY 4.0"),
        ([{"id": 1, "name": "A"}, {"id": 2, "name": "B"}], 2, "B"),
        ([{"id": 1, "name": "A"}, {"id": 2, "name": "B"}], None, "A; B"),
        ([{"id": 1, "name": "", "url": "https://example.org/by"}], 1, "https://example.org/by"),
        ([{"id": 0, "name": "", "url": ""}], 0, "not stated"),
        ([{"id": [1], "name": 3}, "x", None], [1], "not stated"),
        ({"id": 1}, 1, "not stated"),
    ],
)
def test_licences_of_coco_are_those_of_its_images(tmp_path, licences, used, licence):
    image = coco_image(7) if used is None else coco_image(7, license=used)
    spec = write_coco(tmp_path, [image], [coco_object()])
    file = tmp_path / "instances.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "licenses": licences}))
    assert load_data(spec).licence == licence


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("roboflow: {workspace: w, license: CC BY 4.0}", "CC BY 4.0"),
        ("license: AGPL-3.0", "AGPL-3.0"),
        ("license: [4]\nroboflow: x", "not stated"),
    ],
)
def test_a_data_yaml_states_its_licence(tmp_path, text, licence):
    pytest.importorskip("yaml")
    spec = write_yolo(tmp_path, {"a": "0 0.5 0.5 0.5 0.5"})
    (tmp_path / "data.yaml").write_text(f"names: [dog]\ntrain: images/train\n{text}\n")
    assert load_data(spec).licence == licence


def test_the_folder_above_annotations_and_images_counts_and_none_above_one_root(tmp_path):
    (tmp_path / "LICENSE").write_text("ODbL")
    spec = write_coco(tmp_path / "set", [coco_image(7)], [coco_object()])
    assert load_data(spec).licence == "not stated"
    (tmp_path / "set" / "LICENSE").write_text("CC BY 4.0")
    assert load_data(spec).licence == "CC BY 4.0"


def test_a_data_file_states_the_licence_of_all_it_names(tmp_path):
    yolo = write_yolo(tmp_path / "yolo", {"a": "0 0.5 0.5 0.5 0.5"})
    voc = write_voc(tmp_path / "voc", {"b": [voc_object()]})
    (tmp_path / "voc" / "LICENSE").write_text("MIT License")
    assert load_data([yolo, voc]).origin == DataOrigin((yolo, voc), 2, 2, "not stated; MIT License")
    path = tmp_path / "data.toml"
    path.write_text(f"train = [{yolo!r}, {voc!r}]\nlicense = 'CC BY 4.0'")
    assert load_data(str(path)).origin == DataOrigin((str(path),), 2, 2, "CC BY 4.0")
    path.write_text(f"train = [{yolo!r}]\nlicense = 4")
    with pytest.raises(
        ValueError, match=r"data\.toml: license is 4; expected its name in one line"
    ):
        load_data(str(path))


def test_other_class_names_keep_the_origin(tmp_path):
    spec = write_voc(tmp_path, {"a": [voc_object(), voc_object("cat")]})
    (tmp_path / "LICENSE").write_text("MIT License")
    data = load_data([spec, "synthetic:shapes@val[:1]"], class_names=["cat", "star"])
    assert data.sources == (spec, "synthetic:shapes@val[:1]")
    assert data.licence == "MIT License; none needed: generated"
    assert load_data(spec, drop=["dog"]).origin == DataOrigin((spec,), 1, 1, "MIT License")


@pytest.mark.parametrize("file_format", ["voc", "coco", "yolo", "tfrecord"])
def test_a_copy_keeps_the_licence(tmp_path, file_format):
    write_voc(tmp_path / "source", {"a": [voc_object()]})
    (tmp_path / "data.toml").write_text('train = "voc:source@train"\nlicense = "CC BY 4.0"\n')
    splits = load_splits([str(tmp_path / "data.toml")])
    (spec,) = write_splits(splits, str(tmp_path / "copy"), file_format)
    assert load_data(spec).licence == "CC BY 4.0"
