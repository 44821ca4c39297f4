"""The streams of images: what comes, in which order, and that a seed and a step decide it."""

import io
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps
from trainings import PLAIN

from ssd_keras import MaxIoUAssigner, TargetEncoder
from ssd_keras.data import DetectionData, Example, load_data
from ssd_keras.data.augmentation.augmentation import Augmentation
from ssd_keras.data.images import resize_image
from ssd_keras.data.pipeline import (
    inference_dataset,
    make_lookup,
    training_dataset,
    training_examples,
)
from ssd_keras.data.stream import stream_positions
from ssd_keras.drawing.fonts import TextFont
from ssd_keras.engine.augmentation_sheet import training_sheet
from ssd_keras.engine.recipes import TrainRecipe, paper_recipe

STILL = Augmentation(photometric=False, zoom_out=False, crop=False, flip=False)
HEIGHT, WIDTH = 40, 60


def encode(image: np.ndarray, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def plain_image(number: int) -> np.ndarray:
    """An image of one colour, whose red is the image's number."""
    return np.full([HEIGHT, WIDTH, 3], (number, 100, 200), np.uint8)


def make_example(number: int, image: str | bytes | None = None, **changes) -> Example:
    """A plain image with `number` % 3 boxes."""
    count = number % 3
    boxes = np.array([[6, 4, 30, 16], [12, 20, 36, 10]], np.float64)[:count]
    values = {
        "image_id": f"image_{number}",
        "image": encode(plain_image(number)) if image is None else image,
        "height": HEIGHT,
        "width": WIDTH,
        "boxes": boxes,
        "labels": np.arange(count, dtype=np.int32),
        "is_difficult": np.zeros(count, bool),
        "is_crowd": np.zeros(count, bool),
        "areas": boxes[:, 2] * boxes[:, 3],
    }
    return Example(**{**values, **changes})


def make_data(count: int) -> DetectionData:
    return DetectionData(("cup", "bowl"), tuple(make_example(number) for number in range(count)))


@pytest.fixture(scope="module")
def encoder() -> TargetEncoder:
    """A grid of 6 x 6 default boxes of half the image's side, and one large."""
    centers = (np.arange(6) + 0.5) / 6
    y, x = (axis.ravel() for axis in np.meshgrid(centers, centers, indexing="ij"))
    grid = np.stack([y - 0.25, x - 0.25, y + 0.25, x + 0.25], axis=-1)
    return TargetEncoder(
        MaxIoUAssigner(), np.concatenate([grid, [[0.0, 0.0, 1.0, 1.0]]]).astype(np.float32)
    )


@pytest.fixture(scope="module")
def shapes() -> DetectionData:
    return load_data("synthetic:shapes@train[:12]")


def take(dataset: tf.data.Dataset, count: int) -> list:
    return [tf.nest.map_structure(lambda value: value.numpy(), x) for x in dataset.take(count)]


def equal(first, second) -> bool:
    """Whether two structures of arrays hold the same numbers."""
    pairs = zip(tf.nest.flatten(first), tf.nest.flatten(second), strict=True)
    return all(np.array_equal(one, other) for one, other in pairs)


def numbers_of(examples: list) -> list[int]:
    return [int(example["image"][0, 0, 0]) for example in examples]


# -------------------------------------------------------------------------------- elements


def test_elements_hold_what_the_examples_say():
    data = make_data(5)
    boxes = [[4 / 40, 6 / 60, 20 / 40, 36 / 60], [20 / 40, 12 / 60, 30 / 40, 48 / 60]]
    lookup = make_lookup(data)
    for number in range(5):
        element = {name: value.numpy() for name, value in lookup(number).items()}
        assert element["image"] == data.examples[number].image
        assert element["image_id"] == f"image_{number}".encode()
        assert element["size"].tolist() == [HEIGHT, WIDTH] and element["orientation"] == 1
        assert element["boxes"].dtype == np.float32 and element["boxes"].shape == (number % 3, 4)
        np.testing.assert_allclose(element["boxes"], np.reshape(boxes[: number % 3], [-1, 4]))
        assert element["labels"].tolist() == [0, 1][: number % 3]
        assert element["labels"].dtype == np.int32


def test_files_and_images_in_memory_mix(tmp_path):
    examples = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        path.write_bytes(encode(plain_image(number)))
        examples.append(make_example(number, str(path) if number % 2 else None))
    for chosen in (examples, examples[::2], examples[1::2]):  # mixed, in memory, files
        data = DetectionData(("cup", "bowl"), tuple(chosen))
        found = inference_dataset(data, (HEIGHT, WIDTH), 6)
        expected = [int(example.image_id[-1]) for example in chosen]
        (batch,) = take(found, 2)
        assert batch[:, 0, 0, 0].tolist() == expected


def test_images_are_read_again_in_each_iteration(tmp_path, encoder):
    path = tmp_path / "image.png"
    data = DetectionData(("cup", "bowl"), (make_example(1, str(path)),))
    dataset = training_dataset(data, encoder, (20, 20), 1, augmentation=STILL)
    for red in (30, 60):  # nothing of the first reading remains
        path.write_bytes(encode(plain_image(red)))
        ((images, _),) = take(dataset, 1)
        assert images[0, 5, 5].tolist() == [red, 100, 200]


def test_missing_files_raise_only_in_iteration(encoder):
    example = make_example(1, "nowhere/image_1.jpg")
    data = DetectionData(("cup", "bowl"), (example,) * 2000)
    assert all(isinstance(example.image, str) for example in data.examples)
    for dataset in (
        training_dataset(data, encoder, (20, 20), 4, augmentation=STILL),
        inference_dataset(data, (20, 20), 4),
    ):
        with pytest.raises(tf.errors.NotFoundError, match=r"nowhere/image_1\.jpg"):
            next(iter(dataset))


# ------------------------------------------------------------------------ order and seeds


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50])
def test_each_epoch_is_another_permutation(count):
    stream = training_examples(make_data(count), (8, 8), augmentation=STILL, seed=3)
    epochs = np.reshape(numbers_of(take(stream, 4 * count)), [4, count])
    assert np.sort(epochs, axis=1).tolist() == [list(range(count))] * 4
    if count >= 7:
        assert len({tuple(epoch) for epoch in epochs.tolist()}) == 4
        assert sorted(epochs[0].tolist()) != epochs[0].tolist()


