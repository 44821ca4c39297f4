"""Evaluation of a model and of a file of detections: the same numbers."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from trainings import StubDetector, validation_data, write_voc

from ssd_keras.data.sources import load_data
from ssd_keras.engine.detector import detect_data
from ssd_keras.engine.evaluate import evaluate, score, write_json


def shifted(data, shift):
    """A stub that detects the annotated boxes, moved by a share of the image."""
    per_image = [
        (
            one.relative_boxes() + np.float32(shift),
            np.linspace(0.9, 0.5, len(one.labels)),
            one.labels,
        )
        for one in data.examples
    ]
    return StubDetector(per_image, data.class_names)


def test_a_perfect_detector_scores_one():
    metrics = evaluate(shifted(validation_data(), 0.0), validation_data(), batch_size=3)
    assert metrics["num_images"] == 8
    assert metrics["coco"]["AP"] == pytest.approx(1.0)
    assert metrics["voc07"]["mAP"] == metrics["voc12"]["mAP"] == pytest.approx(1.0)
    assert metrics["images_per_second"] > 0


def test_thresholds_are_the_detector_s_the_given_ones_or_the_best():
    data = validation_data()

    def point(display_threshold=0.5, **options):
        detector = shifted(data, 0.0)  # scores from 0.9 down to 0.5
        detector.display_threshold = display_threshold
        return evaluate(detector, data, **options)["operating_point"]

    found = point()
    assert found["thresholds"] == dict.fromkeys(data.class_names, 0.5)
    assert found["all"]["F1"] == 1.0
    assert found["all"]["true_positives"] == sum(len(one.labels) for one in data.examples)
    # The last object of each image has a score of 0.5.
    assert point(0.51)["all"]["missed"] == sum(len(one.labels) > 1 for one in data.examples) > 3
    found = point(score_threshold={"star": 0.95})
    assert found["thresholds"] == dict.fromkeys(data.class_names, 0.5) | {"star": 0.95}
    assert found["classes"]["star"]["recall"] == 0.0
    best = point(score_threshold="best")
    assert best["all"]["F1"] == 1.0 and set(best["thresholds"]) == set(data.class_names)
    with pytest.raises(ValueError, match="class of score_threshold 'stars' is unknown; did you me"):
        point(score_threshold={"stars": 0.95})
    with pytest.raises(ValueError, match="^score_threshold='max': expected a score from 0 to 1,"):
        point(score_threshold="max")


def test_an_empty_detector_scores_zero():
    metrics = evaluate(
        StubDetector([([], [], [])], validation_data().class_names), validation_data()
    )
    assert metrics["coco"]["AP"] == metrics["voc07"]["mAP"] == metrics["voc12"]["mAP"] == 0.0


def test_score_equals_evaluate_and_opens_no_image(tmp_path):
    spec = write_voc(tmp_path / "voc", objects=("dog", "car"), count=3)
    data = load_data(spec)
    # Boxes 50x40 moved by 5 and 4 pixels: IoU 45 * 36 / (2 * 50 * 40 - 45 * 36) = 0.681, which is
    # a match at 4 of COCO's 10 thresholds (0.5, 0.55, 0.6, 0.65).
    detector = shifted(data, 0.05)
    metrics = evaluate(detector, data)
    assert metrics["coco"]["AP"] == pytest.approx(0.4)
    detections, _ = detect_data(shifted(data, 0.05), data)
    path = tmp_path / "results" / "detections.json"
    write_json(detections.to_coco(data), str(path))
    shutil.rmtree(tmp_path / "voc" / "JPEGImages")
    scored = score(str(path), load_data(spec, check_images=False))
    del metrics["images_per_second"], metrics["operating_point"]
    assert scored == metrics


def test_scoring_imports_no_framework():
    command = (
        "import sys; import ssd_keras.engine.evaluate\n"
        "sys.exit(bool({'tensorflow', 'keras', 'jax'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", command]).returncode == 0


def test_json_replaces_the_file_only_when_whole(tmp_path):
    path = tmp_path / "deep" / "numbers.json"
    write_json({"AP": 0.5}, str(path))
    with pytest.raises(TypeError):
        write_json({"AP": object()}, str(path))
    assert json.loads(path.read_text()) == {"AP": 0.5}
    assert [one.name for one in path.parent.iterdir()] == ["numbers.json"]
