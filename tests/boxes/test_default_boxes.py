"""Default boxes: positions and sizes worked by hand from the paper, torchvision's gold."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import oracle
import pytest
from gold import scene

from ssd_keras.boxes.default_boxes import DefaultBoxes, cell_centers
from ssd_keras.models.builders.vgg import SSD_SIZES

GOLD = Path(__file__).parents[1] / "gold"

SIDES_300 = (38, 19, 10, 5, 3, 1)
SIDES_512 = (64, 32, 16, 8, 4, 2, 1)
SIDES_LITE = (20, 10, 5, 3, 2, 1)
RATIOS_300 = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
RATIOS_512 = ((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,))
STEPS_300 = (8, 16, 32, 64, 100, 300)
STEPS_512 = (8, 16, 32, 64, 128, 256, 512)

VOC300 = DefaultBoxes.paper(SSD_SIZES[300, "voc"], RATIOS_300, STEPS_300)
COCO300 = DefaultBoxes.paper(SSD_SIZES[300, "coco"], RATIOS_300, STEPS_300)
VOC512 = DefaultBoxes.paper(SSD_SIZES[512, "voc"], RATIOS_512, STEPS_512)
COCO512 = DefaultBoxes.paper(SSD_SIZES[512, "coco"], RATIOS_512, STEPS_512)
LITE = DefaultBoxes.paper((64, 112, 160, 208, 256, 304, 320), ((2, 3),) * 6, clip="size")


def boxes_of(spec, side, map_sides):
    return spec.boxes((side, side), [(each, each) for each in map_sides])


def centred(center_y, center_x, height, width):
    """Corners of a box in the unit of its arguments."""
    corners = (-height / 2, -width / 2, height / 2, width / 2)
    return np.array((center_y, center_x) * 2) + np.array(corners)


@pytest.mark.parametrize(
    ("spec", "side", "map_sides", "count"),
    [
        # 4 * 1444 + 6 * (361 + 100 + 25) + 4 * (9 + 1) = 5776 + 2916 + 40
        (VOC300, 300, SIDES_300, 8732),
        (COCO300, 300, SIDES_300, 8732),
        # 4 * 4096 + 6 * (1024 + 256 + 64 + 16) + 4 * (4 + 1) = 16384 + 8160 + 20
        (VOC512, 512, SIDES_512, 24564),
        (COCO512, 512, SIDES_512, 24564),
        # 6 * (400 + 100 + 25 + 9 + 4 + 1)
        (LITE, 320, SIDES_LITE, 3234),
    ],
)
def test_number_of_boxes(spec, side, map_sides, count):
    boxes = boxes_of(spec, side, map_sides)
    assert boxes.shape == (count, 4) and boxes.dtype == np.float32
    cells = np.array(map_sides) ** 2
    assert (cells * spec.boxes_per_cell).sum() == count


# Expected boxes in pixels: centre y, centre x, height, width. The first cell's centre is half a
# step from the corner; the last map's only cell is in the middle.
@pytest.mark.parametrize(
    ("spec", "side", "map_sides", "index", "expected"),
    [
        # SSD300 for VOC: 30 pixels; sqrt(30 * 60) = 42.426407; 30 / sqrt(2), 30 * sqrt(2).
        (VOC300, 300, SIDES_300, 0, (4, 4, 30, 30)),
        (VOC300, 300, SIDES_300, 1, (4, 4, 42.426407, 42.426407)),
        (VOC300, 300, SIDES_300, 2, (4, 4, 21.213203, 42.426407)),
        (VOC300, 300, SIDES_300, 3, (4, 4, 42.426407, 21.213203)),
        # its last four: 264; sqrt(264 * 315) = 288.374756; 264 / sqrt(2), 264 * sqrt(2)
        (VOC300, 300, SIDES_300, -4, (150, 150, 264, 264)),
        (VOC300, 300, SIDES_300, -3, (150, 150, 288.374756, 288.374756)),
        (VOC300, 300, SIDES_300, -2, (150, 150, 186.676190, 373.352381)),
        (VOC300, 300, SIDES_300, -1, (150, 150, 373.352381, 186.676190)),
        # SSD300 for COCO: 21; sqrt(21 * 45); last 261; sqrt(261 * 315); 261 and sqrt(2)
        (COCO300, 300, SIDES_300, 0, (4, 4, 21, 21)),
        (COCO300, 300, SIDES_300, 1, (4, 4, 30.740852, 30.740852)),
        (COCO300, 300, SIDES_300, -3, (150, 150, 286.731582, 286.731582)),
        (COCO300, 300, SIDES_300, -1, (150, 150, 369.109740, 184.554870)),
        # SSD512 for VOC: 0.07 * 512; sqrt(35.84 * 76.8); last 460.8; sqrt(460.8 * 537.6)
        (VOC512, 512, SIDES_512, 0, (4, 4, 35.84, 35.84)),
        (VOC512, 512, SIDES_512, 1, (4, 4, 52.464388, 52.464388)),
        (VOC512, 512, SIDES_512, -3, (256, 256, 497.720886, 497.720886)),
        (VOC512, 512, SIDES_512, -1, (256, 256, 651.669609, 325.834805)),
        # SSD512 for COCO: 0.04 * 512; sqrt(20.48 * 51.2); last sqrt(460.8 * 542.72)
        (COCO512, 512, SIDES_512, 0, (4, 4, 20.48, 20.48)),
        (COCO512, 512, SIDES_512, 1, (4, 4, 32.381723, 32.381723)),
        (COCO512, 512, SIDES_512, -3, (256, 256, 500.085369, 500.085369)),
        # SSDLite320 has no steps: 320 / 20 = 16 pixels. Its first map has ratio 3 too.
        (LITE, 320, SIDES_LITE, 0, (8, 8, 64, 64)),
        (LITE, 320, SIDES_LITE, 1, (8, 8, 84.664042, 84.664042)),
        (LITE, 320, SIDES_LITE, 4, (8, 8, 36.950417, 110.851252)),
        # the last: 304 / sqrt(3) wide, 304 * sqrt(3) = 526.5 high, limited to 320
        (LITE, 320, SIDES_LITE, -1, (160, 160, 320, 175.514482)),
    ],
)
def test_first_and_last_boxes_by_hand(spec, side, map_sides, index, expected):
    box = boxes_of(spec, side, map_sides)[index]
    np.testing.assert_allclose(box, centred(*expected) / side, atol=2e-7)  # seen: 6e-8


def test_boxes_run_by_shape_then_column_then_row_then_map():
    boxes = boxes_of(VOC300, 300, SIDES_300) * 300
    np.testing.assert_allclose(boxes[4], centred(4, 12, 30, 30), atol=5e-5)  # next column
    np.testing.assert_allclose(boxes[38 * 4], centred(12, 4, 30, 30), atol=5e-5)  # next row
    # The second map begins at 38 * 38 * 4 = 5776, with steps of 16 and six shapes of 60 pixels:
    # 1, sqrt(60 * 111) = 81.608823, 2, 1/2, 3, 1/3.
    sizes = [(60, 60), (81.608823, 81.608823), (42.426407, 84.852814), (84.852814, 42.426407)]
    sizes += [(34.641016, 103.923048), (103.923048, 34.641016)]
    for index, size in enumerate(sizes):
        np.testing.assert_allclose(boxes[5776 + index], centred(8, 8, *size), atol=5e-5)
    np.testing.assert_allclose(boxes[5776 + 6], centred(8, 24, 60, 60), atol=5e-5)


def test_without_steps_the_cells_share_the_image():
    spec = DefaultBoxes.paper(SSD_SIZES[300, "voc"], RATIOS_300)
    boxes = boxes_of(spec, 300, SIDES_300) * 300
    # 300 / 38 = 7.894737 pixels a cell, not 8: centres 3.947368, 11.842105.
    np.testing.assert_allclose(boxes[0], centred(3.947368, 3.947368, 30, 30), atol=5e-5)
    np.testing.assert_allclose(boxes[4], centred(3.947368, 11.842105, 30, 30), atol=5e-5)
    # The map of 10 begins at 5776 + 2166 and divides evenly: 30 pixels, not the paper's 32.
    np.testing.assert_allclose(boxes[7942], centred(15, 15, 111, 111), atol=5e-5)
    with_steps = boxes_of(VOC300, 300, SIDES_300) * 300
    np.testing.assert_allclose(with_steps[7942], centred(16, 16, 111, 111), atol=5e-5)


def test_offset_moves_the_centres():
    spec = DefaultBoxes.paper((30, 60), ((2,),), steps=(8,), offset=0.25)
    boxes = spec.boxes((300, 300), [(38, 38)]) * 300
    # (0 + .25) * 8 = 2 and (37 + .25) * 8 = 298
    np.testing.assert_allclose(boxes[0], centred(2, 2, 30, 30), atol=5e-5)
    np.testing.assert_allclose(boxes[-4], centred(298, 298, 30, 30), atol=5e-5)


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        # 20 x 10 pixels, two cells above one another, 12 pixel squares with ratio 4: 24 wide,
        # 6 high, centre (5, 5) of the first: height .3 about .25, width 2.4 about .5.
        ("none", (0.1, -0.7, 0.4, 1.7)),
        ("size", (0.1, 0.0, 0.4, 1.0)),
        ("corners", (0.1, 0.0, 0.4, 1.0)),
    ],
)
def test_clip(clip, expected):
    boxes = DefaultBoxes.paper((12, 15), ((4,),), clip=clip).boxes((20, 10), [(2, 1)])
    np.testing.assert_allclose(boxes[2], expected, atol=1e-7)


def test_clip_modes_differ_at_the_border():
    # The square of 12 pixels about (5, 5): y (-1, 11) / 20, x (-1, 11) / 10, width 1.2.
    for clip, expected in [
        ("none", (-0.05, -0.1, 0.55, 1.1)),
        ("size", (-0.05, 0.0, 0.55, 1.0)),  # about its centre; y still crosses the border
        ("corners", (0.0, 0.0, 0.55, 1.0)),
    ]:
        boxes = DefaultBoxes.paper((12, 15), ((),), clip=clip).boxes((20, 10), [(2, 1)])
        np.testing.assert_allclose(boxes[0], expected, atol=1e-7)


def test_wide_image():
    # 100 high, 200 wide, 2 x 4 cells of 50 pixels: 40 pixels are .4 of the height, .2 of the
    # width. Box 3 * 4 is the last of the first row: centre (25, 175) = (.25, .875).
    boxes = DefaultBoxes.paper((40, 90), ((2,),)).boxes((100, 200), [(2, 4)])
    assert len(boxes) == 2 * 4 * 4
    np.testing.assert_allclose(boxes[12], centred(0.25, 0.875, 0.4, 0.2), atol=1e-7)
    # sqrt(40 * 90) = 60, in the first cell of the second row: centre (75, 25).
    np.testing.assert_allclose(boxes[17], centred(0.75, 0.125, 0.6, 0.3), atol=1e-7)
    # A step is the same number of pixels along both sides: 44 * .5 = 22, 44 * 3.5 = 154.
    boxes = DefaultBoxes.paper((40, 90), ((2,),), steps=(44,)).boxes((100, 200), [(2, 4)])
    np.testing.assert_allclose(boxes[12], centred(0.22, 0.77, 0.4, 0.2), atol=1e-7)


@pytest.mark.parametrize("clip", ["none", "size", "corners"])
@pytest.mark.parametrize("steps", [None, (9, 20, 45), np.array([9.0, 20.0, 45.0])])
def test_against_the_oracle(clip, steps):
    input_sizes = (96, 128), [(12, 16), (5, 7), (2, 3)]
    arguments = (14.5, 33, 61, 140), ((1.5,), (2, 3), (2, 3, 5)), steps
    expected = oracle.default_boxes(*input_sizes, *arguments, offset=0.4, clip=clip)
    boxes = DefaultBoxes.paper(*arguments, offset=0.4, clip=clip).boxes(*input_sizes)
    np.testing.assert_allclose(boxes, expected, atol=2e-7)  # seen: 6e-8, the rounding to float32


@pytest.mark.parametrize(
    ("file", "settings"),
    [
        ("torchvision_ssd300_vgg16.npz", scene.SSD300),
        ("torchvision_ssdlite320_mobilenet_v3_large.npz", scene.SSDLITE320),
    ],
)
def test_torchvision_gold(file, settings):
    expected = np.load(GOLD / file)["default_boxes"]
    settings = dict(settings)
    image_size, feature_sizes = settings.pop("image_size"), settings.pop("feature_sizes")
    boxes = DefaultBoxes.paper(**settings).boxes(image_size, feature_sizes)
    np.testing.assert_allclose(boxes, expected, atol=1e-6)  # seen: 1.2e-7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clip": "all"}, r"clip='all' is unknown; choose one of none, size, corners\."),
        (
            {"sizes": (30, 60)},
            r"aspect_ratios of 2 feature maps need one more size than that; got 2 sizes\.",
        ),
        (
            {"steps": (8, 16, 32)},
            r"steps has 3 entries; expected 2, one for each feature map\.",
        ),
        ({"steps": ()}, r"steps has 0 entries; expected 2, one for each feature map\."),
        (
            {"offset": ((0.5, 0.0),)},
            r"offset has 1 entries; expected 2, one for each feature map\.",
        ),
    ],
)
def test_errors(arguments, message):
    right = {"sizes": (30, 60, 111), "aspect_ratios": ((2,), (2, 3))}
    with pytest.raises(ValueError, match=f"^{message}$"):
        DefaultBoxes.paper(**{**right, **arguments})


@pytest.mark.parametrize("cell", [(), ((9, 9), (0, 5))])
def test_a_cell_without_a_box(cell):
    with pytest.raises(
        ValueError, match=r"^shapes of feature map 2 are \(.*\); expected at least o"
    ):
        DefaultBoxes((((5, 6),), cell))


@pytest.mark.parametrize("shapes", [[[10, 20], [20, 10]], [[[10]]], [[[10, "wide"]]], 7])
def test_shapes_of_another_form(shapes):
    with pytest.raises(
        ValueError, match=r"^shapes is .*; expected for each feature map a list of "
    ):
        DefaultBoxes(shapes)


def test_another_number_of_feature_maps():
    with pytest.raises(ValueError, match=r"^1 feature maps need as many entries of shapes; got 2"):
        DefaultBoxes.paper((30, 60, 111), ((2,), (2, 3))).boxes((300, 300), [(38, 38)])


def test_centres_of_cells():
    ((y, x),) = cell_centers((100, 200), [(2, 1)])
    assert y.tolist() == [0.25, 0.75] and x.tolist() == [0.5]


@pytest.mark.parametrize("offset", [0.25, ((0.25, 0.5), (0.0, 0.75))])
def test_config_equals_the_arguments(offset):
    arguments = {
        "shapes": (((20.0, 30.5), (9.0, 9.0), (41.0, 15.0)), ((50.0, 99.0),)),
        "steps": (7.0, 15.0),
        "offset": offset,
        "clip": "corners",
        "variances": (0.1, 0.2, 0.3, 0.4),
    }
    spec = DefaultBoxes(**arguments)
    assert spec.get_config() == arguments
    from_json = DefaultBoxes.from_config(json.loads(json.dumps(spec.get_config())))
    assert from_json == spec and hash(from_json) == hash(spec)
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(spec)))
    assert keras.saving.deserialize_keras_object(serialized).get_config() == arguments
    assert spec.boxes_per_cell == (3, 1)


def test_the_first_map_may_have_one_square():
    spec = DefaultBoxes.paper((16, 36, 64), ((4.0,), (4.0,)), first_square=9)
    # Of 100 by 200 pixels: 9x9 alone, then 8x32 and 32x8; the second map has two squares, 36 and
    # 48, the root of 36 * 64, then 18x72 and 72x18.
    boxes = spec.boxes((100, 200), [(1, 1), (1, 1)])
    size = (boxes[:, 2:] - boxes[:, :2]) * [100, 200]
    expected = [[9, 9], [8, 32], [32, 8], [36, 36], [48, 48], [18, 72], [72, 18]]
    np.testing.assert_allclose(size, expected, rtol=1e-6)
    np.testing.assert_allclose((boxes[:, 2:] + boxes[:, :2]) / 2, 0.5)
    assert spec.boxes_per_cell == (3, 4)


def squares(spec):
    """Side of the first box of each map."""
    return [cell[0][0] for cell in spec.shapes]


def test_from_scales_is_equation_4_of_the_paper():
    # s_k = .2 + (.9 - .2) / (6 - 1) * (k - 1) = .2, .34, .48, .62, .76, .9, and 1.04 beyond.
    spec = DefaultBoxes.from_scales((300, 300), 6)
    sizes = (60, 102, 144, 186, 228, 270, 312)
    np.testing.assert_allclose(squares(spec), sizes[:-1])
    assert spec == DefaultBoxes.paper(sizes, ((2, 3),) * 6)


def test_from_scales_with_other_arguments():
    # The shorter side is 200: .15, .15 + .35, .85 and 1.2 of it.
    arguments = {
        "smallest": 0.15, "largest": 0.85, "aspect_ratios": [[2], [], [2, 5]], "clip": "size"
    }  # fmt: skip
    spec = DefaultBoxes.from_scales((400, 200), 3, **arguments)
    np.testing.assert_allclose(squares(spec), (30, 100, 170))
    assert spec.shapes[2][1] == pytest.approx((np.sqrt(170 * 240),) * 2)
    assert spec.boxes_per_cell == (4, 2, 6) and spec.clip == "size"
    other = DefaultBoxes.from_scales((400, 200), 3, **arguments, last=1.0, first_square=7)
    assert other.shapes[2][1] == pytest.approx((np.sqrt(170 * 200),) * 2)
    assert other.shapes[0] == ((7.0, 7.0), *spec.shapes[0][2:])
    # A single map has the smallest size, and the largest next.
    one = DefaultBoxes.from_scales((100, 100), 1).shapes[0]
    np.testing.assert_allclose([height for height, _ in one[:2]], (20, np.sqrt(20 * 90)))


def test_explicit_shapes():
    """Those of YOLOv3's first two maps have the width first; 13 x 10 is the first height, width."""
    anchors = np.array([[[10, 13], [16, 30]], [[30, 61], [62, 45]]])
    spec = DefaultBoxes.explicit(anchors, order="wh", steps=(8, 16), clip="corners")
    assert spec == DefaultBoxes(
        (((13, 10), (30, 16)), ((61, 30), (45, 62))), steps=(8, 16), clip="corners"
    )
    assert DefaultBoxes.explicit(anchors[..., ::-1].tolist(), steps=[8, 16], clip="corners") == spec
    with pytest.raises(ValueError, match=r"^order='xy' is unknown; choose 'hw' or 'wh'\.$"):
        DefaultBoxes.explicit(anchors, order="xy")


