"""`PostProcess`: defaults, config, ranges, its model."""

import copy
import json

import keras
import numpy as np
import pytest

from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.models.post_process import PostProcess
from ssd_keras.models.ssd import SSD


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
    by_class = PostProcess([0.2, 0.5])
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(by_class)))
    assert keras.saving.deserialize_keras_object(serialized).score_threshold == (0.2, 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"score_threshold": 1.1}, r"score_threshold=1\.1 must be between 0 and 1\."),
        ({"score_threshold": -0.1}, r"score_threshold=-0\.1 must be between 0 and 1\."),
        ({"score_threshold": (0.5, 2)}, r"score_threshold=\(0\.5, 2\) must be between 0 and 1\."),
        ({"iou_threshold": 45}, r"iou_threshold=45 must be between 0 and 1\."),
        ({"max_candidates": 1.5}, r"max_candidates=1\.5 must be a whole number of 1 or more\."),
        ({"max_candidates": 0}, r"max_candidates=0 must be a whole number of 1 or more\."),
        ({"max_detections": -1}, r"max_detections=-1 must be a whole number of 1 or more\."),
        (
            {"max_detections_per_class": 0},
            r"max_detections_per_class=0 must be a whole number of 1 or more\.",
        ),
        ({"clip_boxes": True}, r"clip_boxes=True is unknown; choose one of none, before, after\."),
    ],
)
def test_settings_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        PostProcess(**arguments)


def test_a_model_binds_the_record_that_it_is_given():
    model = small_model("sigmoid")
    post_process = PostProcess(0.3, max_detections=4)
    model.post_process = post_process
    # Bound, it has the same thresholds, and says nothing else.
    assert model.post_process == post_process and model.post_process is not post_process
    assert hash(model.post_process) == hash(post_process)
    assert model.post_process.get_config() == post_process.get_config()
    coding = model.post_process.coding
    assert coding.default_boxes is model.default_box_array and coding.activation == "sigmoid"
    assert coding.variances == model.default_boxes.variances == (0.1, 0.1, 0.2, 0.2)
    assert copy.deepcopy(model.post_process).coding.activation == "sigmoid"
    # A record of another model may be passed on.
    other = small_model("softmax")
    other.post_process = model.post_process
    assert other.post_process.coding.activation == "softmax"
    assert model.post_process.coding.activation == "sigmoid"


def test_a_record_without_a_model_says_so():
    message = "^this PostProcess belongs to no model, so its default boxes are unknown; set model"
    with pytest.raises(ValueError, match=message):
        PostProcess()({"box_deltas": np.zeros((1, 2, 4)), "class_logits": np.zeros((1, 2, 3))})


def small_model(activation):
    image = keras.Input((32, 32, 3))
    feature_map = keras.layers.Conv2D(4, 3, 16, padding="same")(image)
    boxes = DefaultBoxes.from_scales((32, 32), 1)
    backbone = keras.Model(image, [feature_map])
    return SSD(backbone, boxes, ["cat"], (32, 32), activation=activation)
