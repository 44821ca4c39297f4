"""`ssd-keras info`."""

import argparse

from ssd_keras.cli.arguments import DETECTOR_HELP, RECIPE_HELP
from ssd_keras.cli.inputs import read_recipe_file
from ssd_keras.core.terminal import start_tensorflow

HELP = "describe a model or a recipe, or list presets, recipes or export formats"
WORDS = "presets, recipes, formats"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        help=f"{DETECTOR_HELP}, a preset's name, or one of the words {WORDS}, recipe",
    )
    parser.add_argument("name", nargs="?", help=f"after the word recipe: {RECIPE_HELP}")
    parser.set_defaults(run=run)


def run(model: str, name: str | None) -> None:
    if model == "recipe":
        _print_recipe(name)
        return
    if name:
        raise ValueError(
            f"{name!r} is one word too many; `ssd-keras info {model}` takes none after it."
        )
    from ssd_keras.engine.recipe_summary import recipe_list
    from ssd_keras.engine.recipes import recipe_names
    from ssd_keras.exporters.formats import FORMATS
    from ssd_keras.presets import PRESETS

    lists = {"presets": PRESETS.values(), "formats": FORMATS.values(), "recipes": recipe_list()}
    if model in lists:
        print(*lists[model], sep="\n")
        return
    if model in recipe_names() or model.endswith(".toml"):
        raise ValueError(
            f"{model!r} is a recipe, not a model; write `ssd-keras info recipe {model}` to see "
            "its values."
        )
    start_tensorflow()
    from ssd_keras.engine.model_summary import model_summary

    print(model_summary(model))


def _print_recipe(name: str | None) -> None:
    if not name:
        raise ValueError(
            "`ssd-keras info recipe` needs a name; pass one of `ssd-keras info recipes`, a TOML "
            "file or a RUN folder."
        )
    recipe = read_recipe_file(name)
    start_tensorflow()
    from ssd_keras.engine.recipe_summary import recipe_summary

    print(recipe_summary(recipe))
