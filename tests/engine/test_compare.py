"""Comparison of detectors: their classes meet by name."""

import numpy as np
import pytest
from trainings import StubDetector, validation_data

from ssd_keras import compare


def stub(class_names, missing=()):
    """A stub that detects the annotated boxes of its classes, but for those of some."""
    data = validation_data()
    per_image = []
    for one in data.examples:
        names = [data.class_names[label] for label in one.labels]
        rows = [k for k, name in enumerate(names) if name in class_names and name not in missing]
        labels = [class_names.index(names[k]) for k in rows]
        per_image.append((one.relative_boxes()[rows], np.full(len(rows), 0.9), labels))
    return StubDetector(per_image, class_names)


def test_classes_are_compared_by_name():
    first = stub(("moon", "star", "circle", "cross"))
    second = stub(("circle", "square", "star", "cross"), missing=("star",))
    found = compare(first, second, validation_data(), batch_size=3, num_resamples=20, seed=1)
    # The annotated classes are circle, square, triangle, star, cross.
    assert found["left_out"] == ["square", "triangle"]
    assert list(found["classes"]) == ["circle", "star", "cross"]
    differences = {name: row["AP"]["difference"] for name, row in found["classes"].items()}
    assert differences == {"circle": 0.0, "star": -1.0, "cross": 0.0}
    assert found["all"]["AP"]["difference"] == pytest.approx(-1 / 3)
    assert found["classes"]["star"]["AP50"]["high"] == -1.0
    assert (found["num_images"], found["num_resamples"], found["seed"]) == (8, 20, 1)


def test_faults_stop_before_anything_is_detected():
    first, second = stub(("circle",)), stub(("star",))
    message = (
        r"^the data \(circle, square, triangle, star, cross\) and the detectors \(circle; star\) "
        "have no class in common; pass"
    )
    with pytest.raises(ValueError, match=message):
        compare(first, second, validation_data())
    with pytest.raises(ValueError, match="^num_resamples=0; expected 1 or more"):
        compare(first, first, validation_data(), num_resamples=0)
    assert first.images == second.images == []
