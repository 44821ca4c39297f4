"""`PostProcess`: defaults, config, ranges."""

import json

import keras
import pytest

from ssd_keras.models.post_process import PostProcess


def test_default_settings_are_the_papers():
    expected = {
        "score_threshold": 0.01,
        "iou_threshold": 0.45,
        "max_candidates": 400,
        "max_detections": 200,
        "max_detections_per_class": None,
        "candidates_per_class": True,
        "class_agnostic": False,
        "clip_boxes": "none",
    }
    assert PostProcess().get_config() == expected


def test_config_equals_the_arguments():
    arguments = {
        "score_threshold": 0.2,
        "iou_threshold": 0.6,
        "max_candidates": 70,
        "max_detections": 30,
        "max_detections_per_class": 5,
        "candidates_per_class": False,
        "class_agnostic": True,
        "clip_boxes": "after",
    }
    settings = PostProcess(**arguments)
    assert settings.get_config() == arguments
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(settings)))
    restored = keras.saving.deserialize_keras_object(serialized)
    assert restored == settings and restored.get_config() == arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"score_threshold": 1.1}, r"score_threshold=1\.1 must be between 0 and 1\."),
        ({"score_threshold": -0.1}, r"score_threshold=-0\.1 must be between 0 and 1\."),
        ({"iou_threshold": 45}, r"iou_threshold=45 must be between 0 and 1\."),
        ({"max_candidates": 0}, r"max_candidates=0 must be 1 or more\."),
        ({"max_detections": -1}, r"max_detections=-1 must be 1 or more\."),
        ({"max_detections_per_class": 0}, r"max_detections_per_class=0 must be 1 or more\."),
        ({"clip_boxes": True}, r"clip_boxes=True is unknown; choose one of none, before, after\."),
    ],
)
def test_settings_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        PostProcess(**arguments)
