"""Keeps away what TensorFlow logs about the machine where this package imports it."""

import contextlib
import os
import sys
from collections.abc import Iterator

from ssd_keras.core.import_hooks import ImportHook
from ssd_keras.core.terminal import silence_stderr

VARIABLE = "TF_CPP_MIN_LOG_LEVEL"
LEVEL = "3"  # errors too: they say what the machine lacks, and real failures are raised


def silence_tensorflow_start() -> None:
    """Silences the import of TensorFlow by this package, and what it logs about devices later.

    A script that imports TensorFlow or Keras itself, or sets another TF_CPP_MIN_LOG_LEVEL, keeps
    the messages.
    """
    if "tensorflow" not in sys.modules:
        _TensorFlowHook().install()


class _TensorFlowHook(ImportHook):
    def watches(self, name: str) -> bool:
        return name == "tensorflow" and _package_imports()

    @contextlib.contextmanager
    def executing(self) -> Iterator[None]:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        with silent_start():
            yield


def _package_imports() -> bool:
    """Whether a module of this package, hooks apart, is among those that import or call."""
    frame = sys._getframe()
    names = set()
    while frame:
        names.add(str(frame.f_globals.get("__name__")))
        frame = frame.f_back  # type: ignore[assignment]
    own = {name for name in names if name.partition(".")[0] == "ssd_keras"}
    return bool(own - {__name__, ImportHook.__module__, "ssd_keras.core.registry"})


@contextlib.contextmanager
def silent_start() -> Iterator[None]:
    """Sets the level, which TensorFlow reads once; some messages only a closed stream silences."""
    given = os.environ.get(VARIABLE)
    if given not in (None, LEVEL):
        yield
        return
    os.environ[VARIABLE] = LEVEL
    try:
        with silence_stderr():
            yield
    finally:
        if given is None:
            del os.environ[VARIABLE]
