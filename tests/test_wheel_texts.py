"""No text of the package names a file that is in the repository alone: a wheel's user has none."""

import ast
import re
from pathlib import Path

import pytest

from ssd_keras.version import URL

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "ssd_keras"
TEXTS = sorted(path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".toml", ".html"))
FOLDERS = "training|export|benchmarks|docs|tests|ssd_keras|notebooks|recipes"
TARGETS = re.findall(r"^([a-z-]+):.*  ## ", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
TARGETS.sort(key=len, reverse=True)  # the first that fits is found
# A folder's file, a document (but the README.md of a model card) or notebook, a target of make.
PATTERN = re.compile(
    rf"""(?<![\w.:-])/?(?:{FOLDERS})/\w[\w./-]*"""
    rf"""|\b(?!README)\w+\.(?:md|ipynb)\b|\b(?:own_data|setup|demo)\.(?:py|cfg)\b|Makefile"""
    rf"""|`make\b[^`]*`|\$ make \w+|\bmake (?:{"|".join(map(re.escape, TARGETS))})\b(?! \w)"""
)
# With the address of the repository a path is a link, as in f"{URL}/blob/main/export/README.md".
LINK = re.compile(r"/blob/main/([\w./-]+)")


def constants(source):
    """All string constants of a module, docstrings too, each with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def faults(text):
    """What a text names that a wheel's user does not have."""
    for path in LINK.findall(text):
        if not (REPOSITORY / path).is_file():
            yield f"{path} is not in the repository"
    without_links = LINK.sub("", text)
    yield from (found.group() for found in PATTERN.finditer(without_links))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("see training/recipes/own_data.py.", "training/recipes/own_data.py."),
        ("`ssd_keras/recipes/own_data.toml`", "ssd_keras/recipes/own_data.toml"),
        ("CHANGELOG.md says so", "CHANGELOG.md"),
        ("or run `make demo`", "`make demo`"),
        ("run make test-slow", "make test-slow"),
        ("own_data.py", "own_data.py"),
        (f"{URL}/blob/main/export/GONE.md", "export/GONE.md is not in the repository"),
    ],
)
def test_each_fault_is_found(text, fault):
    assert list(faults(text)) == [fault]


@pytest.mark.parametrize(
    "text",
    [
        "make room there, or make test images",  # prose
        f"{URL}/blob/main/export/README.md",
        "coco:annotations/instances_train2017.json@train2017, and runs/demo/run",
    ],
)
def test_what_is_right_passes(text):
    assert not list(faults(text))


def test_no_text_of_the_package_names_a_file_of_the_repository():
    found = []
    for path in TEXTS:
        source = path.read_text(encoding="utf-8")
        lines = constants(source) if path.suffix == ".py" else enumerate(source.splitlines(), 1)
        found += [
            f"{path.relative_to(REPOSITORY)}:{number}: {fault}"
            for number, text in lines
            for fault in faults(text)
        ]
    assert len(TEXTS) > 100 and not found, "\n".join(found)
