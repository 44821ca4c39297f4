"""Detections written as annotations, and read again."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trainings import StubDetector, encoded

from ssd_keras import load_data
from ssd_keras.core.images import read_image
from ssd_keras.data.images import decode_example
from ssd_keras.engine.pre_labels import PreLabels
from ssd_keras.engine.predict import predict

NAMES = ("dog", "Fünf eck", "$5 & <x>")
CORNERS = [[0.5, 0.5, 0.9, 0.9], [0.1, 0.2, 0.3, 0.6], [-0.2, -0.1, 0.4, 1.3], [1.0, 0.0, 1.2, 0.5]]
FOUND = (CORNERS, [0.9, 0.7, 0.5, 0.4], [1, 0, 2, 0])
NOTHING = ([], [], [])


def turned(kind, **options) -> bytes:
    """A stored image of 60x40 that is shown as 40x60, red at the top."""
    image = Image.new("RGB", (60, 40), (200, 20, 20))
    image.paste((20, 20, 200), (20, 0, 60, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    image.save(file, kind, exif=exif, **options)
    return file.getvalue()


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Paths of images by the stem of their copies."""
    monkeypatch.setenv("SSD_KERAS_CACHE", str(tmp_path / "cache"))
    files = {
        "one/cat.jpg": encoded(size=(100, 80)),
        "two/cat.png": encoded("PNG", size=(50, 50)),
        "two/turned.jpg": turned("JPEG", quality=95),
        "two/turned.webp": turned("WEBP", lossless=True),
        "two/no objects.v2.tif": encoded("TIFF"),
        "two/broken.jpg": b"\xff\xd8\xff",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    stems = ("cat", "cat_2", "turned", "turned_2", "no_objects.v2")
    return dict(zip(stems, [str(tmp_path / name) for name in files], strict=False))


def pre_label(format, images, tmp_path, score_threshold=0.5):
    detector = StubDetector([FOUND] * 4 + [NOTHING], NAMES)
    paths = [*images.values(), str(tmp_path / "two" / "broken.jpg")]
    pre_labels = PreLabels(format, str(tmp_path / "labels"), score_threshold)
    detections, problems = predict(detector, paths, str(tmp_path / "output"), pre_labels=pre_labels)
    assert len(problems) == 1 and len(detections) == 16
    return detections, pre_labels, pre_labels.write()


@pytest.mark.parametrize("format", ["voc", "yolo", "coco"])
def test_annotations_are_the_detections(format, images, tmp_path):
    detections, pre_labels, spec = pre_label(format, images, tmp_path)
    assert pre_labels.num_boxes == 12
    data = load_data(spec)
    assert not [problem for problem in data.problems if problem.is_loss]
    assert sorted(data.class_names) == sorted(NAMES) and len(data) == 5
    by_stem = {Path(example.location).stem: example for example in data.examples}
    assert sorted(by_stem) == sorted(images)
    for stem, path in images.items():
        example = by_stem[stem]
        original = read_image(path)
        np.testing.assert_array_equal(decode_example(example), original)
        height, width = original.shape[:2]
        assert (example.height, example.width) == (height, width)
        found = [
            (one["category_name"], one["bbox"])
            for one in detections
            if one["image_id"] == stem.replace("no_", "no ") and one["score"] >= 0.5
        ]
        assert len(example.labels) == len(found) == (0 if "objects" in stem else 3)
        for label, box, (name, (x, y, w, h)) in zip(
            example.labels, example.boxes, found, strict=True
        ):
            edges = np.clip([x, y, x + w, y + h], 0, [width, height] * 2)
            assert data.class_names[label] == name
            np.testing.assert_allclose([*box[:2], *(box[:2] + box[2:])], edges, atol=1e-3)


def test_coco_annotations_have_the_scores(images, tmp_path):
    pre_label("coco", images, tmp_path, score_threshold=0.6)
    content = json.loads((tmp_path / "labels" / "train.json").read_text())
    assert [one["score"] for one in content["annotations"]] == pytest.approx([0.9, 0.7] * 4)
    assert [one["name"] for one in content["categories"]] == list(NAMES)


def test_without_a_score_the_drawn_detections_are_annotated(images, tmp_path):
    detector = StubDetector([FOUND] * 4 + [NOTHING], NAMES)
    detector.display_threshold = tuple(0.8 if name == NAMES[0] else 0.55 for name in NAMES)
    pre_labels = PreLabels("coco", str(tmp_path / "labels"))
    found, _ = predict(
        detector, list(images.values()), str(tmp_path / "output"), pre_labels=pre_labels
    )
    pre_labels.write()
    content = json.loads((tmp_path / "labels" / "train.json").read_text())
    expected = [
        one["score"]
        for one in found
        if one["score"] >= (0.8 if one["category_name"] == NAMES[0] else 0.55)
    ]
    assert [one["score"] for one in content["annotations"]] == expected
    assert 0 < len(expected) < sum(one["score"] >= 0.55 for one in found)


def test_labels_never_replace_others(tmp_path):
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc" / "a.xml").touch()
    with pytest.raises(ValueError, match="voc' is not an empty folder; choose another"):
        PreLabels("voc", str(tmp_path / "voc"), 0.5)
