"""Registers the package's classes with Keras as soon as both are loaded."""

import contextlib
import sys
import threading
from collections.abc import Iterator

from ssd_keras.core.import_hooks import ImportHook
from ssd_keras.core.parts import import_all

# What registers classes, which `keras.saving.load_model` finds once they are imported, and loaders
# of ImageNet weights. Of packages, all modules.
REGISTERED_MODULES = (
    "ssd_keras.models.ssd",
    "ssd_keras.assigners",
    "ssd_keras.losses",
    "ssd_keras.optimizers",
    "ssd_keras.importers.imagenet",
)


def register_with_keras() -> None:
    """Registers at once where Keras is loaded, else at the end of its import.

    Loading Keras takes seconds, so `import ssd_keras` alone does not.
    """
    if "keras" in sys.modules:
        _import_registered()
    else:
        _KerasHook().install()


def _import_registered() -> None:
    for name in REGISTERED_MODULES:
        import_all(name)


class _KerasHook(ImportHook):
    """Notices when the import of Keras, or of a module of ours that imports Keras, ends.

    Registration waits for the outermost of them: earlier, a module that is half imported would
    be imported a second time.
    """

    def __init__(self) -> None:
        self._depth = threading.local()

    def watches(self, name: str) -> bool:
        return name == "keras" or name.startswith("ssd_keras.")

    @contextlib.contextmanager
    def executing(self) -> Iterator[None]:
        self._depth.value = getattr(self._depth, "value", 0) + 1
        try:
            yield
        finally:
            self._depth.value -= 1
            if self._depth.value == 0 and "keras" in sys.modules and self in sys.meta_path:
                sys.meta_path.remove(self)
                _import_registered()
