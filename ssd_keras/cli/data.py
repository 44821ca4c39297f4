"""`ssd-keras data`: its actions are commands with a file each."""

from ssd_keras.cli import data_check, data_convert, data_serve, data_show, data_split
from ssd_keras.cli.command_parser import Command, CommandParser

HELP = "check, look at, split, convert and serve data sets"
DESCRIPTION = "Checks, draws, splits and converts data sets. `ssd-keras info data` lists the kinds."
EXAMPLES = ("ssd-keras data check voc:ROOT@train voc:ROOT@val --recipe own_data --plots plots",)
ACTIONS: dict[str, Command] = {
    "check": data_check,
    "show": data_show,
    "split": data_split,
    "convert": data_convert,
    "serve": data_serve,
}


def add_arguments(parser: CommandParser) -> None:
    parser.add_commands(ACTIONS, "actions", "ACTION")
