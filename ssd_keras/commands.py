"""What each command of the command line does: call one function of the package, print.

Every public function is one command; its argument is what `cli.build_parser` found. Heavy imports
stay inside the commands, so that `--help` and mistakes answer at once.
"""

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ssd_keras.quiet import import_tensorflow

if TYPE_CHECKING:
    from ssd_keras.data.examples import DetectionData
    from ssd_keras.data.splits import Split
    from ssd_keras.models import SSD
    from ssd_keras.recipes import TrainRecipe

# int8 calibration gains nothing from more.
CALIBRATION_PICTURES = 200
MOST_PROBLEMS = 5


def train(parsed: argparse.Namespace) -> None:
    """Trains by a recipe or from a preset, and says which epoch was best."""
    from ssd_keras.engine.devices import Devices

    recipe = _recipe(parsed)
    devices = Devices(
        parsed.devices, parsed.coordinator, parsed.num_processes, parsed.process_index
    )
    data = _load(parsed.train_data, parsed.bad_data)
    validation = None
    if validation_specs := parsed.validation_data or _validation_parts(parsed.train_data):
        validation = _load(validation_specs, parsed.bad_data, data.class_names, part="validation")
    print(f"{len(data)} pictures, {len(data.class_names)} classes, preset {recipe.preset}")
    epochs, steps = recipe.length(len(data))
    print(
        f"{epochs} epochs of {steps} steps with {recipe.batch_size} pictures; "
        f"curves: {os.path.join(parsed.output, 'curves.png')}",
        flush=True,
    )
    if (warmup := recipe.warmup(epochs * steps)) < recipe.warmup_steps:
        told = f"warm-up: {warmup} steps, a third of all, instead of {recipe.warmup_steps}"
        print(told, flush=True)
    _import_tensorflow()
    from ssd_keras.engine.train import train

    history = train(
        recipe,
        data,
        validation,
        parsed.output,
        resume=parsed.resume,
        progress=_is_terminal() or "lines",
        devices=devices,
    )
    if parsed.process_index:
        print(f"process {parsed.process_index} is done; process 0 wrote the model")
        return
    scored = [row for row in history if row.get("val_AP") is not None]
    if scored:
        best = max(scored, key=lambda row: row["val_AP"])
        print(
            f"best: AP {best['val_AP']:.3f}, AP50 {best['val_AP50']:.3f} "
            f"after epoch {best['epoch']:g}"
        )
    print(f"wrote {os.path.join(parsed.output, 'model.keras')}")


def evaluate(parsed: argparse.Namespace) -> None:
    """Measures a detector on data and prints the table."""
    _import_tensorflow()
    from ssd_keras.engine.detector import load_detector
    from ssd_keras.engine.evaluate import evaluate, write_json
    from ssd_keras.metrics import metrics_table

    detector = load_detector(parsed.model)
    data = _load(parsed.data, parsed.bad_data, detector.class_names, part="validation")
    metrics = evaluate(
        detector,
        data,
        parsed.batch_size,
        progress=_is_terminal(),
        plots=parsed.plots,
        title=f"{parsed.model} on {' '.join(parsed.data)}",
    )
    print(metrics_table(metrics))
    print(f"{metrics['pictures_per_second']} pictures a second, reading included")
    if parsed.json:
        write_json(metrics, parsed.json)
    if parsed.plots:
        print(f"wrote {os.path.join(parsed.plots, 'report.html')}")


def predict(parsed: argparse.Namespace) -> None:
    """Draws and lists what a detector finds in pictures, or in videos."""
    _import_tensorflow()
    from ssd_keras.engine.detector import load_detector
    from ssd_keras.engine.predict import find_pictures, predict
    from ssd_keras.engine.video import is_video

    are_videos = set(map(is_video, parsed.pictures))
    if len(are_videos) > 1:
        raise ValueError("pictures and videos are mixed; name them in two calls.")
    if are_videos == {True}:
        _predict_videos(parsed)
        return
    pictures = find_pictures(parsed.pictures)
    detector = load_detector(parsed.model)
    detections, problems = predict(
        detector,
        pictures,
        parsed.output,
        draw_above=parsed.draw_above,
        batch_size=parsed.batch_size,
        progress=_is_terminal(),
    )
    _print_problems(problems)
    drawn = sum(one["score"] >= parsed.draw_above for one in detections)
    print(
        f"wrote {len(pictures) - len(problems)} pictures and {len(detections)} detections "
        f"({drawn} drawn) to {parsed.output}"
    )


