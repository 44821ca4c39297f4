"""The command line: words become the arguments of one of the `commands`."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from ssd_keras import commands, data_commands
from ssd_keras.exporters.formats import CHOICES
from ssd_keras.importers import SOURCES

DATA_HELP = (
    "voc:ROOT@SPLIT (ROOT@all: every image), coco:ANNOTATIONS.json@IMAGES_DIR, "
    "yolo:ROOT@SPLIT, csv:TABLE.csv@IMAGES_DIR, tfrecord:PATTERN[@LABEL_MAP], "
    "tfds:voc/2007@train, synthetic:shapes@train or a data file data.toml; several are united "
    "by class name"
)
MODEL_HELP = "a RUN directory of `ssd-keras train`, a .keras file, or a preset with weights"
LAYOUTS = ("voc", "coco", "yolo", "tfrecord")
LAYOUT_HELP = "default: that of the data, or voc where it is not one of these"
DETECTOR_HELP = f"{MODEL_HELP}, or what `ssd-keras export` wrote"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `ssd-keras`."""
    parsed = build_parser().parse_args(arguments)
    try:
        parsed.run(parsed)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return _fail("interrupted; a training goes on with `ssd-keras train ... --resume`")
    except Exception as error:
        if os.environ.get("SSD_KERAS_TRACEBACK"):
            raise
        return _fail(str(error) or type(error).__name__)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="ssd-keras", description="SSD object detection in Keras 3."
    )
    subparsers = parser.add_subparsers(metavar="command", required=True)
    for add in (
        _add_train, _add_evaluate, _add_predict, _add_score, _add_export, _add_import, _add_data,
        _add_info,
    ):  # fmt: skip
        add(subparsers)
    return parser


def _add_train(subparsers: Any) -> None:
    command = subparsers.add_parser("train", help="train a model from a recipe or a preset")
    command.add_argument("--recipe", help="a recipe file, see training/recipes")
    command.add_argument(
        "--preset",
        help="a preset's name, or a trained model to start from, in the place of the recipe's; "
        "without a recipe it is trained as the paper does",
    )
    command.add_argument("--train-data", nargs="+", action="extend", required=True, help=DATA_HELP)
    command.add_argument("--validation-data", nargs="+", action="extend", help=DATA_HELP)
    command.add_argument("--output", required=True, help="RUN directory to write")
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="replace a recipe value"
    )
    command.add_argument("--resume", action="store_true", help="continue what --output holds")
    command.add_argument(
        "--devices",
        type=_number_or_all,
        default=1,
        metavar="N",
        help="GPUs (without any, CPUs) of this host that share each batch, or all; default 1",
    )
    hosts = command.add_argument_group(
        "several hosts", "on each the same command but --process-index; KERAS_BACKEND=jax"
    )
    hosts.add_argument(
        "--coordinator",
        default="",
        metavar="HOST:PORT",
        help="address of process 0; the others wait up to 5 minutes for it, and it for them",
    )
    hosts.add_argument("--num-processes", type=_positive, default=1, metavar="N", help="one a host")
    hosts.add_argument(
        "--process-index", type=int, default=0, metavar="I", help="of this one, from 0; 0 writes"
    )
    _add_bad_data(command)
    command.set_defaults(run=commands.train)


def _add_evaluate(subparsers: Any) -> None:
    command = subparsers.add_parser("evaluate", help="measure a model as the papers do")
    command.add_argument("model", help=DETECTOR_HELP)
    command.add_argument("--data", nargs="+", action="extend", required=True, help=DATA_HELP)
    command.add_argument("--json", help="file to write the numbers to")
    command.add_argument("--plots", help="folder to write report.html to: what went wrong, drawn")
    command.add_argument("--batch-size", type=_positive, default=8)
    _add_bad_data(command)
    command.set_defaults(run=commands.evaluate)


def _add_predict(subparsers: Any) -> None:
    command = subparsers.add_parser("predict", help="draw and list what a model detects")
    command.add_argument("model", help=DETECTOR_HELP)
    command.add_argument(
        "images",
        nargs="+",
        help="image files or folders; or, with OpenCV installed, videos and numbers of cameras",
    )
    command.add_argument("--output", required=True, help="directory to write")
    command.add_argument(
        "--display-threshold",
        type=_share,
        default=0.5,
        help="smallest score drawn, 0..1; default 0.5",
    )
    command.add_argument("--batch-size", type=_positive, default=8)
    command.add_argument(
        "--frames", type=_positive, help="most frames of a video or camera; default: all of them"
    )
    command.set_defaults(run=commands.predict)


def _add_score(subparsers: Any) -> None:
    command = subparsers.add_parser("score", help="measure detections that were made elsewhere")
    command.add_argument("--detections", required=True, help="COCO results JSON")
    command.add_argument("--data", nargs="+", action="extend", required=True, help=DATA_HELP)
    command.add_argument("--json", help="file to write the numbers to")
    command.add_argument("--plots", help="folder to write report.html to, without images")
    _add_bad_data(command)
    command.set_defaults(run=commands.score)


