"""The command line: parse, call one function, print. Heavy imports stay inside the commands."""

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ssd_keras.importers import SOURCES
from ssd_keras.quiet import quiet

if TYPE_CHECKING:
    from ssd_keras.data.examples import DetectionData
    from ssd_keras.models import SSD

DATA_HELP = (
    "synthetic:shapes@train, voc:ROOT@SPLIT or coco:ANNOTATIONS.json@IMAGES_DIR; several are "
    "united by class name"
)
MODEL_HELP = "a RUN directory of `ssd-keras train`, or a .keras file"
DETECTOR_HELP = f"{MODEL_HELP}, or what `ssd-keras export` wrote"
# int8 calibration gains nothing from more.
CALIBRATION_PICTURES = 200
MOST_PROBLEMS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `ssd-keras`.

    Args:
        arguments: words after the program's name. Default: those of the process.

    Returns:
        exit status: 0, or 2 with one line that says what is wrong.
    """
    parsed = build_parser().parse_args(arguments)
    try:
        parsed.run(parsed)
    except KeyboardInterrupt:
        return _fail("interrupted; a training goes on with `ssd-keras train ... --resume`")
    except Exception as error:
        if os.environ.get("SSD_KERAS_TRACEBACK"):
            raise
        return _fail(str(error) or type(error).__name__)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands.

    Returns:
        `argparse.ArgumentParser` whose result has `run`, the function to call.
    """
    parser = argparse.ArgumentParser(
        prog="ssd-keras", description="SSD object detection in Keras 3."
    )
    commands = parser.add_subparsers(metavar="command", required=True)
    for add in (
        _add_train, _add_evaluate, _add_predict, _add_score, _add_export, _add_import, _add_data,
        _add_info,
    ):  # fmt: skip
        add(commands)
    return parser


def _add_train(commands: Any) -> None:
    command = commands.add_parser("train", help="train a model from a recipe or a preset")
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("--recipe", help="a recipe file, see training/recipes")
    source.add_argument("--preset", help="a preset's name, or a trained model to start from")
    command.add_argument("--train-data", nargs="+", action="extend", required=True, help=DATA_HELP)
    command.add_argument("--validation-data", nargs="+", action="extend", help=DATA_HELP)
    command.add_argument("--output", required=True, help="RUN directory to write")
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="replace a recipe value"
    )
    command.add_argument("--resume", action="store_true", help="continue what --output holds")
    _add_bad_data(command)
    command.set_defaults(run=_train)


def _add_evaluate(commands: Any) -> None:
    command = commands.add_parser("evaluate", help="measure a model as the papers do")
    command.add_argument("model", help=DETECTOR_HELP)
    command.add_argument("--data", nargs="+", action="extend", required=True, help=DATA_HELP)
    command.add_argument("--json", help="file to write the numbers to")
    command.add_argument("--batch-size", type=_positive, default=8)
    _add_bad_data(command)
    command.set_defaults(run=_evaluate)


def _add_predict(commands: Any) -> None:
    command = commands.add_parser("predict", help="draw and list what a model detects")
    command.add_argument("model", help=DETECTOR_HELP)
    command.add_argument("pictures", nargs="+", help="picture files or folders")
    command.add_argument("--output", required=True, help="directory to write")
    command.add_argument(
        "--draw-above", type=_share, default=0.5, help="smallest score drawn, 0..1; default 0.5"
    )
    command.add_argument("--batch-size", type=_positive, default=8)
    command.set_defaults(run=_predict)


def _add_score(commands: Any) -> None:
    command = commands.add_parser("score", help="measure detections that were made elsewhere")
    command.add_argument("--detections", required=True, help="COCO results JSON")
    command.add_argument("--data", nargs="+", action="extend", required=True, help=DATA_HELP)
    command.add_argument("--json", help="file to write the numbers to")
    _add_bad_data(command)
    command.set_defaults(run=_score)


