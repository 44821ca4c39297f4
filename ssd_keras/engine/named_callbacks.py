"""Callbacks of a training by name, as the command line takes them."""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from ssd_keras.core.text import did_you_mean, one_line, unknown_name

if TYPE_CHECKING:
    import keras

FORM = "NAME[:OPTION=VALUE,...] or MODULE:FUNCTION"


class NamedCallback(NamedTuple):
    """A callback whose name and options are known, but which is not made yet."""

    name: str
    options: dict[str, Any]

    def make(self, recipe: Mapping[str, Any]) -> "keras.callbacks.Callback":
        """Makes the callback; trackers record the values of the recipe."""
        if self.name in MAKERS:
            return MAKERS[self.name].make(recipe, **self.options)
        return _call_function(self.name)


class Maker(NamedTuple):
    """How a named callback is made, and the types of its options."""

    make: Callable[..., Any]
    options: Mapping[str, type]


def parse_callback(text: str) -> NamedCallback:
    """Reads a callback's name and options; raises a `ValueError` for what is unknown."""
    name, _, rest = text.partition(":")
    if name not in MAKERS:
        if rest and "=" not in rest and rest.isidentifier():
            return NamedCallback(text, {})
        hint = did_you_mean(name, MAKERS)
        raise ValueError(
            f"callback {one_line(repr(text))} is unknown; {hint}choose one of "
            f"{', '.join(MAKERS)}, as {FORM}."
        )
    known, options = MAKERS[name].options, {}
    for word in rest.split(",") if rest else ():
        key, equals, value = word.partition("=")
        if key not in known or not equals:
            raise ValueError(unknown_name(f"option of callback {name}", key, known))
        try:
            options[key] = known[key](value)
        except ValueError as error:
            raise ValueError(
                f"callback {name}: {key}={one_line(repr(value))} is no number; write "
                f"{name}:{key}=5, for example."
            ) from error
    return NamedCallback(name, options)


def _early_stopping(recipe: Mapping[str, Any], patience: int = 5, min_delta: float = 0.0) -> Any:
    import keras

    return keras.callbacks.EarlyStopping(
        "val_AP", mode="max", patience=patience, min_delta=min_delta
    )


def _wandb(recipe: Mapping[str, Any], **options: str) -> Any:
    wandb = _import_tracker("wandb", "wandb")
    wandb.init(config=dict(recipe), **options)
    return _import_tracker("wandb.integration.keras", "wandb").WandbMetricsLogger()


def _mlflow(recipe: Mapping[str, Any], experiment: str = "", name: str = "") -> Any:
    mlflow = _import_tracker("mlflow", "mlflow")
    if experiment:
        mlflow.set_experiment(experiment)
    mlflow.start_run(run_name=name or None)
    mlflow.log_dict(dict(recipe), "recipe.json")
    return _import_tracker("mlflow.keras", "mlflow").MlflowCallback()


MAKERS = {
    "early_stopping": Maker(_early_stopping, {"patience": int, "min_delta": float}),
    "wandb": Maker(_wandb, {"project": str, "name": str, "entity": str, "mode": str}),
    "mlflow": Maker(_mlflow, {"experiment": str, "name": str}),
}


def _import_tracker(module: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"callback {package} needs the package {package}, which does not load "
            f"({one_line(str(error))}); run: pip install {package}"
        ) from error


def _call_function(text: str) -> Any:
    """Calls a function of a module, which may lie in the current folder."""
    module_name, _, function_name = text.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"callback {one_line(repr(text))} cannot be imported ({one_line(str(error))}); pass "
            "the name of a module in the current folder or an installed one, and of a function in "
            "it that returns a Keras callback."
        ) from error
    finally:
        sys.path.remove(os.getcwd())
    import keras

    callback = function()
    if not isinstance(callback, keras.callbacks.Callback):
        raise ValueError(
            f"callback {one_line(repr(text))} returned a {type(callback).__name__}; expected a "
            "Keras callback."
        )
    return callback
