"""The oracles themselves, against numbers worked by hand."""

import math

import numpy as np
import oracle
import pytest

SSD300_VOC = {
    "image_size": (300, 300),
    "feature_sizes": [(38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1)],
    "sizes": (30, 60, 111, 162, 213, 264, 315),
    "aspect_ratios": ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,)),
    "steps": (8, 16, 32, 64, 100, 300),
}


def test_default_boxes_of_the_first_cell_of_ssd300():
    boxes = oracle.default_boxes(**SSD300_VOC)
    # 38*38*4 + 19*19*6 + 10*10*6 + 5*5*6 + 3*3*4 + 1*4 = 5776 + 2166 + 600 + 150 + 36 + 4
    assert boxes.shape == (8732, 4)
    # Cell (0, 0) of the stride 8 map: centre 0.5 * 8 = 4 pixels; a 30 pixel square: 4 -+ 15.
    np.testing.assert_allclose(boxes[0], np.array((-11, -11, 19, 19)) / 300, atol=1e-12)
    # sqrt(30 * 60) = 42.4264 pixels: 4 -+ 21.2132.
    side = np.array((-17.213203, -17.213203, 25.213203, 25.213203))
    np.testing.assert_allclose(boxes[1], side / 300, atol=1e-8)
    # Ratio 2: 30 * sqrt(2) = 42.4264 wide, 30 / sqrt(2) = 21.2132 high; 1/2 is that box turned.
    wide = np.array((4 - 10.606602, 4 - 21.213203, 4 + 10.606602, 4 + 21.213203)) / 300
    np.testing.assert_allclose(boxes[2], wide, atol=1e-8)
    np.testing.assert_allclose(boxes[3], wide[[1, 0, 3, 2]], atol=1e-8)


def test_default_boxes_scan_rows_then_columns_then_shapes():
    boxes = oracle.default_boxes(**SSD300_VOC)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 * 300
    np.testing.assert_allclose(centres[4], (4, 12), atol=1e-9)  # (y, x) of the next column
    np.testing.assert_allclose(centres[38 * 4], (12, 4), atol=1e-9)  # of the next row
    # The second map starts at 5776 with 60 pixel boxes; its sixth shape is ratio 1/3:
    # 60 / sqrt(3) = 34.6410 wide, 60 * sqrt(3) = 103.9230 high, about 0.5 * 16 = 8.
    third = np.array((8 - 51.961524, 8 - 17.320508, 8 + 51.961524, 8 + 17.320508))
    np.testing.assert_allclose(boxes[5781], third / 300, atol=1e-8)
    # The last map has one cell at 150, 150, its first box 264 pixels: 150 -+ 132.
    np.testing.assert_allclose(boxes[8728], np.array((18, 18, 282, 282)) / 300, atol=1e-12)


def test_default_boxes_of_ssd512_number_24564():
    sides = (64, 32, 16, 8, 4, 2, 1)
    boxes = oracle.default_boxes(
        (512, 512),
        [(side, side) for side in sides],
        (35.84, 76.8, 153.6, 230.4, 307.2, 384, 460.8, 537.6),
        ((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,)),
    )
    # 4*4096 + 6*(1024 + 256 + 64 + 16) + 4*(4 + 1) = 16384 + 8160 + 20
    assert len(boxes) == 24564
    # Without steps, a cell of the first map is 512 / 64 = 8 pixels: centre 4; 4 -+ 17.92.
    np.testing.assert_allclose(boxes[0], np.array((-13.92, -13.92, 21.92, 21.92)) / 512)


