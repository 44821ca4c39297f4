"""`ssd-keras data show`."""

import argparse
from collections.abc import Sequence

from ssd_keras.cli.arguments import (
    DATA_HELP,
    PRESET_HELP,
    RECIPE_HELP,
    add_data_words,
    positive_int,
)
from ssd_keras.cli.inputs import read_data
from ssd_keras.core.files import check_writable
from ssd_keras.core.terminal import start_tensorflow

HELP = "draw images as the training sees them"
DESCRIPTION = (
    "Draws some images before and after augmentation, with their objects and the default boxes "
    "that learn them, into one image."
)
EXAMPLES = ("ssd-keras data show voc:ROOT@train --recipe own_data --output sheet.png",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_words(parser, DATA_HELP)
    model = parser.add_argument_group("model and augmentation")
    model.add_argument("--recipe", metavar="NAME", help=RECIPE_HELP)
    model.add_argument(
        "--preset",
        metavar="NAME",
        default="ssd300_vgg16_voc",
        help=f"without --recipe, the preset that the paper's training has: {PRESET_HELP}; default "
        "%(default)s",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--output", required=True, metavar="FILE", help="image file to write")
    output.add_argument(
        "--count",
        type=positive_int,
        default=12,
        metavar="N",
        help="number of images; default %(default)s",
    )
    output.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="another number draws other images; default %(default)s",
    )
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
