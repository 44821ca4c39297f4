"""Scale jitter, mosaic and mixup: boxes on their pixels, and a stream that a seed decides."""

import io

import numpy as np
import pytest
import tensorflow as tf
from draws import draw_many, ks_ratio
from PIL import Image

from ssd_keras.data import DetectionData, Example
from ssd_keras.data.augmentation import mosaic
from ssd_keras.data.augmentation.augmentation import Augmentation
from ssd_keras.data.augmentation.geometry import Geometry, choose_geometry, choose_scale, move_boxes
from ssd_keras.data.pipeline import training_dataset, training_examples
from ssd_keras.data.stream import stream_positions

HEIGHT, WIDTH, INPUT = 96, 128, (90, 110)
DARK, BRIGHT = 40, 250
# One object for each number but 0, in pixels xywh; some touch or nearly fill the image.
OBJECTS = [
    None, (10, 12, 40, 30), (0, 50, 30, 46), (60, 8, 60, 80),
    (4, 4, 120, 88), (90, 60, 38, 36), (50, 40, 24, 20), (70, 0, 50, 40),
]  # fmt: skip
NAMES = tuple(f"class {number}" for number in range(8))


def make_example(number: int) -> Example:
    """An image whose object has the bits of its number as red, green and blue."""
    image = np.full([HEIGHT, WIDTH, 3], DARK, np.uint8)
    boxes = np.zeros([0, 4])
    if OBJECTS[number]:
        left, top, width, height = OBJECTS[number]
        color = [BRIGHT if number >> bit & 1 else DARK for bit in range(3)]
        image[top : top + height, left : left + width] = color
        boxes = np.array([OBJECTS[number]], np.float64)
    file, count = io.BytesIO(), len(boxes)
    kind = "PNG" if count else "JPEG"  # which would mix the colours at edges
    Image.fromarray(image).save(file, kind)
    no = np.zeros(count, bool)
    labels = np.full(count, number, np.int32)
    areas = boxes[:, 2] * boxes[:, 3]
    return Example(str(number), file.getvalue(), HEIGHT, WIDTH, boxes, labels, no, no, areas)


DATA = DetectionData(NAMES, tuple(make_example(number) for number in range(8)))
GENTLE = {"photometric": False, "zoom_out": False, "crop": False}
MOSAIC = Augmentation(
    mosaic=1.0, scale_jitter=(0.5, 1.5), flip_vertical=True, min_visible=0.3, **GENTLE
)
SOME = Augmentation(mosaic=0.6, mixup=0.7, strong_share=0.5)


class PassingOn:
    """An encoder of an assigner that needs predictions, without candidates."""

    needs_predictions = True
    class_names = NAMES

    def __call__(self, boxes, labels):
        return {"boxes": boxes, "labels": labels}


def take(dataset: tf.data.Dataset, count: int) -> list:
    return [tf.nest.map_structure(lambda value: value.numpy(), x) for x in dataset.take(count)]


def some(count: int, batch_size: int = 4, **options) -> list:
    arguments = {"augmentation": SOME, "seed": 3, **options}
    return take(training_dataset(DATA, PassingOn(), (32, 40), batch_size, **arguments), count)


def same(first, second) -> bool:
    pairs = zip(tf.nest.flatten(first), tf.nest.flatten(second), strict=True)
    return all(np.array_equal(one, other) for one, other in pairs)


def extents(image: np.ndarray) -> dict[int, np.ndarray]:
    """The pixels of each object, yxyx, by number; the canvas is below 151, also negated."""
    numbers = ((image > 151) * [1, 2, 4]).sum(axis=-1)
    found = {}
    for number in set(numbers.ravel().tolist()) - {0}:
        rows, columns = np.nonzero(numbers == number)
        found[number] = np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])
    return found


# -------------------------------------------------------------------------- boxes on pixels