def test_default_boxes_of_a_wide_image():
    # 100 high, 200 wide, one map of 1 x 2 cells: steps 100 / 1 and 200 / 2 pixels, centres
    # (50, 50) and (50, 150). 40 pixels are 0.4 of the height and 0.2 of the width.
    boxes = oracle.default_boxes((100, 200), [(1, 2)], (40, 90), ((),))
    np.testing.assert_allclose(boxes[0], (0.3, 0.15, 0.7, 0.35), atol=1e-12)
    # sqrt(40 * 90) = 60 pixels: 0.6 and 0.3.
    np.testing.assert_allclose(boxes[3], (0.2, 0.6, 0.8, 0.9), atol=1e-12)


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        # One cell at (5, 5) of 10 pixels: 8 pixels with ratio 4: 16 wide, 4 high.
        ("none", (0.3, -0.3, 0.7, 1.3)),
        ("size", (0.3, 0.0, 0.7, 1.0)),  # about its centre: width 1.6 limited to 1
        ("corners", (0.3, 0.0, 0.7, 1.0)),
    ],
)
def test_default_boxes_limits(clip, expected):
    boxes = oracle.default_boxes((10, 10), [(1, 1)], (8, 9), ((4,),), clip=clip)
    np.testing.assert_allclose(boxes[2], expected, atol=1e-12)


def test_limits_differ_away_from_the_middle():
    # Two columns of 10 pixels, 40 pixel boxes of ratio 1: centre x 0.25 of the width, width 2.
    arguments = ((10, 20), [(1, 2)], (40, 40), ((),))
    np.testing.assert_allclose(
        oracle.default_boxes(*arguments, clip="size")[0], (0.0, -0.25, 1.0, 0.75)
    )
    np.testing.assert_allclose(
        oracle.default_boxes(*arguments, clip="corners")[0], (0.0, 0.0, 1.0, 1.0)
    )


def test_iou():
    # 2 x 2 boxes one apart in x: intersection 2 * 1 = 2, union 4 + 4 - 2 = 6.
    assert oracle.iou((0, 0, 2, 2), (0, 1, 2, 3)) == pytest.approx(2 / 6)
    assert oracle.iou((0, 0, 2, 2), (0, 2, 2, 4)) == 0  # they touch
    assert oracle.iou((0, 0, 2, 2), (5, 5, 7, 7)) == 0
    assert oracle.iou((1, 1, 1, 1), (1, 1, 1, 1)) == 0  # no area


def test_encode_and_decode():
    # Default box: centre (y, x) = (0.3, 0.4), 0.2 high, 0.4 wide.
    default_box = np.array([(0.2, 0.2, 0.4, 0.6)])
    # Box: centre (0.35, 0.5), 0.3 high, 0.2 wide.
    box = np.array([(0.2, 0.4, 0.5, 0.6)])
    # y: 0.05 / 0.2 / 0.1; x: 0.1 / 0.4 / 0.1; h: ln(0.3 / 0.2) / 0.2; w: ln(0.2 / 0.4) / 0.2
    expected = [(2.5, 2.5, math.log(1.5) / 0.2, math.log(0.5) / 0.2)]
    np.testing.assert_allclose(oracle.encode(box, default_box), expected, atol=1e-12)
    np.testing.assert_allclose(oracle.decode(expected, default_box), box, atol=1e-12)
    # Each variance belongs to its own coordinate.
    variances = (0.1, 0.05, 0.25, 0.5)
    expected = [(2.5, 5.0, math.log(1.5) * 4, math.log(0.5) * 2)]
    np.testing.assert_allclose(oracle.encode(box, default_box, variances), expected, atol=1e-12)
    np.testing.assert_allclose(oracle.decode(expected, default_box, variances), box, atol=1e-12)


def test_match_gives_every_ground_truth_its_own_default_box():
    # Intervals on x, all 1 high. IoU = overlap / union of the lengths:
    #              D0 0..10     D1 8..18      D2 30..40   D3 60..70
    # G0 0..9      9/10 = .9    1/18          0           0
    # G1 0..8      8/10 = .8    0 (touch)     0           0
    # G2 1..11     9/11 = .818  3/17 = .176   0           0
    # Argmax wants D0 for all three. Greedily: (G0, D0) .9, then D0 is taken: (G2, D1) .176;
    # G1 overlaps nothing that is free and stays without. D2 and D3 overlap nothing.
    default_boxes = [(0, 0, 1, 10), (0, 8, 1, 18), (0, 30, 1, 40), (0, 60, 1, 70)]
    boxes = [(0, 0, 1, 9), (0, 0, 1, 8), (0, 1, 1, 11)]
    argmax = oracle.iou_matrix(boxes, default_boxes).argmax(axis=1)
    np.testing.assert_array_equal(argmax, [0, 0, 0])
    np.testing.assert_array_equal(oracle.match(boxes, default_boxes), [0, 2, -1, -1])


