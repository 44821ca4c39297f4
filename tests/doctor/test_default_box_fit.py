"""Default boxes against the objects of a data set: recall, and the fit of sizes and ratios."""

import dataclasses
import json
import re

import numpy as np
import pytest
from oracle import iou_matrix
from trainings import PLAIN, RECIPE_TEXT

from ssd_keras.boxes.default_box_grid import DefaultBoxGrid
from ssd_keras.boxes.default_boxes import DefaultBoxes
from ssd_keras.cli import main
from ssd_keras.data import load_data
from ssd_keras.data.splits import Split, load_splits
from ssd_keras.doctor.default_box_fit import (
    best_ious,
    fit_default_boxes,
    recipe_argument,
    sample_objects,
)
from ssd_keras.doctor.default_box_recall import DefaultBoxIoUs, default_box_ious
from ssd_keras.doctor.default_box_report import check_default_boxes
from ssd_keras.doctor.object_boxes import ObjectBoxes
from ssd_keras.engine.recipes import load_recipe
from ssd_keras.presets import from_preset

GRID = DefaultBoxGrid(
    DefaultBoxes.paper((20, 40, 80), ((2.0,), (2.0, 3.0))), (96, 64), ((12, 8), (3, 2))
)


def objects(boxes, labels=None, images=None) -> ObjectBoxes:
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    rows = np.arange(len(boxes))
    labels = np.zeros(len(boxes), int) if labels is None else np.array(labels)
    return ObjectBoxes(boxes, labels, rows * 0 if images is None else np.array(images), rows)


