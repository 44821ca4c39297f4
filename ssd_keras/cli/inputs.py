"""Reads what the shared arguments name: data, a recipe, a model."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ssd_keras.core.image_formats import MAX_PIXELS
from ssd_keras.core.parts import make_part
from ssd_keras.core.terminal import start_tensorflow
from ssd_keras.presets import check_options, is_trained

if TYPE_CHECKING:
    from ssd_keras.data.records import DetectionData
    from ssd_keras.engine.recipes import TrainRecipe

MAX_PROBLEMS_SHOWN = 20


def read_recipe(recipe: str | None, preset: str | None, overrides: Sequence[str]) -> "TrainRecipe":
    """Returns the recipe of --recipe, --preset and --set."""
    from ssd_keras.engine.recipes import override, paper_recipe

    if not recipe and not preset:
        raise ValueError(
            "neither --recipe nor --preset is given; pass --recipe NAME, such as own_data, or "
            "--preset NAME, or both."
        )
    chosen = read_recipe_file(recipe) if recipe else paper_recipe(preset or "")
    expects_weights = chosen.model.backbone_weights != "random"
    if preset and preset != chosen.model.preset:
        # Options and backbone of the recipe belong to its own preset.
        model = {"model.preset": preset, "model.options": {}, "model.backbone_weights": "random"}
        chosen = chosen.replace({**model, "optimizer.frozen_until": ""})
    changed = override(chosen, overrides)
    is_random = changed.model.backbone_weights == "random" and not is_trained(changed.model.preset)
    if expects_weights and is_random:
        values = _from_random_weights(chosen)
        changed = override(chosen.replace(values), overrides)
        settings = ", ".join(f"{name}={json.dumps(value)}" for name, value in values.items())
        print(f"random backbone weights: {settings}, where --set does not say otherwise")
    check_parts(changed)
    return changed


def _from_random_weights(recipe: "TrainRecipe") -> dict[str, Any]:
    """Returns the values of a recipe for a trained backbone that do not suit a random one."""
    values: dict[str, Any] = {
        "optimizer.frozen_until": "",
        "optimizer.backbone_learning_rate": 1.0,
        "optimizer.layer_decay": 1.0,
    }
    if "batch_norm" in recipe.model.options:
        values["model.options.batch_norm"] = True
    return values


def read_recipe_file(name: str) -> "TrainRecipe":
    """Returns a recipe whose parts can be built, by its name or the path of its file."""
    from ssd_keras.engine.recipes import load_recipe

    recipe = load_recipe(name)
    try:
        check_parts(recipe)
    except ValueError as error:
        raise ValueError(f"recipe {name!r}: {error}") from error
    return recipe


def check_parts(recipe: "TrainRecipe") -> None:
    """Raises a `ValueError` for parts or options of the model that cannot be built."""
    from ssd_keras.engine.recipes import changed_parts

    for kind, table, name in changed_parts(recipe):  # knowing them takes Keras
        start_tensorflow()
        make_part(kind, table, name)
    if recipe.model.options:
        start_tensorflow()
        check_options(recipe.model.preset, recipe.model.options)


def read_data(
    specs: Sequence[str],
    bad_data: str,
    class_names: Sequence[str] | None = None,
    check_images: bool = True,
    part: str = "train",
    max_pixels: int = MAX_PIXELS,
) -> "DetectionData":
    """Loads data with a progress bar and prints a line for each kind of problem."""
    from ssd_keras.data.problems import problem_lines
    from ssd_keras.data.sources import load_data

    data = load_data(
        specs,
        class_names=class_names,
        bad_data=bad_data,
        check_images=check_images,
        part=part,
        max_pixels=max_pixels,
    )
    print_problems(problem_lines(data.problems))
    return data


def print_problems(lines: Sequence[str]) -> None:
    """Prints the first lines to stderr, and how many more there are."""
    for line in lines[:MAX_PROBLEMS_SHOWN]:
        print(f"note: {line}", file=sys.stderr)
    if len(lines) > MAX_PROBLEMS_SHOWN:
        print(f"note: and {len(lines) - MAX_PROBLEMS_SHOWN} more notes", file=sys.stderr)