def test_match_adds_every_default_box_from_the_threshold_on():
    # One ground truth 0..10; default boxes 0..10 (IoU 1), 0..8 (.8), 0..5 (.5), 0..4 (.4).
    default_boxes = [(0, 0, 1, end) for end in (10, 8, 5, 4)]
    np.testing.assert_array_equal(oracle.match([(0, 0, 1, 10)], default_boxes), [0, 0, 0, -1])
    np.testing.assert_array_equal(
        oracle.match([(0, 0, 1, 10)], default_boxes, threshold=0.6), [0, 0, -1, -1]
    )
    assert oracle.match(np.zeros((0, 4)), default_boxes).tolist() == [-1] * 4


def test_match_breaks_ties_by_the_lowest_index():
    same = [(0, 0, 1, 1), (0, 0, 1, 1)]
    # G0 takes D0, then G1 the equal D1; D2 is as near to both and takes G0.
    np.testing.assert_array_equal(oracle.match(same, same + same[:1]), [0, 1, 0])


def test_loss_of_two_images():
    # Two classes and background, logits 0 everywhere except where written: a default box of
    # equal logits costs ln 3.
    logits = np.zeros((2, 5, 3))
    logits[0, 0, 1] = math.log(2)  # positive: p = 2 / (2 + 1 + 1) = 1/2, costs ln 2
    logits[0, 1, 0] = math.log(8)  # negative: p = 8/10, costs ln 1.25: the easiest of 4
    logits[0, 2, 1] = math.log(4)  # negative: p = 1/6, costs ln 6: the hardest
    labels = np.array([[1, 0, 0, 0, 0], [0, 0, 0, 0, -1]])
    deltas, targets = np.zeros((2, 5, 4)), np.zeros((2, 5, 4))
    deltas[0, 0] = (0.5, -3.0, 0.0, 1.0)
    targets[0, 0] = (0.0, 0.0, 0.0, 2.0)
    targets[1] = 100.0  # no positive there: not asked
    # Smooth L1: .5^2 / 2 = .125; 3 - .5 = 2.5; 0; |-1| - .5 = .5: together 3.125 over 1 positive.
    # Classes: ln 2 + the 3 hardest negatives ln 6 + ln 3 + ln 3; image 2 has no positive.
    box_loss, class_loss = oracle.loss(deltas, logits, targets, labels)
    assert box_loss == pytest.approx(3.125)
    assert class_loss == pytest.approx(math.log(2 * 6 * 3 * 3))
    # One negative a positive, and at least two an image: ln 2 + ln 6 + ln 3, and 2 ln 3.
    _, class_loss = oracle.loss(deltas, logits, targets, labels, 1, min_negatives=2)
    assert class_loss == pytest.approx(math.log(2 * 6 * 3) + 2 * math.log(3))
    # Nobody can want more negatives than there are: 4 in image 1, and 4 in image 2.
    _, class_loss = oracle.loss(deltas, logits, targets, labels, min_negatives=9)
    assert class_loss == pytest.approx(math.log(2 * 6 * 3 * 3 * 1.25) + 4 * math.log(3))
    # Two positives in the batch halve both sums: the second has error 100 four times, and costs
    # ln 3 beside its own 3 negatives.
    labels[1, 0] = 2
    box_loss, class_loss = oracle.loss(deltas, logits, targets, labels)
    assert box_loss == pytest.approx((3.125 + 4 * 99.5) / 2)
    assert class_loss == pytest.approx((math.log(2 * 6 * 3 * 3) + 4 * math.log(3)) / 2)


