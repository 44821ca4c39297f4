"""`ssd-keras data check`."""

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ssd_keras.cli.arguments import (
    PRESET_HELP,
    RECIPE_HELP,
    SPLITS_HELP,
    add_data_words,
    add_overrides,
)
from ssd_keras.cli.data_convert import FORMAT_HELP, write_copies
from ssd_keras.cli.inputs import read_recipe
from ssd_keras.core.data_formats import DATA_FORMATS
from ssd_keras.core.files import check_writable
from ssd_keras.core.terminal import is_terminal, start_tensorflow

if TYPE_CHECKING:
    from ssd_keras.boxes.default_box_grid import DefaultBoxGrid
    from ssd_keras.data.splits import Split
    from ssd_keras.doctor.default_box_report import DefaultBoxReport
    from ssd_keras.engine.recipes import TrainRecipe

HELP = "find what is wrong with data, and default boxes that fit them"
DESCRIPTION = (
    "Finds broken images and boxes, doubles, images of one split that look like those of another, "
    "and classes with few objects. With --recipe or --preset it also compares the model's default "
    "boxes with the objects, and prints the --set options that fit them better."
)
EXAMPLES = (
    "ssd-keras data check voc:ROOT@train voc:ROOT@val --recipe own_data --plots plots",
    "ssd-keras data check yolo:ROOT@train --fix CLEANED --format yolo",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_words(parser, SPLITS_HELP)
    group = parser.add_argument_group("model whose default boxes are compared")
    model = group.add_mutually_exclusive_group()
    model.add_argument("--recipe", metavar="NAME", help=f"the model of a recipe: {RECIPE_HELP}")
    model.add_argument("--preset", metavar="NAME", help=f"the model of a preset: {PRESET_HELP}")
    add_overrides(group)
    output = parser.add_argument_group("output")
    output.add_argument("--plots", metavar="DIR", help="also write plots of the findings")
    output.add_argument(
        "--fix", metavar="DIR", help="also write a cleaned copy of the data into a new folder"
    )
    output.add_argument(
        "--format", choices=DATA_FORMATS, help=f"format of the cleaned copy; {FORMAT_HELP}"
    )
    parser.set_defaults(run=run)


def run(
    data: Sequence[str],
    preset: str | None,
    recipe: str | None,
    overrides: Sequence[str],
    plots: str | None,
    fix: str | None,
    format: str | None,
    bad_data: str,
    max_pixels: int,
) -> None:
    from ssd_keras.data.splits import load_splits
    from ssd_keras.doctor.data_report import check_data

    if overrides and not (preset or recipe):
        raise ValueError(f"--set {overrides[0]!r} changes a recipe; pass --preset or --recipe too")
    chosen = read_recipe(recipe, preset, overrides) if preset or recipe else None
    for folder in filter(None, (plots, fix)):
        check_writable(folder, is_folder=True)
    splits = load_splits(data, is_terminal(), bad_data, max_pixels=max_pixels)
    report = check_data(splits, is_terminal())
    print(report)
    default_boxes = None
    if chosen is not None:
        default_boxes = _check_default_boxes(splits, chosen, "the recipe" if recipe else "--set")
    if fix:
        from ssd_keras.doctor.fix import fixed_copy, remaining_issues

        copies, changes = fixed_copy(report)
        written = write_copies(copies, fix, format, data)
        lines = [*(changes or ["nothing had to be changed"]), *remaining_issues(report, copies)]
        print("\n".join(["", "cleaned copy", *(f"  {line}" for line in [*lines, *written])]))
    if plots:
        start_tensorflow()
        from ssd_keras.doctor.data_plots import write_plots

        paths = write_plots(report, default_boxes, plots)
        print(f"\nwrote {', '.join(map(os.path.basename, paths))} to {plots}")


def _check_default_boxes(
    splits: "Sequence[Split]", recipe: "TrainRecipe", changed_by: str
) -> "DefaultBoxReport":
    start_tensorflow()
    from ssd_keras.doctor.default_box_report import check_default_boxes, larger_sizes
    from ssd_keras.engine.train import initial_model, match_threshold
    from ssd_keras.presets import is_trained

    bare = recipe.replace({"model.backbone_weights": "random"})

    def grid_of(recipe: "TrainRecipe") -> "DefaultBoxGrid":
        return initial_model(recipe, splits[0].data.class_names).default_box_grid

    name = recipe.model.preset
    report = check_default_boxes(
        splits,
        grid_of(bare),
        f"{name} as {changed_by} changes it" if recipe.model.options else name,
        match_threshold(recipe),
        keep_ratios=is_trained(name),
    )
    if report.hard_objects:
        sizes = larger_sizes(report.grid.image_size)
        larger = [bare.replace({"model.options.image_size": list(size)}) for size in sizes]
        report = report._replace(larger=[grid_of(each) for each in larger])
    print(f"\n{report}")
    return report
