"""Data sets and examples in a notebook: indices, loops, one line of text, drawings."""

import copy
import io
import pickle

import numpy as np
import pytest
from PIL import Image
from trainings import encoded

import ssd_keras
from ssd_keras.core.images import read_image
from ssd_keras.data import DetectionData, Example, Problem, ProblemKind, load_data
from ssd_keras.drawing.draw import draw_boxes


def example(image_id="a", labels=(0, 1, 1), image=None, size=(60, 40), **changes):
    width, height = size
    count = len(labels)
    boxes = np.tile([10.0, 5.0, 20.0, 15.0], (count, 1))
    flags = np.zeros(count, bool)
    image = encoded("PNG", size=size) if image is None else image
    areas = np.full(count, 300.0)
    return Example(
        image_id, image, height, width, boxes, np.int32(labels), flags, flags, areas, **changes
    )


def data(count=3, **changes):
    problems = (Problem(ProblemKind.NO_AREA, "a.jpg", "box"),)
    examples = tuple(example(f"image_{i}") for i in range(count))
    values = {"problems": problems, "sources": ("voc:photos@train",), "licence": "CC0"}
    return DetectionData(("dog", "cat"), examples, **values | changes)


def test_texts_are_one_short_line():
    # Two cats and a dog in each of three images.
    assert repr(data()) == (
        "DetectionData(3 images, 9 objects, 2 classes: dog, cat; from voc:photos@train; 1 problem)"
    )
    assert repr(DetectionData(("dog",), (example(labels=[0]),))) == (
        "DetectionData(1 image, 1 object, 1 class: dog)"
    )
    assert repr(data()[0]) == "Example('image_0', 60x40: 2 cat, 1 dog)"
    assert repr(example()) == "Example('a', 60x40: 2 of label 1, 1 of label 0)"
    assert repr(example("a\n" * 9999, [])).endswith(", 60x40: no objects)")
    many = DetectionData(tuple(map(str, range(500))), data().examples, sources=("x" * 40,) * 90)
    assert len(repr(many)) < 300
    assert repr(many).endswith("and 87 more)")
    # What else a cell may end in.
    for value in (example("a\n" * 9999), ssd_keras.Augmentation(), *ssd_keras.PRESETS.values()):
        assert len(repr(value)) < 700 and "\n" not in repr(value)
    assert repr(ssd_keras.PRESETS["ssd300_vgg16_voc"]).startswith(
        "<Preset ssd300_vgg16_voc: 300x300"
    )


def test_indices_give_examples_and_parts_of_the_data():
    whole = data(4, category_ids=(7, 9))
    assert [whole[index].image_id for index in (0, -1, np.int32(2))] == [
        "image_0",
        "image_3",
        "image_2",
    ]
    assert [one.image_id for one in whole] == [f"image_{i}" for i in range(4)]
    assert all(one.class_names == ("dog", "cat") for one in whole)
    mask = np.array([True, False, False, True])
    for index, ids in ((slice(2), [0, 1]), (mask, [0, 3]), ([3, 0], [3, 0]), ([], [])):
        part = whole[index]
        assert [one.image_id for one in part.examples] == [f"image_{i}" for i in ids]
        assert (part.class_names, part.problems) == (whole.class_names, whole.problems)
        assert (part.category_ids, part.label_of_id) == ((7, 9), {7: 0, 9: 1})
        assert (part.licence, part.origin.num_images) == ("CC0", len(ids))
    assert whole[:1].examples[0] is whole.examples[0]
    with pytest.raises(IndexError, match=r"^there is no image 4; there are 4, counted from 0\.$"):
        whole[4]
    with pytest.raises(IndexError, match=r"^the index is 'a'; expected the number of one image, "):
        whole["a"]
    for twin in (copy.deepcopy(whole), pickle.loads(pickle.dumps(whole))):
        assert repr(twin) == repr(whole) and repr(twin[0]) == repr(whole[0])


def test_an_example_draws_its_boxes():
    drawing = np.asarray(data()[0].plot(), int)
    # The boxes reach from 10 to 30 of 60 columns and from 5 to 20 of 40 rows.
    boxes = np.tile([5 / 40, 10 / 60, 20 / 40, 30 / 60], (3, 1))
    grey = np.full((40, 60, 3), 90, np.uint8)
    expected = draw_boxes(grey, boxes, [0, 1, 1], class_names=["dog", "cat"])
    np.testing.assert_array_equal(drawing, expected)
    scored = example(labels=[1], scores=np.array([0.75]), class_names=("dog", "cat"))
    expected = draw_boxes(grey, boxes[:1], [1], [0.75], ["dog", "cat"])
    np.testing.assert_array_equal(scored.plot(), expected)
    png = data()[0]._repr_png_()
    np.testing.assert_array_equal(Image.open(io.BytesIO(png)), drawing)
    # Names need more room than numbers.
    assert np.abs(np.asarray(example().plot(), int) - drawing).max() > 60


def test_an_image_is_turned_as_its_boxes_are(tmp_path):
    # 60x40 pixels as stored, which EXIF turns clockwise to 40x60.
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = str(tmp_path / "a.png")
    Image.fromarray(pixels).save(path, exif=exif)
    upright = example(image=path, size=(40, 60), orientation=6)
    stored = example(image=path)
    np.testing.assert_array_equal(upright.read_image(), np.rot90(pixels, -1))
    np.testing.assert_array_equal(upright.read_image(), read_image(path))
    np.testing.assert_array_equal(stored.read_image(), pixels)


def test_a_missing_image_shows_the_text(tmp_path):
    gone = example(image=str(tmp_path / "gone.jpg"))
    with pytest.raises(ValueError, match=r"gone\.jpg: the image is missing"):
        gone.plot()
    with pytest.raises(ValueError, match=r"^a: not an image \(it starts with b'no'\); expected"):
        example(image=b"no").plot()
    assert gone._repr_png_() is None
    assert DetectionData(("dog", "cat"), (gone,))._repr_png_() is None
    assert DetectionData(("dog",), ())._repr_png_() is None
    # One of three cells of 320 pixels with gaps of 8 is missing.
    partly = DetectionData(("dog", "cat"), (example(), gone, example()))
    assert Image.open(io.BytesIO(partly._repr_png_())).width == 2 * 320 + 3 * 8


def test_generated_images_show_themselves():
    shapes = load_data("synthetic:shapes@train[:20]")
    assert len(repr(shapes)) < 200
    sheet = Image.open(io.BytesIO(shapes._repr_png_()))
    assert max(sheet.size) == 1280
