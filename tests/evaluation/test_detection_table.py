"""Tables of detections and objects: from a detector's batches, from JSON, and back."""

import numpy as np
import pytest
from scenes import detection, example, random_scene

from ssd_keras.data.records import DetectionData
from ssd_keras.drawing.results import DetectionResult
from ssd_keras.evaluation import detection_metrics, voc_metrics
from ssd_keras.evaluation.detection_table import DetectionTable, ObjectTable

CLASS_NAMES = ("cat", "dog", "owl")


def batch(seed, size, slots=6):
    """A detector's outputs; `num_detections` varies and what lies beyond it is rubbish."""
    rng = np.random.default_rng(seed)
    boxes = np.sort(rng.uniform(-0.1, 1.1, (size, slots, 2, 2)), axis=2).reshape(size, slots, 4)
    return {
        "boxes": boxes.astype(np.float32),
        "scores": -np.sort(-rng.random((size, slots)).astype(np.float32)),
        "labels": rng.integers(0, 3, (size, slots)).astype(np.int32),
        "num_detections": rng.integers(0, slots + 1, size).astype(np.int32),
    }


def data_of(num_images, class_names=CLASS_NAMES):
    sizes = np.random.default_rng(0).integers(20, 900, (num_images, 2))
    examples = []
    for k, (height, width) in enumerate(sizes.tolist()):
        one = example(f"image {k}", [[1, 2, 30, 40]], [0])
        object.__setattr__(one, "height", height)
        object.__setattr__(one, "width", width)
        examples.append(one)
    return DetectionData(class_names, tuple(examples))


def test_batches_give_the_numbers_of_results_to_the_bit():
    # The data know the classes in another order than the detector.
    data = data_of(7, ("owl", "cat", "ant", "dog"))
    batches = [batch(0, 4), batch(1, 3, slots=2)]
    table = DetectionTable.from_batches(data, batches, CLASS_NAMES)
    entries = []
    for index, one in enumerate(data.examples):
        outputs, row = (batches[0], index) if index < 4 else (batches[1], index - 4)
        options = {"image_size": (one.height, one.width), "image_id": one.image_id}
        entries += DetectionResult.from_batch(outputs, row, CLASS_NAMES, **options).to_coco()
    expected = DetectionTable.from_coco(data, entries)
    assert len(table) == sum(b["num_detections"].sum() for b in batches) == len(entries) > 10
    for column in ("image_index", "labels", "boxes", "scores"):
        np.testing.assert_array_equal(getattr(table, column), getattr(expected, column))
        assert getattr(table, column).dtype in (np.int64, np.float64)
    assert table.areas.tolist() == [box[2] * box[3] for box in table.boxes.tolist()]


def test_metrics_of_a_table_equal_those_of_its_list():
    data, detections = random_scene(2)
    table = DetectionTable.from_coco(data, detections)
    assert table.to_coco(data) == detections
    assert detection_metrics(data, table) == detection_metrics(data, detections)


def test_tables_of_nothing():
    nothing = DetectionData((), ())
    assert len(ObjectTable.from_data(nothing)) == 0
    assert ObjectTable.from_data(nothing).labels.dtype == np.int64
    for table in (
        DetectionTable.from_batches(nothing, [], ()),
        DetectionTable.from_coco(nothing, []),
        DetectionTable.from_batches(data_of(2), [batch(0, 2, slots=0)], CLASS_NAMES),
    ):
        assert len(table) == 0 and table.boxes.shape == (0, 4) and table.to_coco(nothing) == []
        assert table.labels.dtype == np.int64 and len(table.by_score()) == 0


def test_objects_are_in_the_order_of_the_images():
    data = DetectionData(
        ("cat", "dog"),
        (
            example("b", [[0, 0, 9, 9], [1, 1, 2, 3]], [1, 0], crowd=[True, False]),
            example("a", [], [], difficult=[], crowd=[]),  # flags of float64, as NumPy has it
            example("c", [[5, 5, 4, 4]], [1], difficult=[True], areas=[7.5]),
        ),
    )
    objects = ObjectTable.from_data(data)
    assert objects.image_index.tolist() == [0, 0, 2] and objects.labels.tolist() == [1, 0, 1]
    assert objects.areas.tolist() == [81, 6, 7.5]
    assert objects.is_ignored.tolist() == [True, False, True]
    assert objects[objects.labels == 1].boxes.tolist() == [[0, 0, 9, 9], [5, 5, 4, 4]]


def test_detections_of_classes_that_the_data_lack_are_no_part_of_the_table():
    outputs = batch(0, 1) | {"num_detections": np.array([6])}
    outputs["labels"][:] = [[0, 0, 2, 1, 0, 0]]
    outputs["scores"][:] = np.arange(6) / 10
    detector_names = ("sofa", "dog", "owl")
    table = DetectionTable.from_batches(data_of(1, ("dog", "couch")), [outputs], detector_names)
    assert table.labels.tolist() == [1, 1, 0, 1, 1]
    np.testing.assert_allclose(table.scores, [0, 0.1, 0.3, 0.4, 0.5])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("boxes", [np.nan, 0, 1, 1], r"bbox is \[.*nan.*\]; expected four finite numbers"),
        ("boxes", [0.5, 0, 0.25, 1], r"bbox is .*no size negative"),
        ("scores", np.inf, r"score is .*inf.*; expected a finite number"),
    ],
)
def test_numbers_that_are_none_are_refused(name, value, message):
    outputs = batch(0, 1) | {"num_detections": np.array([6])}
    outputs[name][0, 3] = value
    with pytest.raises(ValueError, match=message):
        DetectionTable.from_batches(data_of(1), [outputs], CLASS_NAMES)


def test_images_of_one_name_are_told_apart_by_position():
    # A list of detections names its images, and refuses two of one name; a table counts them.
    boxes = [[0, 0, 100, 50]]
    data = DetectionData(("cat",), (example("a", boxes, [0]), example("a", [], [])))
    with pytest.raises(ValueError, match=r"the data hold image_id 'a' twice"):
        voc_metrics(data, [detection("a", boxes[0], 0.9)])
    relative = np.array([[[0, 0, 50 / 600, 100 / 800]]] * 2, np.float32)
    outputs = {"boxes": relative, "scores": np.array([[0.5], [0.75]], np.float32)}
    outputs |= {"labels": np.zeros((2, 1), int), "num_detections": np.array([1, 1])}
    table = DetectionTable.from_batches(data, [outputs], ("cat",))
    # False at 0.75 in the second image, then true: 1/2.
    assert detection_metrics(data, table)["voc12"]["mAP"] == 0.5
