"""Writes files and directories whole or not at all: under a temporary name, then moved."""

import contextlib
import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Iterator

PARTIAL_PREFIX = ".writing-"  # begins the names of files that are not whole yet

# Errors of the disk: full, quota, too large, read-only, not allowed, broken.
DISK_ERRORS = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO")
    if hasattr(errno, name)
}

# Arguments of Linux' renameat2: RENAME_EXCHANGE and AT_FDCWD.
EXCHANGE = 2
CURRENT_DIRECTORY = -100


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Yields a temporary path; moves the file to `path` when the block succeeds."""
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f"{PARTIAL_PREFIX}{name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise ValueError(cannot_write(path, error)) from error
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def cannot_write(path: str, error: OSError) -> str:
    """Returns one line for an error of the disk."""
    reason = error.strerror or " ".join(str(error).split())
    return f"{path!r} cannot be written ({reason}); make room there, or choose another path."


def lies_within(path: str, folder: str) -> bool:
    """Whether a path lies in a folder, symbolic links of both followed."""
    path, folder = (os.path.join(os.path.realpath(name), "") for name in (path, folder))
    return path.startswith(folder)


@contextlib.contextmanager
def replacing_directory(path: str) -> Iterator[str]:
    """Yields a temporary directory; moves it to `path` when the block succeeds."""
    path = os.path.realpath(path)
    parent, name = os.path.split(path)
    temporary = os.path.join(parent, f"{PARTIAL_PREFIX}{name}")
    # After a kill between the two renames of `_exchange`, only the old directory is whole.
    if os.path.isdir(_aside(temporary)) and not os.path.lexists(path):
        os.rename(_aside(temporary), path)
    for left_over in (_aside(temporary), temporary):
        shutil.rmtree(left_over, ignore_errors=True)
    try:
        yield temporary
        if os.path.lexists(path):
            _exchange(temporary, path)
        else:
            os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _exchange(first: str, second: str) -> None:
    """Swaps two directories; on Linux in one step."""
    if sys.platform == "linux":
        rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        paths = [os.fsencode(path) for path in (first, second)]
        if rename and not rename(
            CURRENT_DIRECTORY, paths[0], CURRENT_DIRECTORY, paths[1], EXCHANGE
        ):
            return
    # Elsewhere, and on file systems without it, `second` is missing for a moment.
    os.rename(second, _aside(first))
    try:
        os.rename(first, second)
    except OSError:
        os.rename(_aside(first), second)
        raise
    os.rename(_aside(first), first)


def _aside(temporary: str) -> str:
    return f"{temporary}.old"