def test_octaves_of_the_object_detection_api():
    spec = DefaultBoxes.octaves((320, 320))
    sides = (40, 20, 10, 5, 3)
    boxes = boxes_of(spec, 320, sides) * 320
    # 6 * (1600 + 400 + 100 + 25 + 9)
    assert len(boxes) == 12804
    # Level 3: 4 * 8 = 32 pixels and sqrt(2) times as much, of the ratios 1, 2 and 1/2. A ratio of 2
    # makes 32 / sqrt(2) by 32 * sqrt(2).
    shapes = [(32, 32), (45.254834, 45.254834), (22.627417, 45.254834), (32, 64)]
    shapes += [(45.254834, 22.627417), (64, 32)]
    for index, shape in enumerate(shapes):
        np.testing.assert_allclose(boxes[index], centred(4, 4, *shape), atol=5e-5)
        # Level 5: cells of 32 pixels.
        large = 4 * np.array(shape)
        np.testing.assert_allclose(boxes[12000 + index], centred(16, 16, *large), atol=2e-4)
    # 320 = 2.5 * 128: the centres of level 7 are 0, 128 and 256. The last box is 512 * 2^.5 /
    # 2^-.5 = 1024 high, 512 wide.
    np.testing.assert_allclose(boxes[-1], centred(256, 256, 1024, 512), atol=5e-4)
    np.testing.assert_allclose(boxes[-54], centred(0, 0, 512, 512), atol=5e-4)