@pytest.mark.parametrize(
    "options",
    [
        MOSAIC,
        Augmentation(scale_jitter=(0.4, 1.8), aspect_jitter=1.5, flip_vertical=True, **GENTLE),
    ],
    ids=["mosaic", "jitter"],
)
def test_boxes_are_those_of_their_pixels(options):
    examples = take(training_examples(DATA, INPUT, augmentation=options, run_length=8, seed=1), 160)
    kept, missing = 0, 0
    for example in examples:
        visible = extents(example["image"])
        for box, number in zip(example["boxes"] * (INPUT * 2), example["labels"], strict=True):
            # The four images of a mosaic are different, so each number is there once.
            np.testing.assert_allclose(visible.pop(int(number)), box, atol=1.01)
            kept += 1
        missing += len(visible)
    # Of some objects too little shows, or not the centre.
    assert kept > 120 and 0 < missing < 0.6 * kept


def test_a_mosaic_shows_four_images_and_all_their_objects():
    # Without jitter and with whole images only every object shows in four of the eight mosaics.
    options = Augmentation(mosaic=1.0, scale_jitter=(0.25, 0.25), flip=False, **GENTLE)
    examples = take(training_examples(DATA, INPUT, augmentation=options, run_length=8), 8)
    numbers = [sorted(example["labels"].tolist()) for example in examples]
    assert np.bincount(np.concatenate(numbers), minlength=8).tolist() == [0, *[4] * 7]
    assert all(3 <= len(each) <= 4 for each in numbers) and len(set(map(tuple, numbers))) == 8
    for example in examples:
        for box, number in zip(example["boxes"] * (INPUT * 2), example["labels"], strict=True):
            _, _, width, height = OBJECTS[number]
            # A quarter of its size in the input, to the rounding of 22.5 x 27.5 to 22 x 28.
            expected = [height / HEIGHT * 22, width / WIDTH * 28]
            np.testing.assert_allclose(box[2:] - box[:2], expected, atol=1e-3)


def test_views_are_exchanged_as_the_offsets_say():
    # Pixels and labels are 10 m + k in quadrant k of image m, cut at row 2 and column 1.
    quadrant = np.array([[0, 1, 1], [0, 1, 1], [2, 3, 3]])
    images = (10 * np.arange(8)[:, None, None, None] + quadrant[..., None]).repeat(3, axis=-1)
    number = np.tile(np.arange(4), (8, 1))
    labels = 10 * np.arange(8)[:, None] + number
    boxes = np.repeat(labels[..., None], 4, axis=-1).astype(np.float32)
    found, found_boxes, found_labels = (
        value.numpy()
        for value in mosaic.exchange_quadrants(
            tf.constant(images, tf.uint8),
            tf.constant(boxes),
            tf.constant(labels, tf.int32),
            tf.constant(number, tf.int32),
            tf.constant([2, 1]),
        )
    )
    for m in range(8):
        sources = [m, (m + 1) % 8, (m + 3) % 8, (m + 7) % 8]
        expected = [10 * source + k for k, source in enumerate(sources)]
        np.testing.assert_array_equal(found[m, ..., 0], np.array(expected)[quadrant])
        is_object = found_labels[m] >= 0
        assert found_labels[m, is_object].tolist() == expected
        np.testing.assert_array_equal(found_boxes[m, is_object, 0], expected)