def test_loss_without_a_positive_is_divided_by_one():
    logits, deltas = np.zeros((1, 4, 2)), np.ones((1, 4, 4))
    labels = np.zeros((1, 4), int)
    assert oracle.loss(deltas, logits, deltas * 7, labels) == (0.0, 0.0)
    _, class_loss = oracle.loss(deltas, logits, deltas * 7, labels, min_negatives=3)
    assert class_loss == pytest.approx(3 * math.log(2))


def test_non_max_suppression():
    # 10 x 10 boxes moved by 1, 3 and 6 in x: IoU of a and b 9/11 = .818, of a and c 7/13 = .538,
    # of a and d 4/16 = .25, of b and d 5/15 = .333, of c and d 7/13 = .538.
    boxes = [(0, shift, 10, shift + 10) for shift in (0, 1, 3, 6)]
    scores = [0.9, 0.8, 0.7, 0.6]
    # Above .5, a suppresses b and c; c, itself gone, no longer suppresses d.
    assert oracle.non_max_suppression(boxes, scores, 0.5) == [0, 3]
    # Above .6, a suppresses b alone.
    assert oracle.non_max_suppression(boxes, scores, 0.6) == [0, 2, 3]
    # By descending score: d first suppresses c; then b (IoU .333 with d) suppresses a.
    assert oracle.non_max_suppression(boxes, [0.6, 0.7, 0.8, 0.9], 0.5) == [3, 1]
    # Suppression is strict: a and d have an IoU of exactly 4/16.
    assert oracle.non_max_suppression([boxes[0], boxes[3]], [0.9, 0.6], 0.25) == [0, 1]


def test_detections():
    # Three 10 x 10 boxes of an image 20 long, two almost the same; zero deltas.
    default_boxes = np.array([(0, 0, 10, 10), (0, 1, 10, 11), (8, 8, 18, 18)]) / 20
    # Class scores over background 1: e^l / (e^0 + e^l1 + e^l2).
    logits = np.log([[(1, 8, 1), (1, 2, 1), (7, 1, 2)]])
    # (background, class 0, class 1): (.1, .8, .1), (.25, .5, .25), (.7, .1, .2).
    deltas = np.zeros((1, 3, 4))
    (found,) = oracle.detections(deltas, logits, default_boxes, score_threshold=0.15)
    # Class 0: .8, and .5 suppressed by it (IoU 9/11); the third box's .1 is not above .15.
    # Class 1: .25 and .2 (IoU of the boxes 2*3 / 194); the first box's .1 is not above .15.
    assert [(label, round(score, 6)) for _, score, label in found] == [
        (0, 0.8),
        (1, 0.25),
        (1, 0.2),
    ]
    np.testing.assert_allclose(found[1][0], default_boxes[1])
    # One candidate a class, then one detection in all.
    (found,) = oracle.detections(deltas, logits, default_boxes, max_candidates=1)
    assert [(label, round(score, 6)) for _, score, label in found] == [(0, 0.8), (1, 0.25)]
    (found,) = oracle.detections(deltas, logits, default_boxes, max_detections=1)
    assert [(label, round(score, 6)) for _, score, label in found] == [(0, 0.8)]
    # The threshold itself is not enough: four equal logits are exactly .25 each.
    (found,) = oracle.detections(
        deltas[:, :1], np.zeros((1, 1, 4)), default_boxes[:1], score_threshold=0.25
    )
    assert found == []


def test_detections_clip_before_suppression():
    # x -10..10 and 0..20 overlap by a third; cut at 0 they are 0..10 and 0..20: a half.
    default_boxes = np.array([(0, -10, 20, 10), (0, 0, 20, 20)]) / 20
    logits = np.log([[(1, 9), (1, 4)]])
    deltas = np.zeros((1, 2, 4))
    (found,) = oracle.detections(deltas, logits, default_boxes)
    assert [round(score, 6) for _, score, _ in found] == [0.9, 0.8]
    (found,) = oracle.detections(deltas, logits, default_boxes, clip_boxes="before")
    assert [round(score, 6) for _, score, _ in found] == [0.9]
    np.testing.assert_allclose(found[0][0], (0, 0, 1, 0.5))


