"""Results of an image: box formats by hand, drawing, JSON, supervision."""

import json
import sys

import numpy as np
import pytest
from trainings import StubDetector, encoded, write_voc

from ssd_keras.boxes.formats import BOX_FORMATS
from ssd_keras.data.sources import load_data
from ssd_keras.drawing.results import DetectionResult
from ssd_keras.engine.detector import detect
from ssd_keras.engine.evaluate import score

# ymin, xmin, ymax, xmax of an image of 200x80 (width x height); the second reaches beyond it.
BOXES = np.array([[0.25, 0.1, 0.75, 0.3], [-0.5, 0.5, 0.5, 1.25]], np.float32)


def result(**changes):
    values = {
        "boxes": BOXES,
        "scores": np.array([0.75, 0.25], np.float32),
        "labels": np.array([1, 0], np.int32),
        "class_names": ("dog", "car"),
        "image_size": (80, 200),
        "image_id": "street",
        "image": np.full((80, 200, 3), 90, np.uint8),
    }
    return DetectionResult(**values | changes)


def test_boxes_in_every_format():
    # 0.1 * 200, 0.25 * 80, 0.3 * 200, 0.75 * 80; 0.5 * 200, -0.5 * 80, 1.25 * 200, 0.5 * 80
    expected = {
        "xyxy": [[20, 20, 60, 60], [100, -40, 250, 40]],
        "yxyx": [[20, 20, 60, 60], [-40, 100, 40, 250]],
        "xywh": [[20, 20, 40, 40], [100, -40, 150, 80]],
        "rel_xyxy": [[0.1, 0.25, 0.3, 0.75], [0.5, -0.5, 1.25, 0.5]],
        "rel_yxyx": BOXES,
        "rel_xywh": [[0.1, 0.25, 0.2, 0.5], [0.5, -0.5, 0.75, 1.0]],
    }
    assert set(expected) == set(BOX_FORMATS)
    for box_format, boxes in expected.items():
        np.testing.assert_allclose(result().boxes_as(box_format), boxes, atol=1e-5)
    message = r"^box_format='xy' is unknown; choose one of yxyx, xyxy, xywh, rel_yxyx, rel_xyxy, "
    with pytest.raises(ValueError, match=message):
        result().boxes_as("xy")


def test_results_are_counted_described_and_filtered():
    assert len(result()) == 2
    assert repr(result()) == "DetectionResult('street', 200x80: 1 car, 1 dog)"
    few = result().above(0.75)
    assert few.labels.tolist() == [1] and few.boxes.tolist() == BOXES[:1].tolist()
    assert repr(result().above(0.9)) == "DetectionResult('street', 200x80: nothing)"
    assert result().above(0.9).boxes_as("xyxy").shape == (0, 4)


def test_plot_draws_from_a_score_on():
    plot = result().plot()
    assert plot.size == (200, 80)
    drawing = np.asarray(plot, int)
    assert np.abs(drawing[20:60, 20:60] - 90).max() > 60
    assert np.abs(drawing[:, 160:] - 90).max() == 0  # the second has a score of 0.25
    assert np.abs(np.asarray(result().plot(0.2), int)[:, 160:] - 90).max() > 60
    # Floats are rounded, and what lies outside 0..255 is cut.
    floats = np.full((80, 200, 3), 90.4, np.float32)
    floats[0, 0] = [-3, 300, 254.6]
    image = result(image=floats).read_image()
    assert image.dtype == np.uint8
    assert image[0, 0].tolist() == [0, 255, 255] and image[1, 1, 0] == 90
    with pytest.raises(ValueError, match=r"^the result has no image to draw on; pass `image`"):
        result(image=None).plot()


def test_json_is_what_score_reads(tmp_path):
    data = load_data(write_voc(tmp_path / "voc", count=1))
    # The dog at x 10..60, y 20..60 of 100x80 pixels.
    detector = StubDetector([([[0.25, 0.1, 0.75, 0.6]], [0.875], [0])])
    one = detect(detector, tmp_path / "voc" / "JPEGImages" / "p0.jpg")
    entries = json.loads(one.to_json())
    assert [list(entry) for entry in entries] == [["image_id", "category_name", "bbox", "score"]]
    assert entries[0]["bbox"] == pytest.approx([10, 20, 50, 40], abs=1e-5)
    (tmp_path / "found.json").write_text(one.to_json())
    assert score(str(tmp_path / "found.json"), data)["voc12"]["mAP"] == 1.0


@pytest.mark.consumers
def test_supervision_takes_it():
    supervision = pytest.importorskip(
        "supervision", reason="NOT TESTED: supervision is not installed"
    )
    found = result().to_supervision()
    assert isinstance(found, supervision.Detections)
    np.testing.assert_allclose(found.xyxy, [[20, 20, 60, 60], [100, -40, 250, 40]], atol=1e-4)
    assert found.class_id.tolist() == [1, 0] and found.confidence.tolist() == [0.75, 0.25]
    assert found.data["class_name"].tolist() == ["car", "dog"]
    # As their documentation uses it: a filter, and drawing.
    assert found[found.confidence > 0.5].data["class_name"].tolist() == ["car"]
    scene = supervision.BoxAnnotator().annotate(result().read_image().copy(), found)
    assert (scene != 90).any()
    assert len(result().above(0.9).to_supervision()) == 0


def test_without_supervision_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    message = r"^to_supervision needs the package supervision: pip install supervision$"
    with pytest.raises(ImportError, match=message):
        result().to_supervision()


def test_a_result_of_a_file_reads_it_when_drawn(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded("PNG", size=(200, 80)))
    one = result(image=str(path))
    assert (one.read_image() == 90).all()
    path.unlink()
    with pytest.raises(ValueError, match=r"a\.png: the image is missing"):
        one.plot()
