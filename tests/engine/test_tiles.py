"""Tiled prediction: the grid, boxes by hand, a detector of coloured rectangles, the ways to it."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from ssd_keras.cli.arguments import tile_size
from ssd_keras.cli.parser import main
from ssd_keras.data.records import DetectionData, Example
from ssd_keras.engine import detector as detector_module
from ssd_keras.engine.batch.detect_data import _data_detector
from ssd_keras.engine.batch.part_detector import PartDetector
from ssd_keras.engine.detector import KerasDetector, detect, detect_images
from ssd_keras.engine.evaluate import evaluate
from ssd_keras.engine.tiles import Tile, TiledDetector, checked_tiles, merge, tile_grid
from ssd_keras.exporters.exported_detector import ExportedDetector
from ssd_keras.models.post_process import PostProcess
from ssd_keras.presets import from_preset

COLORS = {"red": (255, 0, 0), "green": (0, 255, 0)}
SLOTS = 6


class ColorDetector:
    """Finds the rectangle around the pixels of each colour; less than 2 pixels wide it sees none.

    The score is 0.9 for 40 pixels or more, and falls to 0.5 with fewer.
    """

    class_names = tuple(COLORS)

    def __init__(self, image_size=(64, 64)):
        self.image_size = image_size
        self.batches = []

    def __call__(self, images):
        self.batches.append(len(images))
        found = {"boxes": np.zeros((len(images), SLOTS, 4), np.float32)}
        found["scores"] = np.zeros((len(images), SLOTS), np.float32)
        found["labels"] = np.zeros((len(images), SLOTS), np.int32)
        found["num_detections"] = np.zeros(len(images), np.int32)
        for row, image in enumerate(images):
            for label, color in enumerate(COLORS.values()):
                y, x = np.nonzero(np.abs(image - np.array(color, float)).max(axis=-1) < 100)
                if len(y) and min(np.ptp(y), np.ptp(x)) >= 1:
                    slot = found["num_detections"][row]
                    box = np.array([y.min(), x.min(), y.max() + 1, x.max() + 1])
                    found["boxes"][row, slot] = box / np.tile(image.shape[:2], 2)
                    found["scores"][row, slot] = 0.5 + 0.4 * min(1, len(y) / 40)
                    found["labels"][row, slot] = label
                    found["num_detections"][row] += 1
        return found


def scene(*rectangles, size=(100, 160)):
    """A white image with rectangles, each a colour and yxyx in pixels."""
    image = np.full((*size, 3), 255, np.uint8)
    for color, (top, left, bottom, right) in rectangles:
        image[top:bottom, left:right] = COLORS[color]
    return image


def pixels(result):
    return result.boxes_as("yxyx").round(3).tolist()


# rows and columns of the corners, and the size of all tiles
GRIDS = [
    # 640 in tiles of 320 with 64 or more in common: a step of 256 at most, so 1 + ceil(320 / 256);
    # 380: 1 + ceil(60 / 256)
    ((380, 640), (320, 320), 0.2, [0, 60], [0, 160, 320], (320, 320)),
    ((640, 960), (320, 320), 0.0, [0, 320], [0, 320, 640], (320, 320)),
    # a step of 319.4, of which whole pixels are taken
    ((321, 640), (320, 320), 0.0, [0, 1], [0, 320], (320, 320)),
    ((100, 160), (64, 64), 0.25, [0, 36], [0, 48, 96], (64, 64)),
    # 5 tiles: 1 + ceil(320 / 80)
    ((200, 640), (320, 320), 0.75, [0], [0, 80, 160, 240, 320], (200, 320)),
    ((380, 640), (200, 400), 0.2, [0, 90, 180], [0, 240], (200, 400)),
    ((320, 320), (320, 320), 0.9, [0], [0], (320, 320)),
    ((20, 30), (320, 40), 0.2, [0], [0], (20, 30)),
]


@pytest.mark.parametrize(("image_size", "sides", "overlap", "rows", "columns", "size"), GRIDS)
def test_grids_by_hand(image_size, sides, overlap, rows, columns, size):
    expected = [Tile(top, left, *size) for top in rows for left in columns]
    assert tile_grid(image_size, sides, overlap) == expected


def test_neighbours_have_the_overlap_and_the_last_tile_ends_at_the_border():
    random = np.random.default_rng(5)
    for _ in range(300):
        length, side = (int(random.integers(16, high)) for high in (3000, 900))
        overlap = random.uniform(0, 0.9)
        tiles = tile_grid((50, length), (50, side), overlap)
        starts, width = [tile.left for tile in tiles], tiles[0].width
        assert starts[0] == 0 and starts[-1] + width == length
        shared = width - np.diff(starts)
        assert (shared >= overlap * width - 1e-6).all()
        # One tile less would not do.
        assert len(starts) <= 2 or (len(starts) - 2) * (1 - overlap) * width < length - width + len(
            starts
        )


def test_a_small_object_is_found_where_a_tile_shows_it():
    # 6x4 pixels of 400x600 are 1 pixel of the input of 64x64, and 6x4 of a tile of 64.
    image = scene(("red", (300, 500, 306, 504)), size=(400, 600))
    assert len(detect(ColorDetector(), image)) == 0
    found = detect(ColorDetector(), image, tiles=64)
    assert pixels(found) == [[300, 500, 306, 504]]
    assert found.scores.tolist() == pytest.approx([0.5 + 0.4 * 24 / 40])
    assert [one.class_name for one in found] == ["red"]


def test_one_object_in_several_tiles_and_in_the_whole_image_is_one_detection():
    # Tiles of 64 begin at rows 0, 36 and columns 0, 48, 96. The square is whole in the two of the
    # second row whose columns begin at 48 and 96, with the better score, and coarse in the image.
    image = scene(("red", (80, 100, 88, 110)), ("green", (80, 100, 84, 110)))
    found = detect(ColorDetector(), image, tiles=64, tile_overlap=0.25)
    assert [(one.class_name, round(one.score, 2)) for one in found] == [
        ("red", 0.9),
        ("green", 0.9),
    ]
    assert pixels(found) == [[84, 100, 88, 110], [80, 100, 84, 110]]


def test_a_box_that_ends_at_an_inner_border_is_dropped():
    # Whole in the tile at column 48, cut in the one at 0 (columns 0 to 64).
    found = detect(ColorDetector(), scene(("red", (10, 50, 30, 70))), tiles=64, tile_overlap=0.25)
    assert pixels(found) == [[10, 50, 30, 70]]
    # Cut in all three; the whole image shows it: rows of 100 / 64, columns of 160 / 64 pixels.
    wide = scene(("green", (10, 20, 30, 150)))
    (whole,) = detect(ColorDetector(), wide)
    (found,) = detect(ColorDetector(), wide, tiles=64, tile_overlap=0.25)
    assert found.box_as("yxyx") == pytest.approx(whole.box_as("yxyx"), abs=1e-4)
    assert found.box_as("yxyx") == pytest.approx((10, 20, 30, 150), abs=2.5)
    # The image's own border cuts nothing.
    corner = detect(ColorDetector(), scene(("red", (70, 120, 100, 160))), tiles=64)
    assert pixels(corner) == [[70, 120, 100, 160]]


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_tiles_are_seen_in_batches_of_a_bounded_size(batch_size):
    image = scene(("red", (80, 100, 88, 110)), ("green", (20, 20, 28, 30)))
    finder = ColorDetector()
    found = TiledDetector(finder, 64, 0.25, batch_size)(np.stack([image, image[::-1]]))
    # 2 rows of 3 tiles and the image itself, for each of two images
    sizes = {1: [1] * 7, 4: [4, 3], 32: [7]}[batch_size]
    assert finder.batches == sizes * 2
    assert found["num_detections"].tolist() == [2, 2]
    assert found["boxes"].shape == (2, SLOTS, 4)
    boxes = found["boxes"][:, :2] * [100, 160, 100, 160]
    by_label = np.take_along_axis(boxes, found["labels"][:, :2, None], axis=1)
    expected = [[[80, 100, 88, 110], [20, 20, 28, 30]], [[12, 100, 20, 110], [72, 20, 80, 30]]]
    np.testing.assert_allclose(by_label, expected, atol=1e-4)
    assert not found["boxes"][:, 2:].any() and not found["scores"][:, 2:].any()


def test_an_image_that_one_tile_covers_is_detected_as_without_tiles():
    model = from_preset("ssd192_small_shapes", image_size=(64, 64), width=4)
    model.display_threshold = 0.3
    detector = KerasDetector(model, PostProcess(max_detections=7))
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype("uint8")
    tiles = TiledDetector(detector, (90, 200))
    assert (tiles.display_threshold, tiles.post_process) == (0.3, detector.post_process)
    expected, found = detect_images(detector, [image]), tiles(image[None])
    assert expected["num_detections"][0] > 0
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
    # 180 rows are 1 + ceil(90 / 72) tiles.
    taller = tiles(np.repeat(image[None], 2, axis=1))
    assert taller["boxes"].shape == (1, 7, 4) and taller["num_detections"][0] > 0
    one, several = (model.detect(image, tiles=side, tile_overlap=0.5) for side in (120, 60))
    np.testing.assert_array_equal(one.scores, model.detect(image).scores)
    assert several.scores.tolist() != one.scores.tolist()


BOXES = np.array([[0, 0, 1, 0.6], [0, 0, 1, 1], [0, 0, 1, 0.55], [0.5, 0, 1, 0.25]], np.float32)
SCORES = np.array([0.5, 0.9, 0.7, 0.3], np.float32)
LABELS = np.array([1, 1, 0, 1], np.int32)


@pytest.mark.parametrize(
    ("options", "num_slots", "kept"),
    [
        # IoU of boxes 0 and 1 is 0.6; of 3 with 0 0.125 / 0.6 and with 1 0.125.
        ({}, 5, [1, 2, 3]),
        ({"iou_threshold": 0.65}, 5, [1, 2, 0, 3]),
        ({"class_agnostic": True}, 5, [1, 3]),  # 2 with 1: 0.55
        ({"iou_threshold": 0.65, "max_detections_per_class": 2}, 5, [1, 2, 0]),
        ({"iou_threshold": 0.1, "score_threshold": (0.8, 0.8)}, 5, [1, 2]),
        ({}, 2, [1, 2]),
    ],
)
def test_merging_by_hand(options, num_slots, kept):
    found = merge(BOXES, SCORES, LABELS, 2, num_slots, PostProcess(**options))
    assert found["num_detections"] == len(kept)
    unused = num_slots - len(kept)
    np.testing.assert_array_equal(found["boxes"], [*BOXES[kept], *np.zeros((unused, 4))])
    np.testing.assert_array_equal(found["scores"], [*SCORES[kept], *[0] * unused])
    np.testing.assert_array_equal(found["labels"], [*LABELS[kept], *[0] * unused])


def test_nothing_found_is_no_detection():
    found = detect(ColorDetector(), scene(), tiles=64)
    assert len(found) == 0 and found.boxes.shape == (0, 4)


def test_exports_merge_by_the_paper_s_threshold():
    finder = ColorDetector(None)  # of any size

    def run(images):
        found = finder(images)
        names = {"boxes": "boxes", "scores": "scores", "labels": "classes"}
        outputs = {f"detection_{new}": found[name] for name, new in names.items()}
        return {**outputs, "num_detections": found["num_detections"]}

    exported = ExportedDetector(("red", "green"), None, run)
    tiles = TiledDetector(exported, 64)
    assert (tiles.post_process, tiles.display_threshold) == (PostProcess(), 0.5)
    found = tiles(scene(("green", (80, 100, 88, 110)))[None])
    assert found["num_detections"].tolist() == [1]
    np.testing.assert_allclose(found["boxes"][0, 0] * [100, 160, 100, 160], [80, 100, 88, 110])


def test_wrong_tiles_are_refused_in_one_line():
    for tiles in (15, 0, -320, 2.5, "320", (320, 8), (1, 2, 3), []):
        with pytest.raises(
            ValueError, match=r"^tiles=.+: expected a side in pixels, or \(height, "
        ):
            checked_tiles(tiles, 0.2)
    for overlap in (-0.1, 0.95, float("nan")):
        with pytest.raises(ValueError, match=r"^tile_overlap=.+: expected a share .+ 0 to 0\.9\.$"):
            detect(ColorDetector(), scene(), tiles=64, tile_overlap=overlap)
    assert checked_tiles(320, 0) == ((320, 320), 0.0)
    assert checked_tiles([200, 400], 0.5) == ((200, 400), 0.5)
    assert (tile_size("320"), tile_size("200x400")) == ((320,), (200, 400))


def annotated(image, image_id, box):
    """An annotated image; the box is xywh in pixels, of class 0."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    flags, boxes = np.zeros(1, bool), np.array([box], float)
    objects = (boxes, np.zeros(1, np.int32), flags, flags, boxes[:, 2:].prod(1))
    return Example(image_id, buffer.getvalue(), *image.shape[:2], *objects)


