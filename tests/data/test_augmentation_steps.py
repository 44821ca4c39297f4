"""Augmentation steps: what ours do to pixels and boxes, and what a user's own must return."""

import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf
from draws import draw_many, ks_ratio, smooth_image
from PIL import Image, ImageOps

from ssd_keras import Augmentation, load_data, register_augmentation_step
from ssd_keras.core.parts import make_part, part_table
from ssd_keras.data.augmentation.apply_steps import apply_steps
from ssd_keras.data.augmentation.geometry import augment
from ssd_keras.data.augmentation.steps import Blur, Grey, Noise, QuarterTurns
from ssd_keras.data.augmentation.steps.pixels import blur
from ssd_keras.data.augmentation.steps.quarter_turns import turn
from ssd_keras.data.pipeline import training_examples
from ssd_keras.data.stream import stream_positions

SEED = tf.constant([5, 7], tf.int64)
STILL = {"photometric": False, "zoom_out": False, "crop": False, "flip": False}
BOXES = tf.constant([[0.2, 0.1, 0.6, 0.3], [0.5, 0.4, 1.0, 0.9]])
LABELS = tf.constant([3, 1])


def grey_image(level: float, height: int = 20, width: int = 30) -> tf.Tensor:
    return tf.fill([height, width, 3], level)


def unchanged(image, boxes, labels, seed):
    return image, boxes, labels


def arrays(values) -> list[np.ndarray]:
    return [value.numpy() for value in values]


# -------------------------------------------------------------------------------- our steps


@pytest.mark.parametrize(
    ("quarters", "letters", "box_of_c"),
    [
        (1, ["cf", "be", "ad"], [0, 0, 1 / 3, 1 / 2]),  # row 0 of 3, column 0 of 2
        (2, ["fed", "cba"], [1 / 2, 0, 1, 1 / 3]),
        (3, ["da", "eb", "fc"], [2 / 3, 1 / 2, 1, 1]),
    ],
)
def test_quarter_turns_by_hand(quarters, letters, box_of_c):
    def as_image(rows):
        return np.array([[[ord(x)] * 3 for x in row] for row in rows], np.float32)

    boxes = tf.constant([[0, 2 / 3, 1 / 2, 1], [0, 0, 1, 1]])  # the pixel c, and the whole image
    image, found = turn(tf.constant(as_image(["abc", "def"])), boxes, quarters)
    np.testing.assert_array_equal(image, as_image(letters))
    np.testing.assert_allclose(found, [box_of_c, [0, 0, 1, 1]], atol=1e-6)


def test_the_four_positions_are_equally_frequent():
    box = tf.constant([[0.0, 0.0, 0.5, 0.25]])

    def draw(seed):
        _, boxes, _ = QuarterTurns()(grey_image(0.0, 2, 2), box, tf.constant([0]), seed)
        return boxes[0]

    positions, counts = np.unique(draw_many(draw, 1000), axis=0, return_counts=True)
    np.testing.assert_array_equal(
        positions, [[0, 0, 0.5, 0.25], [0, 0.5, 0.25, 1], [0.5, 0.75, 1, 1], [0.75, 0, 1, 0.5]]
    )
    assert np.abs(counts - 250).max() < 3.5 * np.sqrt(1000 * 3 / 16)


def test_blur_by_hand():
    # A bell of standard deviation 1: 1, exp(-1/2), exp(-2), exp(-9/2), of which seven sum to
    # 1 + 2 (0.60653 + 0.13534 + 0.01111) = 2.50596.
    bell = np.exp(-0.5 * np.array([3, 2, 1, 0, 1, 2, 3]) ** 2)
    image = np.zeros([1, 13, 3], np.float32)
    image[0, 6] = (100, 200, 0)
    found = blur(tf.constant(image), tf.constant(1.0), 3).numpy()
    np.testing.assert_allclose(found[0, 6], [39.905, 79.810, 0], atol=1e-3)
    np.testing.assert_allclose(found[0, 3:10, 0], 100 * bell / 2.50596, atol=1e-3)
    # At the border the weights within the image are summed: 1 + 0.60653 + 0.13534 + 0.01111.
    column = np.zeros([6, 1, 3], np.float32)
    column[0] = 100
    found = blur(tf.constant(column), tf.constant(1.0), 3).numpy()
    assert found[0, 0, 0] == pytest.approx(100 / 1.75298, abs=1e-3)
    np.testing.assert_allclose(blur(grey_image(77.0, 2, 3), tf.constant(2.0), 6), 77.0, rtol=1e-6)
    np.testing.assert_array_equal(blur(tf.constant(image), tf.constant(0.0), 3), image)


