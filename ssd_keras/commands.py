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

from ssd_keras.asked import asked_data, asked_recipe, is_terminal, print_problems, start_tensorflow

if TYPE_CHECKING:
    from ssd_keras.models import SSD

# int8 calibration gains nothing from more.
CALIBRATION_IMAGES = 200


def train(parsed: argparse.Namespace) -> None:
    """Trains by a recipe or from a preset, and says which epoch was best."""
    from ssd_keras.engine.distributed.devices import Devices

    recipe = asked_recipe(parsed)
    devices = Devices(
        parsed.devices, parsed.coordinator, parsed.num_processes, parsed.process_index
    )
    data = asked_data(parsed.train_data, parsed.bad_data)
    validation = None
    if validation_specs := parsed.validation_data or _validation_parts(parsed.train_data):
        validation = asked_data(
            validation_specs, parsed.bad_data, data.class_names, part="validation"
        )
    print(f"{len(data)} images, {len(data.class_names)} classes, preset {recipe.preset}")
    epochs, steps = recipe.length(len(data))
    print(
        f"{epochs} epochs of {steps} steps with {recipe.batch_size} images; "
        f"curves: {os.path.join(parsed.output, 'curves.png')}",
        flush=True,
    )
    if (warmup := recipe.warmup(epochs * steps)) < recipe.warmup_steps:
        told = f"warm-up: {warmup} steps, a third of all, instead of {recipe.warmup_steps}"
        print(told, flush=True)
    start_tensorflow()
    from ssd_keras.engine.train import train

    history = train(
        recipe,
        data,
        validation,
        parsed.output,
        resume=parsed.resume,
        progress=is_terminal() or "lines",
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
    start_tensorflow()
    from ssd_keras.engine.detector import load_detector
    from ssd_keras.engine.evaluate import evaluate, write_json
    from ssd_keras.evaluation.metrics import metrics_table

    detector = load_detector(parsed.model)
    data = asked_data(parsed.data, parsed.bad_data, detector.class_names, part="validation")
    metrics = evaluate(
        detector,
        data,
        parsed.batch_size,
        progress=is_terminal(),
        plots=parsed.plots,
        title=f"{parsed.model} on {' '.join(parsed.data)}",
    )
    print(metrics_table(metrics))
    print(f"{metrics['images_per_second']} images a second, reading included")
    if parsed.json:
        write_json(metrics, parsed.json)
    if parsed.plots:
        print(f"wrote {os.path.join(parsed.plots, 'report.html')}")


def predict(parsed: argparse.Namespace) -> None:
    """Draws and lists what a detector finds in images, or in videos."""
    start_tensorflow()
    from ssd_keras.engine.detector import load_detector
    from ssd_keras.engine.predict import find_images, predict
    from ssd_keras.engine.video import is_video

    are_videos = set(map(is_video, parsed.images))
    if len(are_videos) > 1:
        raise ValueError("images and videos are mixed; name them in two calls.")
    if are_videos == {True}:
        _predict_videos(parsed)
        return
    images = find_images(parsed.images)
    detector = load_detector(parsed.model)
    detections, problems = predict(
        detector,
        images,
        parsed.output,
        display_threshold=parsed.display_threshold,
        batch_size=parsed.batch_size,
        progress=is_terminal(),
    )
    print_problems(problems)
    drawn = sum(one["score"] >= parsed.display_threshold for one in detections)
    print(
        f"wrote {len(images) - len(problems)} images and {len(detections)} detections "
        f"({drawn} drawn) to {parsed.output}"
    )


def _predict_videos(parsed: argparse.Namespace) -> None:
    from ssd_keras.engine.detector import load_detector
    from ssd_keras.engine.video import import_opencv, predict_videos

    import_opencv()  # before the model: it takes longer
    detections, reports, problems = predict_videos(
        load_detector(parsed.model),
        parsed.images,
        parsed.output,
        display_threshold=parsed.display_threshold,
        batch_size=parsed.batch_size,
        most_frames=parsed.frames,
        progress=is_terminal(),
    )
    print_problems(problems)
    print(*reports, sep="\n")
    print(f"wrote {len(reports)} videos and {len(detections)} detections to {parsed.output}")


def score(parsed: argparse.Namespace) -> None:
    """Measures detections that another program made."""
    from ssd_keras.engine.evaluate import score, write_json
    from ssd_keras.evaluation.metrics import metrics_table

    data = asked_data(parsed.data, parsed.bad_data, check_images=False, part="validation")
    title = f"{parsed.detections} on {' '.join(parsed.data)}"
    metrics = score(parsed.detections, data, plots=parsed.plots, title=title)
    print(metrics_table(metrics))
    if parsed.json:
        write_json(metrics, parsed.json)
    if parsed.plots:
        print(f"wrote {os.path.join(parsed.plots, 'report.html')}")


def export(parsed: argparse.Namespace) -> None:
    """Writes a SavedModel or a TFLite file, checked in a fresh process."""
    from ssd_keras.exporters.formats import check_request

    options = {
        "precision": parsed.precision,
        "weights": parsed.weights,
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
    start_tensorflow()
    from ssd_keras.exporters.export import export, images_of

    model = _model_or_preset(parsed.model)
    data = None
    if parsed.calibration_data:
        data = asked_data(parsed.calibration_data, parsed.bad_data, model.class_names)
    print("exporting, then checking in a fresh process: up to a minute")
    report = export(
        model,
        parsed.output,
        parsed.format,
        post_process=dataclasses.replace(model.post_process, **settings),
        images=images_of(data, CALIBRATION_IMAGES) if data else (),
        **options,
    )
    print(report)


def import_weights(parsed: argparse.Namespace) -> None:
    """Reads weights that were trained elsewhere and writes them in Keras' form."""
    start_tensorflow()
    from ssd_keras.importers.import_file import import_file

    print(import_file(parsed.source, parsed.file, parsed.output, parsed.labels))


def _model_or_preset(name: str) -> "SSD":
    from ssd_keras.engine.detector import load_model
    from ssd_keras.presets import from_preset, is_trained

    if not is_trained(name):
        print(f"note: the preset {name} has random weights", file=sys.stderr)
        return from_preset(name)
    return load_model(name)


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
    start_tensorflow()
    from ssd_keras.engine.model_summary import describe

    print(describe(parsed.model))


def _validation_parts(specs: Sequence[str]) -> list[str]:
    """The validation data of the data files that are trained on whole."""
    from ssd_keras.data.sources import parts_of

    parts = [part for spec in specs for part in parts_of(spec) if part != spec]
    return [part for part in parts if part.endswith("@validation")]