def small_objects():
    """Two images with a red object of 4x6 pixels each."""
    examples = [
        annotated(scene(("red", (y, 500, y + 6, 504)), size=(400, 600)), y, (500, y, 4, 6))
        for y in (30, 300)
    ]
    return DetectionData(tuple(COLORS), tuple(examples))


def test_evaluation_with_tiles():
    data = small_objects()
    assert evaluate(ColorDetector(), data)["coco"]["AP"] == 0
    metrics = evaluate(ColorDetector(), data, tiles=64, tile_overlap=0.1)
    assert metrics["coco"]["AP"] == 1
    with pytest.raises(ValueError, match=r"^tiles=8: expected a side in pixels"):
        evaluate(ColorDetector(), data, tiles=8, ray="local")


def test_workers_of_batch_prediction_see_tiles(monkeypatch, tmp_path):
    def load(model, post_process=None, num_threads=1):
        return ColorDetector()

    for module in ("detect_data", "part_detector"):
        monkeypatch.setattr(f"ssd_keras.engine.batch.{module}.load_detector", load)
        monkeypatch.setattr(f"ssd_keras.engine.batch.{module}.check_model", lambda *_: None)
    data = small_objects()
    found = [
        batch["num_detections"].tolist()
        for tiles in ((64, 64), None)
        for batch in _data_detector("m", "1f", None, 8, tiles, 0.25, num_threads=1)(data)
    ]
    assert found == [[1], [1], [0, 0]]
    path = tmp_path / "a.png"
    path.write_bytes(data.examples[1].image)
    options = {"score_threshold": 0, "batch_size": 3, "max_pixels": 10**6, "num_threads": 1}
    part = PartDetector("m", "1f", format="jsonl", **options, tiles=[64, 64], tile_overlap=0.25)
    (box,) = json.loads(part([str(path)]).content)["boxes_xyxy"]
    assert box == pytest.approx([500, 300, 504, 306], abs=1e-3)