def test_blur_draws_its_strength():
    # Of two pixels 0 and 100 the first becomes 100 b / (1 + b) with b = exp(-1 / (2 sigma^2)).
    image = tf.constant([[[0.0] * 3, [100.0] * 3]])
    found = draw_many(lambda seed: Blur(1.0, max_sigma=3.0)(image, BOXES, LABELS, seed)[0], 400)
    share = found[:, 0, 0, 0].astype(np.float64) / 100
    share = share[share > 1e-4]
    sigma = np.sqrt(-0.5 / np.log(share / (1 - share)))
    assert sigma.max() <= 3.0
    assert ks_ratio(sigma, np.linspace(sigma.min(), 3, 5000)) < 1


def test_noise_has_the_drawn_deviation_and_stays_in_range():
    noise = Noise(1.0, max_stddev=12.0)
    found = draw_many(lambda seed: noise(grey_image(120.0), BOXES, LABELS, seed)[0], 400) - 120
    deviations = found.std(axis=(1, 2, 3))
    assert deviations.max() < 12.5 and ks_ratio(deviations, np.linspace(0, 12, 5000)) < 1
    scaled = found / deviations[:, None, None, None]
    count = scaled.size
    assert abs(scaled.mean()) < 4 / np.sqrt(count)
    assert abs((np.abs(scaled) < 1).mean() - 0.6827) < 0.003
    # Channels and neighbours are independent.
    assert abs((scaled[..., 0] * scaled[..., 1]).mean()) < 4 / np.sqrt(count / 3)
    assert abs((scaled[:, 1:] * scaled[:, :-1]).mean()) < 4 / np.sqrt(count)
    white, _, _ = noise(grey_image(255.0), BOXES, LABELS, SEED)
    assert white.numpy().max() == 255 and 0.4 < (white.numpy() == 255).mean() < 0.6


def test_grey_has_the_weights_of_bt_601():
    image = tf.constant([[[255.0, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]])
    found, boxes, labels = Grey(1.0)(image, BOXES, LABELS, SEED)
    # 0.299 * 255, 0.587 * 255, 0.114 * 255
    expected = np.repeat([[[76.245], [149.685], [29.07], [255]]], 3, axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert boxes is BOXES or np.array_equal(boxes, BOXES)
    assert labels.numpy().tolist() == [3, 1]


@pytest.mark.parametrize("step", [QuarterTurns, Blur, Noise, Grey])
def test_probabilities_of_0_and_1(step):
    image = tf.constant(smooth_image()[:8, :8], tf.float32)
    changes = []
    for seed in range(12):
        scene = (image, BOXES, LABELS, tf.constant([seed, 3], tf.int64))
        never, always = step(probability=0)(*scene), step(probability=1)(*scene)
        for before, after in zip(scene[:3], never, strict=True):
            np.testing.assert_array_equal(after, before)
        changes.append(np.abs(always[0] - image).mean() > 0.01)
        is_moved = not np.array_equal(always[1], BOXES)
        assert is_moved == (step is QuarterTurns)
    assert sum(changes) >= 10  # the strength of a blur may be close to 0
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"of {step.__name__} must be between 0 and 1"):
            step(probability=wrong)


@pytest.mark.parametrize("strength", [0, -1, float("inf"), float("nan")])
def test_strengths_out_of_range_are_refused(strength):
    with pytest.raises(ValueError, match=r"max_sigma=.* of Blur must be above 0"):
        Blur(max_sigma=strength)
    with pytest.raises(ValueError, match=r"max_stddev=.* of Noise must be above 0"):
        Noise(max_stddev=strength)


# ------------------------------------------------------------------------------- a user's own


def test_boxes_are_clipped_and_those_without_area_dropped():
    moved = [
        [-0.2, 0.1, 0.6, 1.3],
        [0.5, 0.4, 0.5, 0.9],
        [1.1, 0.2, 1.4, 0.3],
        [0.1, 0.2, 0.3, 0.4],
    ]

    def move(image, boxes, labels, seed):
        return image, tf.constant(moved), tf.constant([4, 5, 6, 7])

    _, boxes, labels = apply_steps([move], grey_image(1.0), BOXES, LABELS, SEED)
    np.testing.assert_array_equal(boxes, np.float32([[0, 0.1, 0.6, 1], moved[3]]))
    assert labels.numpy().tolist() == [4, 7]


def test_a_step_may_drop_a_box_and_the_next_does_not_see_it():
    seen = []

    def drop_first(image, boxes, labels, seed):
        return image, boxes[1:], labels[1:]

    def look(image, boxes, labels, seed):
        seen.append(labels.numpy().tolist())
        return image, boxes, labels

    steps = [drop_first, look, drop_first]
    _, boxes, labels = apply_steps(steps, grey_image(1.0), BOXES, LABELS, SEED)
    assert seen == [[1]] and boxes.shape == (0, 4) and labels.shape == (0,)


def test_a_steps_draws_depend_on_its_place_and_on_no_other_step():
    image = grey_image(100.0)

    def noisy(steps):
        found = apply_steps(steps, image, BOXES, LABELS, SEED)[0]
        return found.numpy()

    noise = Noise(1.0)
    np.testing.assert_array_equal(noisy([noise]), noisy([noise, unchanged]))
    np.testing.assert_array_equal(noisy([Grey(1.0), noise]), noisy([unchanged, noise]))
    assert not np.array_equal(noisy([noise]), noisy([unchanged, noise]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, b, n: i, r"returned EagerTensor; expected image float32 \(20, 30, 3\)"),
        (lambda i, b, n: (i, b), r"returned tuple; expected"),
        (lambda i, b, n: (tf.cast(i, tf.uint8), b, n), r"returned image uint8 \(20, 30, 3\)"),
        (lambda i, b, n: (i[..., :1], b, n), r"returned image float32 \(20, 30, 1\)"),
        (lambda i, b, n: (i[:9], b, n), r"returned image float32 \(9, 30, 3\).*in `before`"),
        (lambda i, b, n: (i, b.numpy().astype(float), n), r"returned boxes float64 \(2, 4\)"),
        (lambda i, b, n: (i, b[:, :2], n), r"returned boxes float32 \(2, 2\)"),
        (lambda i, b, n: (i, b, tf.cast(n, tf.int64)), r"returned labels int64 \(2,\)"),
        (lambda i, b, n: (i, b[:1], n), r"returned 1 boxes and 2 labels"),
        (lambda i, b, n: (i, b, n[:, None]), r"returned labels int32 \(2, 1\)"),
    ],
)
def test_wrong_returns_are_refused_by_the_steps_name(change, message):
    def my_step(image, boxes, labels, seed):
        return change(image, boxes, labels)

    arguments = [my_step], grey_image(1.0), BOXES, LABELS, SEED, (20, 30)
    with pytest.raises(ValueError, match=message) as caught:
        apply_steps(*arguments)
    assert str(caught.value).startswith("augmentation step 'my_step' returned")
    assert "\n" not in str(caught.value)


