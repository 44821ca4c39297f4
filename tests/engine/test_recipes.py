"""Recipes: what is accepted, what is refused, and the recipes that are shipped."""

import dataclasses

import pytest
import tomli_w

from ssd_keras.engine.recipe_summary import (
    expected_result,
    recipe_list,
    recipe_summary,
    recipe_values,
)
from ssd_keras.engine.recipes import (
    TrainRecipe,
    load_recipe,
    override,
    paper_recipe,
    parse_recipe,
    recipe_names,
    value_names,
)
from ssd_keras.models.builders import BUILDERS
from ssd_keras.presets import PRESETS

RECIPE = paper_recipe("ssd300_vgg16_voc")
# Every value differs from its default, except two of the three lengths.
TABLES = {
    "model": {
        "preset": "ssdlite320_mobilenet_v2_coco",
        "options": {"alpha": 0.35, "sizes": (25, 50.5), "batch_norm": False, "neck": None},
        "backbone_weights": "backbone.weights.h5",
    },
    "data": {
        "use_difficult": False,
        "max_objects": 40,
        "sampling": "repeat_factor",
        "repeat_threshold": 0.25,
        "source_weights": (2.0, 0.5),
    },
    "augmentation": {
        "photometric": False,
        "color_space": "hsv",
        "zoom_out": False,
        "zoom_out_probability": 0.1,
        "zoom_out_max": 3.0,
        "scale_jitter": (0.5, 1.5),
        "aspect_jitter": 1.25,
        "crop": False,
        "flip": False,
        "flip_vertical": True,
        "min_visible": 0.25,
        "mosaic": 0.75,
        "mixup": 0.1,
        "strong_share": 0.9,
        "random_resize": True,
        "before": ({"type": "quarter_turns", "probability": 0.75},),
        "after": ({"type": "grey", "probability": 0.2},),
    },
    "assigner": {"type": "atss", "candidates_per_map": 7},
    "loss": {
        "boxes": {"type": "giou"},
        "classes": {"type": "focal", "gamma": 1.5},
        "box_weight": 2.0,
    },
    "optimizer": {
        "name": "adamw",
        "learning_rate": 0.3,
        "momentum": 0.5,
        "weight_decay": 0.01,
        "gradient_norm": 2.5,
        "backbone_learning_rate": 0.5,
        "layer_decay": 0.75,
        "frozen_until": "Conv1",
        "ema_decay": 0.998,
    },
    "schedule": {
        "name": "cosine",
        "epochs": 0,
        "steps": 0,
        "minutes": 1.5,
        "decay_steps": (0.25, 0.75),
        "warmup_steps": 11,
    },
    "run": {
        "batch_size": 4,
        "precision": "mixed_bfloat16",
        "jit_compile": True,
        "validate_every": 3,
        "ap_by_class": True,
        "seed": 42,
    },
    "record": {
        "title": "a title",
        "notes": "a line\nand another",
        "paper": "a paper",
        "command": "ssd-keras train\n    --recipe x",
        "hardware": "a toaster",
        "hours": 3.5,
        "metric": "AP",
        "expected": 31.5,
        "tolerance": 0.5,
        "source": "its author",
        "result_file": "x.json",
    },
}


def test_defaults_are_the_papers():
    # Solver: SGD 1e-3, momentum 0.9, decay 5e-4, batch 32, no warm-up; 80k steps at 1e-3, 20k at
    # 1e-4, 20k at 1e-5. Zoom-out: up to 4 for every second image.
    optimizer, schedule, augmentation = RECIPE.optimizer, RECIPE.schedule, RECIPE.augmentation
    assert (optimizer.name, optimizer.learning_rate) == ("caffe_sgd", 1e-3)
    assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 5e-4)
    assert (schedule.steps, schedule.warmup_steps) == (120_000, 0)
    assert schedule.decay_steps == (80 / 120, 100 / 120)
    assert (augmentation.zoom_out_probability, augmentation.zoom_out_max) == (0.5, 4.0)
    assert (RECIPE.run.batch_size, RECIPE.run.precision) == (32, "float32")
    assert (RECIPE.assigner, RECIPE.loss.box_weight) == ({"type": "max_iou"}, 1.0)
    assert (RECIPE.loss.boxes, RECIPE.loss.classes) == ({"type": "smooth_l1"}, {"type": "softmax"})