def random_boxes(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = rng.uniform(0.0, 1.0, (count, 2))
    sides = np.exp(rng.uniform(np.log(0.03), np.log(0.9), (count, 2)))
    boxes = np.clip(np.concatenate([centers - sides / 2, centers + sides / 2], axis=1), 0, 1)
    return boxes


GRIDS = {
    "plain": GRID,
    "steps": GRID._replace(
        default_boxes=dataclasses.replace(GRID.default_boxes, steps=(9, 30), offset=0.4)
    ),
    "clipped in size": DefaultBoxGrid(
        DefaultBoxes.paper((30, 60, 90), ((2.0,), (2.0, 3.0)), clip="size"),
        (64, 64),
        ((8, 8), (2, 2)),
    ),
    "one square": GRID._replace(
        default_boxes=DefaultBoxes.paper((20, 40, 80), ((2.0,), (2.0, 3.0)), first_square=7)
    ),
}


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_one_cell_of_each_map_is_enough(grid):
    """The nearest cell's boxes have the largest IoU of all default boxes."""
    boxes = random_boxes(300, seed=1)
    everything = iou_matrix(boxes, grid.boxes().astype(np.float64)).max(axis=1)
    np.testing.assert_allclose(best_ious(objects(boxes), grid), everything, atol=1e-5)


def test_boxes_clipped_at_the_border_are_measured_unclipped():
    clipped = GRID._replace(default_boxes=dataclasses.replace(GRID.default_boxes, clip="corners"))
    boxes = random_boxes(50, seed=2)
    np.testing.assert_array_equal(
        best_ious(objects(boxes), clipped), best_ious(objects(boxes), GRID)
    )


def test_no_default_box_is_claimed_by_two_objects():
    """One cell with squares of .5 and sqrt(.5 * .32) = .4 of the side, in the middle."""
    grid = DefaultBoxGrid(DefaultBoxes.paper((50, 32), ((),)), (100, 100), ((1, 1),))
    same = [[0.25, 0.25, 0.75, 0.75]] * 2
    # .5 x .25: IoU .125 / .25 = .5 with the larger square, .1 / (.16 + .125 - .1) = .54 with
    # the smaller.
    narrow = [0.25, 0.375, 0.75, 0.625]
    found = default_box_ious(objects([*same, narrow], images=[0, 0, 1]), grid)
    np.testing.assert_allclose(found.best, [1, 1, 0.1 / 0.185], rtol=1e-5)
    # Of two alike, the first gets the square that fits; the other .4 * .4 / .25 = .64.
    np.testing.assert_allclose(found.claimed, [1, 0.64, 0.1 / 0.185], rtol=1e-5)
    three = default_box_ious(objects([*same, narrow]), grid)
    np.testing.assert_allclose(
        three.claimed, [1, 0.64, 0], rtol=1e-5
    )  # no box is left for the third
    assert three.reachable_recall(0.6) == pytest.approx(2 / 3)
    assert three.matched_share(0.6) == pytest.approx(2 / 3)
    assert three.matched_share(0.4) == 1 and three.reachable_recall(0.4) == pytest.approx(2 / 3)


def test_matched_share_and_reachable_recall():
    ious = DefaultBoxIoUs(np.array([0.9, 0.5, 0.49, 0.7]), np.array([0.9, 0.4, 0.49, 0.7]))
    assert (ious.matched_share(), ious.reachable_recall()) == (0.75, 0.5)
    assert (ious.matched_share(0.7), ious.reachable_recall(0.45)) == (0.5, 0.75)


def test_the_object_table_leaves_out_crowds():
    data = load_data("synthetic:shapes@train[:3]")
    crowd = np.zeros(len(data.examples[1].labels), bool)
    crowd[0] = True
    second = dataclasses.replace(data.examples[1], is_crowd=crowd)
    data = dataclasses.replace(data, examples=(data.examples[0], second, data.examples[2]))
    found = ObjectBoxes.from_data(data)
    counts = [len(example.labels) for example in data.examples]
    expected = [(i, row) for i, n in enumerate(counts) for row in range(n) if (i, row) != (1, 0)]
    assert list(zip(found.example_indices, found.object_indices, strict=True)) == expected
    last = data.examples[2].relative_boxes()[-1]
    np.testing.assert_allclose(found.boxes[-1], last, rtol=1e-6)
    height, width = (last[2] - last[0]) * 96, (last[3] - last[1]) * 64
    assert found.sides((96, 64))[-1] == pytest.approx(np.sqrt(height * width), rel=1e-5)


# --- fit ---


def on_the_grid(shapes, seed=0, count=120) -> np.ndarray:
    """Boxes of these heights and widths (pixels of 96 x 64), centred in cells of 8 pixels."""
    rng = np.random.default_rng(seed)
    y = (rng.integers(2, 10, count) + 0.5) * 8 / 96
    x = (rng.integers(2, 6, count) + 0.5) * 8 / 64
    half = np.array(shapes)[rng.integers(0, len(shapes), count)] / np.array([96, 64]) / 2
    center = np.stack([y, x], axis=1)
    return np.concatenate([center - half, center + half], axis=1)


def test_the_fit_finds_the_shapes_of_the_objects():
    """Objects of 12 x 12 and 8.5 x 17 pixels (aspect 2): one map of 8-pixel cells can hold both."""
    found = objects(on_the_grid([(12, 12), (8.5, 17)]))
    assert best_ious(found, GRID).mean() < 0.6
    fitted = fit_default_boxes(found, GRID)
    assert best_ious(found, fitted).mean() > 0.95
    assert (best_ious(found, fitted) >= 0.5).all()
    square, _, wide, tall = fitted.default_boxes.shapes[0]
    assert square == pytest.approx((12, 12), rel=0.04)
    assert wide == tall[::-1] == pytest.approx((8.5, 17), rel=0.04)
    assert fitted.default_boxes.boxes_per_cell == GRID.default_boxes.boxes_per_cell
    assert fitted.boxes().shape == GRID.boxes().shape
    # Boxes that gain nothing stay, but for the finest step of the search: no object has the size of
    # the coarse map.
    np.testing.assert_allclose(
        fitted.default_boxes.shapes[1], GRID.default_boxes.shapes[1], rtol=0.02
    )


def test_only_the_sizes_of_a_trained_detector_are_fitted():
    found = objects(on_the_grid([(12, 12), (8.5, 17)]))
    grid = GRIDS["one square"]
    fitted = fit_default_boxes(found, grid, keep_ratios=True)
    assert best_ious(found, fitted).mean() > best_ious(found, grid).mean() + 0.2
    new, old = (np.concatenate(each.default_boxes.shapes) for each in (fitted, grid))
    # Rounded to tenths of a pixel.
    np.testing.assert_allclose(new[:, 1] / new[:, 0], old[:, 1] / old[:, 0], rtol=0.02)
    assert recipe_argument(fitted) == (
        f"--set 'model.options.shapes={json.dumps(fitted.default_boxes.shapes)}'"
    )


def test_shapes_without_a_partner_are_fitted_too():
    """Two maps as k-means leaves them: no squares, no pairs."""
    found = objects(on_the_grid([(11, 17), (24, 11.5)]))
    boxes = DefaultBoxes.explicit([[(16, 18), (24, 18)], [(40, 50)]], steps=(8, 30))
    grid = DefaultBoxGrid(boxes, (96, 64), ((12, 8), (3, 2)))
    fitted = fit_default_boxes(found, grid)
    assert best_ious(found, grid).mean() < 0.75 and best_ious(found, fitted).mean() > 0.9
    (high, wide), (higher, narrow) = fitted.default_boxes.shapes[0]
    assert wide / high == pytest.approx(17 / 11, rel=0.1)
    assert higher / narrow == pytest.approx(24 / 11.5, rel=0.1)
    assert fitted.default_boxes.steps == (8, 30)


def test_every_class_counts_alike():
    """One box in a cell, for ninety objects of one class and ten small ones of two others."""
    small, large = on_the_grid([(7, 7)], count=10), on_the_grid([(21, 21)], count=90)
    found = objects(np.concatenate([small, large]), [0, 2] * 5 + [1] * 90)
    grid = DefaultBoxGrid(DefaultBoxes.explicit([[(21, 21)]]), (96, 64), ((12, 8),))
    before = best_ious(found, grid)
    assert before[:10].max() < 0.2 and before[10:].min() > 0.9
    fitted = fit_default_boxes(found, grid)
    # Two classes outweigh one, however many objects it has.
    assert fitted.default_boxes.shapes[0][0] == pytest.approx((7, 7), rel=0.04)
    assert best_ious(found, fitted)[:10].min() > 0.9


def test_boxes_that_fit_stay():
    found = objects(on_the_grid([(20, 20)]))
    assert fit_default_boxes(found, GRID) == GRID


def test_many_objects_are_sampled():
    many = objects(random_boxes(50, seed=3), labels=np.arange(50) % 4)
    few = sample_objects(many, seed=1, max_objects=20)
    assert len(few.boxes) == len(few.labels) == 20
    assert (few.labels == few.object_indices % 4).all() and (np.diff(few.object_indices) > 0).all()
    assert sample_objects(many, max_objects=50) is many


def test_the_fit_raises_reachable_recall_on_other_images_too():
    splits = load_splits(["synthetic:shapes@train[:60]", "synthetic:shapes@val[:40]"])
    spec = DefaultBoxes.paper((60, 90, 120, 150, 180), ((3.0,),) * 4)
    grid = DefaultBoxGrid(spec, (192, 192), ((24, 24), (12, 12), (6, 6), (3, 3)))
    check = check_default_boxes(splits, grid, "a model")
    for before, after in zip(check.before, check.after, strict=True):
        assert after.reachable_recall() > before.reachable_recall() + 0.2
        assert after.best.mean() > before.best.mean() + 0.05
    worst = check.unmatched()
    assert len(worst) == np.sum(check.before[0].best < 0.5)
    ious = [iou for *_, iou in worst]
    assert ious == sorted(ious) and max(ious) < 0.5
    image, row, iou = worst[0]
    box = splits[0].data.examples[image].relative_boxes()[row].astype(np.float64)
    assert iou_matrix(box[None], grid.boxes()).max() == pytest.approx(iou, abs=1e-5)
    text = str(check)
    assert re.search(r"^default boxes of a model \(3060, input 192x192\), matched from an I", text)
    rows = dict(re.findall(r"^  (train\S*|val\S*) +\d+ +\d+ -> \d+ +([\d.]+) ->", text, re.M))
    assert {name[:3]: float(value) for name, value in rows.items()} == {
        "tra": pytest.approx(check.before[0].reachable_recall(), abs=1e-3),
        "val": pytest.approx(check.before[1].reachable_recall(), abs=1e-3),
    }


def test_data_without_objects_cannot_be_fitted():
    data = load_data("synthetic:shapes@train[:1]", class_names=["none of these"])
    with pytest.raises(
        ValueError, match=r"the data contain no objects to compare default boxes with"
    ):
        check_default_boxes([Split("train", data)], GRID, "a model")


SLOW_PRESETS = ("ssd300_resnet18_coco", "ssdlite320_mobilenet_v3_large_coco")


@pytest.mark.parametrize(
    "preset",
    [
        "ssd300_vgg16_voc",
        "ssdlite320_mobilenet_v2_coco",
        "ssd192_small_shapes",
        *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_PRESETS),
    ],
)
def test_every_preset_takes_the_fitted_boxes(preset):
    grid = from_preset(preset, ["cat"]).default_box_grid
    shapes = [[(0.5 * h, 0.7 * w) for h, w in cell] for cell in grid.default_boxes.shapes]
    spec = dataclasses.replace(grid.default_boxes, shapes=shapes)
    words = recipe_argument(grid._replace(default_boxes=spec))
    (text,) = re.fullmatch(r"--set 'model\.options\.shapes=(.*)'", words).groups()
    built = from_preset(preset, ["cat"], shapes=json.loads(text)).default_box_grid
    assert len(built.boxes()) == len(grid.boxes())
    np.testing.assert_array_equal(built.boxes(), grid._replace(default_boxes=spec).boxes())