def keep_labels(image, boxes, labels, seed):
    """Drops boxes on the left alone, as a graph does: their number is not known before."""
    return image, tf.boolean_mask(boxes, boxes[:, 1] > 0.3), labels


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            keep_labels,
            r"step \\'keep_labels\\' returned shapes\] \[20 30 3\] \[1 4\] \[2\] \[expected",
        ),
        (QuarterTurns(1.0), r"step \\'quarter_turns\\' returned shapes\] \[30 20 3\].*in `before`"),
    ],
)
def test_sizes_that_only_the_running_graph_knows_are_refused(step, message):
    @tf.function(autograph=False)
    def run(seed):
        return apply_steps([step], grey_image(1.0), BOXES, LABELS, seed, (20, 30))

    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        for number in range(12):  # a half turn keeps the size
            run(tf.constant([number, 1], tf.int64))


# ------------------------------------------------------------------------ names and records


def test_tables_and_records_are_the_same_augmentation():
    tables = [{"type": "quarter_turns"}, {"type": "blur", "probability": 0.25, "max_sigma": 1.5}]
    steps = (QuarterTurns(probability=0.75), Blur(probability=0.25, max_sigma=1.5))
    assert Augmentation(before=tables) == Augmentation(before=steps)
    assert hash(Augmentation(after=tables)) == hash(Augmentation(after=steps))
    assert Augmentation(before=tables).before == steps
    assert part_table("augmentation_step", steps[1]) == tables[1]
    assert part_table("augmentation_step", steps[0]) == tables[0] | {"probability": 0.75}


def test_a_function_is_chosen_by_its_name():
    step = register_augmentation_step("unchanged")(unchanged)
    assert step is unchanged
    assert register_augmentation_step("unchanged")(unchanged) is unchanged  # as in a notebook
    assert Augmentation(after=[{"type": "unchanged"}]).after == (unchanged,)
    assert part_table("augmentation_step", unchanged) == {"type": "unchanged"}
    with pytest.raises(
        ValueError, match=r"'unchanged' is a function, which takes no options; remove 'share'\.$"
    ):
        make_part("augmentation_step", {"type": "unchanged", "share": 1})


