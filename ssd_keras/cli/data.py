"""`ssd-keras data`: its actions are commands with a file each."""

import argparse

from ssd_keras.cli import data_check, data_convert, data_show, data_split

HELP = "show, check, split and convert data sets"
ACTIONS = {
    "show": data_show,
    "check": data_check,
    "split": data_split,
    "convert": data_convert,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    subparsers = parser.add_subparsers(metavar="action", required=True)
    for name, action in ACTIONS.items():
        action.add_arguments(subparsers.add_parser(name, help=action.HELP))
