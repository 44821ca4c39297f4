"""`ssd-keras data split`."""

import argparse
from collections.abc import Sequence

from ssd_keras.cli.arguments import DATA_HELP, add_data_words
from ssd_keras.cli.data_convert import FORMAT_HELP, write_copies
from ssd_keras.cli.inputs import print_problems, read_data
from ssd_keras.core.data_formats import DATA_FORMATS
from ssd_keras.core.terminal import is_terminal

HELP = "split data into training and validation data"
DESCRIPTION = (
    "Writes a copy of the data in parts. Each part has the same mix of classes; images that look "
    "alike, and frames of one video by their names, stay in one part."
)
EXAMPLES = (
    "ssd-keras data split voc:ROOT@all --output SPLIT",
    "ssd-keras data split coco:all.json@images --parts train=0.7 val=0.2 test=0.1 --output SPLIT",
)
GROUPS_HELP = (
    "what stays in one part: `look` (default), images that look alike and frames with numbered "
    "names; `none`, nothing; `blocks`, parts are runs of consecutive names in each numbered "
    "sequence, for frames of cameras; or a regular expression, images whose names have the same "
    "match of it, or of its first group"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_words(parser, DATA_HELP)
    parts = parser.add_argument_group("parts")
    parts.add_argument(
        "--parts",
        nargs="+",
        type=_part,
        default=[("train", 0.8), ("val", 0.2)],
        metavar="NAME=SHARE",
        help="names and shares of the parts, together 1; default: train=0.8 val=0.2",
    )
    parts.add_argument("--groups", default="look", metavar="WORD", help=GROUPS_HELP)
    parts.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="another number splits otherwise; default %(default)s",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--output", required=True, metavar="DIR", help="new folder to write")
    output.add_argument("--format", choices=DATA_FORMATS, help=f"format to write; {FORMAT_HELP}")
    parser.set_defaults(run=run)


def run(
    data: Sequence[str],
    output: str,
    parts: Sequence[tuple[str, float]],
    seed: int,
    groups: str,
    format: str | None,
    bad_data: str,
    max_pixels: int,
) -> None:
    from ssd_keras.doctor.split import split_data

    shares = dict(parts)
    if len(shares) < len(parts):
        raise ValueError("--parts names a part twice; expected such as train=0.8 val=0.2")
    loaded = read_data(data, bad_data, max_pixels=max_pixels)
    splits, notes = split_data(loaded, shares, seed, groups, is_terminal())
    print_problems(notes)
    print(*write_copies(splits, output, format, data), sep="\n")


def _part(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be such as train=0.8") from None