def _add_export(commands: Any) -> None:
    command = commands.add_parser("export", help="write a SavedModel or a TFLite file")
    command.add_argument("model", help=f"{MODEL_HELP}, or the name of a preset, untrained")
    command.add_argument("--format", choices=("saved_model", "tflite"), required=True)
    command.add_argument("--output", required=True, help="directory, or file ending in .tflite")
    command.add_argument(
        "--quantize",
        choices=("float16", "dynamic", "int8"),
        help="of tflite: smaller weights, or with int8 a smaller network; default float32",
    )
    command.add_argument(
        "--post-processing",
        choices=("builtin", "op", "none"),
        help="of tflite: exact suppression in builtin operators (default), one custom operator "
        "that suppresses across classes, or raw outputs for GPU delegates",
    )
    command.add_argument("--input", choices=("uint8", "float32"), help="of tflite; default uint8")
    command.add_argument(
        "--calibration-data",
        nargs="+",
        action="extend",
        default=[],
        help=f"what int8 is calibrated on and the check looks at: {DATA_HELP}",
    )
    for name, kind in (("score-threshold", _share), ("iou-threshold", _share)):
        command.add_argument(f"--{name}", type=kind, help="default: the model's own")
    command.add_argument("--max-detections", type=_positive, help="default: the model's own")
    _add_bad_data(command)
    command.set_defaults(run=_export)


def _add_import(commands: Any) -> None:
    command = commands.add_parser("import", help="read weights that were trained elsewhere")
    command.add_argument("source", choices=SOURCES)
    command.add_argument("file", help=".pth, .caffemodel or .tflite file")
    command.add_argument("--output", required=True, help=".keras, or .weights.h5 for a trunk")
    command.add_argument("--labels", help="text file, a class name a line; default: known ones")
    command.set_defaults(run=_import)


def _add_data(commands: Any) -> None:
    command = commands.add_parser("data", help="look at a data set")
    actions = command.add_subparsers(metavar="action", required=True)
    show = actions.add_parser("show", help="draw pictures as training sees them")
    show.add_argument("data", nargs="+", help=DATA_HELP)
    show.add_argument("--output", required=True, help="PNG file to write")
    show.add_argument(
        "--preset", default="ssd300_vgg16_voc", help="whose default boxes are matched"
    )
    show.add_argument("--recipe", help="whose model and augmentation are used, instead")
    show.add_argument("--count", type=_positive, default=12, help="number of pictures")
    show.add_argument("--seed", type=int, default=0)
    _add_bad_data(show)
    show.set_defaults(run=_show_data)


def _add_info(commands: Any) -> None:
    command = commands.add_parser("info", help="describe a model, or list the presets")
    command.add_argument("model", help=f"{DETECTOR_HELP}, a preset's name, or the word presets")
    command.set_defaults(run=_info)


def _add_bad_data(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--bad-data",
        choices=("drop", "refuse"),
        default="drop",
        help="what to do with broken pictures and boxes: leave them out and say so, or stop",
    )


def _train(parsed: argparse.Namespace) -> None:
    from ssd_keras.recipes import TrainRecipe, load_recipe, override

    if parsed.recipe:
        recipe = load_recipe(parsed.recipe)
    else:
        recipe = TrainRecipe(preset=parsed.preset, steps=120_000, decay_steps=(2 / 3, 5 / 6))
    recipe = override(recipe, parsed.set)
    data = _load(parsed.train_data, parsed.bad_data)
    validation = None
    if parsed.validation_data:
        validation = _load(parsed.validation_data, parsed.bad_data, data.class_names)
    print(f"{len(data)} pictures, {len(data.class_names)} classes, preset {recipe.preset}")
    _import_tensorflow()
    from ssd_keras.engine.train import train

    history = train(
        recipe, data, validation, parsed.output, resume=parsed.resume, progress=_is_terminal()
    )
    scored = [row for row in history if row.get("val_AP") is not None]
    if scored:
        best = max(scored, key=lambda row: row["val_AP"])
        print(
            f"best: AP {best['val_AP']:.3f}, AP50 {best['val_AP50']:.3f} "
            f"after epoch {best['epoch']:g}"
        )
    print(f"wrote {os.path.join(parsed.output, 'model.keras')}")


