"""Docstrings of the public API describe the real arguments, and their examples are true."""

import doctest
import importlib
import inspect
import pkgutil
import re
from enum import EnumType

import pytest

import ssd_keras
import ssd_keras.assigners
import ssd_keras.data
import ssd_keras.evaluation
import ssd_keras.losses
import ssd_keras.models
from ssd_keras.core.records import meanings

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(ssd_keras.__path__, "ssd_keras.")
    if not module.name.endswith("__main__")
)
EXPORTS = (
    ssd_keras,
    ssd_keras.assigners,
    ssd_keras.data,
    ssd_keras.evaluation,
    ssd_keras.losses,
    ssd_keras.models,
)


def is_private_or_inherited(owner, method):
    """A method that a base class of ours defines is documented there."""
    bases = [base for base in owner.__mro__[1:] if base.__module__.startswith("ssd_keras")]
    return method.startswith("_") or any(method in vars(base) for base in bases)


def public_functions():
    """Functions, classes and methods of the public API by name; a class stands for __init__."""
    for package in EXPORTS:
        for name in package.__all__:
            value = getattr(package, name)
            if not callable(value) or isinstance(value, EnumType):
                continue
            yield name, value
            for method, function in vars(value).items() if inspect.isclass(value) else ():
                if inspect.isfunction(function) and not is_private_or_inherited(value, method):
                    yield f"{name}.{method}", function


FUNCTIONS = dict(public_functions())


def faults(name, function):
    """What is wrong with the docstring of a public function."""
    if not (function.__doc__ or "").strip():
        return [f"{name} has no docstring"]
    parameters = {
        parameter.name: parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "self" and parameter.kind is not parameter.VAR_POSITIONAL
    }
    if not re.search(r"^ *Args:$", function.__doc__, re.MULTILINE):
        return [f"{name} has no section Args"] if len(parameters) >= 2 else []
    texts = meanings(function)
    optional = {"kwargs"}  # of Keras' base classes
    if texts.keys() - optional != parameters.keys() - optional:
        return [f"{name} documents {list(texts)}, takes {list(parameters)}"]
    found = []
    for argument, text in texts.items():
        quoted = re.search(r"Default:? (-?\d[\d.e-]*\d|\d|True|False|None)\b", text)
        default = parameters[argument].default if argument in parameters else None
        if quoted and isinstance(default, bool | int | float | None) and eval(quoted[1]) != default:
            found.append(f"{name}: {argument} is {default!r}, its docstring says {quoted[1]}")
    return found


# Methods that Keras calls: Keras documents their arguments.
KERAS_METHODS = re.compile(
    r"\.(call|build|get_config|from_config|compile_from_config|compute_.*|update_step|on_.*|forward)$"
)


def test_public_docstrings_describe_the_arguments():
    found = [
        fault
        for name, function in FUNCTIONS.items()
        if not KERAS_METHODS.search(name)
        for fault in faults(name, function)
    ]
    assert not found, "\n".join(found)


def no_args(boxes, labels):
    """Says nothing of its arguments."""


def drifted(size, count=3):
    """Has drifted.

    Args:
        size: pixels: height and width.
            note: an indented line is no argument.
        old_name: gone.
    """


def wrong_default(size, count=3):
    """Quotes another default.

    Args:
        size: pixels.
        count: how many. Default 4.
    """


def test_each_fault_is_found():
    assert faults("f", no_args) == ["f has no section Args"]
    assert faults("f", drifted) == ["f documents ['size', 'old_name'], takes ['size', 'count']"]
    assert faults("f", wrong_default) == ["f: count is 3, its docstring says 4"]
    assert faults("f", lambda: None) == ["f has no docstring"]


def examples(name):
    module = importlib.import_module(name)
    # What a module defines is at hand in its examples, as after an import of all its names.
    return [test for test in doctest.DocTestFinder().find(module, name) if test.examples]


def test_examples_are_found():
    names = {test.name for module in MODULES for test in examples(module)}
    assert {"ssd_keras.models.ssd.SSD", "ssd_keras.data.sources.load_data"} <= names


@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name):
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    output = []
    for test in examples(name):
        runner.run(test, out=output.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(output)
