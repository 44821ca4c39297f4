"""Files that are whole or absent: written beside their place, then moved there."""

import contextlib
import os
from collections.abc import Iterator

WRITING = ".writing-"
"""Begins the name of a file that is not whole yet."""


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
