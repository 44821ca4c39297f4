"""What `ssd-keras train` says before and after a training."""

import pytest

from ssd_keras.cli.inputs import read_recipe
from ssd_keras.cli.train import _next_commands, _sampling_lines, _validation_line
from ssd_keras.data.sources import load_data
from ssd_keras.engine.recipes import load_recipe

VALIDATION = load_data("synthetic:shapes@val[:2]")
# Changes of the recipe, and the moments of validation; of 11 epochs: after 5, 10 and 11.
MOMENTS = [
    ({"schedule.epochs": 3}, "after each epoch;"),
    (
        {"schedule.epochs": 3, "run.validate_every": 5},
        "after every 5 epochs and the last one, 1 time (run.validate_every=5);",
    ),
    (
        {"schedule.epochs": 11, "run.validate_every": 5},
        "after every 5 epochs and the last one, 3 times (run.validate_every=5);",
    ),
    (
        {"schedule.minutes": 7, "run.validate_every": 2},
        "after every 2 epochs and the last one;",
    ),
]


@pytest.mark.parametrize(("changes", "words"), MOMENTS)
def test_how_often_the_ap_is_measured_is_said_before(changes, words):
    recipe = load_recipe("shapes").replace({"run.validate_every": 1} | changes)
    line = _validation_line(recipe, 40, VALIDATION)
    assert line == f"validation on 2 images {words} the best model is kept"
    assert _validation_line(recipe, 40, None).startswith("no validation: the model of the last ")


def test_a_training_says_which_images_come_more_often():
    data = load_data(["synthetic:shapes@val[:1]", "synthetic:shapes@train[:1]"])
    recipe = load_recipe("shapes")
    assert _sampling_lines(recipe, data) == []
    # Squares and crosses are in the second of the two images alone: sqrt(1 / 0.5) = 1.414. It
    # counts 3 * 1.414 = 4.243, and comes in 4.243 / 5.243 = 81 % of the places.
    changes = {"data.sampling": "repeat_factor", "data.repeat_threshold": 1}
    rare, weights = _sampling_lines(recipe.replace(changes | {"data.source_weights": [1, 3]}), data)
    share = "(81% of the images instead of 50%)"
    assert rare == f"repeat_factor: square 1.4 times {share}, cross 1.4 times {share}"
    assert weights == (
        "source_weights: synthetic:shapes@val[:1] 1 (19% of the images instead of 50%), "
        f"synthetic:shapes@train[:1] 3 {share}"
    )
    (rare,) = _sampling_lines(recipe.replace(changes), data)  # 1.414 / 2.414 = 59 %
    assert rare.startswith("repeat_factor: square 1.4 times (59% of the images instead of 50%), ")


def test_the_commands_behind_a_training_can_be_copied():
    first, second, third = _next_commands("my run", ["voc:a b@val", "data.toml@validation"])
    assert first == (
        "  ssd-keras evaluate 'my run' --data 'voc:a b@val' data.toml@validation "
        "--plots 'my run/report'"
    )
    assert second == "  ssd-keras predict 'my run' IMAGES --output 'my run/images'"
    assert third == "  ssd-keras export 'my run' --format tflite --output model.tflite"
    assert "--data DATA --plots" in _next_commands("run", [])[0]


def test_a_random_backbone_learns_as_a_whole(capsys):
    recipe = load_recipe("own_data")
    assert recipe.optimizer.frozen_until and not recipe.model.options["batch_norm"]
    random = read_recipe("own_data", None, ["model.backbone_weights=random"])
    assert random == recipe.replace(
        {
            "model.backbone_weights": "random",
            "model.options.batch_norm": True,
            "optimizer.frozen_until": "",
            "optimizer.backbone_learning_rate": 1.0,
        }
    )
    assert capsys.readouterr().out == (
        'random backbone weights: optimizer.frozen_until="", optimizer.backbone_learning_rate=1.0, '
        "optimizer.layer_decay=1.0, model.options.batch_norm=true, where --set does not say "
        "otherwise\n"
    )
    # What is set counts, and a file is not random.
    words = ["model.backbone_weights=random", "optimizer.backbone_learning_rate=0.5"]
    assert read_recipe("own_data", None, words).optimizer.backbone_learning_rate == 0.5
    file = read_recipe("own_data", None, ["model.backbone_weights=mine.h5"])
    assert file.optimizer == recipe.optimizer


def test_the_layers_that_a_recipe_freezes_are_those_of_its_own_model():
    words = ["model.backbone_weights=imagenet"]
    optimizer = read_recipe("own_data", "ssd300_vgg16_voc", words).optimizer
    assert (optimizer.frozen_until, optimizer.backbone_learning_rate) == ("", 0.1)
    assert read_recipe("own_data", "ssd300_vgg16_voc", []).optimizer.backbone_learning_rate == 1
    # A trained detector has weights.
    assert (
        read_recipe("own_data", "caffe_ssd300_vgg16_voc", []).optimizer.backbone_learning_rate
        == 0.1
    )
