"""Results of an image: box formats by hand, drawing, JSON, supervision."""

import copy
import io
import json
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageShow
from trainings import StubDetector, encoded, write_voc

from ssd_keras.boxes.formats import BOX_FORMATS
from ssd_keras.data.sources import load_data
from ssd_keras.drawing.result_list import DetectionResults
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
    lower = "DetectionResult('street', 200x80: 1 car from a score of 0.5 on; 1 below)"
    assert repr(result()) == lower
    assert repr(result(display_threshold=0.25)) == "DetectionResult('street', 200x80: 1 car, 1 dog)"
    assert repr(result(display_threshold=0.8)) == (
        "DetectionResult('street', 200x80: nothing from a score of 0.8 on; 2 below)"
    )
    few = result().above(0.75)
    assert few.labels.tolist() == [1] and few.boxes.tolist() == BOXES[:1].tolist()
    # One by label: the dog of 0.25 counts from 0.2 on, the car of 0.75 from 0.8 on.
    by_class = result(display_threshold=(0.2, 0.8))
    assert repr(by_class) == (
        "DetectionResult('street', 200x80: 1 dog from their classes' scores on; 1 below)"
    )
    assert result().above([0.2, 0.8]).labels.tolist() == [0]
    assert result(display_threshold={"dog": 0.2}).display_threshold == (0.2, 0.5)
    # In float32 a score of 0.7 is 0.699999988.
    assert len(result(scores=np.float32([0.7, 0.3])).above((0.3, 0.7))) == 2
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
    by_class = np.asarray(result(display_threshold=(0.2, 0.8)).plot(), int)
    assert np.abs(by_class[:, 160:] - 90).max() > 60 and (by_class[45:60, 20:90] == 90).all()
    with pytest.raises(ValueError, match=r"^the result has no image to draw on; pass `image`"):
        result(image=None).plot()


@pytest.mark.parametrize("threshold", [50, -0.1, float("nan"), "0.5", [0.5, 2], {"car": None}])
def test_thresholds_are_numbers_in_0_to_1(threshold):
    expected = r"=.*: expected a score from 0 to 1 for all classes, or one for each class name\.$"
    with pytest.raises(ValueError, match=f"^score_threshold{expected}"):
        result().above(threshold)
    with pytest.raises(ValueError, match=f"^display_threshold{expected}"):
        result(display_threshold=threshold)
    with pytest.raises(ValueError, match=r"^score_threshold has 1 numbers; expected one for each"):
        result().above((0.1,))
    with pytest.raises(ValueError, match=r"^class of score_threshold 'cra' is unknown; did you me"):
        result().above({"cra": 0.3})


def test_wrong_columns_are_refused():
    message = r"^boxes, scores and labels have the shapes \(2, 4\), \(1,\) and \(2,\); expected"
    with pytest.raises(ValueError, match=message):
        result(scores=[0.5])
    message = r"^labels are 0 to 1; expected 0 to 0, the positions of their names in class_names"
    with pytest.raises(ValueError, match=message):
        result(class_names=["dog"])


def test_an_index_and_a_loop_give_single_detections():
    first, second = result()
    assert repr(first) == repr(result()[0]) == "car 0.75 at (20, 20, 60, 60)"
    assert (first.class_name, first.score, first.label) == ("car", 0.75, 1)
    assert first.box == pytest.approx((0.25, 0.1, 0.75, 0.3))
    assert first.box_as("xywh") == pytest.approx((20, 20, 40, 40))
    # The second reaches from -40 to 40 rows and from 100 to 250 columns.
    assert second == result()[-1] == result()[np.int64(1)]
    assert repr(second) == "dog 0.25 at (100, 0, 200, 40)"
    assert second.box_as() == (100, -40, 250, 40)
    assert second.box_as("rel_yxyx", clip=True) == (0, 0.5, 0.5, 1)
    clipped = result().boxes_as("yxyx", clip=True)
    np.testing.assert_allclose(clipped, [[20, 20, 60, 60], [0, 100, 40, 200]], atol=1e-4)


@pytest.mark.parametrize(
    ("index", "labels"),
    [
        (slice(1, None), [0]),
        (slice(None, None, -1), [0, 1]),
        (np.array([True, False]), [1]),
        ([False, True], [0]),
        ([1, -2, 1], [0, 1, 0]),
        ([], []),
        (np.array([False, False]), []),
    ],
)
def test_parts_are_results_of_the_same_image(index, labels):
    whole = result(display_threshold=(0.2, 0.8))
    part = whole[index]
    assert part.labels.tolist() == labels
    assert part.boxes.tolist() == BOXES[[1 - label for label in labels]].tolist()
    assert (part.image_id, part.display_threshold) == ("street", (0.2, 0.8))
    assert part.image is whole.image


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (2, r"^there is no detection 2; there are 2, counted from 0\.$"),
        ([0, -3], r"^there is no detection -3; there are 2"),
        ("car", r"^the index is 'car'; expected the number of one detection, a slice"),
        (0.5, r"^the index is 0\.5; expected the number"),
        (True, r"^the index is True; expected the number"),
        ([True], r"^the index is shape \(1,\) of bool; expected the number"),
        ([[0]], r"^the index is shape \(1, 1\) of int64; expected the number"),
    ],
)
def test_other_indices_are_refused(index, message):
    with pytest.raises(IndexError, match=message):
        result()[index]


