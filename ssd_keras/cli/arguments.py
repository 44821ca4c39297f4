"""Arguments that several commands share."""

import argparse
from collections.abc import Callable

from ssd_keras.core.image_formats import MAX_PIXELS

DATA_HELP = (
    "data set, such as voc:ROOT@train or data.toml; `ssd-keras info data` lists the kinds. "
    "Several are merged by class name"
)
SPLITS_HELP = (
    "data set, such as voc:ROOT@train; `ssd-keras info data` lists the kinds. Several are "
    "splits of one data set, such as its training and its validation data"
)
MODEL_HELP = (
    "RUN folder of `ssd-keras train`, .keras file, hf://OWNER/REPO, "
    "kaggle://OWNER/MODEL/FRAMEWORK/VARIATION, or name of a preset with weights"
)
DETECTOR_HELP = f"{MODEL_HELP}; or what `ssd-keras export` wrote"
PRESET_HELP = "name of `ssd-keras info presets`"
RECIPE_HELP = "name of `ssd-keras info recipes`, TOML file, or RUN folder of an earlier training"

Group = argparse._ActionsContainer  # a parser, or a group of its arguments


def add_bad_data(group: Group) -> None:
    group.add_argument(
        "--bad-data",
        choices=("drop", "refuse"),
        default="drop",
        help="drop broken images and boxes and report them (default), or refuse the data",
    )


def add_max_pixels(group: Group) -> None:
    group.add_argument(
        "--max-pixels",
        type=positive_int,
        default=MAX_PIXELS,
        metavar="N",
        help="drop images of more pixels; default %(default)s",
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """Adds the group of --data."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data", nargs="+", action="extend", required=True, metavar="DATA", help=DATA_HELP
    )
    add_bad_data(group)
    add_max_pixels(group)


def add_data_words(parser: argparse.ArgumentParser, help: str) -> None:
    """Adds the group of DATA without a flag."""
    group = parser.add_argument_group("data")
    group.add_argument("data", nargs="+", metavar="DATA", help=help)
    add_bad_data(group)
    add_max_pixels(group)


def add_overrides(group: Group) -> None:
    group.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a value of the recipe, such as optimizer.learning_rate=0.002; may be "
        "repeated. `ssd-keras info recipe own_data` lists the names with their meaning",
    )


def add_results(parser: argparse.ArgumentParser, plots_help: str) -> None:
    """Adds the group of --json and --plots."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--json", dest="json_path", metavar="FILE", help="also write the metrics to a JSON file"
    )
    group.add_argument("--plots", metavar="DIR", help=plots_help)


def add_batch_size(group: Group) -> None:
    group.add_argument(
        "--batch-size",
        type=positive_int,
        default=8,
        metavar="N",
        help="images that the model takes at once; default %(default)s",
    )


def add_tiles(group: Group) -> None:
    group.add_argument(
        "--tiles",
        type=tile_size,
        metavar="SIDE",
        help="see each image whole and in tiles too, each resized to the model's input, for small "
        "objects in large images: pixels of the image, SIDE or HEIGHTxWIDTH; each tile costs what "
        "an image does. `--tiles 320 --tile-overlap 0.2`, for example",
    )
    group.add_argument(
        "--tile-overlap",
        type=fraction,
        default=0.2,
        metavar="SHARE",
        help="smallest share of a tile that its neighbours show too, 0..0.9; an object that is "
        "larger must be found in the whole image; default %(default)s",
    )


def add_ray(group: Group) -> None:
    group.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="detect with processes of Ray Data (extra `ray`): on all cores of this machine, or on "
        "the cluster of an address, HOST:PORT or auto",
    )


def positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of 1 or more")
    return int(text)


def tile_size(text: str) -> tuple[int, ...]:
    return tuple(map(positive_int, text.split("x", 1)))


def fraction_or_word(word: str) -> Callable[[str], float | str]:
    """Returns the type of an argument that is a fraction or one word."""

    def parse(text: str) -> float | str:
        return text if text == word else fraction(text, f" or the word {word}")

    return parse


def fraction(text: str, alternative: str = "") -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number between 0 and 1{alternative}")
    return value
