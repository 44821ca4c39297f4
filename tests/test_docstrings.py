"""The examples in the package's docstrings give what they say."""

import doctest
import importlib
import pkgutil

import pytest

import ssd_keras

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(ssd_keras.__path__, "ssd_keras.")
    if not module.name.endswith("__main__")
)


def examples(name):
    module = importlib.import_module(name)
    # What a module defines is at hand in its examples, as after an import of all its names.
    return [test for test in doctest.DocTestFinder().find(module, name) if test.examples]


def test_most_modules_are_found():
    assert {"ssd_keras.boxes.iou", "ssd_keras.models.ssd", "ssd_keras.data.readers.voc"} <= set(
        MODULES
    )
    assert [test.name for test in examples("ssd_keras.boxes.iou")] != []


@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name):
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    told = []
    for test in examples(name):
        runner.run(test, out=told.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(told)