def _evaluate(parsed: argparse.Namespace) -> None:
    _import_tensorflow()
    from ssd_keras.engine.detector import load_detector
    from ssd_keras.engine.evaluate import evaluate, write_json
    from ssd_keras.metrics import metrics_table

    detector = load_detector(parsed.model)
    data = _load(parsed.data, parsed.bad_data, detector.class_names)
    metrics = evaluate(detector, data, parsed.batch_size, progress=_is_terminal())
    print(metrics_table(metrics))
    print(f"{metrics['pictures_per_second']} pictures a second, reading included")
    if parsed.json:
        write_json(metrics, parsed.json)


def _predict(parsed: argparse.Namespace) -> None:
    _import_tensorflow()
    from ssd_keras.engine.detector import load_detector
    from ssd_keras.engine.predict import find_pictures, predict

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


def _score(parsed: argparse.Namespace) -> None:
    from ssd_keras.engine.evaluate import score, write_json
    from ssd_keras.metrics import metrics_table

    data = _load(parsed.data, parsed.bad_data, check_pictures=False)
    metrics = score(parsed.detections, data)
    print(metrics_table(metrics))
    if parsed.json:
        write_json(metrics, parsed.json)


def _export(parsed: argparse.Namespace) -> None:
    options = {
        "quantize": parsed.quantize,
        "post_processing": parsed.post_processing,
        "input_dtype": parsed.input,
    }
    settings = {
        name: getattr(parsed, name)
        for name in ("score_threshold", "iou_threshold", "max_detections")
        if getattr(parsed, name) is not None
    }
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
        **{name: value for name, value in options.items() if value is not None},
    )
    print(report)


def _import(parsed: argparse.Namespace) -> None:
    _import_tensorflow()
    from ssd_keras.importers.importer import import_file

    print(import_file(parsed.source, parsed.file, parsed.output, parsed.labels))


def _model_or_preset(name: str) -> "SSD":
    from ssd_keras.engine.detector import load_model
    from ssd_keras.presets import PRESETS, from_preset

    if name in PRESETS:
        print(f"note: the preset {name} has random weights", file=sys.stderr)
        return from_preset(name)
    return load_model(name)


def _show_data(parsed: argparse.Namespace) -> None:
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


def _info(parsed: argparse.Namespace) -> None:
    from ssd_keras.presets import PRESETS

    if parsed.model == "presets":
        print(*PRESETS.values(), sep="\n")
        return
    _import_tensorflow()
    from ssd_keras.engine.describe import describe

    print(describe(parsed.model))


def _load(
    specs: Sequence[str],
    bad_data: str,
    class_names: Sequence[str] | None = None,
    check_pictures: bool = True,
) -> "DetectionData":
    from ssd_keras.data.sources import load_data

    data = load_data(
        specs,
        class_names=class_names,
        bad_data=bad_data,
        check_pictures=check_pictures,
        progress=_is_terminal(),
    )
    _print_problems([str(problem) for problem in data.problems])
    return data


def _print_problems(lines: Sequence[str]) -> None:
    for line in lines[:MOST_PROBLEMS]:
        print(f"note: {line}", file=sys.stderr)
    if len(lines) > MOST_PROBLEMS:
        print(f"note: and {len(lines) - MOST_PROBLEMS} more like these", file=sys.stderr)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of 1 or more")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number between 0 and 1")
    return value


def _is_terminal() -> bool:
    return sys.stderr.isatty() or bool(os.environ.get("SSD_KERAS_PROGRESS"))


def _fail(message: str) -> int:
    print(f"ssd-keras: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _import_tensorflow() -> None:
    """Imports TensorFlow without its greeting, which no log level silences."""
    # What TensorFlow reports as errors is what the machine lacks (a GPU, some instructions);
    # real failures are raised.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet():
        import tensorflow  # noqa: F401