def test_the_commands_see_tiles(monkeypatch, tmp_path, capsys):
    finder = ColorDetector()
    monkeypatch.setattr(detector_module, "load_detector", lambda name: finder)
    path = tmp_path / "images" / "a.png"
    path.parent.mkdir()
    path.write_bytes(small_objects().examples[0].image)
    tiles = ["--tiles", "200x300", "--tile-overlap", "0.5", "--batch-size", "5"]
    words = ["predict", "m", str(path.parent), "--output", str(tmp_path / "found")]
    assert main([*words, *tiles]) == 0
    # 400 rows: a step of 100, 1 + ceil(200 / 100); 600 columns: a step of 150, 1 + ceil(300 / 150);
    # with the image itself 10.
    assert finder.batches == [5, 5]
    words = ["evaluate", "m", "--data", "synthetic:shapes@val[:1]"]  # sides of 200 to 320
    monkeypatch.setattr(finder, "class_names", ("circle", "square"))
    finder.batches.clear()
    assert main([*words, "--tiles", "160", "--tile-overlap", "0"]) == 0
    assert finder.batches == [5]  # 2 rows of 2 tiles, and the image
    assert main([*words, "--tiles", "9"]) == 2
    assert "tiles=(9,): expected a side in pixels" in capsys.readouterr().err