# Files


def test_a_file_gives_every_value_back():
    recipe = TrainRecipe.from_tables(TABLES)
    assert recipe.to_tables() == TABLES
    again = parse_recipe(recipe.to_toml().encode(), "x")
    assert again == recipe and again.to_tables() == TABLES
    assert 'neck = "None"' in recipe.to_toml()


def test_values_of_the_tables_are_not_the_defaults():
    least = {"model": {"preset": "ssd300_vgg16_voc"}, "schedule": {"steps": 1}}
    default = TrainRecipe.from_tables(least).to_tables()
    same = [
        f"{group}.{name}"
        for group in TABLES
        for name in TABLES[group]
        if group != "assigner" and TABLES[group][name] == default[group][name]
    ]
    assert same == ["schedule.epochs"]
    assert set(value_names()) == {
        f"{group}.{name}" for group in TABLES.keys() - {"assigner"} for name in TABLES[group]
    } | {"assigner"}


def test_the_record_does_not_count_and_does_not_outlive_a_change():
    recipe = load_recipe("shapes")
    assert recipe == dataclasses.replace(recipe, record=RECIPE.record)
    assert recipe.replace({"schedule.epochs": 16}).record == recipe.record
    assert recipe.replace({"schedule.epochs": 17}).record == RECIPE.record


def test_a_part_may_be_its_type_alone_or_its_options_alone():
    text = b"""
        assigner = "atss"
        model.preset = "ssd300_vgg16_voc"
        schedule.steps = 5
        loss.classes.min_negatives = 3
    """
    recipe = parse_recipe(text, "x")
    assert recipe.assigner == {"type": "atss"}
    assert recipe.loss.classes == {"type": "softmax", "min_negatives": 3}
    assert recipe.loss.boxes == {"type": "smooth_l1"}


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipe(name):
    recipe = load_recipe(name)
    assert f"--recipe {name}" in recipe.record.command
    # A step schedule without steps never lowers the rate; a cosine would ignore them.
    assert bool(recipe.schedule.decay_steps) == (recipe.schedule.name == "steps")
    assert parse_recipe(recipe.to_toml().encode(), name).record == recipe.record
    assert recipe.record.hardware or name in ("own_data", "fine_tune")
    without = ("own_data", "fine_tune", "ssd300_resnet18_coco")
    assert bool(recipe.record.expected) == (name not in without and "ssd_pan" not in name)
    # The options of the model are those of its builder, with values of the right types.
    preset = PRESETS[recipe.model.preset]
    if preset.weights is not None:
        assert not recipe.model.options
        return
    options = {**recipe.model.options}
    options.pop("image_size", None)
    BUILDERS[preset.builder][1].from_names(name, {**preset.options, **options})


def test_a_run_is_a_recipe(tmp_path):
    (tmp_path / "recipe.toml").write_text(RECIPE.to_toml())
    assert load_recipe(str(tmp_path)) == load_recipe(str(tmp_path / "recipe.toml")) == RECIPE


def test_the_summary_marks_what_differs_from_the_defaults():
    changes = {"loss.classes": "focal", "loss.classes.gamma": 1.5, "optimizer.learning_rate": 0.003}
    recipe = load_recipe("shapes").replace({**changes, "model.options.width": 16})
    values = {value.name: value for value in recipe_values(recipe)}
    known = {name for name in value_names() if not name.startswith(("record", "model.options"))}
    assert known <= values.keys() and all(value.meaning for value in values.values())
    assert str(values["optimizer.learning_rate"]) == (
        "* optimizer.learning_rate = 0.003 (default 0.001)\n    after the warm-up. Default 1e-3."
    )
    assert str(values["loss.classes.gamma"]).startswith("* loss.classes.gamma = 1.5 (default 2.0)")
    assert str(values["loss.classes.alpha"]).startswith("  loss.classes.alpha = 0.25\n")
    assert str(values["loss.classes"]).startswith('* loss.classes = "focal" (default "softmax")')
    assert str(values["assigner.candidates_per_map"]).startswith(
        "  assigner.candidates_per_map = 9\n"
    )
    assert str(values["model.options.width"]).startswith("* model.options.width = 16 (default 24)")
    assert str(values["data.max_objects"]).startswith('  data.max_objects = "None"\n')
    summary = recipe_summary(load_recipe("shapes"))
    assert summary.startswith("title: a small SSD-PAN on generated shapes\nnotes: `ssd-keras demo`")
    assert "shapes@test AP50 95.4 ± 1" in expected_result(load_recipe("shapes"))
    assert any(line.startswith("own_data: SSD-PAN on ") for line in recipe_list())


