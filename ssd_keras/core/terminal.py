"""Terminal output: progress bars or not, and silence for native libraries."""

import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


@contextlib.contextmanager
def silence_stderr() -> Iterator[None]:
    """Suppresses messages that native libraries write to stderr."""
    if sys.stderr:  # a program without a console has none
        sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:
        yield
        return
    try:
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


class Output:
    """A text stream that drops what is written after its reader, such as `head`, has left."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._without_reader():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._without_reader():
            self._stream.flush()

    @contextlib.contextmanager
    def _without_reader(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ValueError(
                f"the output cannot be written ({reason}); make room there, or send it elsewhere."
            ) from error


@contextlib.contextmanager
def lasting_output() -> Iterator[None]:
    """Lets the block run to its end though the reader of its output leaves before."""
    streams = Output(sys.stdout), Output(sys.stderr)
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            yield
        finally:
            for stream in streams:
                with contextlib.suppress(ValueError):  # a full disk: the command has said so
                    stream.flush()


@contextlib.contextmanager
def silence_tensorflow_log() -> Iterator[None]:
    """Suppresses warnings that TensorFlow's Python code logs."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def is_terminal() -> bool:
    """Whether to show progress bars: in a terminal, or where SSD_KERAS_PROGRESS is set."""
    return sys.stderr.isatty() or bool(os.environ.get("SSD_KERAS_PROGRESS"))


def is_notebook() -> bool:
    """Whether the code runs in a cell of a notebook, which shows progress bars as widgets."""
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    return bool(shell and hasattr(shell, "kernel"))


def shows_progress(progress: bool | None = None) -> bool:
    """Returns the choice of the caller; None shows bars in terminals and notebooks."""
    return is_terminal() or is_notebook() if progress is None else progress


def start_tensorflow() -> None:
    """Imports TensorFlow; a terminal shows that it loads."""
    message = "starting TensorFlow ..."
    shows = is_terminal() and "tensorflow" not in sys.modules
    if shows:
        print(message, end="", file=sys.stderr, flush=True)
    importlib.import_module("tensorflow")
    if shows:
        print("\r" + " " * len(message), end="\r", file=sys.stderr, flush=True)