def test_octaves_of_retinanet_on_a_wide_image():
    spec = DefaultBoxes.octaves(
        (96, 160), (4, 6), scales_per_octave=3, aspect_ratios=(0.5,), base_scale=3, clip="size"
    )
    # 96 = 1.5 * 64 and 160 = 2.5 * 64, both whole multiples of 16.
    assert spec.offset == ((0.5, 0.5), (0.0, 0.0)) and spec.steps == (16, 64)
    assert DefaultBoxes.octaves((128, 160), (6,)).offset == ((0.5, 0.0),)
    # 3 * 16 = 48; 2^(1/3) = 1.259921, 2^(2/3) = 1.587401; sqrt(2): 67.882251 by 33.941125.
    np.testing.assert_allclose(
        spec.shapes[0],
        [(67.882251, 33.941125), (85.526276, 42.763138), (107.756355, 53.878177)],
        rtol=1e-7,
    )
    assert spec.clip == "size"


def test_offsets_of_an_axis():
    spec = DefaultBoxes((((4, 2),), ((4, 2),)), steps=(8, 10), offset=((0.5, 0.0), (0.25, 1.0)))
    boxes = spec.boxes((20, 40), [(1, 2), (1, 1)])
    # y .5 * 8, x 0 and 8; then y .25 * 10, x 10
    expected = [centred(4, 0, 4, 2), centred(4, 8, 4, 2), centred(2.5, 10, 4, 2)]
    np.testing.assert_allclose(boxes * [20, 40, 20, 40], expected, atol=1e-6)


def test_resized_boxes_share_the_image():
    spec = DefaultBoxes(
        (((4, 2), (6, 6)), ((8, 10),)), steps=(8, 16), clip="size", variances=(1, 2, 3, 4)
    )
    expected = DefaultBoxes((((6, 3), (9, 9)), ((12, 15),)), clip="size", variances=(1, 2, 3, 4))
    assert spec.resized(1.5) == expected
    assert dataclasses.replace(spec, offset=0.4).resized(1.5).offset == 0.4
    assert dataclasses.replace(spec, offset=((0, 0), (0.5, 0))).resized(1.5) == expected