def test_every_image_comes_at_every_position():
    # Over 300 epochs of 4 images each has its 75 turns at each position, within four deviations.
    stream = training_examples(make_data(4), (1, 1), augmentation=STILL, seed=1)
    epochs = np.reshape(numbers_of(take(stream, 1200)), [300, 4])
    counts = np.array([np.bincount(column, minlength=4) for column in epochs.T])
    assert np.abs(counts - 75).max() < 4 * np.sqrt(300 * 3 / 16)


def test_equal_seeds_give_equal_batches_at_any_step_and_others_different_ones(shapes, encoder):
    def batches(seed, start_step, count):
        arguments = {"image_size": (64, 48), "batch_size": 5, "start_step": start_step}
        return take(training_dataset(shapes, encoder, seed=seed, **arguments), count)

    whole = batches(9, 0, 6)
    assert whole[0][0].shape == (5, 64, 48, 3) and whole[0][0].dtype == np.uint8
    for start_step in (0, 3):  # 12 images: the second begins in the next epoch
        assert equal(whole[start_step:], batches(9, start_step, 6 - start_step))
    assert not equal(whole[0], whole[3])
    others = batches(6, 0, 6)
    assert not any(
        np.array_equal(one[0], other[0]) for one, other in zip(whole, others, strict=True)
    )


def test_an_image_is_augmented_differently_in_each_epoch():
    data = load_data("synthetic:shapes@train[:1]")
    found = take(training_examples(data, (32, 32), seed=2), 8)
    assert len({example["image"].tobytes() for example in found}) == 8


def test_two_images_of_an_epoch_have_different_draws():
    data = load_data("synthetic:shapes@train[:1]")
    twice = DetectionData(data.class_names, data.examples * 2)
    first, second = take(training_examples(twice, (32, 32), seed=2), 2)
    assert not equal(first["image"], second["image"])


def test_examples_continue_at_any_position(shapes):
    whole = take(training_examples(shapes, (32, 32), seed=9), 15)
    rest = training_examples(shapes, (32, 32), seed=9, positions=stream_positions(13))
    assert equal(whole[13:], take(rest, 2))


def test_positions_of_the_parts_of_batches():
    # Batches of six, the second begins at position 6: parts (6 7) (8 9) (10 11), then (12 13) ...
    parts = [take(stream_positions(6, 6, (index, 3)), 4) for index in range(3)]
    assert parts == [[6, 7, 12, 13], [8, 9, 14, 15], [10, 11, 16, 17]]


# ---------------------------------------------------------------------- objects and targets


def test_crowds_never_and_difficult_objects_by_choice_reach_training():
    boxes = np.array([[6, 4, 30, 16], [12, 20, 36, 10], [3, 3, 20, 20]], np.float64)
    example = make_example(
        1,
        boxes=boxes,
        labels=np.array([1, 0, 1], np.int32),
        is_difficult=np.array([False, True, False]),
        is_crowd=np.array([False, False, True]),
        areas=boxes[:, 2] * boxes[:, 3],
    )
    data = DetectionData(("cup", "bowl"), (example,))
    for use_difficult, kept in ((True, [0, 1]), (False, [0])):
        stream = training_examples(data, (20, 20), augmentation=STILL, use_difficult=use_difficult)
        (found,) = take(stream, 1)
        np.testing.assert_array_equal(found["boxes"], example.relative_boxes()[kept])
        assert found["labels"].tolist() == [[1, 0][index] for index in kept]


