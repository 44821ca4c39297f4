"""`ssd-keras demo`."""

import argparse
import functools
import os
import shlex
import time

from ssd_keras.cli.command_parser import CommandParser
from ssd_keras.core.terminal import start_tensorflow

HELP = "train, measure, draw and export a small detector on generated images"
DESCRIPTION = (
    "Does the main job in one go, on generated images, in about nine minutes on two processor "
    "cores: looks at the images, trains, evaluates, draws what is found and exports. It prints "
    "each command that it runs, and at the end what to look at and what to do next."
)
EXAMPLES = ("ssd-keras demo",)


def add_arguments(parser: CommandParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output",
        default=os.path.join("runs", "demo"),
        metavar="DIR",
        help="folder to write; what an earlier demo wrote there is replaced; default %(default)s",
    )
    parser.set_defaults(run=functools.partial(run, parser=parser.root))


def run(output: str, parser: argparse.ArgumentParser) -> None:
    start_tensorflow()
    from ssd_keras.engine.demo import Demo

    started = time.perf_counter()
    demo = Demo(output)
    demo.prepare()
    for title, words in demo.commands():
        print(f"\n== {title}\n$ ssd-keras {shlex.join(words)}", flush=True)
        parsed = vars(parser.parse_args(words))
        parsed.pop("run")(**parsed)
    demo.write_gallery()
    print(f"\n{(time.perf_counter() - started) / 60:.1f} minutes", *demo.closing_lines(), sep="\n")
    demo.check()