def test_mixup_blends_two_images_and_has_the_objects_of_both():
    generator = np.random.default_rng(4)
    images = generator.integers(0, 256, [8, 6, 7, 3], np.uint8)
    boxes = generator.uniform(size=[8, 2, 4]).astype(np.float32)
    labels = np.array([[m, -1 if m % 2 else m + 10] for m in range(8)], np.int32)
    mix_up = tf.function(lambda seed: mosaic.mix_up(images, boxes, labels, seed, 0.5))
    weights = []
    for seed in range(60):
        found, found_boxes, found_labels = (
            value.numpy() for value in mix_up(tf.constant([seed, 1], tf.int64))
        )
        for m in range(8):
            other = (m + 5) % 8
            objects = found_labels[m]
            if (found[m] == images[m]).all():
                assert objects.tolist() == [*labels[m], -1, -1]
                continue
            np.testing.assert_array_equal(objects, [*labels[m], *labels[other]])
            np.testing.assert_array_equal(found_boxes[m], [*boxes[m], *boxes[other]])
            ours, theirs = images[m].astype(float), images[other].astype(float)
            weight = ((found[m] - theirs) * (ours - theirs)).sum() / ((ours - theirs) ** 2).sum()
            blended = weight * ours + (1 - weight) * theirs
            np.testing.assert_allclose(found[m], blended, atol=0.6)
            weights.append(weight)
    # 480 draws of probability 0.5; Beta(8, 8) has the variance 1 / (4 * 17).
    assert abs(len(weights) - 240) < 3.3 * np.sqrt(480 / 4)
    plain = generator.beta(8, 8, 5000)
    assert ks_ratio(np.array(weights), plain) < 1


# --------------------------------------------------------------------------------- geometry


def test_scales_are_log_uniform_and_keep_their_area_when_the_ratio_changes():
    options = Augmentation(scale_jitter=(0.5, 2.0), aspect_jitter=1.44)
    found = draw_many(lambda seed: choose_scale(seed, options.scale_jitter, options), 3000)
    generator = np.random.default_rng(0)
    scale = np.exp(generator.uniform(np.log(0.5), np.log(2), 3000))
    ratio = np.exp(generator.uniform(-np.log(1.44), np.log(1.44), 3000))
    assert ks_ratio(np.sqrt(found[:, 0] * found[:, 1]), scale) < 1
    assert ks_ratio(found[:, 1] / found[:, 0], ratio) < 1


def test_a_jittered_image_lies_in_the_input_or_the_input_in_the_image():
    options = Augmentation(scale_jitter=(0.5, 2.0), zoom_out=False, crop=False)
    boxes = tf.zeros([0, 4])
    windows = draw_many(lambda seed: choose_geometry(boxes, seed, options).window, 1000)
    start, end = windows[:, :2], windows[:, 2:]
    is_smaller = end - start > 1  # the image, than the input
    assert 0.45 < is_smaller.mean() < 0.55
    np.testing.assert_allclose(end[:, 0] - start[:, 0], end[:, 1] - start[:, 1], rtol=1e-5)
    assert (start[is_smaller] <= 0).all() and (end[is_smaller] >= 1 - 1e-6).all()
    assert (start[~is_smaller] >= 0).all() and (end[~is_smaller] <= 1 + 1e-6).all()
    place = start / (1 - (end - start))  # where the room is, as a share
    assert ks_ratio(place[:, 0], np.random.default_rng(1).uniform(size=1000)) < 1


def test_jitter_comes_after_zoom_out_and_before_the_crop():
    scaled = Augmentation(scale_jitter=(2.0, 2.0), zoom_out=False, crop=False)
    zoomed = Augmentation(crop=False)
    both = Augmentation(scale_jitter=(2.0, 2.0), crop=False)
    for seed in range(10):
        window, canvas, found = (
            choose_geometry(tf.zeros([0, 4]), tf.constant([seed, 3]), options).window.numpy()
            for options in (scaled, zoomed, both)
        )
        sides = np.tile(canvas[2:] - canvas[:2], 2)
        np.testing.assert_allclose(found, np.tile(canvas[:2], 2) + window * sides, atol=1e-5)


def test_how_much_of_an_object_must_show():
    window = tf.constant([0.0, 0.0, 0.5, 0.5])
    boxes = np.array(
        [
            [0.4, 0.0, 0.8, 0.4],  # a quarter shows, its centre does not
            [0.3, 0.3, 0.6, 0.6],  # (2 / 3) ** 2 = 0.44, and its centre
            [0.45, 0.0, 0.95, 0.5],  # a tenth
            [0.6, 0.6, 0.9, 0.9],  # nothing
        ],
        np.float32,
    )
    geometry = Geometry(window, tf.constant(False), tf.constant(False))
    for limit, kept in ((None, [1]), (0.24, [0, 1]), (0.3, [1]), (0.05, [0, 1, 2]), (0.5, [])):
        found, labels = move_boxes(boxes, tf.range(4), geometry, limit)
        assert labels.numpy().tolist() == kept
        np.testing.assert_allclose(found, np.minimum(boxes[kept] * 2, 1), atol=1e-6)
    assert move_boxes(boxes, tf.range(4), geometry, 0.0)[1].numpy().tolist() == [0, 1, 2]


