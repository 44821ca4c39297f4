"""A lock on an output folder, which ends with its process however that ends."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from typing import IO

from ssd_keras.core.files import cannot_write, make_folder
from ssd_keras.core.text import one_line

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = "training.lock"
TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


@contextlib.contextmanager
def run_lock(path: str, name: str = LOCK_FILE) -> Iterator[None]:
    """Context manager: only one process at a time writes into a folder, which it makes.

    Where nothing was written, the folders that it made are removed again.
    """
    made = _make_directories(path)
    file = os.path.join(path, name)
    try:
        with _locked(file):
            yield
    finally:
        with contextlib.suppress(OSError):  # not empty
            for directory in made:
                os.rmdir(directory)


def _make_directories(path: str) -> list[str]:
    """Makes a folder with its parents; returns those that are new, the deepest first."""
    if os.path.lexists(path) and not os.path.isdir(path):
        raise ValueError(f"output {path!r} is not an empty folder; choose another.")
    missing, parent = [], os.path.abspath(path)
    while not os.path.lexists(parent):
        missing.append(parent)
        parent = os.path.dirname(parent)
    make_folder(path)
    return missing


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    with _opened(path) as file:
        _lock(file, path)
        if not _is_file_at(file, path):  # its last holder has removed it
            raise ValueError(_taken_message(path, "another process"))
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            # While the lock is held: else the file of the next holder might be removed.
            with contextlib.suppress(OSError):
                os.remove(path)


def _opened(path: str) -> IO[str]:
    try:
        return open(path, "a+", encoding="utf-8")  # NFS locks only what may be written
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(cannot_write(os.path.dirname(path), reason)) from error


def _lock(file: IO[str], path: str) -> None:
    """Locks an open file; file systems that have no locks go without."""
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            file.seek(0)
            raise ValueError(_taken_message(path, file.read(200))) from error


def _is_file_at(file: IO[str], path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _taken_message(path: str, holder: str) -> str:
    return (
        f"output {os.path.dirname(path)!r} is in use: {one_line(holder) or 'another process'} "
        "writes into it; wait for its end, or choose another output."
    )
