"""Packages that only some uses need: the extras of `pip install ssd_keras[EXTRA]`."""

import importlib
import importlib.util
from collections.abc import Iterable
from types import ModuleType


def import_extra(module: str, extra: str, use: str) -> ModuleType:
    """Imports a module of an extra; where it is missing, the error says what needs it.

    `use` begins the sentence: "reading videos".
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(module, extra, use) from error


def import_package(package: str, use: str) -> ModuleType:
    """Imports a package that no extra installs; where it is missing, the error says how to."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f"{use} needs the package {package}: pip install {package}") from error


def check_extra(modules: Iterable[str], extra: str, use: str) -> None:
    """Raises the error of `import_extra` for the first that is missing; imports none."""
    for module in modules:
        if not importlib.util.find_spec(module):
            raise _missing(module, extra, use)


def _missing(module: str, extra: str, use: str) -> ImportError:
    return ImportError(
        f"{use} needs the package {module.partition('.')[0]}, which is not installed or does not "
        f"load; run: pip install 'ssd_keras[{extra}]'"
    )
