"""Packages that only some uses need: the extras of `setup.cfg`."""

import importlib
from types import ModuleType


def import_extra(module: str, extra: str, use: str) -> ModuleType:
    """Imports a module of an extra; where it is missing, the error says what needs it.

    `use` begins the sentence: "reading videos".
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"{use} needs the package {package}, which is not installed or does not load; run: "
            f"pip install 'ssd_keras[{extra}]'"
        ) from error
