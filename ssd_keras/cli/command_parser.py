"""The argument parser of commands: short usage, examples, and one line for each error."""

import argparse
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, Protocol

from ssd_keras.core.text import did_you_mean, one_line

MAX_CHOICES = 12  # named in an error
FLAG = re.compile(r"--?[A-Za-z][\w-]*")


class Command(Protocol):
    """A module of this package that is a command."""

    @property
    def HELP(self) -> str:
        """A phrase for the list of commands."""

    @property
    def DESCRIPTION(self) -> str:
        """Sentences."""

    @property
    def EXAMPLES(self) -> Sequence[str]:
        """Commands as they are typed."""

    def add_arguments(self, parser: "CommandParser") -> None:
        """Adds the arguments, and `run` as a default."""


class HelpFormatter(argparse.HelpFormatter):
    """Writes what is required into the usage, and keeps the lines of examples."""

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[Any],
        prefix: str | None = None,
    ) -> None:
        required = sorted(filter(_is_required, actions), key=lambda x: bool(x.option_strings))
        words = [self._prog, *map(self._required_words, required)]
        if not any(action.nargs == argparse.PARSER for action in required):
            words.append("[options]")
        super().add_usage(" ".join(words).replace("%", "%%"), (), (), prefix)

    def _required_words(self, action: argparse.Action) -> str:
        if action.nargs == argparse.PARSER:
            return f"{action.metavar} ..."
        values = self._format_args(action, _metavar(action))
        return " ".join([*action.option_strings[:1], values])

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        lines = text.split("\n")
        return "\n".join(x if x.startswith("  ") else fill(x, width, indent) for x in lines)


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors are a `ValueError` of one line that says what was meant."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **options, formatter_class=HelpFormatter, allow_abbrev=False, add_help=False
        )
        self.root = self  # the parser of all commands

    def add_commands(self, commands: Mapping[str, Command], title: str, metavar: str) -> None:
        """Adds commands; without one of them, the parser prints its help."""
        # Not required for argparse, whose error would be in the place of the help.
        subparsers = self.add_subparsers(prog=self.prog, title=title, metavar=metavar)
        for name, command in commands.items():
            parser = subparsers.add_parser(
                name,
                help=command.HELP,
                description=command.DESCRIPTION,
                epilog=examples_text(command.EXAMPLES),
            )
            parser.root = self.root
            command.add_arguments(parser)
            parser.add_help_flag()
        self.set_defaults(run=self.print_help)

    def add_help_flag(self) -> None:
        """Adds --help behind all other groups."""
        group = self.add_argument_group("help")
        group.add_argument("-h", "--help", action="help", help="print this text")

    def parse_known_args(self, args: Any, namespace: Any = None) -> Any:  # type: ignore[override]
        """Reads the arguments; here, and not above, it is known which flags there are."""
        # Of a parser of commands, those behind the command are the command's.
        own = itertools.takewhile(lambda word: word[:1] == "-", args) if self._subparsers else args
        self._check_flags(own)
        found, unread = super().parse_known_args(args, namespace)
        if unread:
            self.error(f"{one_line(repr(unread[0]))} is one word too many")
        return found, unread

    def _check_flags(self, words: Iterable[str]) -> None:
        known = list(self._option_string_actions)
        for word in words:
            if word == "--":
                return
            flag = word.partition("=")[0]
            if FLAG.fullmatch(flag) and flag not in known:
                question = did_you_mean(flag, known)
                self.error(f"{flag} is unknown{question and '; '}{question}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        name = action.option_strings[-1] if action.option_strings else _metavar(action).lower()
        self.error(
            f"{name} {one_line(repr(value))} is unknown; {did_you_mean(str(value), choices)}"
            f"choose one of {', '.join(choices[:MAX_CHOICES])}"
        )

    def error(self, message: str) -> NoReturn:
        end = "" if message.endswith("? ") else "; "  # a question that names what was meant
        raise ValueError(f"{message}{end}see `{self.prog} --help`")


def examples_text(examples: Sequence[str]) -> str:
    """Returns the end of a help text."""
    title = "example" if len(examples) == 1 else "examples"
    return "\n".join([f"{title}:", *(f"  {x}".replace("\n", "\n    ") for x in examples)])


def _is_required(action: argparse.Action) -> bool:
    return action.required or action.nargs == argparse.PARSER


def _metavar(action: argparse.Action) -> str:
    return str(action.metavar or action.dest)
