"""Rules of style that a reader relies on, checked by reading the source, not by importing it."""

import ast
import inspect
import re
import subprocess
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


def classes(tree: ast.Module) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def public(tree: ast.Module) -> Iterator[Function | ast.ClassDef]:
    """Functions and classes of the module itself whose names have no leading underscore."""
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node


def parameters(function: Function) -> list[str]:
    """Names in order, without self, cls, *args and **kwargs."""
    arguments = function.args
    names = [a.arg for a in arguments.posonlyargs + arguments.args + arguments.kwonlyargs]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def constructor_parameters(node: ast.ClassDef) -> list[str] | None:
    """Those of __init__, else the fields of a dataclass; None where neither is in the class."""
    for item in node.body:
        if isinstance(item, Function) and item.name == "__init__":
            return parameters(item)
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        fields = (item for item in node.body if isinstance(item, ast.AnnAssign))
        return [field.target.id for field in fields if isinstance(field.target, ast.Name)]
    return None


def documented(node: Function | ast.ClassDef) -> list[str] | None:
    """Names in the docstring's section Args, in order; None without such a section."""
    docstring = inspect.cleandoc(ast.get_docstring(node) or "")
    section = re.search(r"^Args:\n((?:[ ].*\n?|\n)+)", docstring, re.MULTILINE)
    if section is None:
        return None
    entries = re.findall(r"^ {4}([`\w*][`\w*, ]*?)(?: \(.*?\))?:", section[1], re.MULTILINE)
    names = [name.strip("` ") for entry in entries for name in entry.split(",")]
    return [name for name in names if not name.startswith("*")]


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
    for node in public(tree):
        if not ast.get_docstring(node):
            yield "docstring", f"line {node.lineno}: {node.name} has no docstring"
        if isinstance(node, Function) and len(parameters(node)) >= 2 and documented(node) is None:
            yield "args section", f"line {node.lineno}: {node.name} has no section Args"
    signatures = [(node, parameters(node)) for node in functions(tree)]
    signatures += [(node, constructor_parameters(node)) for node in classes(tree)]
    for node, wanted in signatures:
        told = documented(node)
        if told is not None and wanted is not None and told != wanted:
            yield "args", f"line {node.lineno}: {node.name} documents {told}, takes {wanted}"
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


RULES = [
    "docstring",
    "args section",
    "args",
    "function length",
    "file length",
    "unfinished",
    "assert",
]

FAULTY = '''
def undocumented(): pass

def no_section(boxes, labels):
    """Says nothing of its arguments."""
    assert boxes  # TODO: raise

class Drifted:
    """Documents what it does not take.

    Args:
        size: int or pair, pixels: as (height, width).
            note: an indented line is no argument.
        old_name (float): gone.
    """
    def __init__(self, size, new_name, **kwargs): pass

@dataclass(frozen=True)
class Record:
    """Keeps the rules.

    Args:
        height, width: pixels.
        *rest: not in the signature.

    Returns:
        nothing: of interest.
    """
    height: int
    width: int
'''


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
    found = list(faults(FAULTY + too_long))
    assert sorted(rule for rule, _ in found) == sorted([*RULES, "docstring"])  # undocumented, long
    (drift,) = (what for rule, what in found if rule == "args")
    assert drift.endswith("documents ['size', 'old_name'], takes ['size', 'new_name']")


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