def test_names_and_steps_that_are_none_are_refused():
    @dataclasses.dataclass(frozen=True)
    class NoCall:
        share: float = 0.5

    class NoRecord:
        def __call__(self, image, boxes, labels, seed):
            return image, boxes, labels

    for wrong in (NoCall, NoRecord, NoRecord()):
        with pytest.raises(ValueError, match=r"'mine' is .*expected a function, or a dataclass"):
            register_augmentation_step("mine")(wrong)
    with pytest.raises(ValueError, match=r"'blur' is taken by ssd_keras.*pixels; choose another"):
        register_augmentation_step("blur")(unchanged)
    assert Augmentation(after=["grey"]).after == (Grey(),)
    for wrong in (3, Grey, None):
        with pytest.raises(ValueError, match=r"is not an augmentation step; expected a function"):
            Augmentation(after=[wrong])
    with pytest.raises(ValueError, match=r"step 'gray' is unknown; did you mean 'grey'\?"):
        Augmentation(before=[{"type": "gray"}])
    with pytest.raises(ValueError, match=r"has no name to write"):
        part_table("augmentation_step", lambda *scene: scene[:3])


# ---------------------------------------------------------------------------- in the pipeline


def test_steps_before_get_the_upright_image():
    y, x = np.mgrid[:30, :20]
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    stored = np.stack([y * 8, x * 12, 0 * x], axis=-1).astype(np.uint8)
    Image.fromarray(stored).save(file, "JPEG", exif=exif, quality=100, subsampling=0)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    assert upright.shape == (20, 30, 3)
    seen = []

    def turn_once(image, boxes, labels, seed):
        seen.append(image.numpy())
        return *turn(image, boxes, 1), labels

    options = Augmentation(before=[turn_once], **STILL)
    size = tf.constant([20, 30])
    found, boxes, labels = augment(file.getvalue(), 6, size, BOXES, LABELS, (30, 20), SEED, options)
    np.testing.assert_array_equal(seen[0], upright)
    np.testing.assert_array_equal(found, np.rot90(upright))
    # The first box, y 0.2 to 0.6 and x 0.1 to 0.3, is 0.7 to 0.9 from above and 0.2 to 0.6 across.
    np.testing.assert_allclose(boxes[0], [0.7, 0.2, 0.9, 0.6], atol=1e-6)
    assert labels.numpy().tolist() == [3, 1]


def test_steps_that_change_nothing_leave_our_augmentation_as_it_is():
    file = io.BytesIO()
    Image.fromarray(smooth_image()).save(file, "PNG")
    size = tf.constant([160, 220])
    for seed in range(6):
        plain, before, after = (
            arrays(augment(file.getvalue(), 1, size, BOXES, LABELS, (48, 40), [seed, 9], options))
            for options in (
                Augmentation(),
                Augmentation(before=[unchanged]),
                Augmentation(after=[unchanged, unchanged]),
            )
        )
        for one, other, third in zip(plain, before, after, strict=True):
            np.testing.assert_array_equal(one, other)
            np.testing.assert_array_equal(one, third)


def test_seeds_differ_by_position_and_place():
    seen = []

    def look(image, boxes, labels, seed):
        seen.append(tuple(seed.numpy().tolist()))
        return image, boxes, labels

    data = tf.io.encode_png(tf.zeros([20, 30, 3], tf.uint8))
    options = Augmentation(before=[look, look], after=[look, look], **STILL)
    for position in range(4):
        seed = tf.constant([3, -1 - position], tf.int64)
        augment(data, 1, tf.constant([20, 30]), BOXES, LABELS, (20, 30), seed, options)
    assert len(set(seen)) == len(seen) == 16


def test_steps_resume_exactly_and_in_parts():
    data = load_data("synthetic:shapes@train[:5]")
    augmentation = Augmentation(before=[QuarterTurns()], after=[Blur(), Noise(0.9), Grey(0.5)])

    def take(count, *where):
        stream = training_examples(
            data, (32, 40), augmentation=augmentation, seed=3, positions=stream_positions(*where)
        )
        return [arrays(example.values()) for example in stream.take(count)]

    def check(found, expected):
        for one, other in zip(found, expected, strict=True):
            for first, second in zip(one, other, strict=True):
                np.testing.assert_array_equal(first, second)

    whole = take(12)
    check(take(4, 8), whole[8:])
    # Batches of four in two parts: the second holds positions 2, 3, 6, 7, 10, 11.
    check(take(6, 0, 4, (1, 2)), [whole[position] for position in (2, 3, 6, 7, 10, 11)])
    # Positions 0 to 9 are two epochs of five images: an image is never drawn twice alike.
    assert len({image.tobytes() for image, *_ in whole}) == 12