# --- the command ---


def test_check_prints_arguments_that_train_takes(tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE_TEXT)
    words = ["data", "check", "synthetic:shapes@train[:24]", "--recipe", str(recipe)]
    plots = tmp_path / "plots"
    assert main([*words, "--plots", str(plots), "--set", "assigner.threshold=0.45"]) == 0
    printed = capsys.readouterr().out
    assert re.search(
        r"^default boxes of ssd192_small_shapes as the recipe changes it \(340, input 64x64\), "
        r"matched from an IoU of 0\.45$",
        printed,
        re.MULTILINE,
    )
    pasted = re.findall(r"--set '(model\.options\.\w+=\S.*?)'", printed)
    assert [words.partition("=")[0] for words in pasted] == ["model.options.shapes"]
    assert sorted(path.name for path in plots.iterdir()) == [
        "classes.png", "default_boxes.png", "recall.png", "sizes.png", "unmatched.png",
    ]  # fmt: skip
    run = tmp_path / "run"
    data_file = tmp_path / "data.toml"
    data_file.write_text(
        'format = "synthetic"\ntrain = "shapes@train[:8]"\nvalidation = "shapes@val[:4]"'
    )
    arguments = ["train", "--recipe", str(recipe), "--train-data", str(data_file)]
    plain = [f"{name}={json.dumps(value)}" for name, value in PLAIN.items()]
    for assignment in [*pasted, "schedule.epochs=1", *plain]:
        arguments += ["--set", assignment]
    assert main([*arguments, "--output", str(run)]) == 0
    # The validation data of the data file were evaluated.
    assert "val_AP" in (run / "history.csv").read_text().splitlines()[0]
    options = load_recipe(str(run)).model.options
    import keras

    shapes = json.loads(pasted[0].partition("=")[2])
    assert json.loads(json.dumps(options["shapes"])) == shapes
    model = keras.models.load_model(run / "model.keras")
    assert model.default_boxes == DefaultBoxes(shapes)
