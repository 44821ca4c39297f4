"""Checks that the weights of a model are finite."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from ssd_keras.core.text import one_line


def check_finite(model: keras.Model, name: str) -> None:
    """Raises a `ValueError` where a weight, or a number of the optimizer, is not finite."""
    optimizer = getattr(model, "optimizer", None)  # only `compile` sets it
    variables = [*model.weights, *(optimizer.variables if optimizer else ())]
    if layer := not_finite(variables):
        raise ValueError(
            f"{name} has weights that are not finite ({layer}); train again or take an older file."
        )


def not_finite(variables: Iterable[Any]) -> str:
    """Returns the layer of the first variable that is not finite, or ""."""
    for variable in variables:
        values = keras.ops.convert_to_numpy(variable)
        if values.dtype.kind not in "biu" and not np.isfinite(values).all():
            return one_line(variable.path.rpartition("/")[0] or variable.path)
    return ""
