"""Recipes: what is accepted, what is refused, and the recipe files of the repository."""

import dataclasses
import json
from pathlib import Path

import pytest

from ssd_keras.engine.recipes import TrainRecipe, load_recipe, override

RECIPES = Path(__file__).resolve().parents[2] / "training" / "recipes"
RECIPE = TrainRecipe(preset="ssd300_vgg16_voc", steps=100)


def test_defaults_are_the_papers():
    # Solver: SGD 1e-3, momentum 0.9, decay 5e-4, batch 32, no warm-up. Loss: 3 negatives for
    # one positive, matches from 0.5. Zoom-out: up to 4 for every second image.
    numbers = (
        RECIPE.optimizer, RECIPE.learning_rate, RECIPE.momentum, RECIPE.weight_decay,
        RECIPE.batch_size, RECIPE.warmup_steps, RECIPE.negatives_per_positive,
        RECIPE.min_negatives, RECIPE.match_threshold, RECIPE.zoom_out_probability,
        RECIPE.zoom_out_max, RECIPE.precision,
    )  # fmt: skip
    assert numbers == ("caffe_sgd", 1e-3, 0.9, 5e-4, 32, 0, 3.0, 0, 0.5, 0.5, 4.0, "float32")


@pytest.mark.parametrize(
    ("assignment", "name", "value"),
    [
        ("batch_size=8", "batch_size", 8),
        ("learning_rate=0.02", "learning_rate", 0.02),
        ("learning_rate=1", "learning_rate", 1.0),
        ("zoom_out=false", "zoom_out", False),
        ("flip_vertical=True", "flip_vertical", True),
        ("decay_steps=0.6,0.8", "decay_steps", (0.6, 0.8)),
        ("decay_steps=", "decay_steps", ()),
        ("optimizer=adamw", "optimizer", "adamw"),
        ("backbone_weights=a=b.weights.h5", "backbone_weights", "a=b.weights.h5"),
        ("backbone_weights=", "backbone_weights", ""),
        ("model_options.atrous=false", "model_options", {"atrous": False}),
        ("model_options.sizes=[30, 60.5]", "model_options", {"sizes": [30, 60.5]}),
        ('model_options.clip="size"', "model_options", {"clip": "size"}),
        ('model_options={"sizes": [1, 2]}', "model_options", {"sizes": [1, 2]}),
        ("model_options=", "model_options", {}),
    ],
)
def test_override_gives_the_fields_type(assignment, name, value):
    changed = override(RECIPE, [assignment])
    assert getattr(changed, name) == value
    assert type(getattr(changed, name)) is type(value)
    assert changed == dataclasses.replace(RECIPE, **{name: value})


def test_epochs_and_steps_take_each_others_place():
    by_epochs = override(RECIPE, ["epochs=3"])
    assert (by_epochs.epochs, by_epochs.steps) == (3, 0)
    assert override(by_epochs, ["steps=7"]) == RECIPE.replace(steps=7)
    with pytest.raises(ValueError, match=r"epochs=3 and steps=7: exactly one must be above 0"):
        override(RECIPE, ["epochs=3", "steps=7"])


def test_overrides_add_up_and_leave_the_recipe_alone():
    start = RECIPE.replace(model_options={"clip": "size", "atrous": True})
    changed = override(
        start, ["model_options.atrous=false", "steps=7", "model_options.normalize=false", "steps=9"]
    )
    assert changed.model_options == {"clip": "size", "atrous": False, "normalize": False}
    assert changed.steps == 9
    assert start.model_options == {"clip": "size", "atrous": True} and start.steps == 100


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("rate=0.1", r"--set 'rate=0.1' is not understood; write name=value with one of preset, "),
        ("batch_size", r"--set 'batch_size' is not understood"),
        ("batch_size.x=1", r"--set 'batch_size.x=1' is not understood"),
        ("batch_size.=1", r"--set 'batch_size.=1' is not understood"),
        ("model_options=[1]", r"--set 'model_options=\[1\]': expected a JSON object, got '\[1\]'"),
        ("model_options.clip", r"is not understood; .*\(model_options.NAME=JSON\)"),
        ("model_options.=1", r"--set 'model_options.=1' is not understood"),
        ("batch_size=8.5", r"--set 'batch_size=8.5': expected a whole number, got '8.5'"),
        ("learning_rate=fast", r"--set 'learning_rate=fast': expected a number, got 'fast'"),
        ("zoom_out=1", r"--set 'zoom_out=1': expected true or false, got '1'"),
        ("decay_steps=0.5;0.8", r"expected numbers with commas, got '0.5;0.8'"),
        ("model_options.clip=size", r"--set 'model_options.clip=size': expected JSON, got 'size'"),
        ("optimizer=adam", r"optimizer='adam' is unknown; choose one of caffe_sgd, adamw"),
        ("preset=ssd", r"preset='ssd' is unknown; choose one of ssd300_vgg16_voc, "),
        ("steps=0", r"epochs=0 and steps=0: exactly one must be above 0"),
    ],
)
def test_override_refuses_in_one_line(assignment, message):
    with pytest.raises(ValueError, match=message) as caught:
        override(RECIPE, [assignment])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, r"epochs=0 and steps=0: exactly one must be above 0"),
        ({"epochs": 2}, r"epochs=2 and steps=100: exactly one"),
        ({"epochs": -1}, r"epochs=-1 must be 0 or more"),
        ({"batch_size": 0}, r"batch_size=0 must be above 0"),
        ({"learning_rate": float("nan")}, r"learning_rate=nan must be above 0"),
        ({"weight_decay": -5e-4}, r"weight_decay=-0.0005 must be 0 or more"),
        ({"momentum": 9.0}, r"momentum=9.0 must be between 0 and 1"),
        ({"decay_steps": (80_000, 100_000)}, r"decay_steps=\(80000, 100000\) must be shares"),
        ({"schedule": "linear"}, r"schedule='linear' is unknown; choose one of steps, cosine"),
        ({"precision": "half"}, r"precision='half' is unknown; choose one of float32, mixed_b"),
        ({"color_space": "lab"}, r"color_space='lab' is unknown; choose one of matrix, hsv"),
    ],
)
def test_values_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        RECIPE.replace(**changes)


