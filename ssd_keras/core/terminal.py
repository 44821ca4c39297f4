"""Silence for compiled libraries, which print to the standard error whatever the log level."""

import contextlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType


@contextlib.contextmanager
def silence_stderr() -> Iterator[None]:
    """Sends the process' standard error nowhere; exceptions are raised as ever."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def import_tensorflow() -> ModuleType:
    """Imports TensorFlow without its greeting, which no log level silences."""
    with silence_stderr():
        import tensorflow
    return tensorflow
