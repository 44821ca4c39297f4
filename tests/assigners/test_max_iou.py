"""Matching and targets: conflicts worked by hand, the oracle, torchvision's gold."""

from pathlib import Path

import numpy as np
import oracle
import pytest
import tensorflow as tf
from gold import scene
from matching import all_pairs

from ssd_keras.assigners import MaxIoUAssigner
from ssd_keras.boxes.iou import pairwise_iou
from ssd_keras.boxes.matching import match_pairs
from ssd_keras.models.target_encoder import TargetEncoder

GOLD = Path(__file__).parents[1] / "gold"
ODD_VARIANCES = (0.1, 0.2, 0.25, 0.5)

SSD300_VOC = {**scene.SSD300, "sizes": (30, 60, 111, 162, 213, 264, 315), "clip": "none"}


@pytest.fixture(scope="module")
def ssd300_boxes():
    return oracle.default_boxes(**SSD300_VOC).astype("float32")


@pytest.fixture
def same_ious(monkeypatch):
    """Lets the oracle decide on the library's float32 IoUs.

    A small box inside several default boxes of one shape has the same IoU with them, and so has a
    large one around several: real scenes are full of ties that only rounding decides.
    """
    monkeypatch.setattr(oracle, "iou_matrix", pairwise_iou)


def assert_matches(iou, matched, claimed, threshold=0.5):
    """Compares the ground truth of each default box and the claim of each ground truth, or -1."""
    for found, expected in zip(
        match_pairs(all_pairs(iou), *iou.shape, threshold), (matched, claimed), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def match(boxes, default_boxes, threshold=0.5):
    """The library's matching in the oracle's form: ground truth of each default box, or -1."""
    ground_truth = {"boxes": boxes[None], "labels": np.arange(len(boxes), dtype="int32")[None]}
    return MaxIoUAssigner(threshold).assign(ground_truth, default_boxes)["labels"][0].numpy()


def matching_graph(default_boxes, threshold):
    """`match` as a graph, as in training: a scene takes a fiftieth of the time."""

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)], autograph=False)
    def in_graph(boxes):
        ground_truth = {"boxes": boxes[None], "labels": tf.range(tf.shape(boxes)[0])[None]}
        return MaxIoUAssigner(threshold).assign(ground_truth, default_boxes)["labels"][0]

    return in_graph


def encoder_of(default_boxes, variances=ODD_VARIANCES, **options):
    return TargetEncoder(MaxIoUAssigner(**options), default_boxes, variances)


def random_boxes(generator, count):
    """Boxes of a photograph: float32, sides 0.05 to 0.9, some reaching the border."""
    size = np.exp(generator.uniform(np.log(0.05), np.log(0.9), (count, 2)))
    corner = generator.uniform(-0.05, 1.05, (count, 2)) * (1 - size)
    return np.clip(np.concatenate([corner, corner + size], axis=1), 0, 1).astype("float32")


def grid_boxes(generator, count, cells=32):
    """Boxes whose corners are multiples of 1 / `cells`.

    Areas are then whole numbers of up to 1024 cells, so equal IoUs are equal to the bit and
    different ones differ by more than 2e-7, in float32 as in float64: exact ties, and no others.
    """
    ends = np.sort(generator.integers(0, cells, (count, 2, 2)), axis=2)
    ends[:, :, 1] += 1
    return (ends.transpose(0, 2, 1).reshape(count, 4) / cells).astype("float32")


def test_greedy_is_neither_argmax_nor_forced_match():
    iou = np.array(
        [
            [0.90, 0.80, 0.10],
            [0.85, 0.60, 0.10],
        ],
        "float32",
    )
    # Default box 0 is the best of both. Greedy: 0.90 first, so 0 keeps 0; the best pair left is
    # (1, 1). The plain rule "each default box takes its best" leaves ground truth 1 nothing;
    # forced matching, where the later ground truth wins, gives 0 -> 1 and 1 -> 0; the best sum
    # (0.80 + 0.85 > 0.90 + 0.60) would give the same.
    assert_matches(iou, [0, 1, -1], [0, 1])


def test_claims_count_below_the_threshold_and_before_a_better_ground_truth():
    # Ground truth 1 loses box 0 (.7 < .8), then box 1 (.3 < .4 of ground truth 2), and claims box 2
    # with .05. Nobody claims box 3; its best is ground truth 0 with exactly the threshold.
    iou = np.array(
        [
            [0.80, 0.75, 0.55, 0.50],
            [0.70, 0.30, 0.05, 0.04],
            [0.10, 0.40, 0.00, 0.39],
        ],
        "float32",
    )
    assert_matches(iou, [0, 2, 1, 0], [0, 2, 1], threshold=0.5)
    assert_matches(iou, [0, 2, 1, -1], [0, 2, 1], threshold=0.51)


