"""Post-processing: NMS worked by hand, the oracle, torchvision's gold, the padding."""

import functools
import sys
from pathlib import Path

import keras
import numpy as np
import oracle
import pytest
import tensorflow as tf
from gold import scene
from post_processing import bound, builtin_of_each_image

from ssd_keras.boxes import nms
from ssd_keras.models.post_process import PostProcess

GOLD = Path(__file__).parents[1] / "gold"
ODD_VARIANCES = (0.1, 0.2, 0.25, 0.5)
KERNEL = nms.combined


@pytest.fixture(params=["combined", "parallel", "builtin"], autouse=True)
def kernel(request, monkeypatch):
    """Runs every test of this file with each kernel."""
    kernel = {**vars(nms), "builtin": builtin_of_each_image}[request.param]
    monkeypatch.setattr(sys.modules[__name__], "KERNEL", kernel)
    return request.param


def detect(
    deltas, logits, default_boxes, variances=ODD_VARIANCES, activation="softmax", **settings
):
    """Returns the detections with the kernel under test as arrays."""
    outputs = {
        "box_deltas": np.asarray(deltas, "float32"),
        "class_logits": np.asarray(logits, "float32"),
    }
    post_process = bound(PostProcess(**settings), default_boxes, variances, activation)
    found = post_process(outputs, KERNEL)
    return {key: keras.ops.convert_to_numpy(value) for key, value in found.items()}


def detect_boxes(boxes, scores, **settings):
    """Detections of one image whose default boxes are already right, by scores of classes.

    `scores` [N, classes] are probabilities; background has the rest.
    """
    scores = np.asarray(scores, "float64")
    logits = np.log(np.concatenate([1 - scores.sum(axis=1, keepdims=True), scores], axis=1))
    found = detect(np.zeros((1, len(boxes), 4)), logits[None], boxes, **settings)
    return {key: value[0] for key, value in found.items()}


def random_outputs(seed, background):
    """Default boxes, deltas and logits of three images: none found, some and many."""
    generator = np.random.default_rng(seed)
    default_boxes = oracle.default_boxes(
        (96, 128), [(12, 16), (6, 8), (3, 4)], (14, 30, 60, 90), ((2,), (2, 3), (2,))
    ).astype("float32")
    deltas = generator.normal(0, 0.6, (3, len(default_boxes), 4)).astype("float32")
    logits = generator.normal(0, 1.2, (3, len(default_boxes), 5)).astype("float32")
    logits[..., 0] += np.float32([30, background, 1])[:, None]
    return default_boxes, deltas, logits


def assert_equal_to_oracle(found, expected, max_detections):
    """Every kept slot against the oracle's list, every other slot zero."""
    assert found["boxes"].shape == (len(expected), max_detections, 4)
    assert found["labels"].dtype == found["num_detections"].dtype == np.int32
    np.testing.assert_array_equal(found["num_detections"], [len(each) for each in expected])
    for image, detections in enumerate(expected):
        count = len(detections)
        if detections:
            boxes, scores, labels = map(np.array, zip(*detections, strict=True))
            np.testing.assert_array_equal(found["labels"][image, :count], labels)
            # Largest difference seen, of scores and of boxes: 1.2e-7.
            np.testing.assert_allclose(found["scores"][image, :count], scores, rtol=0, atol=2e-6)
            np.testing.assert_allclose(found["boxes"][image, :count], boxes, atol=5e-6)
        for key in ("boxes", "scores", "labels"):
            np.testing.assert_array_equal(found[key][image, count:], 0)


# Ten rows high; boxes of width 1 share all of x, so IoU is that of their rows.
LOW, LOW_TOO, MIDDLE, HIGH = (0, 0, 0.4, 1), (0.1, 0, 0.4, 1), (0.2, 0, 0.6, 1), (0.6, 0, 1, 1)


