"""`ssd-keras info`."""

import argparse
import os
from collections.abc import Callable, Iterable

from ssd_keras.cli.arguments import RECIPE_HELP
from ssd_keras.cli.inputs import read_recipe_file
from ssd_keras.core.hub import is_hub_address
from ssd_keras.core.terminal import start_tensorflow
from ssd_keras.core.text import did_you_mean
from ssd_keras.presets import PRESETS

HELP = "describe a model or recipe; list presets, recipes, formats, kinds of data"
DESCRIPTION = (
    "Describes a model, a preset or an export: sizes, classes, default boxes, origin of data and "
    "weights. A word in its place lists what there is: presets, recipes, formats (of export), data "
    "(kinds of data); `recipe NAME` prints every value of a recipe with its meaning."
)
EXAMPLES = (
    "ssd-keras info presets",
    "ssd-keras info data",
    "ssd-keras info recipe own_data",
    "ssd-keras info runs/mine",
)
WORDS = ("presets", "recipes", "formats", "data", "recipe")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to describe")
    group.add_argument(
        "model",
        metavar="WHAT",
        help=f"one of the words {', '.join(WORDS)}; or a name of `ssd-keras info presets`, a RUN "
        "folder of `ssd-keras train`, a .keras file, what `ssd-keras export` wrote, or the address "
        "of one of these on a hub, hf://OWNER/REPO or kaggle://OWNER/MODEL/FRAMEWORK/VARIATION",
    )
    group.add_argument("name", nargs="?", metavar="NAME", help=f"after `recipe`: {RECIPE_HELP}")
    parser.set_defaults(run=run)


def run(model: str, name: str | None) -> None:
    if model == "recipe":
        _print_recipe(name)
        return
    if name:
        raise ValueError(
            f"{name!r} is one word too many; `ssd-keras info {model}` takes none after it."
        )
    if model in LISTS:
        print(*LISTS[model](), sep="\n")
        return
    _check_is_model(model)
    start_tensorflow()
    from ssd_keras.engine.model_summary import model_summary

    print(model_summary(model))


def _check_is_model(name: str) -> None:
    """Raises a `ValueError` for a recipe, and for a word that was probably meant otherwise."""
    from ssd_keras.engine.recipes import recipe_names

    if name in recipe_names() or name.endswith(".toml"):
        raise ValueError(
            f"{name!r} is a recipe, not a model; write `ssd-keras info recipe {name}` to see "
            "its values."
        )
    if name in PRESETS or is_hub_address(name) or os.path.exists(name):
        return
    if question := did_you_mean(name, [*WORDS, *PRESETS, *recipe_names()]):
        raise FileNotFoundError(
            f"{name!r} does not exist; {question}`ssd-keras info presets` and `ssd-keras info "
            "recipes` list the names."
        )


def _presets() -> Iterable[object]:
    return PRESETS.values()


def _formats() -> Iterable[object]:
    from ssd_keras.exporters.formats import FORMATS

    return FORMATS.values()


def _recipes() -> Iterable[object]:
    from ssd_keras.engine.recipe_summary import recipe_list

    return recipe_list()


def _data() -> Iterable[object]:
    from ssd_keras.data.data_file import EXAMPLE
    from ssd_keras.data.sources import READERS

    return [*READERS.values(), EXAMPLE]


LISTS: dict[str, Callable[[], Iterable[object]]] = {
    "presets": _presets,
    "recipes": _recipes,
    "formats": _formats,
    "data": _data,
}


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