def test_crop_samplers_choose_among_the_successes():
    # No box: the whole image, always.
    generator = np.random.default_rng(3)
    for _ in range(20):
        window, boxes, kept = oracle.crop_samplers(np.zeros((0, 4)), generator)
        np.testing.assert_array_equal(window, (0, 0, 1, 1))
        assert len(boxes) == len(kept) == 0
    # A box over the whole image meets .1, .3 and "at most 1" at once, and .5, .7 and .9
    # nearly always; IoU is the crop's area s^2, at most 1: .9 succeeds from s = .9487 on,
    # a chance of .0733 a try, 1 - .9267^50 = .978. So the whole image is drawn with
    # 1/7 * .978 + 1/6 * .022 = .1434: 2000 draws give 286.8 +- 15.7.
    whole = 0
    for _ in range(2000):
        window, boxes, kept = oracle.crop_samplers([(0, 0, 1, 1)], generator)
        if window.tolist() == [0, 0, 1, 1]:
            whole += 1
        elif kept.size:
            np.testing.assert_allclose(boxes, [(0, 0, 1, 1)])
    assert 287 - 63 < whole < 287 + 63


def test_crop_keeps_boxes_by_their_centres():
    class Fixed(np.random.Generator):
        """Draws that give the window (.2, .2, .7, .7) and the last sampler."""

        def __init__(self):
            super().__init__(np.random.PCG64(0))

        def random(self, size):
            # Scale .3 + .7 * 2/7 = .5; ratio .5 + 1.5 * 1/3 = 1; corner .5 * .4 = .2.
            return np.array([2 / 7, 1 / 3, 0.4, 0.4])

        def integers(self, low, high=None, **options):
            return low - 1

    # Centres (.3, .3) inside, (.8, .8) outside although it overlaps, (.5, .2) on the edge.
    boxes = [(0.1, 0.1, 0.5, 0.5), (0.6, 0.6, 1.0, 1.0), (0.4, 0.1, 0.6, 0.3)]
    # The box (.2, .2, .7, .7) itself makes every sampler succeed at its first try.
    window, kept_boxes, kept = oracle.crop_samplers([*boxes, (0.2, 0.2, 0.7, 0.7)], Fixed())
    np.testing.assert_allclose(window, (0.2, 0.2, 0.7, 0.7))
    np.testing.assert_array_equal(kept, [0, 2, 3])
    # (.1 - .2) / .5 is cut at 0, (.5 - .2) / .5 = .6; (.4 - .2) / .5 = .4, (.6 - .2) / .5 = .8.
    expected = [(0, 0, 0.6, 0.6), (0.4, 0, 0.8, 0.2), (0, 0, 1, 1)]
    np.testing.assert_allclose(kept_boxes, expected, atol=1e-12)


def test_zoom_out():
    generator = np.random.default_rng(5)
    box = np.array([(0.25, 0.5, 0.75, 1.0)])
    ratios = []
    for _ in range(2000):
        window, boxes = oracle.zoom_out(box, generator)
        size = window[2] - window[0]
        ratios.append(size)
        assert window[3] - window[1] == pytest.approx(size)
        assert (window[:2] <= 0).all() and (window[2:] >= 1 - 1e-12).all()
        # The box lies in the canvas where it lay in the image.
        np.testing.assert_allclose(boxes * size + np.tile(window[:2], 2), box, atol=1e-12)
    zoomed = [ratio for ratio in ratios if ratio != 1]
    assert 1000 - 90 < len(zoomed) < 1000 + 90  # p = .5, sd 22
    assert np.mean(zoomed) == pytest.approx(2.5, abs=0.11)  # U(1, 4): sd .866 / sqrt(1000) = .027
    _, boxes = oracle.zoom_out(box, generator, probability=0.0)
    np.testing.assert_array_equal(boxes, box)
