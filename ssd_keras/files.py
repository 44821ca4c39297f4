"""Files and directories that are whole or absent: written beside their place, then moved."""

import contextlib
import ctypes
import os
import shutil
import sys
from collections.abc import Iterator

WRITING = ".writing-"
"""Begins the name of what is not whole yet."""

EXCHANGE = 2
CURRENT_DIRECTORY = -100


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Gives a path to write to; the file moves to its place when the block ends well.

    Args:
        path: where the file belongs; its directory exists.

    Yields:
        path of a file beside it, with the same extension.
    """
    directory, name = os.path.split(path)
    beside = os.path.join(directory, f"{WRITING}{name}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        if os.path.exists(beside):
            os.remove(beside)


@contextlib.contextmanager
def replacing_directory(path: str) -> Iterator[str]:
    """Gives a directory to write to; it moves to its place when the block ends well.

    Args:
        path: where the directory belongs; its parent exists. What is there is replaced.

    Yields:
        path of a directory beside it, which does not exist yet.
    """
    parent, name = os.path.split(os.path.normpath(path))
    beside = os.path.join(parent, f"{WRITING}{name}")
    shutil.rmtree(beside, ignore_errors=True)  # a killed attempt's
    try:
        yield beside
        if os.path.lexists(path):
            _exchange(beside, path)
        else:
            os.rename(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _exchange(first, second):
    """Lets two directories change places; on Linux there is no moment without either."""
    if sys.platform == "linux":
        rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        paths = [os.fsencode(path) for path in (first, second)]
        if rename and not rename(
            CURRENT_DIRECTORY, paths[0], CURRENT_DIRECTORY, paths[1], EXCHANGE
        ):
            return
    # Elsewhere, and on file systems that cannot, the place is empty for a moment.
    aside = f"{first}.old"
    os.rename(second, aside)
    os.rename(first, second)
    os.rename(aside, first)
