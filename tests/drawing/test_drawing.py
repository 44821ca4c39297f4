"""Drawings: pixels that change and pixels that do not, legibility, odd sizes, whole files."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssd_keras.drawing.curves import plot_history
from ssd_keras.drawing.draw import (
    class_colors,
    draw_boxes,
    draw_false,
    draw_missed,
    draw_training_example,
    save_image,
    text_color,
)
from ssd_keras.drawing.sheet import contact_sheet

BACKGROUNDS = {
    "white": np.full((300, 400, 3), 255, np.uint8),
    "black": np.zeros((300, 400, 3), np.uint8),
    "busy": np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8),
}
MIDDLE = np.array([[0.4, 0.25, 0.8, 0.75]])  # rows 120..239, columns 100..299


def read(path):
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def luminance(color):
    """Relative luminance of WCAG 2."""
    total = 0.0
    for weight, channel in zip((0.2126, 0.7152, 0.0722), color, strict=True):
        value = int(channel) / 255
        linear = value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        total += weight * linear
    return total


def contrast(first, second):
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_formula_of_this_test():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((255, 255, 255), (119, 119, 119)) == pytest.approx(4.48, abs=0.01)


def test_colors_are_distinct_stable_and_legible():
    colors = class_colors(100)
    assert colors.shape == (100, 3) and colors.dtype == np.uint8
    np.testing.assert_array_equal(class_colors(20), colors[:20])
    apart = np.linalg.norm(colors[:, None].astype(float) - colors[None], axis=-1)
    apart += 999 * np.eye(100)
    assert apart.min() > 10 and apart[:20, :20].min() > 60
    assert min(contrast(color, text_color(color)) for color in colors) >= 4.5
    assert class_colors(0).shape == (0, 3)


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_lines_are_drawn_with_casing_and_the_rest_is_untouched(name):
    image = BACKGROUNDS[name]
    before = image.copy()
    drawn = draw_boxes(image, MIDDLE, [3], line_width=3)
    np.testing.assert_array_equal(image, before)  # the caller's image
    color = class_colors(4)[3]
    # Down through the top edge at column 200: dark, three of colour, light.
    np.testing.assert_array_equal(drawn[119, 200], [0, 0, 0])
    np.testing.assert_array_equal(drawn[120:123, 200], [color] * 3)
    np.testing.assert_array_equal(drawn[123, 200], [255, 255, 255])
    # And out through the bottom one, whose last row of the box is 239.
    np.testing.assert_array_equal(drawn[237:240, 200], [color] * 3)
    np.testing.assert_array_equal(drawn[240, 200], [0, 0, 0])
    np.testing.assert_array_equal(drawn[200, 297:300], [color] * 3)
    np.testing.assert_array_equal(drawn[125:235, 105:295], image[125:235, 105:295])
    np.testing.assert_array_equal(drawn[242:], image[242:])
    np.testing.assert_array_equal(drawn[:, 303:], image[:, 303:])


def changed_rectangle(image, drawn):
    rows, columns = np.nonzero((image != drawn).any(-1))
    return rows.min(), rows.max(), columns.min(), columns.max()


def test_tag_sits_on_the_box_and_has_text():
    image = BACKGROUNDS["white"]
    bare = draw_boxes(image, MIDDLE)
    drawn = draw_boxes(image, MIDDLE, [0], [0.874], ["dog"])
    top, bottom, left, right = changed_rectangle(bare, drawn)
    # Its lower border, row 119, is the black that the casing of the box has put there already.
    assert (bottom, left) == (118, 100) and 95 < top < 110 and 130 < right < 200
    tag = drawn[top : bottom + 1, left : right + 1].reshape(-1, 3)
    color = class_colors(1)[0]
    assert 0.4 < (tag == color).all(-1).mean() < 0.9
    assert (tag == text_color(color)).all(-1).mean() > 0.05
    # Another score, another image: the numbers are really written.
    assert (draw_boxes(image, MIDDLE, [0], [0.24], ["dog"]) != drawn).any()


@pytest.mark.parametrize(
    "box",
    [
        [0.0, 0.3, 0.4, 0.7],  # at the top edge
        [0.5, 0.95, 0.6, 1.0],  # in the right margin
        [-0.5, -0.5, 0.2, 0.2],  # partly outside
        [0.98, 0.0, 1.0, 0.02],  # in the last corner
    ],
)
def test_tag_stays_whole_inside_the_image(box):
    # The same tag on an image with room for it has as many pixels of text and fill.
    image, roomy = np.full((300, 400, 3), 255, np.uint8), np.full((300, 400, 3), 255, np.uint8)
    color = class_colors(1)[0]

    def count(input_image, boxes):
        with_tag = draw_boxes(input_image, boxes, [0], [0.5], ["dog"])
        without = draw_boxes(input_image, boxes)
        top, bottom, left, right = changed_rectangle(without, with_tag)
        return (with_tag[top : bottom + 1, left : right + 1] == color).all(-1).sum()

    expected = count(roomy, MIDDLE)
    assert count(image, np.array([box])) == pytest.approx(expected, rel=0.12)


def test_tags_make_room_for_each_other():
    # Two boxes of one top left corner: both tags can be read, so both fills are whole.
    boxes = np.array([[0.4, 0.25, 0.8, 0.75], [0.4, 0.25, 0.7, 0.6]])
    drawn = draw_boxes(BACKGROUNDS["black"], boxes, [0, 4], [0.9, 0.8], ["dog"] * 5)
    colors = class_colors(5)
    fills = [(drawn == colors[label]).all(-1).sum() for label in (0, 4)]
    alone = [
        (draw_boxes(BACKGROUNDS["black"], boxes[i : i + 1], [label], [0.9], ["dog"] * 5))
        for i, label in enumerate((0, 4))
    ]
    for fill, image, label in zip(fills, alone, (0, 4), strict=True):
        assert fill > 0.6 * (image == colors[label]).all(-1).sum()


def test_highest_score_has_the_first_choice_of_positions():
    # Above the box's corner, where a tag alone would be; the other tag moves aside.
    boxes = np.array([[0.4, 0.25, 0.8, 0.75]] * 2)
    for scores, winner in (([0.9, 0.8], 0), ([0.8, 0.9], 1)):
        drawn = draw_boxes(BACKGROUNDS["white"], boxes, [0, 1], scores, ["dog", "cat"])
        np.testing.assert_array_equal(drawn[116, 102], class_colors(2)[winner])


def test_padding_low_scores_and_empty_boxes_draw_nothing():
    image = BACKGROUNDS["busy"]
    boxes = np.array(
        [[0.1, 0.1, 0.5, 0.5], [0.2, 0.2, 0.6, 0.6], [0.5, 0.5, 0.5, 0.9], [2, 2, 3, 3]]
    )
    drawn = draw_boxes(
        image, boxes, [-1, 0, 0, 0], [0.9, 0.2, 0.9, 0.9], ["dog"], display_threshold=0.3
    )
    np.testing.assert_array_equal(drawn, image)
    np.testing.assert_array_equal(draw_boxes(image, [], [], [], ["dog"]), image)
    assert (draw_boxes(image, boxes, [-1, 0, 0, 0], [0.9, 0.2, 0.9, 0.9], ["dog"]) != image).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 3), (20, 20)])
def test_tiny_images(size):
    image = np.full((*size, 3), 128, np.uint8)
    drawn = draw_boxes(image, [[0, 0, 1, 1]], [2], [0.5], ["a", "b", "dog"])
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn[0, 0], class_colors(3)[2])


def test_lines_and_tags_grow_with_the_image():
    def thickness(scale):
        image = np.zeros((300 * scale, 400 * scale, 3), np.uint8)
        drawn = draw_boxes(image, MIDDLE, [0])
        return (drawn[200 * scale, : 200 * scale] == class_colors(1)[0]).all(-1).sum()

    assert thickness(1) == 2
    assert thickness(10) == round(np.sqrt(3000 * 4000) / 250) == 14


def test_highest_score_is_on_top():
    boxes = np.array([[0.4, 0.25, 0.8, 0.75]] * 2)
    for scores, winner in (([0.9, 0.1], 0), ([0.1, 0.9], 1)):
        drawn = draw_boxes(BACKGROUNDS["white"], boxes, [0, 1], scores)
        np.testing.assert_array_equal(drawn[239, 200], class_colors(2)[winner])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((4, 4, 3))}, r"image is float64 of shape \(4, 4, 3\); expected uint8"),
        ({"image": np.zeros((0, 4, 3), np.uint8)}, r"shape \(0, 4, 3\); expected .*, not empty"),
        ({"boxes": [[0, 0, 1]]}, r"boxes have shape \(1, 3\); expected finite relative yxyx"),
        ({"boxes": [[0, 0, np.nan, 1]]}, r"boxes have shape \(1, 4\); expected finite"),
        ({"labels": [0, 1]}, r"labels have shape \(2,\) beside 1 boxes; expected \(1,\)"),
        ({"scores": 0.5}, r"scores have shape \(\) beside 1 boxes"),
        ({"labels": [2]}, r"label 2 has no name among 2 class_names; expected labels from 0"),
    ],
)
def test_shapes_that_do_not_match_are_refused(change, message):
    arguments = {"image": BACKGROUNDS["white"], "boxes": MIDDLE, "labels": [0], "scores": [0.5]}
    with pytest.raises(ValueError, match=message):
        draw_boxes(**(arguments | change), class_names=["cat", "dog"])


def test_training_example_shows_matched_boxes_alone():
    image = BACKGROUNDS["black"]
    truth = np.array([[0.4, 0.25, 0.8, 0.75], [0.0, 0.8, 0.3, 1.0], [0, 0, 0, 0]])
    labels = [4, 1, -1]
    default_boxes = np.array(
        [[0.45, 0.25, 0.9, 0.7], [0.05, 0.75, 0.35, 0.95], [0.6, 0.05, 0.95, 0.2]]
    )
    names = ["a", "b", "c", "d", "e"]
    drawn = draw_training_example(
        image, truth, labels, default_boxes, [True, True, False], names
    ).astype(int)
    # 150 / 255 of the colour of the object of best IoU, over black; rows 269 and 104.
    colors = class_colors(5).astype(float) * 150 / 255
    np.testing.assert_allclose(drawn[269, 200], colors[4], atol=1.5)
    np.testing.assert_allclose(drawn[104, 310], colors[1], atol=1.5)
    assert drawn[:, :60].max() == 0  # the third default box is not matched
    nothing = draw_training_example(image, truth, [-1] * 3, default_boxes, [False] * 3, names)
    np.testing.assert_array_equal(nothing, image)
    with pytest.raises(
        ValueError, match=r"default_boxes have shape \(3, 4\) and matched_mask \(2,\)"
    ):
        draw_training_example(image, truth, labels, default_boxes, [True, False])


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_missed_boxes_are_dashed_black_and_white(name):
    image = BACKGROUNDS[name]
    boxes = np.concatenate([MIDDLE, [[0.2, 0.2, 0.2, 0.9]]])  # the second is empty
    drawn = draw_missed(image, boxes, ["dog", "cat"])
    # 400 x 300: lines of max(2, round(346 / 250)) = 2 pixels, dashes of 6. Above columns 100..299.
    for row in (drawn[120], drawn[121], drawn[:, 100][120:240].repeat(2, axis=0)):
        part = row[100:300, 0] if len(row) == 400 else row[::2, 0]
        expected = np.where(np.arange(len(part)) // 6 % 2, 0, 255)
        expected[-2:] = part[-2:]  # the corners, where two sides meet
        np.testing.assert_array_equal(part, expected)
    np.testing.assert_array_equal(drawn[122:238, 102:298], image[122:238, 102:298])
    np.testing.assert_array_equal(drawn[:120], image[:120])
    top, bottom, left, right = changed_rectangle(image[240:], drawn[240:])
    assert left in (100, 101) and right < 299 and top in (0, 1) and 10 < bottom < 30  # the tag
    low = draw_missed(image, [[0.4, 0.9, 1.0, 1.0]], ["dog"])  # its tag moves into the image
    assert changed_rectangle(image, low)[1] in (298, 299)  # black on black


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_false_boxes_are_dashed_red_and_white_with_the_tag_above(name):
    image = BACKGROUNDS[name]
    drawn = draw_false(image, MIDDLE, ["dog"], np.array([0.875]))
    red = np.where(np.arange(198)[:, None] // 6 % 2, [200, 0, 0], 255)  # as of missed boxes
    for row in (drawn[120], drawn[121]):
        np.testing.assert_array_equal(row[100:298], red)
    np.testing.assert_array_equal(drawn[122:238, 102:298], image[122:238, 102:298])
    np.testing.assert_array_equal(drawn[240:], image[240:])
    top, bottom, left, right = changed_rectangle(image[:120], drawn[:120])
    assert left in (100, 101) and right < 299 and bottom in (118, 119) and 90 < top < 110
    wide = draw_false(image, MIDDLE, ["dog with a long name"], np.array([0.5]))
    assert changed_rectangle(image[:120], wide[:120])[3] > right


def test_contact_sheet_keeps_shapes_and_order():
    images = [
        np.full((40, 80, 3), 200, np.uint8),
        np.full((500, 100, 3), 100, np.uint8),
        np.full((1, 1, 3), 250, np.uint8),
    ]
    sheet = contact_sheet(images, columns=2, cell_size=(80, 160))
    # gap max(2, 80 // 40) = 2: 2 * 162 + 2 wide, 2 * 82 + 2 high
    assert sheet.shape == (166, 326, 3)
    assert (sheet == 200).all(-1).sum() == 80 * 160  # twice as wide as high: fills its cell
    assert (sheet == 100).all(-1).sum() == 80 * 16
    assert (sheet == 250).all(-1).sum() == 80 * 80
    np.testing.assert_array_equal(sheet[42, 82], [200] * 3)
    np.testing.assert_array_equal(sheet[42, 2 + 162 + 80], [100] * 3)
    with_words = contact_sheet(images, columns=2, cell_size=(80, 160), captions=["a", "b" * 99, ""])
    assert with_words.shape[1] == 326 and 186 <= with_words.shape[0] <= 206
    assert (with_words[85:90] > 100).any()
    titled = contact_sheet(images, columns=2, cell_size=(80, 160), title="a" * 99)
    heading = titled.shape[0] - 166  # the line and a gap
    assert 12 <= heading <= 20 and (titled[2:heading] > 100).any()
    np.testing.assert_array_equal(titled[heading + 2 :], sheet[2:])
    assert contact_sheet(images[:1], columns=5, cell_size=50).shape == (54, 54, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": []}, r"got 0 images, columns=4, cell_size=320; expected at least 1"),
        ({"columns": 0}, r"columns=0"),
        ({"captions": ["a", "b"]}, r"got 2 captions for 1 images; expected one each"),
    ],
)
def test_contact_sheet_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        contact_sheet(**({"images": [BACKGROUNDS["white"]]} | arguments))


def test_saved_images_come_back(tmp_path):
    image = draw_boxes(BACKGROUNDS["white"], MIDDLE, [0], [0.5], ["dog"])
    save_image(image, tmp_path / "new folder" / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "new folder" / "a.png"), image)
    save_image(image, str(tmp_path / "a.JPG"))
    difference = read(tmp_path / "a.JPG").astype(int) - image
    assert 0 < abs(difference).mean() < 1
    # The mean error on the thin lines is 3 of 255; subsampled chroma makes it 21.
    on_lines = (image == class_colors(1)[0]).all(-1)
    assert abs(difference[on_lines]).mean() < 8
    assert (tmp_path / "a.JPG").read_bytes().startswith(b"\xff\xd8\xff")
    with pytest.raises(ValueError, match=r"a\.gif: images cannot be written as '\.gif'; expected"):
        save_image(image, tmp_path / "a.gif")


def test_existing_file_survives_a_failing_write(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    save_image(BACKGROUNDS["white"], path)
    before = path.read_bytes()

    def fail(self, file, **_):
        file.write(b"half an image")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_image(BACKGROUNDS["black"], path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_history_draws_what_there_is(tmp_path):
    rows = [
        {"epoch": str(n), "loss": str(9 / n), "box_loss": 3 / n, "learning_rate": 1e-3 / 10**n}
        | {"val_AP": "" if n % 2 else 0.05 * n, "val_AP50": None, "class_loss": float("nan")}
        for n in range(1, 9)
    ]
    images = []
    for name, part in (("full", rows), ("one", rows[:1]), ("none", [])):
        plot_history(part, tmp_path / f"{name}.png")
        images.append(read(tmp_path / f"{name}.png"))
    full, one, none = images
    assert full.shape == one.shape == none.shape == (1080, 960, 3)
    blue = [(abs(p.astype(int) - [31, 119, 180]).max(-1) < 12).sum() for p in images]
    assert blue[0] > 10 * blue[1] > 0 and blue[2] == 0
    third = full.shape[0] // 3
    for panel in (full[:third], full[third : 2 * third], full[2 * third :]):
        assert (abs(panel.astype(int) - [31, 119, 180]).max(-1) < 12).sum() > 300


def test_matplotlib_is_loaded_late_and_pyplot_never(tmp_path):
    source = """
import sys
from ssd_keras.drawing.curves import plot_history
early = "matplotlib" in sys.modules
plot_history([{"epoch": 1, "loss": 2.0}], sys.argv[1])
print(early, "matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules)
"""
    result = subprocess.run(
        [sys.executable, "-c", source, str(tmp_path / "a.png")],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == ["False", "True", "False"]
    assert read(tmp_path / "a.png").shape == (1080, 960, 3)