# Overrides


@pytest.mark.parametrize(
    ("assignment", "name", "value"),
    [
        ("run.batch_size=8", "run.batch_size", 8),
        ("optimizer.learning_rate=0.02", "optimizer.learning_rate", 0.02),
        ("optimizer.learning_rate=1", "optimizer.learning_rate", 1.0),
        ("augmentation.zoom_out=false", "augmentation.zoom_out", False),
        ("schedule.decay_steps=[0.6, 0.8]", "schedule.decay_steps", (0.6, 0.8)),
        ("schedule.decay_steps=[]", "schedule.decay_steps", ()),
        ("optimizer.name=adamw", "optimizer.name", "adamw"),
        ('optimizer.name="adamw"', "optimizer.name", "adamw"),
        ("model.backbone_weights=a=b.weights.h5", "model.backbone_weights", "a=b.weights.h5"),
        ("model.backbone_weights=2024", "model.backbone_weights", "2024"),
        ("model.backbone_weights=random", "model.backbone_weights", "random"),
        ("model.options.atrous=false", "model.options", {"atrous": False}),
        ("model.options.sizes=[30, 60.5]", "model.options", {"sizes": (30, 60.5)}),
        ("model.options.clip=size", "model.options", {"clip": "size"}),
        ("model.options.neck=None", "model.options", {"neck": None}),
        ("model.options.neck.filters=64", "model.options", {"neck": {"filters": 64}}),
        ("model.options={sizes = [1, 2]}", "model.options", {"sizes": (1, 2)}),
        ("loss.classes=focal", "loss.classes", {"type": "focal"}),
        ("loss.classes.gamma=1.5", "loss.classes", {"type": "softmax", "gamma": 1.5}),
        (
            'loss.boxes={type="ciou", quality_weight=true}',
            "loss.boxes",
            {"type": "ciou", "quality_weight": True},
        ),
        ('loss.classes={type="focal", gamma=1}', "loss.classes", {"type": "focal", "gamma": 1}),
        ("assigner=atss", "assigner", {"type": "atss"}),
        ("data.max_objects=None", "data.max_objects", None),
        ("data.max_objects=9", "data.max_objects", 9),
        ("data.sampling=repeat_factor", "data.sampling", "repeat_factor"),
        ("data.source_weights=[2, 0.5]", "data.source_weights", (2.0, 0.5)),
        ("augmentation.scale_jitter=[0.5, 1.5]", "augmentation.scale_jitter", (0.5, 1.5)),
        ("augmentation.scale_jitter=None", "augmentation.scale_jitter", None),
        ("augmentation.mosaic=1", "augmentation.mosaic", 1.0),
    ],
)
def test_override_gives_the_values_type(assignment, name, value):
    changed = override(RECIPE, [assignment])
    expected = RECIPE.to_tables()
    *groups, last = name.split(".")
    table = expected[groups[0]] if groups else expected
    table[last] = value
    found = changed.to_tables()
    assert found == expected
    found = found[groups[0]][last] if groups else found[last]
    assert type(found) is type(value)