@pytest.mark.parametrize(
    ("total_steps", "expected"), [(3000, 50), (150, 50), (149, 49), (20, 6), (2, 0)]
)
def test_warm_up_is_at_most_a_third_of_the_steps(total_steps, expected):
    assert RECIPE.replace(warmup_steps=50).warmup(total_steps) == expected


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RECIPE.steps = 5


def test_json_round_trip_is_its_arguments():
    arguments = {
        "preset": "ssdlite320_mobilenet_v2_coco",
        "model_options": {"alpha": 0.35, "sizes": [25, 50.5], "batch_norm": False},
        "backbone_weights": "backbone.weights.h5",
        "backbone_learning_rate": 0.5,
        "epochs": 7,
        "steps": 0,
        "batch_size": 4,
        "optimizer": "adamw",
        "learning_rate": 0.3,
        "momentum": 0.5,
        "weight_decay": 0.01,
        "gradient_norm": 2.5,
        "schedule": "cosine",
        "decay_steps": (0.25, 0.75),
        "warmup_steps": 11,
        "precision": "mixed_bfloat16",
        "jit_compile": True,
        "negatives_per_positive": 2.0,
        "min_negatives": 6,
        "match_threshold": 0.4,
        "use_boundary_boxes": False,
        "use_difficult": False,
        "photometric": False,
        "color_space": "hsv",
        "zoom_out": False,
        "zoom_out_probability": 0.1,
        "zoom_out_max": 3.0,
        "crop": False,
        "flip": False,
        "flip_vertical": True,
        "random_resize": True,
        "validate_every": 3,
        "seed": 42,
    }
    defaults = {field.name: field.default for field in dataclasses.fields(TrainRecipe)}
    assert arguments.keys() == defaults.keys()
    # Either epochs or steps, so one of them is its default.
    assert [name for name in arguments if arguments[name] == defaults[name]] == ["steps"]
    again = TrainRecipe.from_json(TrainRecipe(**arguments).to_json())
    assert {name: getattr(again, name) for name in arguments} == arguments
    assert json.loads(again.to_json()) == {**arguments, "decay_steps": [0.25, 0.75]}


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.py")), ids=lambda path: path.name)
def test_recipe_files_load(path):
    recipe = load_recipe(str(path))
    docstring = path.read_text(encoding="utf-8").split('"""')[1]
    assert f"training/recipes/{path.name}" in docstring, "the docstring tells no command"
    # A step schedule without steps never lowers the rate; a cosine would ignore them.
    assert bool(recipe.decay_steps) == (recipe.schedule == "steps")


def test_load_recipe_runs_the_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from ssd_keras.engine.recipes import TrainRecipe\n"
        "RECIPE = TrainRecipe(preset='ssd512_vgg16_coco', epochs=2 + 3, seed=8)\n"
    )
    expected = TrainRecipe(preset="ssd512_vgg16_coco", epochs=5, seed=8)
    assert load_recipe(str(file)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "RECIPE = {'preset': 'ssd300_vgg16_voc'}",
            r"must assign a TrainRecipe to the name RECIPE",
        ),
        ("OTHER = 1", r"must assign a TrainRecipe to the name RECIPE"),
        ("RECIPE = (", r"recipe '.*mine.py' cannot be run: .*was never closed"),
        (
            "from ssd_keras.engine.recipes import TrainRecipe\n"
            "RECIPE = TrainRecipe(preset='ssd300_vgg16_voc', stpes=5)",
            r"cannot be run: .*unexpected keyword argument 'stpes'",
        ),
        (
            "from ssd_keras.engine.recipes import TrainRecipe\n"
            "RECIPE = TrainRecipe(preset='ssd300_vgg16_voc')",
            r"cannot be run: epochs=0 and steps=0",
        ),
    ],
)
def test_load_recipe_tells_what_is_wrong(tmp_path, text, message):
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load_recipe(str(file))
    assert str(file) in str(caught.value)


def test_load_recipe_needs_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"recipe '.*none.py' does not exist; see training"):
        load_recipe(str(tmp_path / "none.py"))
