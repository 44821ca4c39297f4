"""`ssd-keras completion`."""

import argparse
import functools
from collections.abc import Iterator
from typing import Any

from ssd_keras.cli import info
from ssd_keras.cli.command_parser import CommandParser
from ssd_keras.core.extras import import_extra

HELP = "print a script that completes commands in a shell"
DESCRIPTION = (
    "Prints a script that makes a shell complete commands, options, presets, recipes and paths at "
    "a press of Tab. Write it where the shell looks for such scripts."
)
EXAMPLES = (
    "ssd-keras completion bash > ~/.local/share/bash-completion/completions/ssd-keras",
    "ssd-keras completion zsh > ~/.zfunc/_ssd-keras",
)
# Functions that complete one of some names, or the path of a file.
FUNCTIONS = {
    "bash": """{name}() {{ local IFS=" "; compgen -W "{words}" -- "$1"; compgen -f -- "$1"; }}""",
    "zsh": """{name}() {{ _alternative "names:name:({words})" "files:file:_files" }}""",
    "tcsh": "",  # has none: names alone
}


def add_arguments(parser: CommandParser) -> None:
    group = parser.add_argument_group("shell")
    group.add_argument(
        "shell",
        choices=tuple(FUNCTIONS),
        metavar="SHELL",
        help=f"name of the shell: {', '.join(FUNCTIONS)}",
    )
    parser.set_defaults(run=functools.partial(run, parser=parser.root))


def run(shell: str, parser: CommandParser) -> None:
    shtab = import_extra("shtab", "completion", "completion in a shell")
    from ssd_keras.engine.recipes import recipe_names
    from ssd_keras.presets import PRESETS

    names = {
        "presets": list(PRESETS),
        "recipes": recipe_names(),
        "words": [*info.WORDS, *PRESETS],
    }
    functions = []
    for kind, words in names.items():
        name = f"_ssd_keras_{kind}"
        functions.append(FUNCTIONS[shell].format(name=name, words=" ".join(words)))
    for action in _arguments(parser):
        if kind := _kind_of_names(action):
            listed = " ".join(names[kind])
            name = f"_ssd_keras_{kind}"
            action.complete = {"bash": name, "zsh": name, "tcsh": f"({listed})"}
        elif action.metavar in ("DATA", "FILE", "PATH", "IMAGE"):
            action.complete = shtab.FILE
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY
    print(shtab.complete(parser, shell, preamble="\n".join(functions)))


def _arguments(parser: argparse.ArgumentParser) -> Iterator[Any]:
    """Yields the arguments of a parser and of its commands."""
    for action in parser._actions:
        if action.nargs == argparse.PARSER:
            for command in dict(action.choices or {}).values():
                yield from _arguments(command)
        else:
            yield action


def _kind_of_names(action: argparse.Action) -> str:
    """Returns which names an argument takes beside the paths of files, or ""."""
    if action.metavar == "WHAT":
        return "words"
    if action.metavar == "MODEL" or action.dest == "preset":
        return "presets"
    return "recipes" if action.metavar == "NAME" else ""
