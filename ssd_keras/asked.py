"""What several commands are asked for alike: data, a recipe; and what their terminal shows."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ssd_keras.core.terminal import import_tensorflow

if TYPE_CHECKING:
    from ssd_keras.data.records import DetectionData
    from ssd_keras.engine.recipes import TrainRecipe

MOST_PROBLEMS = 5


def asked_recipe(parsed: argparse.Namespace) -> "TrainRecipe":
    """The recipe of a command's --recipe, --preset and --set."""
    from ssd_keras.engine.recipes import TrainRecipe, load_recipe, override

    if not (parsed.recipe or parsed.preset):
        raise ValueError(
            "nothing says what to train; pass --recipe FILE, such as training/recipes/own_data.py, "
            "or --preset NAME, or both."
        )
    if parsed.recipe:
        recipe = load_recipe(parsed.recipe)
        if parsed.preset and parsed.preset != recipe.preset:
            # Options and backbone of the recipe are those of its own preset.
            recipe = recipe.replace(preset=parsed.preset, model_options={}, backbone_weights="")
    else:
        recipe = TrainRecipe(preset=parsed.preset, steps=120_000, decay_steps=(2 / 3, 5 / 6))
    return override(recipe, parsed.set)


def asked_data(
    specs: Sequence[str],
    bad_data: str,
    class_names: Sequence[str] | None = None,
    check_images: bool = True,
    part: str = "train",
) -> "DetectionData":
    """Loads data with the terminal's progress bar, and prints what is wrong with them."""
    from ssd_keras.data.sources import load_data

    data = load_data(
        specs,
        class_names=class_names,
        bad_data=bad_data,
        check_images=check_images,
        progress=is_terminal(),
        part=part,
    )
    print_problems([str(problem) for problem in data.problems])
    return data


def print_problems(lines: Sequence[str]) -> None:
    """Prints the first few problems, and how many more there are."""
    for line in lines[:MOST_PROBLEMS]:
        print(f"note: {line}", file=sys.stderr)
    if len(lines) > MOST_PROBLEMS:
        print(f"note: and {len(lines) - MOST_PROBLEMS} more like these", file=sys.stderr)


def is_terminal() -> bool:
    """Whether somebody looks on who wants progress bars."""
    return sys.stderr.isatty() or bool(os.environ.get("SSD_KERAS_PROGRESS"))


def start_tensorflow() -> None:
    """Imports TensorFlow without its greeting, and tells a terminal of the wait."""
    # What TensorFlow reports as errors is what the machine lacks (a GPU, some instructions);
    # real failures are raised.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not is_terminal() or "tensorflow" in sys.modules:
        import_tensorflow()
        return
    told = "starting TensorFlow ..."
    print(told, end="", file=sys.stderr, flush=True)
    import_tensorflow()
    print("\r" + " " * len(told), end="\r", file=sys.stderr, flush=True)
