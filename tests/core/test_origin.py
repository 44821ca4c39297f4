"""The origin of a model: what of it survives, and how it reads."""

import json

import pytest

from ssd_keras.core.origin import DataOrigin, Origin, joined_licences, origin_lines, read_origin

PUBLISHED = Origin("published", "https://example.org/a.pth", "BSD-3-Clause")
TRAINED = Origin(
    "ssd",
    data=DataOrigin(("voc:cells@train", "coco:a.json@b"), 120, 300, "CC BY 4.0"),
    recipe="own_data",
    made_with="ssd_keras 1.2.3",
    parent=PUBLISHED,
)


def test_json_keeps_every_value_and_leaves_out_what_is_not_known(tmp_path):
    path = tmp_path / "origin.json"
    path.write_text(TRAINED.to_json(), encoding="utf-8")
    assert read_origin(str(path)) == TRAINED == Origin.from_dict(TRAINED.to_dict())
    assert json.loads(path.read_text())["parent"] == {
        "name": "published",
        "address": "https://example.org/a.pth",
        "licence": "BSD-3-Clause",
    }
    assert read_origin(str(tmp_path / "gone.json")) is None


def test_lines_name_data_weights_licences_and_recipe():
    assert origin_lines(TRAINED) == [
        "data: voc:cells@train, coco:a.json@b (120 images, 300 objects); licence: CC BY 4.0",
        "recipe: own_data; made with ssd_keras 1.2.3",
        "parent weights: published (https://example.org/a.pth); licence: BSD-3-Clause",
    ]
    assert origin_lines(None) == ["origin: not stated"]
    assert Origin("a\x1b[2Jb").lines() == [r"weights: a\x1b[2Jb; licence: not stated"]


def test_licences_are_those_of_data_and_of_all_parents():
    again = Origin("again", data=DataOrigin(licence="CC BY 4.0"), parent=TRAINED)
    assert again.licences == ("CC BY 4.0", "BSD-3-Clause")
    assert joined_licences(["MIT", "", "MIT"]) == "MIT; not stated"
    assert joined_licences([]) == "not stated"


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"name": 3}', '{"data": {"sources": "x"}}', '{"owner": "x"}', "[" * 99999]
)
def test_other_texts_are_refused_in_one_line(tmp_path, text):
    (tmp_path / "origin.json").write_text(text)
    message = r"^'.*origin\.json' holds no origin of a model \(.*\); remove it, or put back .*\.$"
    with pytest.raises(ValueError, match=message):
        read_origin(str(tmp_path / "origin.json"))
