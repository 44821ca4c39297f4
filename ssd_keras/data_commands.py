"""What each command of `ssd-keras data` does; see `ssd_keras.commands`."""

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ssd_keras.asked import asked_data, asked_recipe, is_terminal, print_problems, start_tensorflow

if TYPE_CHECKING:
    from ssd_keras.data.splits import Split


def show_data(parsed: argparse.Namespace) -> None:
    """Draws a sheet of images as training sees them."""
    from ssd_keras.drawing.draw import save_image
    from ssd_keras.engine.recipes import TrainRecipe, load_recipe

    recipe = TrainRecipe(preset=parsed.preset, steps=1)
    if parsed.recipe:
        recipe = load_recipe(parsed.recipe)
    data = asked_data(parsed.data, parsed.bad_data)
    start_tensorflow()
    from ssd_keras.engine.augmentation_sheet import training_sheet

    save_image(training_sheet(recipe, data, parsed.count, parsed.seed), parsed.output)
    print(f"wrote {parsed.output}")


def check_data(parsed: argparse.Namespace) -> None:
    """Examines a data set, and how well a model's default boxes suit it."""
    from ssd_keras.data.splits import load_splits
    from ssd_keras.doctor.data_report import examine

    if parsed.set and not (parsed.preset or parsed.recipe):
        raise ValueError(f"--set {parsed.set[0]!r} changes a recipe; pass --preset or --recipe too")
    recipe = asked_recipe(parsed) if parsed.preset or parsed.recipe else None
    splits = load_splits(parsed.data, is_terminal(), parsed.bad_data)
    examination = examine(splits, is_terminal())
    print(examination)
    boxes = None
    if recipe is not None:
        start_tensorflow()
        from ssd_keras.doctor.default_box_grid import default_box_grid
        from ssd_keras.doctor.default_box_report import check_boxes, describe_boxes
        from ssd_keras.engine.train import initial_model
        from ssd_keras.presets import is_trained

        model = initial_model(recipe.replace(backbone_weights=""), splits[0].data.class_names)
        changed_by = "the recipe changes it" if parsed.recipe else "--set changes it"
        boxes = check_boxes(
            splits,
            default_box_grid(model),
            f"{recipe.preset} as {changed_by}" if recipe.model_options else recipe.preset,
            recipe.match_threshold,
            keep_ratios=is_trained(recipe.preset),
            progress=is_terminal(),
        )
        print(f"\n{describe_boxes(boxes)}")
    if parsed.fix:
        from ssd_keras.doctor.fix import cleaned, describe_kept

        copies, changes = cleaned(examination)
        written = _write_copies(copies, parsed.fix, parsed.layout, parsed.data)
        lines = [*(changes or ["nothing had to be changed"]), *describe_kept(examination, copies)]
        print("\n".join(["", "cleaned copy", *(f"  {line}" for line in [*lines, *written])]))
    if parsed.plots:
        start_tensorflow()
        from ssd_keras.doctor.data_plots import write_plots

        plots = write_plots(examination, boxes, parsed.plots)
        print(f"\nwrote {', '.join(map(os.path.basename, plots))} to {parsed.plots}")


def split_data(parsed: argparse.Namespace) -> None:
    """Divides a data set into parts, in a copy."""
    from ssd_keras.doctor.split import divide

    shares = dict(parsed.parts)
    if len(shares) < len(parsed.parts):
        raise ValueError("--parts names a part twice; expected such as train=0.8 val=0.2")
    data = asked_data(parsed.data, parsed.bad_data)
    parts, notes = divide(data, shares, parsed.seed, is_terminal())
    print_problems(notes)
    print(*_write_copies(parts, parsed.output, parsed.layout, parsed.data), sep="\n")


def convert_data(parsed: argparse.Namespace) -> None:
    """Writes a data set in another layout."""
    from ssd_keras.data.splits import load_splits

    splits = load_splits(parsed.data, is_terminal(), parsed.bad_data)
    print_problems([str(problem) for split in splits for problem in split.data.problems])
    lines = _write_copies(splits, parsed.output, parsed.format, parsed.data, parsed.shards)
    print(*lines, sep="\n")


def _write_copies(
    splits: "Sequence[Split]",
    folder: str,
    layout: str | None,
    specs: Sequence[str],
    shards: int = 1,
) -> list[str]:
    """Writes splits in a layout, by default that of their source; what to say of the copies."""
    from ssd_keras.data.writers.write_splits import own_layout, write_splits
    from ssd_keras.data.writers.written_report import describe_copies

    layout = layout or own_layout(specs)
    if layout == "tfrecord":
        start_tensorflow()
    copies = write_splits(splits, folder, layout, shards=shards, progress=is_terminal())
    return describe_copies(splits, copies, is_terminal())