# ---------------------------------------------------------------------------------- streams


@pytest.fixture(scope="module")
def whole() -> list:
    """Eight batches of four of a training of ten steps."""
    return some(8, total_steps=10)


def test_a_training_resumes_with_the_same_mosaics(whole):
    assert same(whole[3:], some(5, total_steps=10, start_step=3))


def test_parts_of_a_batch_are_the_batch(whole):
    # Each second batch of 4 is the second part of a batch of 8, half of a group. Half of five steps
    # of 8, rounded down to 2, end where the groups of half of ten steps of 4 do.
    assert same(whole[1::2], some(4, 8, total_steps=5, part=(1, 2)))


def test_mosaic_and_mixup_end_at_their_share_of_the_training(whole):
    # Half of ten steps of 4 are 20 images: two groups of 8, in the first four batches.
    plain = some(8, augmentation=Augmentation())
    images = [(one[0], other[0]) for one, other in zip(whole, plain, strict=True)]
    assert [np.array_equal(one, other) for one, other in images] == [False] * 4 + [True] * 4


def test_ground_truth_is_padded_to_the_objects_of_eight_images(whole):
    # At most one object an image, times four images of a mosaic, times two of mixup.
    assert {batch[1]["labels"].shape for batch in whole} == {(4, 8)}
    labels = np.concatenate([batch[1]["labels"] for batch in whole])
    assert (np.sort(labels < 0, axis=1) == (labels < 0)).all()
    assert 4 < (labels >= 0).sum(axis=1).max() <= 8


def test_steps_see_images_before_a_mosaic_and_inputs_after():
    # Every image is negated as a whole, and every input again: objects are as they were, and only
    # the canvas between them is not.
    negate = lambda image, boxes, labels, seed: (255.0 - image, boxes, labels)  # noqa: E731
    options = Augmentation(
        mosaic=1.0, scale_jitter=(0.3, 0.3), before=(negate,), after=(negate,), **GENTLE
    )
    positions = {"positions": stream_positions(3), "run_length": 3}
    for example in take(training_examples(DATA, INPUT, augmentation=options, **positions), 3):
        visible = extents(example["image"])
        for box, number in zip(example["boxes"] * (INPUT * 2), example["labels"], strict=True):
            np.testing.assert_allclose(visible[int(number)], box, atol=1.01)
        is_canvas = (example["image"] == (132, 138, 151)).all(axis=-1)  # 255 - (123, 117, 104)
        # Four images of 0.3 * 0.3 of the input leave 0.64 of it.
        assert is_canvas.mean() == pytest.approx(0.64, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mosaic": 1.1}, r"^mosaic=1\.1 must be between 0 and 1\.$"),
        ({"mixup": float("nan")}, r"^mixup=nan must be between 0 and 1\.$"),
        ({"strong_share": -0.1}, r"^strong_share=-0\.1 must be between 0 and 1\.$"),
        ({"min_visible": 2.0}, r"^min_visible=2\.0 must be between 0 and 1\.$"),
        ({"aspect_jitter": 0.5}, r"^aspect_jitter=0\.5 must be 1 or more\.$"),
        ({"scale_jitter": (1.5, 0.5)}, r"^scale_jitter=\(1\.5, 0\.5\) must be two factors above 0"),
        ({"scale_jitter": (0.0, 0.5)}, r"^scale_jitter=\(0\.0, 0\.5\) must be two factors above 0"),
    ],
)
def test_values_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**arguments)