def _predict_videos(parsed: argparse.Namespace) -> None:
    from ssd_keras.engine.detector import load_detector
    from ssd_keras.engine.video import import_opencv, predict_videos

    import_opencv()  # before the model: it takes longer
    detections, reports, problems = predict_videos(
        load_detector(parsed.model),
        parsed.pictures,
        parsed.output,
        draw_above=parsed.draw_above,
        batch_size=parsed.batch_size,
        most_frames=parsed.frames,
        progress=_is_terminal(),
    )
    _print_problems(problems)
    print(*reports, sep="\n")
    print(f"wrote {len(reports)} videos and {len(detections)} detections to {parsed.output}")


def score(parsed: argparse.Namespace) -> None:
    """Measures detections that another program made."""
    from ssd_keras.engine.evaluate import score, write_json
    from ssd_keras.metrics import metrics_table

    data = _load(parsed.data, parsed.bad_data, check_pictures=False, part="validation")
    title = f"{parsed.detections} on {' '.join(parsed.data)}"
    metrics = score(parsed.detections, data, plots=parsed.plots, title=title)
    print(metrics_table(metrics))
    if parsed.json:
        write_json(metrics, parsed.json)
    if parsed.plots:
        print(f"wrote {os.path.join(parsed.plots, 'report.html')}")


def export(parsed: argparse.Namespace) -> None:
    """Writes a SavedModel or a TFLite file, checked in a fresh process."""
    from ssd_keras.serving.request import check_request

    options = {
        "precision": parsed.precision,
        "quantize": parsed.quantize,
        "post_processing": parsed.post_processing,
        "input_dtype": parsed.input,
    }
    settings = {
        name: getattr(parsed, name)
        for name in ("score_threshold", "iou_threshold", "max_detections")
        if getattr(parsed, name) is not None
    }
    options = {name: value for name, value in options.items() if value is not None}
    check_request(parsed.output, parsed.format, options, parsed.calibration_data)
    _import_tensorflow()
    from ssd_keras.serving.export import export, pictures_of

    model = _model_or_preset(parsed.model)
    data = None
    if parsed.calibration_data:
        data = _load(parsed.calibration_data, parsed.bad_data, model.class_names)
    print("exporting, then checking in a fresh process: up to a minute")
    report = export(
        model,
        parsed.output,
        parsed.format,
        settings=dataclasses.replace(model.detection_settings, **settings),
        pictures=pictures_of(data, CALIBRATION_PICTURES) if data else (),
        **options,
    )
    print(report)


def import_weights(parsed: argparse.Namespace) -> None:
    """Reads weights that were trained elsewhere and writes them in Keras' form."""
    _import_tensorflow()
    from ssd_keras.importers.importer import import_file

    print(import_file(parsed.source, parsed.file, parsed.output, parsed.labels))


def _model_or_preset(name: str) -> "SSD":
    from ssd_keras.engine.detector import load_model
    from ssd_keras.presets import from_preset, is_trained

    if not is_trained(name):
        print(f"note: the preset {name} has random weights", file=sys.stderr)
        return from_preset(name)
    return load_model(name)


def show_data(parsed: argparse.Namespace) -> None:
    """Draws a sheet of pictures as training sees them."""
    from ssd_keras.recipes import TrainRecipe, load_recipe
    from ssd_keras.visualize import save_image

    recipe = TrainRecipe(preset=parsed.preset, steps=1)
    if parsed.recipe:
        recipe = load_recipe(parsed.recipe)
    data = _load(parsed.data, parsed.bad_data)
    _import_tensorflow()
    from ssd_keras.engine.show import training_sheet

    save_image(training_sheet(recipe, data, parsed.count, parsed.seed), parsed.output)
    print(f"wrote {parsed.output}")


def check_data(parsed: argparse.Namespace) -> None:
    """Examines a data set, and how well a model's default boxes suit it."""
    from ssd_keras.data.splits import load_splits
    from ssd_keras.doctor.check import examine

    if parsed.set and not (parsed.preset or parsed.recipe):
        raise ValueError(f"--set {parsed.set[0]!r} changes a recipe; pass --preset or --recipe too")
    recipe = _recipe(parsed) if parsed.preset or parsed.recipe else None
    splits = load_splits(parsed.data, _is_terminal(), parsed.bad_data)
    examination = examine(splits, _is_terminal())
    print(examination)
    boxes = None
    if recipe is not None:
        _import_tensorflow()
        from ssd_keras.doctor.boxes import check_boxes, describe_boxes
        from ssd_keras.doctor.layout import layout_of
        from ssd_keras.engine.train import initial_model
        from ssd_keras.presets import is_trained

        model = initial_model(recipe.replace(trunk_weights=""), splits[0].data.class_names)
        changed_by = "the recipe changes it" if parsed.recipe else "--set changes it"
        boxes = check_boxes(
            splits,
            layout_of(model),
            f"{recipe.preset} as {changed_by}" if recipe.model_options else recipe.preset,
            recipe.match_threshold,
            keep_ratios=is_trained(recipe.preset),
            progress=_is_terminal(),
        )
        print(f"\n{describe_boxes(boxes)}")
    if parsed.fix:
        from ssd_keras.doctor.fix import cleaned, describe_kept

        copies, changes = cleaned(examination)
        written = _write_copies(copies, parsed.fix, parsed.layout, parsed.data)
        lines = [*(changes or ["nothing had to be changed"]), *describe_kept(examination, copies)]
        print("\n".join(["", "cleaned copy", *(f"  {line}" for line in [*lines, *written])]))
    if parsed.plots:
        _import_tensorflow()
        from ssd_keras.doctor.plots import write_plots

        plots = write_plots(examination, boxes, parsed.plots)
        print(f"\nwrote {', '.join(map(os.path.basename, plots))} to {parsed.plots}")


