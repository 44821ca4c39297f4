"""`ssd-keras data convert`."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ssd_keras.cli.arguments import SPLITS_HELP, add_data_words, positive_int
from ssd_keras.cli.inputs import print_problems
from ssd_keras.core.data_formats import DATA_FORMATS
from ssd_keras.core.terminal import is_terminal, start_tensorflow

if TYPE_CHECKING:
    from ssd_keras.data.splits import Split

HELP = "write data in another format, rename or drop classes"
DESCRIPTION = (
    "Writes a copy of the data as VOC, COCO, YOLO or TFRecord files, with classes renamed, merged "
    "or dropped on request."
)
EXAMPLES = (
    "ssd-keras data convert voc:ROOT@train voc:ROOT@val --format coco --output COPY",
    "ssd-keras data convert yolo:ROOT@train --format yolo \\\n"
    "--rename van=vehicle --rename bus=vehicle --drop person --output COPY",
)
FORMAT_HELP = "default: the format of the data, or voc where it cannot be written"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_words(parser, SPLITS_HELP)
    classes = parser.add_argument_group("classes")
    classes.add_argument(
        "--rename",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="rename a class; classes with the same new name become one. May be repeated",
    )
    classes.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="CLASS",
        help="leave out the objects of a class; may be repeated",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--output", required=True, metavar="DIR", help="new folder to write")
    output.add_argument("--format", choices=DATA_FORMATS, required=True, help="format to write")
    output.add_argument(
        "--shards",
        type=positive_int,
        default=1,
        metavar="N",
        help="number of files of each split, of tfrecord; default %(default)s",
    )
    parser.set_defaults(run=run)


def run(
    data: Sequence[str],
    format: str,
    output: str,
    shards: int,
    rename: Sequence[str],
    drop: Sequence[str],
    bad_data: str,
    max_pixels: int,
) -> None:
    from ssd_keras.data.problems import problem_lines
    from ssd_keras.data.splits import load_splits

    names = dict(map(_new_name, rename))
    splits = load_splits(data, is_terminal(), bad_data, names, drop, max_pixels)
    print_problems(problem_lines([x for split in splits for x in split.data.problems]))
    print(*write_copies(splits, output, format, data, shards), sep="\n")


def _new_name(text: str) -> tuple[str, str]:
    old, _, new = text.partition("=")
    if not old or not new:
        raise ValueError(f"--rename {text!r} is not understood; expected such as van=vehicle")
    return old, new


def write_copies(
    splits: "Sequence[Split]",
    folder: str,
    format: str | None,
    specs: Sequence[str],
    shards: int = 1,
) -> list[str]:
    """Writes splits, by default in the format of their source; returns lines about the copies."""
    from ssd_keras.data.writers.write_splits import default_format, write_splits
    from ssd_keras.data.writers.written_report import describe_copies

    format = format or default_format(specs)
    if format == "tfrecord":
        start_tensorflow()
    copies = write_splits(splits, folder, format, shards=shards)
    return describe_copies(splits, copies, is_terminal())