def test_copies_and_pickles_are_equal():
    for twin in (copy.deepcopy(result()), pickle.loads(pickle.dumps(result()))):
        assert twin.to_dict() == result().to_dict()
        assert np.asarray(twin.plot()).tolist() == np.asarray(result().plot()).tolist()


def test_a_notebook_shows_the_drawing_or_the_text(tmp_path):
    drawing = Image.open(io.BytesIO(result()._repr_png_()))
    np.testing.assert_array_equal(np.asarray(drawing), np.asarray(result().plot()))
    large = result(image=np.zeros((1600, 4000, 3), np.uint8))
    assert Image.open(io.BytesIO(large._repr_png_())).size == (1280, 512)  # 1600 * 1280 / 4000
    assert result(image=None)._repr_png_() is None
    assert result(image=str(tmp_path / "moved.png"))._repr_png_() is None
    encoded_result = result(image=encoded("PNG", size=(200, 80)))
    np.testing.assert_array_equal(encoded_result.plot(), result().plot())


def test_drawings_are_written_and_never_over_the_image(tmp_path):
    result().save(tmp_path / "found.png", display_threshold=0.2)
    with Image.open(tmp_path / "found.png") as written:
        np.testing.assert_array_equal(written, result().plot(0.2))
    with pytest.raises(ValueError, match=r"found\.json: images cannot be written as '\.json'; exp"):
        result().save(tmp_path / "found.json")
    path = tmp_path / "street.png"
    path.write_bytes(encoded("PNG", size=(200, 80)))
    content = path.read_bytes()
    (tmp_path / "link.png").symlink_to(path)
    for target in (path, tmp_path / "link.png"):
        with pytest.raises(ValueError, match=r"\.png' is the image itself, which the drawing wou"):
            result(image=str(path)).save(target)
    assert path.read_bytes() == content


def test_show_opens_a_viewer_or_displays_in_a_notebook(monkeypatch):
    shown = []
    monkeypatch.setattr(ImageShow, "_viewers", [SimpleNamespace(show=lambda *a, **k: True)])
    result().show()
    monkeypatch.setattr(ImageShow, "_viewers", [])
    with pytest.raises(ValueError, match=r"^no program shows images here; write one with `\.save"):
        result().show()
    shell = SimpleNamespace(kernel=None)
    ipython = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=shown.append))
    result().show(0.2)
    np.testing.assert_array_equal(shown[0], result().plot(0.2))


def test_dictionaries_and_tables_hold_pixels_inside_the_image(monkeypatch):
    found = json.loads(json.dumps(result().to_dict()))
    assert [found[name] for name in ("image_id", "width", "height")] == ["street", 200, 80]
    car, dog = found["detections"]
    assert (car["class_name"], car["label"], car["score"]) == ("car", 1, 0.75)
    assert car["box"] == pytest.approx({"xmin": 20, "ymin": 20, "xmax": 60, "ymax": 60})
    assert dog["box"] == pytest.approx({"xmin": 100, "ymin": 0, "xmax": 200, "ymax": 40})
    pandas = SimpleNamespace(DataFrame=lambda rows, columns: (columns, rows))
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    columns, rows = DetectionResults([result(), result(image_id=7)]).to_pandas()
    assert columns == ["image_id", "class_name", "score", "xmin", "ymin", "xmax", "ymax"]
    assert rows[1] == ("street", "dog", 0.25, 100, 0, 200, 40)
    assert [row[0] for row in rows] == ["street", "street", 7, 7]
    assert result().to_pandas()[1] == rows[:2]


def test_several_results_are_counted_and_shown_as_a_sheet():
    # Each is 200x80 pixels: 320 * 80 / 200 is 128 pixels high in a cell of 320.
    several = DetectionResults([result(), result(image=None), result(display_threshold=0.2)])
    assert repr(several) == "DetectionResults(3 images: 3 car, 1 dog)"
    assert repr(several[1:2]) == "DetectionResults(1 image: 1 car)"
    assert several[1] is list(several)[1] and isinstance(several, list)
    # Two cells of 320 pixels, gaps of 320 / 40 pixels around each.
    assert Image.open(io.BytesIO(several._repr_png_())).width == 2 * 320 + 3 * 8
    assert several[1:2]._repr_png_() is None
    # 16 of 20 in four rows and columns of 320 pixels at least, shown in 1280.
    many = DetectionResults([result(image=np.zeros((2, 5, 3), np.uint8))] * 20)
    assert max(Image.open(io.BytesIO(many._repr_png_())).size) == 1280


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
def test_pandas_takes_it():
    pandas = pytest.importorskip("pandas", reason="NOT TESTED: pandas is not installed")
    table = result().to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert table[table.score > 0.5].xmax.tolist() == pytest.approx([60])
    assert list(result()[:0].to_pandas().columns) == list(table.columns)


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


def test_without_other_packages_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    monkeypatch.setitem(sys.modules, "pandas", None)
    message = r"^to_supervision needs the package supervision: pip install supervision$"
    with pytest.raises(ImportError, match=message):
        result().to_supervision()
    with pytest.raises(ImportError, match=r"^to_pandas needs the package pandas: pip install pan"):
        result().to_pandas()


def test_a_result_of_a_file_reads_it_when_drawn(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded("PNG", size=(200, 80)))
    one = result(image=str(path))
    assert (one.read_image() == 90).all()
    path.unlink()
    with pytest.raises(ValueError, match=r"a\.png: the image is missing"):
        one.plot()
