"""Registers the package's classes with Keras as soon as both are loaded."""

import importlib.abc
import importlib.util
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

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
    elif not any(isinstance(finder, _Watcher) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watcher())


def _import_registered() -> None:
    for name in REGISTERED_MODULES:
        import_all(name)


class _Watcher(importlib.abc.MetaPathFinder):
    """Notices when the import of Keras, or of a module of ours that imports Keras, ends.

    Registration waits for the outermost of them: earlier, a module that is half imported would
    be imported a second time.
    """

    def __init__(self) -> None:
        self._depth = threading.local()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "keras" and not name.startswith("ssd_keras."):
            return None
        finders = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(name, path, target) for finder in finders)
        spec = next(filter(None, specs), None)
        if spec and spec.loader:
            spec.loader = _WatchedLoader(spec.loader, self)
        return spec

    def enter(self) -> None:
        self._depth.value = getattr(self._depth, "value", 0) + 1

    def leave(self) -> None:
        self._depth.value -= 1
        if self._depth.value == 0 and "keras" in sys.modules and self in sys.meta_path:
            sys.meta_path.remove(self)
            _import_registered()


class _WatchedLoader(importlib.abc.Loader):
    def __init__(self, loader: Any, watcher: _Watcher) -> None:
        self._loader = loader
        self._watcher = watcher

    def __getattr__(self, name: str) -> Any:  # such as `get_resource_reader`
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = module.__spec__.loader = self._loader  # type: ignore[union-attr]
        self._watcher.enter()
        try:
            self._loader.exec_module(module)
        finally:
            self._watcher.leave()