def _add_export(subparsers: Any) -> None:
    saved_model, tflite = CHOICES["saved_model"], CHOICES["tflite"]
    command = subparsers.add_parser("export", help="write a SavedModel or a TFLite file")
    command.add_argument("model", help=f"{MODEL_HELP}, or the name of a preset, untrained")
    command.add_argument("--format", choices=CHOICES, required=True)
    command.add_argument("--output", required=True, help="directory, or file ending in .tflite")
    command.add_argument(
        "--precision",
        choices=saved_model["precision"],
        help="of saved_model's network; bfloat16 is about twice as fast where processor or GPU "
        "computes in it, default float32",
    )
    command.add_argument(
        "--weights",
        choices=saved_model["weights"],
        help="of saved_model; constants (default) are faster with few images at a time, "
        "variables take a sixth of the memory",
    )
    command.add_argument(
        "--quantize",
        choices=tflite["quantize"],
        help="of tflite: smaller weights, or with int8 a smaller network; default float32",
    )
    command.add_argument(
        "--post-processing",
        choices=tflite["post_processing"],
        help="of tflite: exact suppression in builtin operators (default), one custom operator "
        "that suppresses across classes, or raw outputs for GPU delegates",
    )
    command.add_argument("--input", choices=tflite["input_dtype"], help="of tflite; default uint8")
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
    command.set_defaults(run=commands.export)


def _add_import(subparsers: Any) -> None:
    command = subparsers.add_parser("import", help="read weights that were trained elsewhere")
    command.add_argument("source", choices=SOURCES)
    command.add_argument("file", help=".pth, .caffemodel or .tflite file")
    command.add_argument("--output", required=True, help=".keras, or .weights.h5 for a backbone")
    command.add_argument("--labels", help="text file, a class name a line; default: known ones")
    command.set_defaults(run=commands.import_weights)


def _add_data(subparsers: Any) -> None:
    command = subparsers.add_parser("data", help="look at, mend, split and convert data sets")
    actions = command.add_subparsers(metavar="action", required=True)
    show = actions.add_parser("show", help="draw images as training sees them")
    show.add_argument("data", nargs="+", help=DATA_HELP)
    show.add_argument("--output", required=True, help="PNG file to write")
    show.add_argument(
        "--preset", default="ssd300_vgg16_voc", help="whose default boxes are matched"
    )
    show.add_argument("--recipe", help="whose model and augmentation are used, instead")
    show.add_argument("--count", type=_positive, default=12, help="number of images")
    show.add_argument("--seed", type=int, default=0)
    _add_bad_data(show)
    show.set_defaults(run=data_commands.show_data)
    check = actions.add_parser("check", help="find what is wrong, and default boxes that fit")
    check.add_argument("data", nargs="+", help=f"{DATA_HELP}: here each is a split of its own")
    model = check.add_mutually_exclusive_group()
    model.add_argument("--preset", help="whose default boxes are laid over the objects and fitted")
    model.add_argument("--recipe", help="the same, of a recipe's model")
    check.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="replace a recipe value"
    )
    check.add_argument("--plots", metavar="DIR", help="folder for images of all that")
    check.add_argument("--fix", metavar="DIR", help="new folder for a cleaned copy of the data")
    check.add_argument("--layout", choices=LAYOUTS, help=f"of that copy; {LAYOUT_HELP}")
    _add_bad_data(check)
    check.set_defaults(run=data_commands.check_data)
    split = actions.add_parser(
        "split",
        help="divide unsplit data into parts",
        description="Writes a copy of the data in parts. Each has its share of every class; "
        "images that look alike stay in one part.",
    )
    split.add_argument("data", nargs="+", help=DATA_HELP)
    split.add_argument("--output", required=True, help="new folder to write")
    split.add_argument(
        "--parts",
        nargs="+",
        type=_part,
        default=[("train", 0.8), ("val", 0.2)],
        metavar="NAME=SHARE",
        help="their names and shares, together 1; default: train=0.8 val=0.2",
    )
    split.add_argument("--seed", type=int, default=0, help="another one draws other parts")
    split.add_argument("--layout", choices=LAYOUTS, help=LAYOUT_HELP)
    _add_bad_data(split)
    split.set_defaults(run=data_commands.split_data)
    convert = actions.add_parser("convert", help="write the data in another layout")
    convert.add_argument("data", nargs="+", help=f"{DATA_HELP}: here each is a split of its own")
    convert.add_argument("--format", choices=LAYOUTS, required=True)
    convert.add_argument("--output", required=True, help="new folder to write")
    convert.add_argument(
        "--shards", type=_positive, default=1, help="files of each split, of tfrecord; default 1"
    )
    _add_bad_data(convert)
    convert.set_defaults(run=data_commands.convert_data)


def _add_info(subparsers: Any) -> None:
    command = subparsers.add_parser("info", help="describe a model, or list the presets")
    command.add_argument("model", help=f"{DETECTOR_HELP}, a preset's name, or the word presets")
    command.set_defaults(run=commands.info)


def _add_bad_data(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--bad-data",
        choices=("drop", "refuse"),
        default="drop",
        help="what to do with broken images and boxes: leave them out and say so, or stop",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of 1 or more")
    return int(text)


def _number_or_all(text: str) -> int | str:
    return text if text == "all" else _positive(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number between 0 and 1")
    return value


def _part(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be such as train=0.8") from None


def _fail(message: str) -> int:
    print(f"ssd-keras: {' '.join(message.split())}", file=sys.stderr)
    return 2
