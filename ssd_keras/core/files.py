"""Files and directories that are whole or absent: written beside their place, then moved; and
where a path leads."""

import contextlib
import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Iterator

WRITING = ".writing-"
"""Begins the name of what is not whole yet."""

# What a disk, not a program, refuses: full, a quota, too large, read-only, not allowed, broken.
REFUSALS = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO")
    if hasattr(errno, name)
}

EXCHANGE = 2
CURRENT_DIRECTORY = -100


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Gives a path to write to; the file moves to its place when the block ends well."""
    directory, name = os.path.split(path)
    beside = os.path.join(directory, f"{WRITING}{name}")
    try:
        yield beside
        os.replace(beside, path)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        raise ValueError(cannot_write(path, error)) from error
    finally:
        if os.path.exists(beside):
            os.remove(beside)


def cannot_write(path: str, error: OSError) -> str:
    """One line for a refusal of the disk."""
    reason = error.strerror or " ".join(str(error).split())
    return f"{path!r} cannot be written ({reason}); make room there, or choose another place."


def lies_within(path: str, folder: str) -> bool:
    """Whether a path lies in a folder once the symbolic links of both are followed."""
    place, whole = (os.path.join(os.path.realpath(each), "") for each in (path, folder))
    return place.startswith(whole)


@contextlib.contextmanager
def replacing_directory(path: str) -> Iterator[str]:
    """Gives a directory to write to; it moves to its place when the block ends well."""
    path = os.path.realpath(path)
    parent, name = os.path.split(path)
    beside = os.path.join(parent, f"{WRITING}{name}")
    # What a killed attempt left: the old directory may be all that is whole.
    if os.path.isdir(_aside(beside)) and not os.path.lexists(path):
        os.rename(_aside(beside), path)
    for left_over in (_aside(beside), beside):
        shutil.rmtree(left_over, ignore_errors=True)
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
    os.rename(second, _aside(first))
    try:
        os.rename(first, second)
    except OSError:
        os.rename(_aside(first), second)
        raise
    os.rename(_aside(first), first)


def _aside(beside):
    """Where the old directory waits while the new one takes its place."""
    return f"{beside}.old"
