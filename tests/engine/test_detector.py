"""Detectors: loading them, and their detections in pixels of the original images."""

import copy
import os
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from trainings import StubDetector, encoded, finished_run, validation_data

from ssd_keras.data.records import DetectionData, Example
from ssd_keras.engine.detector import (
    KerasDetector,
    detect,
    detect_data,
    load_detector,
    own_detector,
)
from ssd_keras.models.post_process import DetectionModel, PostProcess
from ssd_keras.presets import from_preset


def example(image_id, height, width):
    return Example(
        image_id,
        encoded(size=(width, height)),
        height,
        width,
        np.zeros((0, 4)),
        np.zeros(0, np.int32),
        np.zeros(0, bool),
        np.zeros(0, bool),
        np.zeros(0),
    )


def make_images(count):
    return np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3)).astype("float32")


def test_run_directory_and_file_give_the_same_detector():
    images = make_images(2)
    detector = load_detector(finished_run())
    assert detector.class_names == ("circle", "square", "triangle", "star", "cross")
    assert detector.image_size == (64, 64)
    found = detector(images)
    model = keras.models.load_model(os.path.join(finished_run(), "model.keras"))
    expected = model.post_process(model(images, training=False))
    again = load_detector(os.path.join(finished_run(), "model.keras"))(images)
    assert found["num_detections"].min() > 0
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value.numpy(), atol=1e-4)
        np.testing.assert_array_equal(again[name], found[name])


def test_settings_replace_those_of_the_model():
    detector = load_detector(finished_run(), PostProcess(max_detections=7))
    found = detector(make_images(1))
    assert found["boxes"].shape == (1, 7, 4)
    assert found["num_detections"].tolist() == [7]


def test_a_path_with_nothing_is_told(tmp_path):
    message = (
        r"^'.*' holds no model; pass the output folder of `ssd-keras train` \(with model\.keras "
        r"inside\), a \.keras file, or a preset with weights\.$"
    )
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(FileNotFoundError, match=message):
            load_detector(str(path))