def test_equal_ious_go_to_the_lower_ground_truth_then_the_lower_default_box():
    iou = np.full((3, 5), 0.75, "float32")
    assert_matches(iou, [0, 1, 2, 0, 0], [0, 1, 2])


@pytest.mark.parametrize(("iou", "claim"), [(1e-6, -1), (1.1e-6, 1), (0.0, -1)])
def test_smallest_iou(iou, claim):
    matched = [-1, 0 if claim == 1 else -1, -1]
    assert_matches(np.array([[0.0, iou, 0.0]], "float32"), matched, [claim])


def test_more_ground_truths_than_default_boxes():
    iou = np.array([[0.2, 0.3], [0.6, 0.4], [0.1, 0.5]], "float32")
    # .6 gives (1, 0), then .5 gives (2, 1); ground truth 0 goes without.
    assert_matches(iou, [1, 2], [-1, 0, 1])


@pytest.mark.parametrize("threshold", [0.35, 0.5, 0.7])
def test_scenes_with_ties_against_the_oracle(threshold):
    # 180 scenes for each threshold. On this grid float32 and float64 decide alike: see above.
    generator = np.random.default_rng(int(threshold * 100))
    num_ties = num_positive = 0
    for _ in range(6):
        default_boxes = grid_boxes(generator, 48, cells=generator.choice([8, 32]))
        default_boxes[36:] = default_boxes[:12]

        in_graph = matching_graph(default_boxes, threshold)
        for _ in range(30):
            count, cells = generator.integers(1, 41), generator.choice([8, 32])
            boxes = grid_boxes(generator, count, cells)
            repeated = generator.integers(len(boxes), size=len(boxes) // 4)
            boxes = np.concatenate([boxes, boxes[repeated]])[:40]  # the same box twice
            expected = oracle.match(boxes, default_boxes, threshold)
            np.testing.assert_array_equal(in_graph(boxes), expected)
            num_ties += len(np.unique(boxes, axis=0)) < len(boxes)
            num_positive += (expected >= 0).sum()
    assert num_ties > 90 and num_positive > 2000


def test_many_ground_truths_compete_for_few_default_boxes():
    generator = np.random.default_rng(5)
    for num_default_boxes in (1, 5, 12, 29, 30, 45):
        default_boxes = grid_boxes(generator, num_default_boxes)
        # Thirty copies of one box, shifted by at most one cell of 1/32; some are equal.
        shift = generator.integers(-1, 2, (30, 4)) / 32
        boxes = (np.array([0.25, 0.25, 0.75, 0.625]) + shift).astype("float32")
        for threshold in (0.35, 0.7):
            expected = oracle.match(boxes, default_boxes, threshold)
            np.testing.assert_array_equal(match(boxes, default_boxes, threshold), expected)


def test_photographs_on_ssd300s_default_boxes_against_the_oracle(ssd300_boxes, same_ious):
    generator = np.random.default_rng(6)
    for _ in range(25):
        boxes = random_boxes(generator, generator.integers(1, 13))
        default_boxes = ssd300_boxes[generator.integers(4) :: 4]
        threshold = float(generator.choice([0.35, 0.5, 0.7]))
        expected = oracle.match(boxes, default_boxes, threshold)
        np.testing.assert_array_equal(match(boxes, default_boxes, threshold), expected)


def test_every_ground_truth_claims_a_default_box(ssd300_boxes):
    generator = np.random.default_rng(7)
    for count in (1, 10, 40, 100):
        boxes = random_boxes(generator, count)
        boxes[::3] = boxes[0]  # a crowd of equal boxes
        matched = match(boxes, ssd300_boxes)
        np.testing.assert_array_equal(np.unique(matched), np.arange(-1, count))


@pytest.mark.parametrize(
    ("file", "settings", "outputs"),
    [
        ("torchvision_ssd300_vgg16.npz", scene.SSD300, scene.SSD300_OUTPUTS),
        (
            "torchvision_ssdlite320_mobilenet_v3_large.npz",
            scene.SSDLITE320,
            scene.SSDLITE320_OUTPUTS,
        ),
    ],
)
def test_torchvision_gold(file, settings, outputs):
    gold = np.load(GOLD / file)
    default_boxes = oracle.default_boxes(**settings).astype("float32")
    encoder = encoder_of(default_boxes, outputs["variances"])
    for (boxes, labels), expected in zip(scene.scene(), gold["matched_index"], strict=True):
        np.testing.assert_array_equal(match(boxes, default_boxes), expected)
        classes = encoder(boxes, labels)["class_logits"]
        np.testing.assert_array_equal(classes, np.where(expected < 0, 0, labels[expected] + 1))


def test_targets_by_hand():
    default_boxes = np.array([[0, 0, 0.5, 0.5], [0, 0.5, 0.5, 1], [0.5, 0, 1, 0.5]], "float32")
    encoder = encoder_of(default_boxes)
    # Centre (.3, .75), .4 high, .5 wide on default box 1: centre (.25, .75), .5 and .5. Its IoU
    # is .4 / .5 = .8, with the others 0.
    targets = encoder(np.array([[0.1, 0.5, 0.5, 1.0]], "float32"), np.array([7]))
    # y: .05 / .5 / .1 = 1; x: 0; h: log(.4 / .5) / .25 = -.892574; w: 0; then the positive's 1.
    expected = [[0] * 5, [1.0, 0, -0.892574, 0, 1], [0] * 5]
    np.testing.assert_allclose(targets["box_deltas"], expected, atol=2e-6)
    np.testing.assert_array_equal(targets["class_logits"], [0, 8, 0])
    assert targets["box_deltas"].dtype == tf.float32
    assert targets["class_logits"].dtype == tf.int32


def expected_targets(boxes, labels, default_boxes, variances, threshold):
    """Targets by the oracle, for boxes and labels that are all sound."""
    matched = oracle.match(boxes, default_boxes, threshold)
    positive = matched >= 0
    deltas = np.zeros((len(default_boxes), 5))
    objects = boxes[matched[positive]]
    deltas[positive, :4] = oracle.encode(objects, default_boxes[positive], variances)
    deltas[positive, 4] = 1
    return deltas, np.where(positive, labels[matched] + 1, 0)


@pytest.mark.parametrize("threshold", [0.35, 0.7])
def test_targets_against_the_oracle(ssd300_boxes, same_ious, threshold):
    generator = np.random.default_rng(8)
    default_boxes = ssd300_boxes[3::9]
    encoder = encoder_of(default_boxes, threshold=threshold)
    for count in (1, 4, 11):
        boxes = random_boxes(generator, count)
        labels = generator.integers(0, 20, count)
        targets = encoder(tf.constant(boxes), tf.constant(labels))
        deltas, classes = expected_targets(boxes, labels, default_boxes, ODD_VARIANCES, threshold)
        np.testing.assert_array_equal(targets["class_logits"], classes)
        # Largest difference seen: 9e-6.
        np.testing.assert_allclose(targets["box_deltas"], deltas, atol=2e-5)


@pytest.mark.parametrize(
    ("boxes", "labels"),
    [
        (np.zeros((0, 4), "float32"), np.zeros(0, "int32")),
        (np.zeros(0), np.zeros(0)),  # an empty list as NumPy sees it
        ([[0.1, 0.1, 0.5, 0.9]], [-1]),  # a label of padding
        ([[0.5, 0.1, 0.5, 0.9]], [3]),  # no height
        ([[0.1, 0.9, 0.5, 0.1]], [3]),  # the edges of x changed about
        ([[0.9, 0.9, 0.1, 0.1]], [3]),  # of both
        ([[0.1, 0.1, np.nan, 0.9]], [3]),
        ([[-1.0, -1.0, -1.0, -1.0]] * 3, [-1] * 3),  # padded rows
    ],
)
def test_images_without_a_usable_box_are_background(ssd300_boxes, boxes, labels):
    default_boxes = ssd300_boxes[::40]
    targets = encoder_of(default_boxes)(np.float32(boxes), np.array(labels))
    np.testing.assert_array_equal(targets["box_deltas"], np.zeros((len(default_boxes), 5)))
    np.testing.assert_array_equal(targets["class_logits"], np.zeros(len(default_boxes)))


def test_unusable_boxes_change_nothing_for_the_others(ssd300_boxes):
    generator = np.random.default_rng(9)
    default_boxes = ssd300_boxes[::20]
    boxes, labels = random_boxes(generator, 5), np.array([3, 0, 19, 3, 7])
    encoder = encoder_of(default_boxes)
    expected = encoder(boxes, labels)
    assert (expected["class_logits"].numpy() > 0).sum() >= 5
    # Between them: the same boxes with label -1, a line, NaN, padding.
    unusable = [[0.3, 0.2, 0.3, 0.8], [np.nan] * 4, [-1.0] * 4]
    mixed = np.concatenate([[unusable[1]], boxes, unusable, boxes]).astype("float32")
    targets = encoder(mixed, np.array([2, *labels, 1, 2, -1, *[-1] * 5]))
    np.testing.assert_array_equal(targets["class_logits"], expected["class_logits"])
    np.testing.assert_array_equal(targets["box_deltas"], expected["box_deltas"])


def test_boundary_boxes_left_out(ssd300_boxes, same_ious):
    generator = np.random.default_rng(10)
    # Whole sides on the border do not cross it.
    edges = np.array([[0, 0, 0.5, 1], [0, 0.5, 1, 1]], "float32")
    default_boxes = np.concatenate([ssd300_boxes[::20], edges])
    crosses = np.array([min(box) < 0 or max(box) > 1 for box in default_boxes])
    assert 50 < crosses.sum() < 250 and not crosses[-2:].any()
    encoder = encoder_of(default_boxes, use_boundary_boxes=False)
    boxes, labels = random_boxes(generator, 12), generator.integers(0, 20, 12)
    targets = encoder(boxes, labels)
    deltas, classes = expected_targets(
        boxes, labels, default_boxes[~crosses], encoder.variances, 0.5
    )
    np.testing.assert_array_equal(targets["class_logits"].numpy()[crosses], -1)
    np.testing.assert_array_equal(targets["class_logits"].numpy()[~crosses], classes)
    np.testing.assert_array_equal(targets["box_deltas"].numpy()[crosses], 0)
    np.testing.assert_allclose(targets["box_deltas"].numpy()[~crosses], deltas, atol=2e-5)
    # Used, as by default, some of them match.
    used = encoder_of(default_boxes)(boxes, labels)["class_logits"].numpy()
    assert used.min() == 0 and (used[crosses] > 0).any()
    # An image without objects keeps the -1.
    empty = encoder(np.zeros((0, 4), "float32"), np.zeros(0, "int32"))
    np.testing.assert_array_equal(empty["class_logits"], np.where(crosses, -1, 0))


def test_a_dataset_gives_what_eager_calls_give(ssd300_boxes):
    generator = np.random.default_rng(11)
    encoder = encoder_of(ssd300_boxes[::10], threshold=0.4)
    images = []
    for count in (3, 0, 17, 1):
        images.append((random_boxes(generator, count), generator.integers(0, 20, count)))
    signature = (tf.TensorSpec([None, 4], tf.float32), tf.TensorSpec([None], tf.int64))
    dataset = tf.data.Dataset.from_generator(lambda: iter(images), output_signature=signature)
    encode = tf.autograph.experimental.do_not_convert(encoder.__call__)  # as the pipeline does
    batch = next(iter(dataset.map(encode).batch(4)))
    assert batch["box_deltas"].shape == (4, len(encoder.default_boxes), 5)
    assert (batch["class_logits"].numpy() > 0).sum() > 20
    for image, (boxes, labels) in enumerate(images):
        targets = encoder(boxes, labels)
        for key in ("box_deltas", "class_logits"):
            np.testing.assert_array_equal(batch[key][image], targets[key])


def test_a_batch_gives_what_its_images_give(ssd300_boxes, same_ious):
    """Default boxes count for each image, and a crowd in one image does not affect the others."""
    generator = np.random.default_rng(12)
    default_boxes = ssd300_boxes[2::9]
    encoder = encoder_of(default_boxes, threshold=0.4)
    crowd = np.tile(random_boxes(generator, 1), [40, 1])
    images = [random_boxes(generator, 7), np.zeros((0, 4), "float32"), crowd]
    images += [images[0][::-1], random_boxes(generator, 21)]
    labels = [generator.integers(0, 20, len(boxes)) for boxes in images]
    padded = np.full((5, 40, 4), 0.25, "float32"), np.full((5, 40), -1)
    for image, boxes in enumerate(images):
        for array, values in zip(padded, (boxes, labels[image]), strict=True):
            array[image, : len(values)] = values
    batch = encoder(*padded)
    assert batch["class_logits"].dtype == tf.int32
    for image, boxes in enumerate(images):
        deltas, classes = (
            expected_targets(boxes, labels[image], default_boxes, ODD_VARIANCES, 0.4)
            if len(boxes)
            else (np.zeros((len(default_boxes), 5)), np.zeros(len(default_boxes)))
        )
        np.testing.assert_array_equal(batch["class_logits"][image], classes)
        np.testing.assert_allclose(batch["box_deltas"][image], deltas, atol=2e-5)
    none = encoder(np.zeros((3, 0, 4)), np.zeros((3, 0)))
    assert none["box_deltas"].shape == (3, len(default_boxes), 5)
    assert not none["class_logits"].numpy().any()


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.01])
def test_threshold_out_of_range(threshold):
    message = rf"^threshold={threshold} is out of range; pass a value in \(0, 1\]\.$"
    with pytest.raises(ValueError, match=message):
        MaxIoUAssigner(threshold)
