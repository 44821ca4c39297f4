"""Terminal output: progress bars or not, and silence for native libraries."""

import contextlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType


@contextlib.contextmanager
def silence_stderr() -> Iterator[None]:
    """Suppresses messages that native libraries write to stderr."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def import_tensorflow() -> ModuleType:
    """Imports TensorFlow without its messages, which no log level silences."""
    with silence_stderr():
        import tensorflow
    return tensorflow


def is_terminal() -> bool:
    """Whether to show progress bars: in a terminal, or where SSD_KERAS_PROGRESS is set."""
    return sys.stderr.isatty() or bool(os.environ.get("SSD_KERAS_PROGRESS"))


def start_tensorflow() -> None:
    """Imports TensorFlow without its messages; a terminal shows that it loads."""
    # What TensorFlow logs as errors is what the machine lacks (a GPU, some instructions);
    # real failures are raised.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not is_terminal() or "tensorflow" in sys.modules:
        import_tensorflow()
        return
    message = "starting TensorFlow ..."
    print(message, end="", file=sys.stderr, flush=True)
    import_tensorflow()
    print("\r" + " " * len(message), end="\r", file=sys.stderr, flush=True)
