"""ATSS: one object worked by hand, scenes against plain NumPy, conflicts and objects without."""

import numpy as np
import pytest
import tensorflow as tf

from ssd_keras.assigners import ATSSAssigner
from ssd_keras.boxes.default_box_grid import DefaultBoxGrid
from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.boxes.iou import pairwise_iou


def make_grid(shapes, image_size, feature_sizes, **options):
    return DefaultBoxGrid(DefaultBoxes(shapes, **options), image_size, feature_sizes)


# Three maps of a wide image, whose cells are not square either.
SCENE = make_grid(
    (((24, 24), (17, 34), (34, 17)), ((60, 60), (42, 85)), ((140, 150),)),
    (160, 240),
    ((16, 24), (8, 12), (2, 3)),
)


def assign(boxes, labels, grid, **options):
    boxes, labels = np.array(boxes, "float32")[None], np.array(labels, "int32")[None]
    targets = ATSSAssigner(**options).assign({"boxes": boxes, "labels": labels}, grid)
    return {name: values[0].numpy() for name, values in targets.items()}


def plain_atss(boxes, grid, num_cells=9):
    """Object of each default box, or -1, and its IoU; loops over objects, maps and cells."""
    default_boxes = grid.boxes()
    height, width = grid.image_size
    # The library's float32: a small object inside several boxes of one shape has the same IoU
    # with all, and only rounding decides.
    ious = pairwise_iou(boxes, default_boxes)
    candidates, positive, start = [], np.zeros(ious.shape, bool), 0
    for number, box in enumerate(boxes):
        chosen, inside, start = [], [], 0
        center_y, center_x = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        for (rows, columns), (ys, xs), count in zip(
            grid.feature_sizes, grid.cell_centers(), grid.default_boxes.boxes_per_cell, strict=True
        ):
            distances = [
                (((center_y - y) * height) ** 2 + ((center_x - x) * width) ** 2, cell)
                for cell, (y, x) in enumerate((y, x) for y in ys for x in xs)
            ]
            for _, cell in sorted(distances)[:num_cells]:
                y, x = ys[cell // columns], xs[cell % columns]
                chosen += [start + cell * count + each for each in range(count)]
                inside += [box[0] < y < box[2] and box[1] < x < box[3]] * count
            start += rows * columns * count
        chosen = np.array(chosen)
        values = ious[number, chosen]
        threshold = values.mean() + values.std(ddof=1)
        positive[number, chosen[(values >= threshold) & inside]] = True
        candidates.append(chosen)
    matched = np.where(positive.any(axis=0), np.argmax(ious * positive, axis=0), -1)
    without = [number for number in range(len(boxes)) if number not in matched]
    pairs = [
        (-ious[n, j], n, rank, j)
        for n in without
        for rank, j in enumerate(candidates[n])
        if matched[j] < 0
    ]
    for value, number, _, default_box in sorted(pairs):
        if number not in matched and matched[default_box] < 0 and value < 0:
            matched[default_box] = number
    return matched, np.where(matched >= 0, ious[matched, np.arange(len(default_boxes))], 0)


def random_objects(generator, count):
    """Realistic objects of a photograph; some overlap heavily, some are tiny."""
    size = np.exp(generator.uniform(np.log(0.02), np.log(0.8), (count, 2)))
    corner = generator.uniform(0, 1, (count, 2)) * (1 - size)
    boxes = np.concatenate([corner, corner + size], axis=1)
    boxes[1::4] = np.clip(boxes[0] + generator.normal(0, 0.01, boxes[1::4].shape), 0, 1)
    return boxes.astype("float32")


def test_threshold_by_hand():
    # A row of four cells with a square box each; the object covers 1.5 cells: boxes of 1 x 1 at
    # 0, 1, 2, 3, object from 1 to 2.5 and as high. IoUs with the three nearest (centres 1.5, 2.5
    # and .5, of which 1.5 alone is inside): 1 / 1.5 = .667, .5 / 2 = .25, 0.
    grid = make_grid((((25, 25),),), (25, 100), ((1, 4),))
    box = [0, 0.25, 1, 0.625]
    # Mean .3056; deviations .3611, -.0556, -.3056: sum of squares .2269 / 2, root .3368: .6424.
    # With n in place of n - 1 the threshold would be .5806, and with 4 candidates .4978.
    targets = assign([box], [3], grid, candidates_per_map=3)
    np.testing.assert_array_equal(targets["labels"], [-1, 3, -1, -1])
    np.testing.assert_allclose(targets["quality"], [0, 2 / 3, 0, 0], atol=1e-6)
    np.testing.assert_allclose(targets["boxes"][1], box)
    # An object from 1.45 to 2.5 covers a centre by little: IoUs .55 / 1.5, .5 / 1.55, 0. Mean
    # .2298, deviation .2003: the threshold .4301 is above all. It claims the best, box 1.
    targets = assign([[0, 0.3625, 1, 0.625]], [2], grid, candidates_per_map=3)
    np.testing.assert_array_equal(targets["labels"], [-1, 2, -1, -1])


def test_the_sample_deviation_decides():
    # Two candidates, IoUs a > b: mean + root((a - b)^2 / 2) = a - .5 (a - b) + .707 (a - b) > a, so
    # no candidate of two is ever positive by itself; with n, the threshold would be a exactly.
    grid = make_grid((((50, 50),),), (50, 100), ((1, 2),))
    boxes = [[0, 0.05, 1, 0.45], [0, 0, 1, 0.5]]
    targets = assign(boxes, [0, 1], grid, candidates_per_map=2)
    # Both fall back on claims: the second first (IoU 1), then the first takes what is left.
    np.testing.assert_array_equal(targets["labels"], [1, -1])
    targets = assign(boxes[:1], [0], grid, candidates_per_map=2)
    np.testing.assert_array_equal(targets["labels"], [0, -1])


@pytest.mark.parametrize("num_cells", [9, 4])
def test_scenes_against_plain_numpy(num_cells):
    generator = np.random.default_rng(num_cells)
    num_positive = num_claimed = 0
    images = [random_objects(generator, count) for count in (1, 7, 20, 33)]
    padded = np.full((5, 40, 4), 0.0, "float32"), np.full((5, 40), -1, "int32")
    for image, boxes in enumerate(images):
        padded[0][image, 2 : 2 + len(boxes)] = boxes  # padding on both sides
        padded[1][image, 2 : 2 + len(boxes)] = np.arange(len(boxes))
    truth = {"boxes": tf.constant(padded[0]), "labels": tf.constant(padded[1])}
    assigner = ATSSAssigner(candidates_per_map=num_cells)
    targets = tf.function(lambda t: assigner.assign(t, SCENE), autograph=False)(truth)
    for image, boxes in enumerate(images):
        matched, quality = plain_atss(boxes, SCENE, num_cells)
        np.testing.assert_array_equal(targets["labels"][image], matched)
        np.testing.assert_allclose(targets["quality"][image], quality, atol=1e-6)
        is_positive = matched >= 0
        expected = boxes[matched[is_positive]]
        np.testing.assert_array_equal(targets["boxes"][image][is_positive], expected)
        num_positive += is_positive.sum()
        num_claimed += (np.bincount(matched[is_positive]) == 1).sum()
        assert set(matched[is_positive]) == set(range(len(boxes)))  # none goes without
    assert num_positive > 100 and num_claimed > 5
    # The last image has no object.
    assert (targets["labels"][4].numpy() == -1).all() and not targets["quality"][4].numpy().any()


def test_equal_objects_share_what_there_is():
    box = [0.2, 0.3, 0.6, 0.7]
    targets = assign([box] * 3, [0, 1, 2], SCENE)
    # The first takes all that are positive; each other claims one.
    counts = np.bincount(targets["labels"][targets["labels"] >= 0])
    assert counts[0] > 1 and counts[1:].tolist() == [1, 1]


def test_default_boxes_without_maps_are_refused():
    message = "^ATSSAssigner needs to know the feature maps of the default boxes; pass a Default"
    with pytest.raises(ValueError, match=message):
        assign([[0, 0, 1, 1]], [0], SCENE.boxes())
    with pytest.raises(ValueError, match="^candidates_per_map=0 must be 1 or more\\.$"):
        ATSSAssigner(candidates_per_map=0)
