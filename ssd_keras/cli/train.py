"""`ssd-keras train`."""

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ssd_keras.cli.arguments import (
    DATA_HELP,
    RECIPE_HELP,
    add_bad_data,
    add_max_pixels,
    add_overrides,
    positive_int,
)
from ssd_keras.cli.inputs import read_data, read_recipe
from ssd_keras.core.terminal import is_terminal, start_tensorflow

if TYPE_CHECKING:
    from ssd_keras.engine.recipes import TrainRecipe

HELP = "train a model from a recipe or a preset"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipe", help=RECIPE_HELP)
    parser.add_argument(
        "--preset",
        help="name of a preset, or a trained model to start from; it replaces the recipe's. "
        "Without a recipe the training follows the paper",
    )
    parser.add_argument("--train-data", nargs="+", action="extend", required=True, help=DATA_HELP)
    parser.add_argument("--validation-data", nargs="+", action="extend", help=DATA_HELP)
    parser.add_argument("--output", required=True, help="RUN folder to write")
    add_overrides(parser)
    parser.add_argument("--resume", action="store_true", help="continue the run in --output")
    parser.add_argument(
        "--devices",
        type=_number_or_all,
        default=1,
        metavar="N",
        help="GPUs (without any, CPUs) of this host that share each batch, or all; default 1",
    )
    hosts = parser.add_argument_group(
        "several hosts", "the same command on each, except --process-index; KERAS_BACKEND=jax"
    )
    hosts.add_argument(
        "--coordinator",
        default="",
        metavar="HOST:PORT",
        help="address of process 0; all processes wait up to 5 minutes for each other",
    )
    hosts.add_argument(
        "--num-processes", type=positive_int, default=1, metavar="N", help="one on each host"
    )
    hosts.add_argument(
        "--process-index",
        type=int,
        default=0,
        metavar="I",
        help="index of this process, from 0; process 0 writes",
    )
    add_bad_data(parser)
    add_max_pixels(parser)
    parser.set_defaults(run=run)


def run(
    recipe: str | None,
    preset: str | None,
    train_data: Sequence[str],
    validation_data: Sequence[str] | None,
    output: str,
    overrides: Sequence[str],
    resume: bool,
    devices: int | str,
    coordinator: str,
    num_processes: int,
    process_index: int,
    bad_data: str,
    max_pixels: int,
) -> None:
    from ssd_keras.engine.distributed.devices import Devices

    chosen = read_recipe(recipe, preset, overrides)
    device_set = Devices(devices, coordinator, num_processes, process_index)
    data = read_data(train_data, bad_data, max_pixels=max_pixels)
    validation = None
    if specs := validation_data or _validation_parts(train_data):
        names = data.class_names
        validation = read_data(specs, bad_data, names, part="validation", max_pixels=max_pixels)
    print(f"{len(data)} images, {len(data.class_names)} classes, preset {chosen.model.preset}")
    _print_length(chosen, len(data), output)
    start_tensorflow()
    from ssd_keras.engine.train import train

    history = train(
        chosen,
        data,
        validation,
        output,
        resume=resume,
        progress=is_terminal() or "lines",
        devices=device_set,
    )
    if process_index:
        print(f"process {process_index} is done; process 0 wrote the model")
        return
    scored = [row for row in history if row.get("val_AP") is not None]
    if scored:
        best = max(scored, key=lambda row: row["val_AP"])
        print(
            f"best: AP {best['val_AP']:.3f}, AP50 {best['val_AP50']:.3f} "
            f"after epoch {best['epoch']:g}"
        )
    print(f"wrote {os.path.join(output, 'model.keras')}")


def _print_length(recipe: "TrainRecipe", num_images: int, output: str) -> None:
    epochs, steps = recipe.length(num_images)
    length = (
        f"{epochs} epochs of {steps} steps" if epochs else f"{recipe.schedule.minutes:g} minutes"
    )
    print(
        f"{length} in batches of {recipe.run.batch_size} images; "
        f"curves: {os.path.join(output, 'curves.png')}",
        flush=True,
    )
    warmup, wanted = recipe.schedule.warmup(epochs * steps), recipe.schedule.warmup_steps
    if epochs and warmup < wanted:
        print(f"warm-up: {warmup} steps, a third of all, instead of {wanted}", flush=True)


def _validation_parts(specs: Sequence[str]) -> list[str]:
    """Returns the validation data of data files that --train-data names whole."""
    from ssd_keras.data.sources import parts_of

    parts = [part for spec in specs for part in parts_of(spec) if part != spec]
    return [part for part in parts if part.endswith("@validation")]


def _number_or_all(text: str) -> int | str:
    return text if text == "all" else positive_int(text)
