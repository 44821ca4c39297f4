"""`ssd-keras data show`."""

import argparse
from collections.abc import Sequence

from ssd_keras.cli.arguments import (
    DATA_HELP,
    RECIPE_HELP,
    add_bad_data,
    add_max_pixels,
    positive_int,
)
from ssd_keras.cli.inputs import read_data
from ssd_keras.core.files import check_writable
from ssd_keras.core.terminal import start_tensorflow

HELP = "draw images as training sees them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", nargs="+", help=DATA_HELP)
    parser.add_argument("--output", required=True, help="PNG file to write")
    parser.add_argument(
        "--preset", default="ssd300_vgg16_voc", help="preset whose default boxes are matched"
    )
    parser.add_argument(
        "--recipe", help=f"recipe whose model and augmentation are used instead: {RECIPE_HELP}"
    )
    parser.add_argument("--count", type=positive_int, default=12, help="number of images")
    parser.add_argument("--seed", type=int, default=0)
    add_bad_data(parser)
    add_max_pixels(parser)
    parser.set_defaults(run=run)


def run(
    data: Sequence[str],
    output: str,
    preset: str,
    recipe: str | None,
    count: int,
    seed: int,
    bad_data: str,
    max_pixels: int,
) -> None:
    from ssd_keras.drawing.draw import save_image
    from ssd_keras.engine.recipes import load_recipe, paper_recipe

    check_writable(output)
    chosen = load_recipe(recipe) if recipe else paper_recipe(preset)
    loaded = read_data(data, bad_data, max_pixels=max_pixels)
    start_tensorflow()
    from ssd_keras.engine.augmentation_sheet import training_sheet

    save_image(training_sheet(chosen, loaded, count, seed), output)
    print(f"wrote {output}")