def test_targets_of_a_batch_are_those_of_its_examples(shapes, encoder):
    arguments = {"image_size": (48, 64), "seed": 4, "use_difficult": False}
    # The second and the third batch: the stream also continues within an epoch of 12 images.
    examples = take(training_examples(shapes, **arguments), 12)[4:]
    dataset = training_dataset(shapes, encoder, batch_size=4, start_step=1, **arguments)
    num_boxes = len(encoder.default_boxes)
    assert dataset.element_spec[0].shape == (4, 48, 64, 3)
    assert dataset.element_spec[1]["box_deltas"].shape == (4, num_boxes, 5)
    assert dataset.element_spec[1]["class_logits"].shape == (4, num_boxes)
    batches = take(dataset, 2)
    positives = 0
    for number, example in enumerate(examples):
        images, targets = batches[number // 4]
        alone = encoder(example["boxes"], example["labels"])
        np.testing.assert_array_equal(images[number % 4], example["image"])
        assert set(targets) == set(alone) == {"box_deltas", "class_logits"}
        for name, expected in alone.items():
            np.testing.assert_allclose(targets[name][number % 4], expected, rtol=1e-6)
        positives += int(targets["box_deltas"][number % 4, :, 4].sum())
        assert max(example["labels"], default=0) < len(shapes.class_names)
    assert positives > 8


class PassingOn:
    """An encoder of an assigner that needs predictions, without candidates."""

    needs_predictions = True

    def __call__(self, boxes, labels):
        return {"boxes": boxes, "labels": labels}


def test_ground_truth_that_goes_on_has_one_length(shapes):
    counts = [len(example.labels) for example in shapes.examples]
    arguments = {"image_size": (24, 24), "batch_size": 4, "augmentation": STILL}
    dataset = training_dataset(shapes, PassingOn(), **arguments)
    assert dataset.element_spec[1]["boxes"].shape == (4, max(counts), 4)
    _, targets = next(iter(dataset))
    number = (targets["labels"].numpy() >= 0).sum(axis=1)
    assert set(number) <= set(counts) and (targets["labels"].numpy()[0, number[0] :] == -1).all()
    assert not targets["boxes"].numpy()[0, number[0] :].any()
    # Fewer: the first of each image are left, and what is not is counted.
    left_out = sum(count - 2 for count in counts if count > 2)
    crowded = [x.location for x in shapes.examples if len(x.labels) > 2]
    message = (
        rf"^{left_out} objects beyond max_objects=2 are dropped of training, in {len(crowded)} "
        rf"images: {re.escape(crowded[0])}.*; raise max_objects for them\.$"
    )
    with pytest.warns(UserWarning, match=message):
        dataset = training_dataset(shapes, PassingOn(), max_objects=2, **arguments)
    _, cut = next(iter(dataset))
    np.testing.assert_array_equal(cut["labels"], targets["labels"][:, :2])
    np.testing.assert_array_equal(cut["boxes"], targets["boxes"][:, :2])
    with pytest.raises(ValueError, match="^max_objects=0 must be 1 or more\\.$"):
        training_dataset(shapes, PassingOn(), max_objects=0, **arguments)


def test_images_without_boxes_do_not_break_a_batch(encoder):
    data = DetectionData(("cup", "bowl"), tuple(make_example(number) for number in (0, 1, 3)))
    augmentation = Augmentation(photometric=False)
    batches = take(training_dataset(data, encoder, (24, 24), 1, augmentation=augmentation), 3)
    empty = [targets for _, targets in batches if not targets["box_deltas"].any()]
    assert len(empty) == 2 and not any(targets["class_logits"].any() for targets in empty)
    mixed = training_dataset(make_data(6), encoder, (24, 24), 6, augmentation=STILL)
    ((images, targets),) = take(mixed, 1)
    has_positives = (targets["class_logits"] > 0).any(axis=1)
    assert has_positives.tolist() == [bool(image[0, 0, 0] % 3) for image in images]


# ------------------------------------------------------------------------------- inference


def test_inference_keeps_the_order_and_the_smaller_last_batch():
    batches = take(inference_dataset(make_data(7), (10, 12), 3), 10)
    assert [batch.shape for batch in batches] == [(3, 10, 12, 3), (3, 10, 12, 3), (1, 10, 12, 3)]
    assert batches[0].dtype == np.float32
    assert np.concatenate(batches)[:, 4, 5, 0].tolist() == list(range(7))


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_images_stand_upright_for_inference_and_training(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    y, x = np.mgrid[:WIDTH, :HEIGHT]  # stored on its side
    stored = np.stack([y * 4, x * 6, 0 * x], axis=-1).astype(np.uint8)
    data = encode(stored, "JPEG", exif=exif, quality=100, subsampling=0)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    height, width = upright.shape[:2]
    example = make_example(1, data, orientation=orientation, height=height, width=width)
    one = DetectionData(("cup", "bowl"), (example,))
    (batch,) = take(inference_dataset(one, (30, 30), 1), 1)
    np.testing.assert_allclose(batch[0], resize_image(upright, (30, 30)), atol=1e-3)
    (found,) = take(training_examples(one, (height, width), augmentation=STILL), 1)
    np.testing.assert_array_equal(found["image"], upright)


# --------------------------------------------------------------------------- training sheet


@pytest.fixture(scope="module")
def recipe() -> TrainRecipe:
    changes = {
        "model.options": {"image_size": (320, 320), "width": 4},
        "data.use_difficult": False,
        "augmentation.photometric": False,
    }
    return paper_recipe("ssd192_small_shapes").replace(changes)


def test_training_sheet_shows_images_with_boxes(shapes, recipe):
    steps = [{"type": "grey", "probability": 1.0}]
    recipe = recipe.replace({"augmentation.after": steps})
    sheet = training_sheet(recipe, shapes, count=5, seed=2)
    gap, strip = 320 // 40, TextFont(320 // 20).height
    height = 320 + gap + strip
    assert sheet.dtype == np.uint8
    assert sheet.shape == (3 * height + gap, 4 * (320 + gap) + gap, 3)
    # Five pairs, two in a row: the image as it is, then as training sees it.
    cells = [
        sheet[gap + row * height :, gap + column * 328 :][:320, :320]
        for row, column in ((0, 1), (0, 3), (1, 1), (1, 3), (2, 1))
    ]
    options = Augmentation(photometric=False, after=steps)
    examples = take(training_examples(shapes, (320, 320), augmentation=options, seed=2), 5)
    assert sum(len(example["boxes"]) for example in examples) > 4
    for cell, example in zip(cells, examples, strict=True):
        drawn = np.abs(cell.astype(int) - example["image"]).max(axis=-1) > 8
        assert drawn.mean() < 0.6  # the image itself, with lines on it
        assert drawn.any() == bool(len(example["boxes"]))
        for ymin, xmin, _, xmax in example["boxes"] * 320:
            rows = slice(max(0, int(ymin) - 3), int(ymin) + 4)
            assert drawn[rows, int(xmin) : int(xmax) + 1].any(axis=0).mean() > 0.9
    assert np.ptp(sheet[gap + 2 * height :, 2 * 328 :]) < 2  # no sixth pair


def test_training_sheet_shows_the_same_image_as_it_is(recipe):
    """The original is beside each augmented image."""
    numbers = (31, 121, 211)  # one box each, which leaves the corner below right free
    data = DetectionData(("cup", "bowl"), tuple(map(make_example, numbers)))
    sheet = training_sheet(recipe.replace(PLAIN), data, count=3, seed=4)
    height = 320 + 8 + TextFont(16).height
    reds = []
    for row, column in ((0, 0), (0, 2), (1, 0)):
        pair = sheet[8 + row * height :, 8 + column * 328 :]
        # 60x40 becomes 320x213 in the middle of its cell; the augmented image fills the cell.
        assert pair[20, 160].tolist() == [40, 40, 40]
        original, augmented = pair[250, 310], pair[310, 328 + 310]
        assert original.tolist() == augmented.tolist() == [original[0], 100, 200]
        reds.append(int(original[0]))
    assert sorted(reds) == list(numbers)


def test_training_sheet_leaves_out_what_training_leaves_out(recipe):
    boxes = np.array([[12, 8, 30, 24]], np.float64)
    images = [
        make_example(
            7,
            boxes=boxes,
            labels=np.array([1], np.int32),
            is_difficult=np.array([flag]),
            is_crowd=np.array([False]),
            areas=np.array([720.0]),
        )
        for flag in (False, True)
    ]
    easy, hard = (
        training_sheet(recipe.replace(PLAIN), DetectionData(("cup", "bowl"), (one,)), count=1)
        for one in images
    )
    training = np.s_[8:328, 336:656]  # the right one of the pair
    assert easy.shape == hard.shape and easy.shape[1] == 2 * 328 + 8
    assert (hard[training] == (7, 100, 200)).all()
    assert (easy[training] != (7, 100, 200)).any()