def test_other_files_are_told(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"no zip at all")
    with pytest.raises(
        ValueError, match=r"^'.*model\.keras' is not a Keras model; pass a \.keras file"
    ):
        load_detector(str(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{")
    message = r"^'.*model\.keras' cannot be read as a Keras model \(.+\); pass a file that .*wrote"
    with pytest.raises(ValueError, match=message):
        load_detector(str(path))
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).save(path)
    message = r"^'.*model\.keras' holds a Sequential, not an SSD; pass a file that .*wrote\.$"
    with pytest.raises(ValueError, match=message):
        load_detector(str(path))


def test_detections_are_in_pixels_of_the_original_images():
    # ymin, xmin, ymax, xmax; the second image has nothing, the third a box over its edges.
    detector = StubDetector(
        [
            ([[0.25, 0.1, 0.75, 0.6]], [0.875], [1]),
            ([], [], []),
            ([[-0.1, 0.5, 1.0, 1.25], [0, 0, 1, 1]], [0.5, 0.25], [0, 1]),
        ]
    )
    data = DetectionData(
        ("dog", "car"), (example("wide", 80, 100), example(5, 60, 60), example("tall", 120, 40))
    )
    detections, seconds = detect_data(detector, data, batch_size=2)
    # Of the images 0 and 2. 0.1 * 100, 0.25 * 80, 0.5 * 100, 0.5 * 80;
    # 0.5 * 40, -0.1 * 120, 0.75 * 40, 1.1 * 120.
    assert detections.image_index.tolist() == [0, 2, 2]
    assert detections.labels.tolist() == [1, 0, 1]
    assert detections.scores.tolist() == [0.875, 0.5, 0.25]
    boxes = [[10, 20, 50, 40], [20, -12, 30, 132], [0, 0, 40, 120]]
    np.testing.assert_allclose(detections.boxes, boxes, atol=1e-5)
    assert [image.shape for image in detector.images] == [(32, 48, 3)] * 3
    assert np.mean(detector.images) == pytest.approx(90, abs=1)
    assert seconds > 0


def test_detect_data_shows_progress(capsys):
    detector = StubDetector([([[0, 0, 0.5, 0.5]], [0.5], [0])])
    data = DetectionData(("dog", "car"), (example("a", 80, 100), example("b", 40, 20)))
    detect_data(detector, data, progress=True)
    assert "2/2" in capsys.readouterr().err
    detect_data(detector, data)
    assert capsys.readouterr().err == ""


def test_detect_takes_images_of_any_size():
    detector = load_detector(finished_run())
    data = validation_data().examples[:3]
    images = [tf.io.decode_image(one.read(), channels=3).numpy() for one in data]
    together = detect(detector, images, batch_size=2)
    alone = detect(detector, images[2])
    assert [one.image_id for one in together] == [0, 1, 2] and alone.image_id == 0
    np.testing.assert_allclose(together[2].scores, alone.scores, atol=1e-4)
    resized = tf.image.resize(images[2], (64, 64))[None]
    expected = KerasDetector(detector.model)(resized)
    assert len(alone) == expected["num_detections"][0] > 0
    np.testing.assert_allclose(alone.scores, expected["scores"][0][: len(alone)], atol=1e-4)
    # Floats are the same images, and an array is a list of them.
    stacked = detect(detector, np.stack([images[0]] * 2).astype("float32"))
    np.testing.assert_allclose(stacked[1].boxes, together[0].boxes, atol=1e-5)


def test_detect_takes_files_in_one_list_with_arrays(tmp_path):
    detector = StubDetector([([[0.25, 0.1, 0.75, 0.6]], [0.875], [1])])
    path = tmp_path / "my cat.v2.jpg"
    path.write_bytes(encoded(size=(100, 80), color=(200, 90, 90)))
    one = detect(detector, path)
    assert (one.image_id, one.image_size, one.image) == ("my cat.v2", (80, 100), str(path))
    assert np.abs(one.read_image().astype(int) - [200, 90, 90]).max() < 6
    several = detect(detector, [str(path), np.zeros((20, 10, 3), np.uint8)])
    assert [(r.image_id, r.image_size) for r in several] == [
        ("my cat.v2", (80, 100)),
        (1, (20, 10)),
    ]
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg' does not exist; pass a file, a fo"):
        detect(detector, tmp_path / "gone.jpg")


def test_detect_filters_counts_and_loads(monkeypatch, capsys):
    image = np.zeros((20, 10, 3), np.uint8)
    boxes = np.tile([0, 0, 0.5, 0.5], (3, 1))
    detector = StubDetector([(boxes, [0.875, 0.5, 0.25], [1, 0, 0])])
    detector.display_threshold = (0.2, 0.9)
    found = detect(detector, image, score_threshold=0.5)
    assert found.scores.tolist() == [0.875, 0.5]
    assert repr(found) == (
        "DetectionResult(0, 10x20: 1 dog from their classes' scores on; 1 below)"
    )
    assert repr(detect(detector, [image] * 3)) == "DetectionResults(3 images: 6 dog)"
    loaded = []
    monkeypatch.setattr(
        "ssd_keras.engine.detector.load_detector", lambda path: loaded.append(path) or detector
    )
    assert len(detect(Path("run"), image)) == 3 and loaded == ["run"]
    # A bar where there is more than one batch.
    for count, batch_size, progress, shown in ((3, 2, True, 1), (2, 2, True, 0), (3, 2, None, 0)):
        detect(detector, [image] * count, batch_size, progress=progress)
        assert ("detecting: 100%" in capsys.readouterr().err) == shown
    with pytest.raises(ValueError, match=r"^batch_size is 0; expected 1 or more\.$"):
        detect(detector, image, 0)
    with pytest.raises(ValueError, match=r"^score_threshold=50: expected a score from 0 to 1"):
        detect(detector, "gone.jpg", score_threshold=50)


@pytest.mark.backends
def test_a_model_keeps_its_detector_and_sees_new_weights(tmp_path):
    model = small_model()
    image = make_images(1)[0]
    before = model.detect(image)
    detector = own_detector(model)
    model.set_weights([weight + 0.1 for weight in model.get_weights()])
    after = model.detect(image)
    assert own_detector(model) is detector
    fresh = detect(KerasDetector(model), image)
    np.testing.assert_array_equal(after.scores, fresh.scores)
    assert not np.array_equal(after.scores, before.scores)
    # Saving, cloning and copying know nothing of it.
    model.save(tmp_path / "model.keras")
    for twin in (
        keras.models.load_model(tmp_path / "model.keras"),
        type(model).from_config(model.get_config()),
        copy.deepcopy(model),
    ):
        assert own_detector(twin) is not detector and own_detector(twin).model is twin
    again = keras.models.load_model(tmp_path / "model.keras").detect(image)
    np.testing.assert_allclose(again.scores, after.scores, atol=1e-6)


def test_a_kept_detector_traces_its_graph_once_and_follows_the_settings():
    model = small_model()
    for count in (1, 2, 2, 1, 3):
        model.detect(make_images(count))
    # One for the first batch, one for batches of any size.
    assert own_detector(model)._detect.predict_function.experimental_get_tracing_count() <= 2
    model.post_process = PostProcess(score_threshold=0.0, max_detections=7)
    assert len(model.detect(make_images(1)[0])) == 7


def test_xla_compiles_network_and_nms_together():
    # As Keras does on accelerators, where TensorFlow's own NMS cannot be compiled.
    model = small_model()
    model.post_process = PostProcess(0.2, max_candidates=20, max_detections=9)
    compiled = DetectionModel(model)
    compiled.jit_compile = True
    images = make_images(2)
    found, expected = compiled.predict_on_batch(images), KerasDetector(model)(images)
    assert expected["num_detections"].tolist() == [9, 9]
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)


def small_model():
    return from_preset("ssd192_small_shapes", ["cat", "dog"], image_size=(64, 64), width=4)
