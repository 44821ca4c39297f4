"""`ssd-keras train`."""

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ssd_keras.cli.arguments import (
    DATA_HELP,
    RECIPE_HELP,
    add_bad_data,
    add_max_pixels,
    add_overrides,
    positive_int,
)
from ssd_keras.cli.child_process import run_in_child
from ssd_keras.cli.inputs import read_data, read_recipe
from ssd_keras.core.addresses import split_address
from ssd_keras.core.exit_status import START_AGAIN
from ssd_keras.core.terminal import start_tensorflow
from ssd_keras.core.text import counted

if TYPE_CHECKING:
    from ssd_keras.data.records import DetectionData
    from ssd_keras.engine.distributed.devices import Devices
    from ssd_keras.engine.recipes import TrainRecipe

HELP = "train a detector on your data"
DESCRIPTION = (
    "Trains a detector and writes a RUN folder: the model with the best validation AP "
    "(model.keras), the course of loss and AP (curves.png, history.csv), and what --resume needs. "
    "A recipe holds every choice of a training; own_data is the one for your own images."
)
EXAMPLES = (
    "ssd-keras train --recipe own_data --train-data voc:ROOT@train \\\n"
    "--validation-data voc:ROOT@val --output runs/mine",
    "ssd-keras train --preset ssd192_small_shapes --set schedule.epochs=5 \\\n"
    "--train-data synthetic:shapes@train --output runs/shapes",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("model and training (one of --recipe and --preset, or both)")
    model.add_argument("--recipe", metavar="NAME", help=RECIPE_HELP)
    model.add_argument(
        "--preset",
        metavar="NAME",
        help="model to train, in place of the recipe's: a name of `ssd-keras info presets`, or a "
        "trained model to start from (RUN folder, .keras file, "
        "hf://OWNER/REPO). Without --recipe the training is the paper's, 120,000 "
        "steps: shorten it with --set schedule.epochs=N",
    )
    model.add_argument(
        "--backbone-weights",
        metavar="FILE",
        help="weights that the backbone starts from: imagenet (downloaded), random, or a file: "
        ".weights.h5, or an ImageNet classifier as .h5 of keras.applications, .pth of torchvision "
        "or .tflite; default: the recipe's. With random, all layers learn at one rate",
    )
    add_overrides(model)
    _add_data(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--output", required=True, metavar="DIR", help="RUN folder to write")
    output.add_argument(
        "--resume",
        action="store_true",
        help="continue the training in --output where it stopped, with the same other arguments; "
        "starts it where the folder is empty, and does nothing where it is finished",
    )
    output.add_argument(
        "--callbacks",
        nargs="+",
        action="extend",
        default=[],
        metavar="CALLBACK",
        help="early_stopping:patience=5 ends after 5 validations without a better AP; "
        "wandb:project=NAME and mlflow:experiment=NAME record the run; MODULE:FUNCTION returns a "
        "Keras callback of yours",
    )
    _add_devices(parser)
    parser.set_defaults(run=run)


def _add_data(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument_group("data")
    data.add_argument(
        "--train-data", nargs="+", action="extend", required=True, metavar="DATA", help=DATA_HELP
    )
    data.add_argument(
        "--validation-data",
        nargs="+",
        action="extend",
        metavar="DATA",
        help="data that choose the best epoch, in the same words; default: those of data.toml, "
        "else none, and the last epoch is kept",
    )
    add_bad_data(data)
    add_max_pixels(data)
    data.add_argument(
        "--data-workers",
        type=_number_or_address,
        default=0,
        metavar="N",
        help="number of processes that read and augment the images, or HOST:PORT of a dispatcher "
        "that `ssd-keras data serve` started; the images are the same. Default 0: threads of this "
        "process",
    )


def _add_devices(parser: argparse.ArgumentParser) -> None:
    devices = parser.add_argument_group("devices")
    devices.add_argument(
        "--devices",
        type=_number_or_all,
        default=1,
        metavar="N",
        help="number of GPUs (without any, CPUs) of this host that share each batch, or all; "
        "default 1",
    )
    hosts = parser.add_argument_group(
        "several hosts",
        "the same command on each, with KERAS_BACKEND=jax; under Slurm, Open MPI, Kubernetes (with "
        "jax[k8s]) and on TPUs none of these is needed, else --process-index differs",
    )
    hosts.add_argument(
        "--coordinator",
        default="",
        metavar="HOST:PORT",
        help="address of process 0; all processes wait up to 5 minutes for each other; auto: "
        "JAX finds it",
    )
    hosts.add_argument(
        "--num-processes",
        type=positive_int,
        metavar="N",
        help="number of processes, for example one on each host; default: the launcher's, else 1",
    )
    hosts.add_argument(
        "--process-index",
        type=int,
        metavar="I",
        help="index of this process, from 0; process 0 writes; default: the launcher's",
    )
    hosts.add_argument(
        "--step-timeout",
        type=positive_int,
        default=600,
        metavar="SECONDS",
        help="end, with status 75, when a step takes longer because a process is stuck; default "
        "600; the first step, which compiles, may take 1800",
    )


def run(
    recipe: str | None,
    preset: str | None,
    backbone_weights: str | None,
    train_data: Sequence[str],
    validation_data: Sequence[str] | None,
    output: str,
    overrides: Sequence[str],
    resume: bool,
    callbacks: Sequence[str],
    devices: int | str,
    coordinator: str,
    num_processes: int | None,
    process_index: int | None,
    step_timeout: int,
    bad_data: str,
    max_pixels: int,
    data_workers: int | str,
) -> None:
    from ssd_keras.engine.distributed.devices import Devices
    from ssd_keras.engine.named_callbacks import parse_callback

    device_set = Devices(
        devices, coordinator, num_processes, process_index, step_seconds=step_timeout
    )
    is_alone = device_set.is_one_process
    if not is_alone:
        _go_on_in_child(device_set, output)
    named = [parse_callback(text) for text in callbacks]
    if backbone_weights:
        overrides = [*overrides, f"model.backbone_weights={backbone_weights}"]
    chosen = read_recipe(recipe, preset, overrides)
    # A model would start JAX, which several processes connect before.
    if chosen.model.backbone_weights != "random" and not resume and is_alone:
        _check_backbone_weights(chosen)
    data = read_data(train_data, bad_data, max_pixels=max_pixels)
    validation = None
    specs = validation_data or _validation_parts(train_data)
    if specs:
        names = data.class_names
        validation = read_data(specs, bad_data, names, part="validation", max_pixels=max_pixels)
    print(f"{len(data)} images, {len(data.class_names)} classes, preset {chosen.model.preset}")
    for line in _sampling_lines(chosen, data):
        print(line)
    _print_length(chosen, len(data), output)
    print(_validation_line(chosen, len(data), validation), flush=True)
    start_tensorflow()
    made = [each.make(chosen.to_tables()) for each in named]
    history = _train(chosen, data, validation, output, resume, device_set, made, data_workers)
    if not history:
        print("this process is done; process 0 wrote the model")
        return
    scored = [row for row in history if row.get("val_AP") is not None]
    if scored:
        best = max(scored, key=lambda row: row["val_AP"])
        print(
            f"best: AP {best['val_AP']:.3f}, AP50 {best['val_AP50']:.3f} "
            f"after epoch {best['epoch']:g}"
        )
    print(f"the model is {os.path.join(output, 'model.keras')}; what can be done with it:")
    print(*_next_commands(output, specs), sep="\n")


def _go_on_in_child(devices: "Devices", output: str) -> None:
    """Returns in a child process, where there can be one; the parent exits as the child does."""
    if hasattr(os, "fork") and not {"jax", "tensorflow"} & set(sys.modules):
        processes = devices.processes()
        status = run_in_child(output, processes.index, processes.number)
        if status is not None:
            raise SystemExit(status)


def _train(
    recipe: "TrainRecipe",
    data: "DetectionData",
    validation: "DetectionData | None",
    output: str,
    resume: bool,
    devices: "Devices",
    callbacks: Sequence[Any],
    data_workers: int | str,
) -> list[dict]:
    """Trains; after a SIGTERM it exits with a status that says to start again."""
    from ssd_keras.engine.preemption import Preempted, sigterm_notice
    from ssd_keras.engine.train import train

    # JAX receives the signal for several processes; before they are connected it ends them.
    is_alone = devices.is_one_process
    notice = sigterm_notice() if is_alone else contextlib.nullcontext(lambda: False)
    try:
        with notice as has_notice:
            return train(
                recipe,
                data,
                validation,
                output,
                resume=resume,
                devices=devices,
                callbacks=callbacks,
                stop_when=has_notice,
                data_workers=data_workers,
            )
    except Preempted as end:
        print(f"ssd-keras: {end}", file=sys.stderr)
        raise SystemExit(START_AGAIN) from None


def _check_backbone_weights(recipe: "TrainRecipe") -> None:
    """Builds the model once, so that weights out of reach are named before the data are read."""
    start_tensorflow()
    from ssd_keras.engine.train import initial_model

    initial_model(recipe, ["object"])


def _print_length(recipe: "TrainRecipe", num_images: int, output: str) -> None:
    epochs, steps = recipe.length(num_images)
    length = f"{recipe.schedule.minutes:g} minutes"
    if epochs:
        length = f"{counted(epochs, 'epoch')} of {counted(steps, 'step')}"
    print(
        f"{length} in batches of {recipe.run.batch_size} images; "
        f"curves: {os.path.join(output, 'curves.png')}"
    )
    warmup, wanted = recipe.schedule.warmup(epochs * steps), recipe.schedule.warmup_steps
    if epochs and warmup < wanted:
        print(f"warm-up: {warmup} steps, a third of all, instead of {wanted}")


def _sampling_lines(recipe: "TrainRecipe", data: "DetectionData") -> list[str]:
    """Returns which images come more often than others, where not all come equally often."""
    from ssd_keras.data.repeat_factors import rare_classes_line, source_weights_line

    options = recipe.data
    factors, lines = options.repeat_factors(data), []
    if factors is not None and options.sampling == "repeat_factor":
        threshold, use_difficult = options.repeat_threshold, options.use_difficult
        lines.append(rare_classes_line(data, factors, threshold, use_difficult))
    if factors is not None and options.source_weights:
        lines.append(source_weights_line(data, factors, options.source_weights))
    return lines


def _validation_line(
    recipe: "TrainRecipe", num_images: int, validation: "DetectionData | None"
) -> str:
    """Returns when the AP is measured, which is what a short training should know before."""
    if validation is None:
        return "no validation: the model of the last epoch is kept; --validation-data measures it"
    every, epochs = recipe.run.validate_every, recipe.length(num_images)[0]
    moments = "after each epoch" if every == 1 else f"after every {every} epochs and the last one"
    if every > 1 and epochs:
        moments += f", {counted(-(-epochs // every), 'time')} (run.validate_every={every})"
    return f"validation on {counted(len(validation), 'image')} {moments}; the best model is kept"


def _next_commands(output: str, specs: Sequence[str]) -> list[str]:
    """Returns commands that use the model, to be copied."""
    data = shlex.join(specs) or "DATA"
    folder = shlex.quote(output)
    report, images = (shlex.quote(os.path.join(output, name)) for name in ("report", "images"))
    return [
        f"  ssd-keras evaluate {folder} --data {data} --plots {report}",
        f"  ssd-keras predict {folder} IMAGES --output {images}",
        f"  ssd-keras export {folder} --format tflite --output model.tflite",
    ]


def _validation_parts(specs: Sequence[str]) -> list[str]:
    """Returns the validation data of data files that --train-data names whole."""
    from ssd_keras.data.sources import parts_of

    parts = [part for spec in specs for part in parts_of(spec) if part != spec]
    return [part for part in parts if part.endswith("@validation")]


def _number_or_all(text: str) -> int | str:
    return text if text == "all" else positive_int(text)


def _number_or_address(text: str) -> int | str:
    if text.isdecimal():
        return int(text)
    try:
        split_address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} must be a whole number, or HOST:PORT such as host1:5050"
        ) from None
    return text
