"""Arguments that several commands share."""

import argparse

from ssd_keras.core.images import MAX_PIXELS

DATA_HELP = (
    "voc:ROOT@SPLIT (ROOT@all: every image; SPLIT+negatives: images without XML have no objects), "
    "coco:ANNOTATIONS.json@IMAGES_DIR, yolo:ROOT@SPLIT, images:DIR (without objects), "
    "csv:TABLE.csv@IMAGES_DIR, tfrecord:PATTERN[@LABEL_MAP], "
    "tfds:voc/2007@train, synthetic:shapes@train or a data file data.toml; several are united "
    "by class name"
)
SPLITS_HELP = f"{DATA_HELP}; here each one is a split"
MODEL_HELP = "a RUN folder of `ssd-keras train`, a .keras file, or a preset with weights"
RECIPE_HELP = "a name of `ssd-keras info recipes`, a TOML file, or a RUN folder"
DETECTOR_HELP = f"{MODEL_HELP}, or what `ssd-keras export` wrote"


def add_bad_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bad-data",
        choices=("drop", "refuse"),
        default="drop",
        help="what to do with broken images and boxes: drop and report them (default), or stop",
    )


def add_max_pixels(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-pixels",
        type=positive_int,
        default=MAX_PIXELS,
        metavar="N",
        help="largest number of pixels of an image that is read; default %(default)s",
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", nargs="+", action="extend", required=True, help=DATA_HELP)
    add_bad_data(parser)
    add_max_pixels(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="replace a value of the recipe, such as optimizer.learning_rate=0.002; `ssd-keras "
        "info recipe NAME` lists them",
    )


def add_results(parser: argparse.ArgumentParser, plots_help: str) -> None:
    parser.add_argument("--json", dest="json_path", metavar="FILE", help="file for the metrics")
    parser.add_argument("--plots", metavar="DIR", help=plots_help)


def positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of 1 or more")
    return int(text)


def fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number between 0 and 1")
    return value