def test_nms_by_hand():
    boxes = [MIDDLE, LOW_TOO, LOW, HIGH]
    scores = [[0.6], [0.7], [0.9], [0.8]]
    # In falling score: LOW .9 stays. HIGH .8 overlaps nothing. LOW_TOO .7 shares 3 of 4 rows with
    # LOW: IoU .75 > .45, dropped. MIDDLE .6 shares 2 of 6 rows with LOW: IoU .33; the 2 of 5 rows
    # that it shares with LOW_TOO do not count.
    found = detect_boxes(boxes, scores, max_detections=5)
    assert found["num_detections"] == 3
    expected = [LOW, HIGH, MIDDLE, (0, 0, 0, 0), (0, 0, 0, 0)]
    np.testing.assert_allclose(found["boxes"], expected, atol=1e-6)
    np.testing.assert_allclose(found["scores"], [0.9, 0.8, 0.6, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(found["labels"], 0)
    # A threshold below .33 drops MIDDLE too, a threshold of .8 keeps all.
    assert detect_boxes(boxes, scores, iou_threshold=0.3)["num_detections"] == 2
    assert detect_boxes(boxes, scores, iou_threshold=0.8)["num_detections"] == 4


def test_a_dropped_box_drops_no_other():
    # A chain: .5 rows each; A and B overlap by 4 of 6 rows, B and C too, A and C by 3 of 7.
    chain = [(0, 0, 0.5, 1), (0.1, 0, 0.6, 1), (0.2, 0, 0.7, 1)]
    found = detect_boxes(chain, [[0.9], [0.8], [0.7]], iou_threshold=0.5)
    np.testing.assert_allclose(found["scores"][:3], [0.9, 0.7, 0], atol=1e-6)


def test_iou_at_the_threshold_stays():
    # Quarters are exact in float32: 1 of 2 quarters in common.
    boxes = [(0, 0, 0.5, 1), (0, 0, 0.25, 1)]
    for threshold, count in [(0.5, 2), (0.499, 1)]:
        found = detect_boxes(boxes, [[0.9], [0.8]], iou_threshold=threshold)
        assert found["num_detections"] == count


def test_score_at_the_threshold_goes():
    # Two equal logits are .5 each to the bit.
    boxes = [LOW, HIGH]
    logits = [[[0.0, 0.0], [0.0, 1.0]]]
    for threshold, count in [(0.5, 1), (0.499, 2), (0.75, 0)]:
        found = detect(np.zeros((1, 2, 4)), logits, boxes, score_threshold=threshold)
        assert found["num_detections"] == [count]


def test_classes_do_not_affect_each_other_and_labels_start_at_0():
    boxes = [LOW, LOW_TOO, HIGH]
    scores = [[0.05, 0.25, 0.5], [0.4, 0.3, 0.001], [0.001, 0.001, 0.001]]
    # In classes 0 and 1 LOW_TOO beats LOW; in class 2 LOW alone is above .01. HIGH is above it in
    # none of them.
    found = detect_boxes(boxes, scores, max_detections=6)
    assert found["num_detections"] == 3
    np.testing.assert_allclose(found["scores"], [0.5, 0.4, 0.3, 0, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(found["labels"], [2, 0, 1, 0, 0, 0])
    np.testing.assert_allclose(found["boxes"][:3], [LOW, LOW_TOO, LOW_TOO], atol=1e-6)


def test_candidates_are_counted_before_nms_and_by_class():
    # The two best candidates of class 0 are LOW and LOW_TOO, of which one stays. HIGH is the third
    # of class 0 and the first of class 1.
    boxes = [LOW, LOW_TOO, HIGH]
    scores = [[0.8, 0.001], [0.7, 0.001], [0.3, 0.2]]
    found = detect_boxes(boxes, scores, max_candidates=2)
    np.testing.assert_allclose(found["scores"][:3], [0.8, 0.2, 0], atol=1e-6)
    found = detect_boxes(boxes, scores, max_candidates=3)
    np.testing.assert_allclose(found["scores"][:4], [0.8, 0.3, 0.2, 0], atol=1e-6)


def test_candidates_of_all_classes_together():
    # As above. The two best of all are LOW and LOW_TOO of class 0, of which one stays. The third
    # is HIGH of class 0, the fourth HIGH of class 1.
    boxes = [LOW, LOW_TOO, HIGH]
    scores = [[0.8, 0.001], [0.7, 0.001], [0.3, 0.2]]
    for max_candidates, expected in ((2, [0.8]), (3, [0.8, 0.3]), (4, [0.8, 0.3, 0.2])):
        found = detect_boxes(
            boxes, scores, max_candidates=max_candidates, candidates_per_class=False
        )
        assert found["num_detections"] == len(expected)
        np.testing.assert_allclose(found["scores"][: len(expected)], expected, atol=1e-6)
    np.testing.assert_array_equal(found["labels"][:3], [0, 0, 1])
    np.testing.assert_allclose(found["boxes"][:3], [LOW, HIGH, HIGH], atol=1e-6)


def test_clipping_comes_before_nms():
    # Inside the image they are (0, 0, .5, 1) and (.1, 0, .5, 1): IoU .8. Unclipped, the second is
    # 4 wide; they share .4 of 1.7: IoU .24.
    boxes = [(0, 0, 0.5, 1), (0.1, -1.5, 0.5, 2.5)]
    scores = [[0.9], [0.8]]
    found = detect_boxes(boxes, scores, clip_boxes="before")
    assert found["num_detections"] == 1
    found = detect_boxes(boxes, scores)
    np.testing.assert_allclose(found["boxes"][:2], boxes, atol=1e-6)
    found = detect_boxes(boxes[1:], scores[1:], clip_boxes="before")
    np.testing.assert_allclose(found["boxes"][0], (0.1, 0, 0.5, 1), atol=1e-6)


def test_clipping_after_nms():
    # As above: both stay, for they are compared unclipped.
    boxes = [(0, 0, 0.5, 1), (0.1, -1.5, 0.5, 2.5)]
    found = detect_boxes(boxes, [[0.9], [0.8]], clip_boxes="after", max_detections=3)
    expected = [(0, 0, 0.5, 1), (0.1, 0, 0.5, 1), (0, 0, 0, 0)]
    np.testing.assert_allclose(found["boxes"], expected, atol=1e-6)


def test_class_agnostic_nms():
    # Each box has its best class: LOW 0, LOW_TOO and HIGH 1. LOW_TOO .7 drops LOW .6, with which
    # it has IoU .75, although that is of another class. The .3 of LOW in class 1 counts nowhere.
    boxes, scores = [LOW, LOW_TOO, HIGH], [[0.6, 0.3], [0.2, 0.7], [0.3, 0.4]]
    found = detect_boxes(boxes, scores, class_agnostic=True, max_detections=3)
    np.testing.assert_allclose(found["scores"], [0.7, 0.4, 0], atol=1e-6)
    np.testing.assert_array_equal(found["labels"], [1, 1, 0])
    np.testing.assert_allclose(found["boxes"], [LOW_TOO, HIGH, (0, 0, 0, 0)], atol=1e-6)
    # LOW_TOO and LOW are the two candidates, of which one stays.
    found = detect_boxes(boxes, scores, class_agnostic=True, max_candidates=2)
    assert found["num_detections"] == 1


@pytest.mark.parametrize("candidates_per_class", [True, False])
def test_detections_of_each_class_are_limited_after_nms(candidates_per_class):
    # The first two of class 0 are LOW .5 and HIGH .3: LOW_TOO .4 overlaps LOW. Those of class 1 are
    # HIGH .2 and LOW .1, which drops LOW_TOO .05.
    boxes, scores = [LOW, LOW_TOO, HIGH], [[0.5, 0.1], [0.4, 0.05], [0.3, 0.2]]
    options = {"candidates_per_class": candidates_per_class, "max_detections": 5}
    for limit, expected, labels in (
        (1, [0.5, 0.2, 0, 0, 0], [0, 1, 0, 0, 0]),
        (2, [0.5, 0.3, 0.2, 0.1, 0], [0, 0, 1, 1, 0]),
    ):
        found = detect_boxes(boxes, scores, max_detections_per_class=limit, **options)
        np.testing.assert_allclose(found["scores"], expected, atol=1e-6)
        np.testing.assert_array_equal(found["labels"], labels)


@functools.cache
def expected_detections(settings):
    """The oracle's, which every kernel must give."""
    full = {"score_threshold": 0.01, "iou_threshold": 0.45, "max_candidates": 400,
            "max_detections": 200, **dict(settings)}  # fmt: skip
    default_boxes, deltas, logits = random_outputs(1, background=6)
    return oracle.detections(deltas, logits, default_boxes, ODD_VARIANCES, **full)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"score_threshold": 0.3, "iou_threshold": 0.6},
        {"score_threshold": 0.05, "max_candidates": 20},
        {"iou_threshold": 0.3, "max_detections": 15},
        {
            "score_threshold": 0.2,
            "max_candidates": 50,
            "max_detections": 40,
            "clip_boxes": "before",
        },
        {"max_candidates": 60, "candidates_per_class": False},
        {"max_detections_per_class": 6, "clip_boxes": "after"},
        {"max_candidates": 60, "candidates_per_class": False, "max_detections_per_class": 4},
        {"max_candidates": 80, "class_agnostic": True, "clip_boxes": "after"},
        {"class_agnostic": True, "max_detections_per_class": 3},
    ],
)
def test_random_outputs_against_the_oracle(settings):
    default_boxes, deltas, logits = random_outputs(1, background=6)
    expected = expected_detections(tuple(settings.items()))
    counts = [len(each) for each in expected]
    assert counts[0] == 0 and counts[1] > 2 and counts[2] > 10
    found = detect(deltas, logits, default_boxes, **settings)
    assert_equal_to_oracle(found, expected, settings.get("max_detections", 200))


@pytest.mark.parametrize(
    "settings",
    [
        {"max_candidates": 60},
        {"candidates_per_class": False, "clip_boxes": "after"},
        {"max_detections_per_class": 40, "iou_threshold": 0.3},
    ],
)
def test_thresholds_by_class_before_nms_leave_what_they_leave_after_it(settings):
    # A box below the threshold of its class is worse than all of the class that stay.
    default_boxes, deltas, logits = random_outputs(1, background=6)
    smallest = np.float32([0.3, 0.6, 0.75, 0.5])
    options = {"max_detections": 2000, **settings}
    free = detect(deltas, logits, default_boxes, **options)
    by_class = detect(
        deltas, logits, default_boxes, score_threshold=tuple(smallest.tolist()), **options
    )
    stays = (free["scores"] > 0) & (free["scores"] >= smallest[free["labels"]])
    assert (free["num_detections"] < 2000).all()
    assert 0 < stays[2].sum() < free["num_detections"][2]
    for image in range(3):
        count = by_class["num_detections"][image]
        assert count == stays[image].sum()
        for key in ("boxes", "scores", "labels"):
            np.testing.assert_array_equal(
                by_class[key][image, :count], free[key][image, stays[image]]
            )


def test_thresholds_by_class_by_hand():
    # A score at the threshold stays. Of all classes together, what goes drops no other box.
    boxes, scores = [LOW, LOW_TOO, HIGH], [[0.5, 0.1], [0.1, 0.45], [0.05, 0.3]]
    at = float(np.float32(detect_boxes(boxes, scores)["scores"][0]))
    found = detect_boxes(boxes, scores, score_threshold=(at, 0.4))
    assert found["labels"][: found["num_detections"]].tolist() == [0, 1]
    found = detect_boxes(boxes, scores, score_threshold=(0.6, 0.4), class_agnostic=True)
    assert found["num_detections"] == 1 and found["labels"][0] == 1
    with pytest.raises(ValueError, match="score_threshold has 3 numbers; expected one for each"):
        detect_boxes(boxes, scores, score_threshold=(0.6, 0.4, 0.1))


def test_the_limits_of_the_oracle_test_have_an_effect():
    default_boxes, deltas, logits = random_outputs(1, background=6)
    for name, value in [("max_candidates", 20), ("max_detections", 15)]:
        free = detect(deltas, logits, default_boxes)["num_detections"]
        limited = detect(deltas, logits, default_boxes, **{name: value})["num_detections"]
        assert limited[2] < free[2]


@pytest.mark.parametrize(
    ("file", "settings", "outputs", "post_processing"),
    [
        (
            "torchvision_ssd300_vgg16.npz",
            scene.SSD300,
            scene.SSD300_OUTPUTS,
            scene.SSD300_POST_PROCESSING,
        ),
        (
            "torchvision_ssdlite320_mobilenet_v3_large.npz",
            scene.SSDLITE320,
            scene.SSDLITE320_OUTPUTS,
            scene.SSDLITE320_POST_PROCESSING,
        ),
    ],
)
def test_torchvision_gold(file, settings, outputs, post_processing):
    gold = np.load(GOLD / file)
    deltas, logits = scene.raw_outputs(settings, **outputs)
    default_boxes, variances = gold["default_boxes"], outputs["variances"]
    found = detect(deltas, logits, default_boxes, variances, **post_processing, clip_boxes="before")
    np.testing.assert_array_equal(found["num_detections"], gold["num_detections"])
    assert found["num_detections"].min() > 20
    start = 0
    for image, count in enumerate(gold["num_detections"]):
        rows = slice(start, start + count)
        start += count
        labels = found["labels"][image, :count]
        np.testing.assert_array_equal(labels, gold["detection_labels"][rows])
        for key in ("scores", "boxes"):  # seen: 1.8e-7
            expected = gold[f"detection_{key}"][rows]
            np.testing.assert_allclose(found[key][image, :count], expected, atol=1e-5)


def test_a_graph_of_any_batch_size_gives_the_eager_detections(kernel):
    if kernel == "builtin":  # which takes one image
        return
    default_boxes, deltas, logits = random_outputs(3, background=6)
    settings = PostProcess(max_candidates=30, max_detections=25)
    post_process = bound(settings, default_boxes, ODD_VARIANCES)
    num_boxes = len(default_boxes)

    @tf.function(
        input_signature=[
            {
                "box_deltas": tf.TensorSpec([None, num_boxes, 4], tf.float32),
                "class_logits": tf.TensorSpec([None, num_boxes, 5], tf.float32),
            }
        ]
    )
    def graph(outputs):
        return post_process(outputs, KERNEL)

    symbolic = graph.get_concrete_function().structured_outputs
    assert symbolic["boxes"].shape.as_list() == [None, 25, 4]
    for images in (slice(0, 3), slice(1, 2)):
        outputs = {"box_deltas": deltas[images], "class_logits": logits[images]}
        expected = post_process(outputs, KERNEL)
        assert expected["num_detections"].numpy().max() == 25
        for key, value in graph(outputs).items():
            np.testing.assert_allclose(value, expected[key], atol=1e-6)


def test_bfloat16_outputs_are_computed_in_float32():
    default_boxes, deltas, logits = random_outputs(4, background=6)
    outputs = {
        "box_deltas": tf.cast(deltas, tf.bfloat16),
        "class_logits": tf.cast(logits, tf.bfloat16),
    }
    post_process = bound(None, default_boxes, ODD_VARIANCES)
    found = post_process(outputs, KERNEL)
    rounded = {key: tf.cast(value, tf.float32) for key, value in outputs.items()}
    expected = post_process(rounded, KERNEL)
    assert found["num_detections"][2] > 100
    for key in expected:
        np.testing.assert_array_equal(found[key], expected[key])


def test_sigmoid_scores_each_class_alone():
    # The first box has the scores 3/4 and 1/2; the background's logit of 99 counts nowhere. The
    # second has 1/5 and 1/3 and does not overlap the first.
    logits = np.log([[[99.0, 3, 1], [99, 1 / 4, 1 / 2]]])
    boxes = np.float32([[0.1, 0.1, 0.3, 0.4], [0.5, 0.6, 0.9, 0.8]])
    found = detect(
        np.zeros((1, 2, 4)), logits, boxes, ODD_VARIANCES, "sigmoid",
        score_threshold=0.25, iou_threshold=0.5, max_candidates=10, max_detections=4,
    )  # fmt: skip
    np.testing.assert_allclose(found["scores"][0], [3 / 4, 1 / 2, 1 / 3, 0], rtol=1e-6)
    np.testing.assert_array_equal(found["labels"][0, :3], [0, 1, 1])
    np.testing.assert_allclose(found["boxes"][0, :3], boxes[[0, 0, 1]], atol=1e-6)
