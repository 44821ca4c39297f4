"""Geometry of the augmentation: the windows and boxes of the paper's plain sequence."""

import numpy as np
import oracle
import pytest
import tensorflow as tf
from draws import draw_many, ks_ratio

from ssd_keras.data.augmentation import geometry as augmentation
from ssd_keras.data.augmentation.augmentation import Augmentation
from ssd_keras.data.augmentation.geometry import Geometry

# Relative yxyx: a small bird, a person, a car that the border cuts, a dog before the person.
SCENE = np.array(
    [[0.1, 0.05, 0.2, 0.17], [0.3, 0.35, 0.9, 0.6], [0.55, 0.7, 0.8, 1.0], [0.6, 0.5, 0.85, 0.68]],
    np.float32,
)
ONE_SMALL = np.array([[0.4, 0.55, 0.46, 0.6]], np.float32)
WHOLE = [0.0, 0.0, 1.0, 1.0]
STATISTICS = ("area", "aspect", "center y", "center x", "kept boxes", "area of kept boxes")


def statistics(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Statistics of rows (window, number of kept boxes, their area), rounded to hide float32."""
    ymin, xmin, ymax, xmax, count, area = np.round(rows.T.astype(np.float64), 5)
    height, width = ymax - ymin, xmax - xmin
    values = (height * width, height / width, (ymin + ymax) / 2, (xmin + xmax) / 2, count, area)
    return dict(zip(STATISTICS, np.round(values, 4), strict=True))


def disagreements(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Returns the statistics in which two samples of windows differ, with their KS ratios."""
    one, other = statistics(first), statistics(second)
    ratios = {name: ks_ratio(one[name], other[name]) for name in STATISTICS}
    return {name: ratio for name, ratio in ratios.items() if ratio > 1}


def plain_crop(boxes, generator) -> list[float]:
    window, kept, _ = oracle.crop_samplers(boxes, generator)
    return [*window, *summary(kept)]


def plain_sequence(boxes, generator) -> list[float]:
    """Zoom-out, then crop, each in the coordinates of the image before it."""
    canvas, moved = oracle.zoom_out(boxes, generator)
    window, kept, _ = oracle.crop_samplers(moved, generator)
    return [
        *(np.tile(canvas[:2], 2) + window * np.tile(canvas[2:] - canvas[:2], 2)),
        *summary(kept),
    ]


def sampler_chosen_first(boxes, generator) -> list[float]:
    """The wrong rule of many re-implementations: draw one sampler, give up if it fails."""
    limit = generator.choice([None, *oracle.MIN_IOUS, 0.0])
    for _ in range(50 if limit is not None else 0):
        window = oracle.sample_window(generator)
        if any(oracle.iou(window, box) >= limit for box in boxes):
            return [*window, 0, 0]
    return [*WHOLE, 0, 0]


def summary(kept) -> tuple[int, float]:
    return len(kept), float(((kept[:, 2] - kept[:, 0]) * (kept[:, 3] - kept[:, 1])).sum())


def draw_geometry(boxes, options: Augmentation, count: int) -> np.ndarray:
    """Rows as of `plain_sequence`, from the code under test."""

    def draw(seed):
        geometry = augmentation.choose_geometry(tf.constant(boxes), seed, options)
        kept, _ = augmentation.move_boxes(boxes, tf.range(len(boxes)), geometry)
        sides = kept[:, 2:] - kept[:, :2]
        amounts = [tf.cast(tf.shape(kept)[0], tf.float32), tf.reduce_sum(sides[:, 0] * sides[:, 1])]
        return tf.concat([geometry.window, tf.stack(amounts)], axis=0)

    return draw_many(draw, count)


@pytest.fixture(scope="module")
def crops() -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """By scene: boxes, crops of the code under test, crops of the plain sequence."""
    options = Augmentation(zoom_out=False, flip=False)
    found = {}
    for name, boxes, count in (("scene", SCENE, 1200), ("one small", ONE_SMALL, 800)):
        generator = np.random.default_rng(1)
        plain = np.array([plain_crop(boxes, generator) for _ in range(count)])
        found[name] = boxes, draw_geometry(boxes, options, 4000), plain
    return found


def test_zoom_out_has_the_papers_distribution():
    found = draw_many(augmentation.choose_canvas, 5000)
    generator = np.random.default_rng(2)
    plain = np.array([oracle.zoom_out(ONE_SMALL, generator)[0] for _ in range(5000)])
    edges, plain_edges = found[is_larger(found)], plain[is_larger(plain)]
    for name, of in {
        "ratio": lambda canvas: canvas[:, 2] - canvas[:, 0],
        "top": lambda canvas: canvas[:, 0],
        "left": lambda canvas: canvas[:, 1],
        # Where the image lies, as a share of the free room.
        "position": lambda canvas: canvas[:, 0] / (1 - (canvas[:, 2] - canvas[:, 0])),
    }.items():
        assert ks_ratio(of(edges), of(plain_edges)) < 1, name
    assert abs(is_larger(found).mean() - 0.5) < 3.3 * 0.5 / np.sqrt(5000)
    height, width = found[:, 2] - found[:, 0], found[:, 3] - found[:, 1]
    np.testing.assert_allclose(height, width, atol=1e-6)
    assert height.max() <= 4 and (found[:, :2] <= 0).all() and (found[:, 2:] >= 1 - 1e-6).all()


def is_larger(canvas: np.ndarray) -> np.ndarray:
    return canvas[:, 2] - canvas[:, 0] > 1 + 1e-5


def test_zoom_out_follows_its_probability_and_largest_ratio():
    found = draw_many(lambda seed: augmentation.choose_canvas(seed, 0.2, 2.0), 3000)
    ratio = found[is_larger(found), 2] - found[is_larger(found), 0]
    assert abs(is_larger(found).mean() - 0.2) < 3.3 * 0.4 / np.sqrt(3000)
    assert 1.9 < ratio.max() <= 2 and abs(ratio.mean() - 1.5) < 0.05


@pytest.mark.parametrize("name", ["scene", "one small"])
def test_crops_have_the_papers_distribution(crops, name):
    _, found, plain = crops[name]
    assert disagreements(found, plain) == {}
    whole = [(np.abs(rows[:, :4] - WHOLE).max(axis=1) < 1e-6).mean() for rows in (found, plain)]
    spread = np.sqrt(whole[1] * (1 - whole[1]) * (1 / len(found) + 1 / len(plain)))
    assert 0.1 < whole[1] < 0.9
    assert abs(whole[0] - whole[1]) < 3.3 * spread


@pytest.mark.parametrize("name", ["scene", "one small"])
def test_the_comparison_detects_a_wrong_choice_rule(crops, name):
    boxes, found, _ = crops[name]
    generator = np.random.default_rng(3)
    wrong = np.array([sampler_chosen_first(boxes, generator) for _ in range(1000)])
    found = np.concatenate([found[:, :4], np.zeros([len(found), 2])], axis=1)
    assert set(disagreements(found, wrong)) >= {"area", "aspect"}


def test_zoom_out_and_crop_together_have_the_papers_distribution():
    generator = np.random.default_rng(4)
    plain = np.array([plain_sequence(SCENE, generator) for _ in range(1000)])
    found = draw_geometry(SCENE, Augmentation(), 4000)
    assert disagreements(found, plain) == {}
    # The comparison can fail: without zoom-out, or with zoom-out after the crop, they differ.
    assert disagreements(draw_geometry(SCENE, Augmentation(zoom_out=False), 1000), plain)


@pytest.mark.slow
@pytest.mark.parametrize("boxes", [SCENE, SCENE[1:3], ONE_SMALL], ids=["scene", "two", "small"])
def test_the_papers_distribution_in_many_draws(boxes):
    generator = np.random.default_rng(5)
    plain = np.array([plain_sequence(boxes, generator) for _ in range(8_000)])
    assert disagreements(draw_geometry(boxes, Augmentation(), 8_000), plain) == {}


def test_without_boxes_the_whole_image_or_canvas_remains():
    boxes = np.zeros([0, 4], np.float32)
    found = draw_geometry(boxes, Augmentation(zoom_out=False), 200)
    assert (found == [*WHOLE, 0, 0]).all()
    zoomed = draw_geometry(boxes, Augmentation(), 1000)[:, :4]
    generator = np.random.default_rng(6)
    plain = np.array([plain_sequence(boxes, generator)[:4] for _ in range(200)])
    assert (plain[~is_larger(plain)] == WHOLE).all()
    for edge in range(4):
        assert ks_ratio(zoomed[:, edge], plain[:, edge]) < 1


def test_switched_off_nothing_happens():
    still = Augmentation(zoom_out=False, crop=False, flip=False)
    for seed in range(20):
        geometry = augmentation.choose_geometry(tf.constant(SCENE), tf.constant([seed, 5]), still)
        assert geometry.window.numpy().tolist() == WHOLE
        assert not geometry.flip and not geometry.flip_vertical
        boxes, labels = augmentation.move_boxes(SCENE, [4, 3, 2, 1], geometry)
        np.testing.assert_array_equal(boxes, SCENE)
        assert labels.numpy().tolist() == [4, 3, 2, 1]


def test_mirroring_has_equal_chances_and_independent_axes():
    def draw(seed):
        geometry = augmentation.choose_geometry(ONE_SMALL, seed, Augmentation(flip_vertical=True))
        return tf.cast(tf.stack([geometry.flip, geometry.flip_vertical]), tf.float32)

    found = draw_many(draw, 2000)
    shares = [found[:, 0].mean(), found[:, 1].mean(), (found[:, 0] == found[:, 1]).mean()]
    np.testing.assert_allclose(shares, 0.5, atol=3.3 * 0.5 / np.sqrt(2000))


def test_boxes_in_a_window_by_hand():
    # The window's upper left is (0.2, 0.4), its sides are 0.5 and 0.4.
    window = tf.constant([0.2, 0.4, 0.7, 0.8])
    boxes = np.array(
        [
            [0.3, 0.5, 0.5, 0.7],  # inside: (0.1, 0.1, 0.3, 0.3) / (0.5, 0.4)
            [0.1, 0.3, 0.5, 0.7],  # centre (0.3, 0.5) inside, cut above and on the left
            [0.0, 0.5, 0.3, 0.7],  # centre y 0.15: dropped, though a third of it is visible
            [0.3, 0.3, 0.5, 0.48],  # centre x 0.39: dropped
            [0.6, 0.7, 0.78, 0.88],  # centre (0.69, 0.79) inside, cut below and on the right
        ],
        np.float32,
    )
    inside = np.array([[0.2, 0.25, 0.6, 0.75], [0, 0, 0.6, 0.75], [0.8, 0.75, 1, 1]])
    for across in (False, True):
        for down in (False, True):
            geometry = Geometry(window, tf.constant(across), tf.constant(down))
            found, labels = augmentation.move_boxes(boxes, tf.range(5), geometry)
            expected = inside.copy()
            if across:
                expected[:, [1, 3]] = 1 - expected[:, [3, 1]]
            if down:
                expected[:, [0, 2]] = 1 - expected[:, [2, 0]]
            np.testing.assert_allclose(found, expected, atol=1e-6)
            assert labels.numpy().tolist() == [0, 1, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"color_space": "lab"}, r"color_space 'lab' is unknown; choose one of matrix, hsv"),
        ({"zoom_out_max": 0.9}, r"zoom_out_max=0\.9 must be 1 or more"),
        ({"zoom_out_max": float("nan")}, r"zoom_out_max=nan must be 1 or more"),
        ({"zoom_out_probability": 1.1}, r"zoom_out_probability=1\.1 between 0 and 1"),
    ],
)
def test_options_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**arguments)