def test_lengths_take_each_others_place():
    by_epochs = override(RECIPE, ["schedule.epochs=3"])
    assert (by_epochs.schedule.epochs, by_epochs.schedule.steps) == (3, 0)
    by_time = override(by_epochs, ["schedule.minutes=2"])
    assert (by_time.schedule.epochs, by_time.schedule.minutes) == (0, 2.0)
    assert override(by_time, ["schedule.steps=120000"]) == RECIPE
    with pytest.raises(ValueError, match=r"schedule.epochs=3, steps=7, minutes=0: exactly one"):
        override(RECIPE, ["schedule.epochs=3", "schedule.steps=7"])


def test_overrides_add_up_and_leave_the_recipe_alone():
    start = RECIPE.replace({"model.options": {"clip": "size", "atrous": True}})
    texts = ["model.options.atrous=false", "run.seed=7", "model.options.normalize=false"]
    changed = override(start, [*texts, "run.seed=9"])
    assert changed.model.options == {"clip": "size", "atrous": False, "normalize": False}
    assert changed.run.seed == 9
    assert start.model.options == {"clip": "size", "atrous": True} and start.run.seed == 0


def test_a_new_type_takes_the_old_ones_options_away():
    start = RECIPE.replace({"loss.classes.min_negatives": 3, "model.options.neck": "fpn"})
    changed = override(start, ["loss.classes.type=focal", "loss.classes.gamma=1.5"])
    assert changed.loss.classes == {"type": "focal", "gamma": 1.5}
    assert override(start, ["loss.classes=focal"]).loss.classes == {"type": "focal"}
    neck = override(start, ["model.options.neck.filters=64"]).model.options["neck"]
    assert neck == {"type": "fpn", "filters": 64}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("width=4", r"recipe value 'width' is unknown; `ssd-keras info recipe own_data` lists the"),
        ("epochs=3", r"recipe value 'epochs' is unknown; did you mean 'schedule.epochs'\? `ssd-"),
        ("learning_rat=1", r".* 'learning_rat' is .* did you mean 'optimizer.learning_rate'\? `"),
        ("lr=1", r"recipe value 'lr' is unknown; did you mean 'optimizer.learning_rate'\? "),
        ("optimizer.lr=1", r".* 'optimizer.lr' is unknown; did you mean 'optimizer.learning_rate'"),
        ("model.epochs=1", r".* 'model.epochs' is unknown; did you mean 'schedule.epochs'"),
        ("optimiser.name=adamw", r".* 'optimiser.name' is unknown; did you mean 'optimizer.name'"),
        ("loss.box=giou", r".* 'loss.box' is unknown; did you mean 'loss.boxes'"),
        ("optimizer=adamw", r".* 'optimizer' is a group; write one of optimizer.name, optimizer.l"),
        ("run.batchsize=3", r".* 'run.batchsize' is unknown; did you mean 'run.batch_size'\? "),
        ("run.batch_size", r"--set 'run.batch_size' has no value; write NAME=VALUE"),
        (
            "run.batch_size.x=1",
            r"recipe value 'run.batch_size.x' is unknown; did you mean 'run.batch_size'",
        ),
        ("run.=1", r"recipe value 'run.' is a group; write one of run.batch_size, run.precision, "),
        ("run=1", r"recipe value 'run' is a group; write one of run.batch_size, run.precision, "),
        ("model.options=[1]", r"model.options is \[1\]; expected a table"),
        ("model.options.sizes=[1", r"\[1 is not TOML \(.*\); correct it"),
        ("model.options.when=2020-01-01", r"model.options.when is .*; expected a text, a number, "),
        ("run.batch_size=8.5", r"run.batch_size is 8.5; expected a whole number"),
        ("run.batch_size=true", r"run.batch_size is True; expected a whole number"),
        ("optimizer.learning_rate=fast", r"optimizer.learning_rate is 'fast'; expected a f"),
        ("optimizer.learning_rate=inf", r"optimizer.learning_rate is inf; expected a finit"),
        ("augmentation.zoom_out=1", r"augmentation.zoom_out is 1; expected true or false"),
        ("augmentation.zoom_out=True", r"augmentation.zoom_out is 'True'; expected true or false"),
        ("schedule.decay_steps=0.5", r"schedule.decay_steps is 0.5; expected a list"),
        ("schedule.decay_steps=[0.5, 'x']", r"schedule.decay_steps\[1\] is 'x'; expected a finite"),
        ("optimizer.name=adam", r"optimizer.name 'adam' is unknown; did you mean 'adamw'\? choose"),
        ("model.preset=ssd", r"model.preset 'ssd' is unknown; did you mean 'ssd"),
        ("loss.classes=[1]", r"loss.classes is \[1\]; expected a type or a table with a type"),
        ("schedule.steps=0", r"schedule.epochs=0, steps=0, minutes=0: exactly one must be above 0"),
        ("run.batch_size=0", r"run.batch_size=0 must be above 0"),
        ("run.precision=half", r"run.precision 'half' is unknown; choose one of float32, mixed_b"),
        ("schedule.epochs=-1", r"schedule.epochs=-1 must be 0 or more"),
        ("schedule.minutes=nan", r"schedule.minutes is nan; expected a finite number"),
        ("optimizer.weight_decay=-5e-4", r"optimizer.weight_decay=-0.0005 must be 0 or more"),
        ("optimizer.momentum=9", r"optimizer.momentum=9.0 must be between 0 and 1"),
        ("schedule.decay_steps=[80000]", r"schedule.decay_steps=\(80000.0,\) must be shares"),
        ("schedule.name=linear", r"schedule.name 'linear' is unknown; choose one of steps, cosine"),
        ("data.max_objects=0", r"data.max_objects=0 must be above 0"),
        ("data.sampling=rare", r"data.sampling 'rare' is unknown; choose one of uniform, repeat_f"),
        ("data.repeat_threshold=0", r"data.repeat_threshold=0.0 must be above 0"),
        ("data.repeat_threshold=1.5", r"data.repeat_threshold=1.5 must be between 0 and 1"),
        ("data.source_weights=2", r"data.source_weights is 2; expected a list"),
        ("data.source_weights=[1, 0]", r"data.source_weights=\(1.0, 0.0\) must be above 0"),
        ("run.seed=-1", r"run.seed=-1 must be between 0 and 4294967295"),
        ("loss.box_weight=0", r"loss.box_weight=0.0 must be above 0"),
        ("augmentation.color_space=lab", r"augmentation.color_space 'lab' is unknown; choose one "),
        ("augmentation.mosaic=2", r"augmentation.mosaic=2.0 must be between 0 and 1"),
        ("augmentation.scale_jitter=0.5", r"augmentation.scale_jitter is 0.5; expected a list"),
        ("augmentation.scale_jitter=[0.5]", r".*scale_jitter is \[0.5\]; expected a list of 2"),
        ("augmentation.zoom_out_max=0.5", r"augmentation.zoom_out_max=0.5 must be 1 or more"),
        (
            "model.options" + ".width" * 2000 + "=1",
            r"recipe value 'model\.options\.width.* too deep",
        ),
    ],
)
def test_override_refuses_in_one_line(assignment, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        override(RECIPE, [assignment])
    assert "\n" not in str(caught.value)


def test_a_recipe_needs_a_length_and_a_preset():
    with pytest.raises(ValueError, match=r"^schedule is missing; add it\.$"):
        TrainRecipe.from_tables({"model": {"preset": "ssd300_vgg16_voc"}})
    with pytest.raises(ValueError, match=r"^model\.preset is missing; add it\.$"):
        TrainRecipe.from_tables({"model": {}, "schedule": {"steps": 1}})
    text = tomli_w.dumps({"schedule": {"steps": 1}}).encode()
    with pytest.raises(ValueError, match=r"^recipe 'x' has the version 7; expected 1: another"):
        parse_recipe(b"version = 7\n" + text, "x")


@pytest.mark.parametrize(
    ("total_steps", "expected"), [(3000, 50), (150, 50), (149, 49), (20, 6), (2, 0)]
)
def test_warm_up_is_at_most_a_third_of_the_steps(total_steps, expected):
    schedule = RECIPE.replace({"schedule.warmup_steps": 50}).schedule
    assert schedule.warmup(total_steps) == expected


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RECIPE.run.seed = 5
