"""The parser of `ssd-keras`: finds the command and runs it with its arguments."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence

from ssd_keras.cli import (
    benchmark,
    completion,
    data,
    demo,
    evaluate,
    export,
    import_weights,
    info,
    predict,
    score,
    train,
)
from ssd_keras.cli.command_parser import Command, CommandParser, examples_text
from ssd_keras.cli.version import VersionAction
from ssd_keras.core.terminal import lasting_output

COMMANDS: dict[str, Command] = {
    "demo": demo,
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "score": score,
    "export": export,
    "benchmark": benchmark,
    "import": import_weights,
    "data": data,
    "info": info,
    "completion": completion,
}
DESCRIPTION = "Trains, measures and exports SSD object detectors in Keras 3."
EXAMPLES = (
    "ssd-keras train --recipe own_data --train-data voc:ROOT@train --output runs/mine",
    "ssd-keras train --help",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `ssd-keras`; returns 0, or 2 after printing one line that says what is wrong."""
    with lasting_output(), _short_warnings():
        return _run(sys.argv[1:] if arguments is None else arguments)


@contextlib.contextmanager
def _short_warnings() -> Iterator[None]:
    """Prints warnings in one line each."""
    usual = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"ssd-keras: warning: {message}\n"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd files, with its own path
            yield
    finally:
        warnings.formatwarning = usual


def _run(arguments: Sequence[str]) -> int:
    try:
        parsed = vars(build_parser().parse_args(arguments))
        run = parsed.pop("run")
        run(**parsed)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _fail("interrupted; `train` and `predict --format parquet` go on with --resume")
    except Exception as error:
        if os.environ.get("SSD_KERAS_TRACEBACK"):
            raise
        return _fail(str(error) or type(error).__name__)
    return 0


def build_parser() -> CommandParser:
    """Returns the parser of all commands; its result has `run` and the arguments of `run`."""
    parser = CommandParser(
        prog="ssd-keras", description=DESCRIPTION, epilog=examples_text(EXAMPLES)
    )
    parser.add_commands(COMMANDS, "commands", "COMMAND")
    parser.add_help_flag()
    parser.add_argument_group("version").add_argument("-V", "--version", action=VersionAction)
    return parser


def _fail(message: str) -> int:
    print(f"ssd-keras: {' '.join(message.split())}", file=sys.stderr)
    return 2
