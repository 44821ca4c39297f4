"""Rules of style that a reader relies on, checked by reading the source, not by importing it."""

import ast
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
MODULES = sorted((REPOSITORY / "ssd_keras").rglob("*.py"))
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
# In two parts, so that this file does not match itself.
FORBIDDEN = ["/wo" + "rk/", "/tmp/bash" + "_jobs", "sub" + "agent", "session" + " id"]

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.Module) -> Iterator[Function]:
    """All functions, methods and nested functions."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def code_lines(function: Function, lines: list[str]) -> int:
    """Lines of the function that are neither docstring nor comment nor blank."""
    numbers = set(range(function.lineno, function.end_lineno + 1))
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        numbers -= set(range(docstring.lineno, docstring.end_lineno + 1))
    return sum(bool(re.match(r"\s*[^\s#]", lines[number - 1])) for number in numbers)


def faults(source: str) -> Iterator[tuple[str, str]]:
    """Pairs (rule, what is wrong) of one module."""
    tree, lines = ast.parse(source), source.splitlines()
    for node in functions(tree):
        if (length := code_lines(node, lines)) >= MAX_FUNCTION_LINES:
            yield "function length", f"line {node.lineno}: {node.name} has {length} lines of code"
    if len(lines) >= MAX_FILE_LINES:
        yield "file length", f"{len(lines)} lines"
    for number, line in enumerate(lines, 1):
        if re.search(r"\b(TODO|FIXME|XXX)\b", line):
            yield "unfinished", f"line {number}: {line.strip()}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield "assert", f"line {node.lineno}: assert (python -O drops it; raise ValueError)"


RULES = ["function length", "file length", "unfinished", "assert"]

FAULTY = """
def check(boxes):
    assert boxes  # TODO: raise
"""


@pytest.mark.parametrize("rule", RULES)
def test_package_keeps_the_rule(rule):
    assert MODULES
    broken = [
        f"{path.relative_to(REPOSITORY)}: {what}"
        for path in MODULES
        for name, what in faults(path.read_text(encoding="utf-8"))
        if name == rule
    ]
    assert not broken, "\n".join(broken)


def test_each_rule_finds_its_fault():
    too_long = "def long():\n" + "    x = 1\n" * 60 + "x = 1\n" * 400
    found = [rule for rule, _ in faults(FAULTY + too_long)]
    assert sorted(found) == sorted(RULES)


def test_a_public_name_is_defined_once():
    homes = defaultdict(list)
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(path.relative_to(REPOSITORY).as_posix())
    twice = {name: files for name, files in homes.items() if len(files) > 1}
    commands, programs = {"add_arguments", "run"}, {"main"}
    formats = {"write", "start", "check_operators", "load", "describe"}
    assert twice.keys() <= commands | programs | formats, twice


def test_repository_names_no_foreign_place():
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    if listing.returncode != 0:
        pytest.skip("NOT TESTED: this is no git checkout, so its own files are not known")
    found = []
    for name in filter(None, listing.stdout.split("\0")):
        try:
            text = (REPOSITORY / name).read_text(encoding="utf-8").lower()
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # images, weights and files deleted but not yet committed
        found += [f"{name}: {word!r}" for word in FORBIDDEN if word in text]
    assert not found, "\n".join(found)
