"""Exponential moving average (EMA) of a model's weights."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

RAMP = 9  # after n steps, the last tenth of them has 0.6 of the weight: 1 - 0.9**9


class WeightAverage(keras.optimizers.Optimizer):
    """Base beside a Keras optimizer: keeps an average of the weights of the `SSD` that it trains.

    Trainable weights and the running statistics of batch normalisation are averaged together, in
    the training step: average = decay * average + (1 - decay) * weight, where the decay of step n,
    from 0 on, is min(`ema_decay`, n / (n + 9)). This ramp reaches back over a tenth of the steps
    so far, in a training of any length, until `ema_decay` sets the limit: 0.998 at 500 steps. It
    is that of TensorFlow's `ExponentialMovingAverage`, (1 + n) / (10 + n), from its first weights
    on. A constant decay of 0.9998 keeps 55 % of the random start after 3,000 steps.

    When `fit` ends, the model gets the averages, as with Keras' `use_ema`.
    """

    overwrites_weights = True  # when `fit` ends; a training that resumes needs its own weights

    def __init__(self, ema_decay: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= ema_decay <= 1:
            raise ValueError(f"ema_decay={ema_decay} must be between 0, which is off, and 1.")
        self.ema_decay = ema_decay
        self.averages: list[keras.Variable] = []
        self.statistics: Callable[[], Sequence[keras.Variable]] | None = None

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        if self.ema_decay:
            self.averages = self.add_optimizer_variables(self._averaged(), "average")

    def update_averages(self) -> None:
        """Moves the averages towards the weights; the first time they become equal."""
        step = ops.cast(ops.maximum(self._iterations - 1, 0), "float32")
        rate = 1.0 - ops.minimum(self.ema_decay, step / (step + RAMP))
        for weight, average in zip(self._averaged(), self.averages, strict=True):
            change = ops.convert_to_tensor(weight) - ops.convert_to_tensor(average)
            self.assign_add(average, ops.cast(rate, average.dtype) * change)

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        super().finalize_variable_values(var_list)
        if self.overwrites_weights:
            for weight, average in self.pairs():
                weight.assign(average)

    def pairs(self) -> list[tuple[keras.Variable, keras.Variable]]:
        """Returns each weight with its average; none before the first step."""
        if not self.averages or not int(self._iterations):
            return []
        return list(zip(self._averaged(), self.averages, strict=True))

    def _averaged(self) -> list[keras.Variable]:
        if self.statistics is None:
            raise ValueError(
                f"ema_decay={self.ema_decay} is for an SSD, whose training step averages; compile "
                "one with this optimizer, or pass ema_decay=0 and Keras' use_ema."
            )
        return [*self._trainable_variables, *self.statistics()]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ema_decay": self.ema_decay}


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Context manager: gives a model its averaged weights inside the block.

    `ValidationAP` and `ssd_keras.engine.train` score and save them so; other callbacks see the
    weights themselves. Behind `fit` the model has its averages anyway. Without `ema_decay`, and
    before the first step, nothing changes.

    Args:
        model: a compiled `SSD`.

    Example:

    >>> from ssd_keras import from_preset, load_data, training_dataset
    >>> from ssd_keras.optimizers import AdamW, averaged_weights
    >>> model = from_preset("ssd192_small_shapes", image_size=(64, 64), width=4)
    >>> model.compile(AdamW(1e-3, ema_decay=0.998), run_eagerly=True)
    >>> data = load_data("synthetic:shapes@train[:4]")
    >>> images = training_dataset(data, model.target_encoder(), model.image_size, 4)
    >>> model.train_on_batch(*next(iter(images)), return_dict=True).keys()
    dict_keys(['box_deltas_loss', 'class_logits_loss', 'loss'])
    >>> with averaged_weights(model):
    ...     metrics = model.evaluate(data)
    >>> metrics["num_images"]
    4
    """
    optimizer = averaging_optimizer(model)
    pairs = optimizer.pairs() if optimizer else []
    raw = [_snapshot(weight) for weight, _ in pairs]
    for weight, average in pairs:
        weight.assign(average)
    try:
        yield
    finally:
        for (weight, _), value in zip(pairs, raw, strict=True):
            weight.assign(value)


def _snapshot(variable: keras.Variable) -> Any:
    """Returns a value that a later assignment leaves as it is."""
    if keras.backend.backend() == "jax":  # no array changes, and those of several processes stay
        return ops.convert_to_tensor(variable)
    return np.array(ops.convert_to_numpy(variable))


def averaging_optimizer(model: keras.Model) -> WeightAverage | None:
    """Returns the optimizer that averages the weights of a model; None where none does."""
    optimizer = getattr(model, "optimizer", None)  # none before `compile`
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of mixed_float16
    return optimizer if getattr(optimizer, "ema_decay", 0) else None


def average_statistics(model: keras.Model) -> None:
    """Makes a compiled model's optimizer average the statistics of batch normalisation too."""
    if optimizer := averaging_optimizer(model):
        optimizer.statistics = functools.partial(_running_statistics, model)


def _running_statistics(model: keras.Model) -> list[keras.Variable]:
    return [
        variable
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        for variable in (layer.moving_mean, layer.moving_variance)
    ]


def average_after(model: keras.Model, result: Any) -> Any:
    """Returns what Keras' training step returned, with the averages brought up to date."""
    optimizer = averaging_optimizer(model)
    if optimizer is None:
        return result
    if keras.backend.backend() != "jax":
        optimizer.update_averages()
        return result
    # Under JAX the variables keep their values within a step: the state has the new ones.
    logs, (trainable, non_trainable, optimizer_values, metrics) = result
    variables = model.optimizer.variables
    names = [*model.trainable_variables, *model.non_trainable_variables, *variables]
    values = [*trainable, *non_trainable, *optimizer_values]
    with keras.StatelessScope(state_mapping=list(zip(names, values, strict=True))) as scope:
        optimizer.update_averages()
    averaged = [scope.get_current_value(variable) for variable in variables]
    return logs, (trainable, non_trainable, averaged, metrics)
