"""Runs code around the import of other modules, such as Keras or TensorFlow."""

import contextlib
import importlib.abc
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class ImportHook(importlib.abc.MetaPathFinder):
    """Executes some modules inside a context, once it is in `sys.meta_path`."""

    def watches(self, name: str) -> bool:
        """Whether the module is executed inside `executing`."""
        raise NotImplementedError

    def executing(self) -> contextlib.AbstractContextManager:
        """Returns the context of one module."""
        raise NotImplementedError

    def install(self) -> None:
        """Watches the imports from here on; of each kind of hook there is one."""
        if not any(isinstance(finder, type(self)) for finder in sys.meta_path):
            sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not self.watches(name):
            return None
        finders = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(name, path, target) for finder in finders)
        spec = next(filter(None, specs), None)
        if spec and spec.loader:
            spec.loader = _HookedLoader(spec.loader, self)
        return spec


class _HookedLoader(importlib.abc.Loader):
    def __init__(self, loader: Any, hook: ImportHook) -> None:
        self._loader = loader
        self._hook = hook

    def __getattr__(self, name: str) -> Any:  # such as `get_resource_reader`
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = module.__spec__.loader = self._loader  # type: ignore[union-attr]
        with self._hook.executing():
            self._loader.exec_module(module)
