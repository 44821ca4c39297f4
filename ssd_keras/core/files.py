"""Writes files and directories whole or not at all: under a temporary name, flushed, then moved.

After a kill, a full disk or a power cut the old one or the new one is there.
"""

import contextlib
import ctypes
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

PARTIAL_PREFIX = ".writing-"  # begins the names of files that are not whole yet
# Of a name of a file, which has at most 255 bytes: a number and an extension come behind it.
MAX_STEM_BYTES = 240


def _numbers(*names: str) -> set[int]:
    return {getattr(errno, name) for name in names if hasattr(errno, name)}


# What only writing meets: disks that are full or read-only, quotas, files that are too large.
WRITING_ERRORS = _numbers("ENOSPC", "EDQUOT", "EFBIG", "EROFS")
DISK_ERRORS = WRITING_ERRORS | _numbers(
    *("EACCES", "EPERM", "EIO", "EISDIR", "ENOTDIR", "EEXIST", "ENAMETOOLONG", "ELOOP")
)

FLUSHING_THREADS = 8  # file systems write what several wait for in one go

# Arguments of Linux' renameat2: RENAME_EXCHANGE and AT_FDCWD.
EXCHANGE = 2
CURRENT_DIRECTORY = -100


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Yields a temporary path; moves the file to `path` when the block succeeds."""
    directory, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(directory, _partial_name(name))
    make_folder(directory)
    with disk_errors(path):
        try:
            yield temporary
            flush(temporary)
            os.replace(temporary, path)
            flush(directory)
        finally:
            if os.path.exists(temporary):
                os.remove(temporary)


def _partial_name(name: str) -> str:
    """Returns a temporary name with the end of a name, whose extension libraries look at."""
    return f"{PARTIAL_PREFIX}{name[-60:]}"  # at most 240 bytes


def short_stem(stem: str) -> str:
    """Returns as much of a file's stem as leaves room for a number and an extension."""
    while len(os.fsencode(stem)) > MAX_STEM_BYTES:
        stem = stem[:-1]
    return stem


@contextlib.contextmanager
def disk_errors(path: str) -> Iterator[None]:
    """Reports an error of the disk under `path` in one line, whichever library met it."""
    try:
        yield
    except Exception as error:
        reason = _disk_reason(error, path)
        if not reason:
            raise
        raise ValueError(cannot_write(path, reason)) from error


def cannot_write(path: str, reason: str) -> str:
    """Returns one line for an error of the disk."""
    return f"{path!r} cannot be written ({reason}); make room there, or choose another path."


def make_folder(folder: str) -> None:
    """Makes a folder where there is none."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise ValueError(cannot_write(folder, error.strerror or str(error))) from error


def check_writable(path: str, is_folder: bool = False) -> None:
    """Raises a `ValueError` where a file or folder cannot be written; leaves nothing behind."""
    folder = os.path.abspath(path) if is_folder else os.path.dirname(os.path.abspath(path))
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    try:
        if not is_folder and os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(cannot_write(path, error.strerror or str(error))) from error


def _disk_reason(error: Exception, path: str) -> str:
    """Returns what the disk refused below the folder of a path, or "" for another error."""
    if isinstance(error, ValueError):  # a line of ours
        return ""
    folder, text = os.path.dirname(os.path.abspath(path)), str(error)
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        # TensorFlow and HDF5 raise other errors, whose texts quote the system's.
        number = next((n for n in DISK_ERRORS if os.strerror(n) in text), None)
        is_here = folder in text
    else:
        name = getattr(error, "filename", None)
        is_here = name is None or lies_within(os.fsdecode(name), folder)
    # A file elsewhere that cannot be read is another matter.
    is_disk = number in WRITING_ERRORS or (number in DISK_ERRORS and is_here)
    return os.strerror(number) if number is not None and is_disk else ""


def lies_within(path: str, folder: str) -> bool:
    """Whether a path lies in a folder, symbolic links of both followed."""
    path, folder = (os.path.join(os.path.realpath(name), "") for name in (path, folder))
    return path.startswith(folder)


@contextlib.contextmanager
def replacing_directory(path: str) -> Iterator[str]:
    """Yields a temporary directory; moves it to `path` when the block succeeds."""
    target = os.path.realpath(path)
    parent, name = os.path.split(target)
    temporary = os.path.join(parent, _partial_name(name))
    make_folder(parent)
    with disk_errors(path):
        # After a kill between the two renames of `_exchange`, only the old directory is whole.
        if os.path.isdir(_aside(temporary)) and not os.path.lexists(target):
            os.rename(_aside(temporary), target)
        for left_over in (_aside(temporary), temporary):
            shutil.rmtree(left_over, ignore_errors=True)
        try:
            yield temporary
            _flush_all(temporary)
            if os.path.lexists(target):
                _exchange(temporary, target)
            else:
                os.rename(temporary, target)
            flush(parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _flush_all(directory: str) -> None:
    """Waits until everything in a directory is on the disk."""
    folders, files = [directory], []
    for folder, folder_names, file_names in os.walk(directory):
        folders += [os.path.join(folder, name) for name in folder_names]
        files += [os.path.join(folder, name) for name in file_names]
    with ThreadPoolExecutor(FLUSHING_THREADS) as threads:
        list(threads.map(flush, files))  # the list raises what a thread raised
    for folder in folders:
        flush(folder)


def flush(path: str) -> None:
    """Waits until a file, or the names in a directory, are on the disk."""
    is_windows = os.name == "nt"
    if is_windows and os.path.isdir(path):
        return  # Windows opens no directory
    descriptor = os.open(path, os.O_RDWR if is_windows else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot
            raise
    finally:
        os.close(descriptor)


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