def split_data(parsed: argparse.Namespace) -> None:
    """Divides a data set into parts, in a copy."""
    from ssd_keras.doctor.divide import divide

    shares = dict(parsed.parts)
    if len(shares) < len(parsed.parts):
        raise ValueError("--parts names a part twice; expected such as train=0.8 val=0.2")
    data = _load(parsed.data, parsed.bad_data)
    parts, notes = divide(data, shares, parsed.seed, _is_terminal())
    _print_problems(notes)
    print(*_write_copies(parts, parsed.output, parsed.layout, parsed.data), sep="\n")


def convert_data(parsed: argparse.Namespace) -> None:
    """Writes a data set in another layout."""
    from ssd_keras.data.splits import load_splits

    splits = load_splits(parsed.data, _is_terminal(), parsed.bad_data)
    _print_problems([str(problem) for split in splits for problem in split.data.problems])
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
    from ssd_keras.data.copies import describe_copies
    from ssd_keras.data.write import own_layout, write_splits

    layout = layout or own_layout(specs)
    if layout == "tfrecord":
        _import_tensorflow()
    copies = write_splits(splits, folder, layout, shards=shards, progress=_is_terminal())
    return describe_copies(splits, copies, _is_terminal())


def info(parsed: argparse.Namespace) -> None:
    """Describes a model, or lists the presets."""
    from ssd_keras.presets import PRESETS

    if parsed.model == "presets":
        print(*PRESETS.values(), sep="\n")
        return
    if parsed.model.endswith(".py"):
        raise ValueError(
            f"{parsed.model!r} is a recipe, not a model; info wants a RUN directory of `ssd-keras "
            "train`, a .keras file, what `ssd-keras export` wrote, or a preset's name."
        )
    _import_tensorflow()
    from ssd_keras.engine.describe import describe

    print(describe(parsed.model))


def _validation_parts(specs: Sequence[str]) -> list[str]:
    """The validation data of the data files that are trained on whole."""
    from ssd_keras.data.sources import parts_of

    parts = [part for spec in specs for part in parts_of(spec) if part != spec]
    return [part for part in parts if part.endswith("@validation")]


def _recipe(parsed: argparse.Namespace) -> "TrainRecipe":
    from ssd_keras.recipes import TrainRecipe, load_recipe, override

    if not (parsed.recipe or parsed.preset):
        raise ValueError(
            "nothing says what to train; pass --recipe FILE, such as training/recipes/own_data.py, "
            "or --preset NAME, or both."
        )
    if parsed.recipe:
        recipe = load_recipe(parsed.recipe)
        if parsed.preset and parsed.preset != recipe.preset:
            # Options and trunk of the recipe are those of its own preset.
            recipe = recipe.replace(preset=parsed.preset, model_options={}, trunk_weights="")
    else:
        recipe = TrainRecipe(preset=parsed.preset, steps=120_000, decay_steps=(2 / 3, 5 / 6))
    return override(recipe, parsed.set)


def _load(
    specs: Sequence[str],
    bad_data: str,
    class_names: Sequence[str] | None = None,
    check_pictures: bool = True,
    part: str = "train",
) -> "DetectionData":
    from ssd_keras.data.sources import load_data

    data = load_data(
        specs,
        class_names=class_names,
        bad_data=bad_data,
        check_pictures=check_pictures,
        progress=_is_terminal(),
        part=part,
    )
    _print_problems([str(problem) for problem in data.problems])
    return data


def _print_problems(lines: Sequence[str]) -> None:
    for line in lines[:MOST_PROBLEMS]:
        print(f"note: {line}", file=sys.stderr)
    if len(lines) > MOST_PROBLEMS:
        print(f"note: and {len(lines) - MOST_PROBLEMS} more like these", file=sys.stderr)


def _is_terminal() -> bool:
    return sys.stderr.isatty() or bool(os.environ.get("SSD_KERAS_PROGRESS"))


def _import_tensorflow() -> None:
    """Imports TensorFlow without its greeting, which no log level silences."""
    # What TensorFlow reports as errors is what the machine lacks (a GPU, some instructions);
    # real failures are raised.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import_tensorflow()
