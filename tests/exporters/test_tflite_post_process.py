"""NMS in built-in operators: by hand, against Keras and the oracle, on several threads."""

import functools

import numpy as np
import oracle
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from post_processing import bound

from ssd_keras.boxes.nms import CLASS_DISTANCE, class_offsets
from ssd_keras.exporters.tflite import builtin_detections
from ssd_keras.models.post_process import PostProcess

ODD_VARIANCES = (0.1, 0.2, 0.25, 0.5)
KEYS = ("boxes", "classes", "scores", "count")
DEFAULT_BOXES = oracle.default_boxes(
    (96, 128), [(12, 16), (6, 8), (3, 4)], (14, 30, 60, 90), ((2,), (2, 3), (2,))
).astype("float32")
# Name, classes, post-processing: the paper's; more slots than candidates, so that some are never
# used; fewer slots than candidates; many classes, whose offsets are the largest; candidates of all
# classes together, few of them and more than there are scores.
CASES = [
    ("one class", 1, PostProcess()),
    ("room for all", 3, PostProcess(0.01, 0.5, 20, 90, clip_boxes="before")),
    ("few slots", 20, PostProcess(0.15, 0.6, 60, 70)),
    ("many classes", 90, PostProcess(0.02, 0.3, 30, 300, clip_boxes="before")),
    ("of all classes", 20, PostProcess(0.1, 0.55, 300, 100, candidates_per_class=False)),
    ("few of a class", 20, PostProcess(0.1, 0.5, 30, 60, 3, clip_boxes="after")),
    ("class-agnostic", 20, PostProcess(0.1, 0.4, 200, 90, class_agnostic=True)),
    ("all of one", 1, PostProcess(0.05, 0.45, 5000, 150, candidates_per_class=False)),
]
cases = pytest.mark.parametrize(
    ("num_classes", "post_process"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)


def random_outputs(num_classes, background):
    """Returns deltas and logits of one image; a higher `background` gives fewer detections."""
    generator = np.random.default_rng(num_classes)
    deltas = generator.normal(0, 0.6, (1, len(DEFAULT_BOXES), 4)).astype("float32")
    logits = generator.normal(0, 1.8, (1, len(DEFAULT_BOXES), 1 + num_classes)).astype("float32")
    logits[..., 0] += np.float32(background)
    return deltas, logits


def backgrounds(num_classes):
    """Returns background logits of three images: with many detections, some, none."""
    return (0.0, max(7.0, 5.5 + 1.2 * np.log(num_classes)), 40.0)


def in_tensorflow(deltas, logits, default_boxes, post_process, variances=ODD_VARIANCES):
    """Calls the function in TensorFlow and returns arrays of one image."""
    post_process = bound(post_process, default_boxes, variances)
    values = builtin_detections(post_process, tf.constant(deltas), tf.constant(logits))
    return {key: value.numpy()[0] for key, value in zip(KEYS, values, strict=True)}


@functools.cache
def converted(num_classes, post_process, default_boxes=None, variances=ODD_VARIANCES):
    """Returns the function as a TFLite file; default boxes are rows of numbers."""
    boxes = DEFAULT_BOXES if default_boxes is None else np.float32(default_boxes)
    function = tf.function(
        functools.partial(builtin_detections, bound(post_process, boxes, variances)),
        autograph=False,
    ).get_concrete_function(
        tf.TensorSpec((1, len(boxes), 4), name="box_deltas"),
        tf.TensorSpec((1, len(boxes), 1 + num_classes), name="class_logits"),
    )
    return tf.lite.TFLiteConverter.from_concrete_functions([function], function).convert()


def in_tflite(content, deltas, logits, num_threads=1):
    """Runs the file in LiteRT and returns arrays of one image."""
    interpreter = Interpreter(model_content=content, num_threads=num_threads)
    interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        value = deltas if details["name"].startswith("box_deltas") else logits
        interpreter.set_tensor(details["index"], value)
    interpreter.invoke()
    # TensorFlow numbers the outputs in the order of the function's list.
    outputs = sorted(interpreter.get_output_details(), key=lambda details: details["name"])
    values = [interpreter.get_tensor(details["index"])[0] for details in outputs]
    return dict(zip(KEYS, values, strict=True))


def of_keras(deltas, logits, default_boxes, post_process, variances=ODD_VARIANCES):
    """Returns the detections that the others must equal, under the same names."""
    outputs = {"box_deltas": deltas, "class_logits": logits}
    detections = bound(post_process, default_boxes, variances)(outputs)
    names = dict(zip(KEYS, ("boxes", "labels", "scores", "num_detections"), strict=True))
    return {key: detections[name].numpy()[0] for key, name in names.items()}


def assert_same(detections, expected, tolerance):
    for key in KEYS:
        assert detections[key].dtype == np.float32
    np.testing.assert_array_equal(detections["count"], expected["count"])
    np.testing.assert_array_equal(detections["classes"], expected["classes"])
    np.testing.assert_allclose(detections["scores"], expected["scores"], rtol=0, atol=tolerance)
    np.testing.assert_allclose(detections["boxes"], expected["boxes"], rtol=0, atol=tolerance)


@cases
def test_equals_keras_and_the_oracle(num_classes, post_process):
    counts = []
    for background in backgrounds(num_classes):
        deltas, logits = random_outputs(num_classes, background)
        expected = of_keras(deltas, logits, DEFAULT_BOXES, post_process)
        eager = in_tensorflow(deltas, logits, DEFAULT_BOXES, post_process)
        assert_same(eager, expected, 1e-6)
        lite = in_tflite(converted(num_classes, post_process), deltas, logits)
        assert_same(lite, expected, 2e-6)
        (gold,) = oracle.detections(
            deltas, logits, DEFAULT_BOXES, ODD_VARIANCES, **post_process.get_config()
        )
        counts.append(len(gold))
        assert lite["count"] == len(gold)
        # Unused slots are zero, labels are whole.
        for key in ("boxes", "classes", "scores"):
            assert len(lite[key]) == post_process.max_detections
            np.testing.assert_array_equal(lite[key][len(gold) :], 0)
        for slot, (box, score, label) in enumerate(gold):
            assert lite["classes"][slot] == label
            assert lite["scores"][slot] == pytest.approx(score, abs=2e-6)
            np.testing.assert_allclose(lite["boxes"][slot], box, atol=5e-6)
    # The three images have many detections, some, none.
    candidates = min(post_process.max_candidates, len(DEFAULT_BOXES))
    if post_process.candidates_per_class:
        candidates *= num_classes
    assert counts[0] > 0.5 * min(post_process.max_detections, candidates)
    assert 0 < counts[1] < post_process.max_detections and counts[2] == 0


@cases
def test_threads_change_no_bit(num_classes, post_process):
    content = converted(num_classes, post_process)
    deltas, logits = random_outputs(num_classes, 0.0)
    single = in_tflite(content, deltas, logits)
    assert single["count"] > 40
    for num_threads in (2, 3, 4):
        several = in_tflite(content, deltas, logits, num_threads)
        for key in KEYS:
            np.testing.assert_array_equal(several[key], single[key])


def test_random_boxes_reach_outside_the_image():
    # Otherwise the cases above would not test clipping.
    deltas, _ = random_outputs(20, 0.0)
    boxes = oracle.decode(deltas[0], DEFAULT_BOXES, ODD_VARIANCES)
    assert boxes.min() < -0.1 and boxes.max() > 1.1


def detect_boxes(boxes, scores, **options):
    """Returns Keras', TensorFlow's and LiteRT's detections of default boxes without deltas.

    `scores` [N, classes] are probabilities; the background has the rest.
    """
    post_process = PostProcess(**options)
    scores = np.asarray(scores, "float64")
    logits = np.log(np.concatenate([1 - scores.sum(axis=1, keepdims=True), scores], axis=1))
    logits = logits[None].astype("float32")
    deltas = np.zeros((1, len(boxes), 4), "float32")
    default_boxes = np.asarray(boxes, "float32")
    content = converted(scores.shape[1], post_process, tuple(boxes))
    keras_side = of_keras(deltas, logits, default_boxes, post_process)
    return keras_side, [
        in_tensorflow(deltas, logits, default_boxes, post_process),
        in_tflite(content, deltas, logits),
    ]


# Boxes of width 1 share all of x, so IoU is that of their rows.
LOW, LOW_TOO, HIGH = (0, 0, 0.4, 1), (0.1, 0, 0.4, 1), (0.6, 0, 1, 1)


def test_by_hand_nms_drops_a_box_of_one_class_and_keeps_that_of_another():
    # LOW .9 and LOW_TOO .8 of class 0 share 3 of 4 tenths of the rows: .75 > .45, so LOW_TOO
    # goes. LOW_TOO .15 of class 1 overlaps LOW .05 of its class alone, which goes. HIGH .3 of
    # class 1 touches nothing.
    boxes, scores = [LOW, LOW_TOO, HIGH], [[0.9, 0.05], [0.8, 0.15], [0.01, 0.3]]
    _, sides = detect_boxes(boxes, scores, max_detections=5, score_threshold=0.02)
    for detections in sides:
        assert detections["count"] == 3
        expected = [LOW, HIGH, LOW_TOO, (0, 0, 0, 0), (0, 0, 0, 0)]
        np.testing.assert_allclose(detections["boxes"], expected, atol=1e-6)
        np.testing.assert_allclose(detections["scores"], [0.9, 0.3, 0.15, 0, 0], atol=1e-6)
        np.testing.assert_array_equal(detections["classes"], [0, 1, 1, 0, 0])


def test_iou_at_the_threshold_stays_as_in_keras():
    # Quarters are exact in float32: 1 of 2 quarters in common.
    boxes, scores = [(0, 0, 0.5, 1), (0, 0, 0.25, 1)], [[0.9], [0.8]]
    for threshold, count in [(0.5, 2), (0.499, 1)]:
        keras_side, sides = detect_boxes(boxes, scores, iou_threshold=threshold)
        assert [side["count"] for side in (keras_side, *sides)] == [count] * 3
    # At 0 TFLite alone would drop all boxes, also those that do not touch.
    keras_side, sides = detect_boxes([LOW, LOW_TOO, HIGH], [[0.9], [0.8], [0.7]], iou_threshold=0)
    assert [side["count"] for side in (keras_side, *sides)] == [2] * 3


def test_a_threshold_of_1_drops_equal_boxes_alone():
    # Keras keeps even those; TFLite repeats its first box at a threshold above 1.
    boxes, scores = [LOW, HIGH, LOW, LOW_TOO], [[0.8], [0.6], [0.9], [0.7]]
    keras_side, sides = detect_boxes(boxes, scores, iou_threshold=1.0, max_detections=4)
    assert keras_side["count"] == 4
    in_lite = sides[1]
    assert in_lite["count"] == 3
    expected = [LOW, LOW_TOO, HIGH, (0, 0, 0, 0)]
    np.testing.assert_allclose(in_lite["boxes"], expected, atol=1e-6)


def test_score_at_the_threshold_goes_as_in_keras():
    # Two equal logits are .5 each to the bit, so are the probabilities given here.
    for threshold, count in [(0.5, 1), (0.499, 2), (0.75, 0)]:
        keras_side, sides = detect_boxes(
            [LOW, HIGH], [[0.5], [0.6]], score_threshold=threshold, max_detections=3
        )
        assert [side["count"] for side in (keras_side, *sides)] == [count] * 3


def test_large_boxes_outside_the_image_meet_none_of_another_class():
    # The farthest that boxes may reach: 1.5 of an image beyond each side. Side by side after the
    # move, 0 + 2.5 and 4 - 1.5, they touch and share nothing. The two of class 0 have IoU
    # 14.4 / 16, so one goes; across classes all would.
    far = (-1.5, -1.5, 2.5, 2.5)
    shorter = (-1.5, -1.5, 2.1, 2.5)
    scores = np.full((2, 5), 0.001)
    scores[0] = 0.19, 0.18, 0.17, 0.16, 0.15
    scores[1, 0] = 0.2
    _, sides = detect_boxes([far, shorter], scores, max_detections=6)
    for detections in sides:
        np.testing.assert_array_equal(detections["classes"], [0, 1, 2, 3, 4, 0])
        np.testing.assert_allclose(detections["boxes"][:2], [shorter, far], atol=1e-6)
        assert detections["count"] == 5


def test_class_offsets_by_hand():
    # 5 classes stand in rows of 3, since 2 x 2 < 5: the fourth begins the second row.
    expected = [[0, 0, 0, 0], [0, 8, 0, 8], [4, 0, 4, 0]]
    np.testing.assert_array_equal(class_offsets(5)[[0, 2, 3]], expected)
    for num_classes in (1, 2, 20, 90):
        rows = class_offsets(num_classes)[:, :2]
        distances = np.abs(rows[:, None] - rows).max(axis=2)
        assert (distances + CLASS_DISTANCE * np.eye(num_classes) >= CLASS_DISTANCE).all()
        # A square: the last is no farther than the root of their number.
        assert rows.max() < CLASS_DISTANCE * np.sqrt(num_classes)
