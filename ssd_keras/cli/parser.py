"""The parser of `ssd-keras`: finds the command and runs it with its arguments."""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

from ssd_keras.cli import data, evaluate, export, import_weights, info, predict, score, train
from ssd_keras.core.terminal import lasting_output

# Each module has HELP, `add_arguments(parser)` and `run` with the arguments by name.
COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "score": score,
    "export": export,
    "import": import_weights,
    "data": data,
    "info": info,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `ssd-keras`; returns 0, or 2 after printing one line that says what is wrong."""
    warnings.formatwarning = lambda message, *_, **__: f"ssd-keras: warning: {message}\n"
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd image files, with its own path
    with lasting_output():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    parsed = vars(build_parser().parse_args(arguments))
    run = parsed.pop("run")
    try:
        run(**parsed)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _fail("interrupted; a training continues with `ssd-keras train ... --resume`")
    except Exception as error:
        if os.environ.get("SSD_KERAS_TRACEBACK"):
            raise
        return _fail(str(error) or type(error).__name__)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of all commands; its result has `run` and the arguments of `run`."""
    parser = argparse.ArgumentParser(
        prog="ssd-keras", description="SSD object detection in Keras 3."
    )
    subparsers = parser.add_subparsers(metavar="command", required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(subparsers.add_parser(name, help=command.HELP))
    return parser


def _fail(message: str) -> int:
    print(f"ssd-keras: {' '.join(message.split())}", file=sys.stderr)
    return 2
