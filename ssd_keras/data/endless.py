"""How many batches of an endless `tf.data` stream are one pass over the data."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ssd_keras.core.origin import DataOrigin

# Batches: a longer data set has no end in practice, and its images can be counted in int64.
ENDLESS = 2**40
MARK = "_ssd_keras_epoch"


class Epoch(NamedTuple):
    """One pass over the data of a stream."""

    data: DataOrigin
    num_batches: int


def mark_epoch(dataset: Any, epoch: Epoch) -> Any:
    """Returns the stream, which from now on knows the length of an epoch."""
    setattr(dataset, MARK, epoch)
    return dataset


def call_with_steps(
    function: Callable, steps: Mapping[str, str], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """Calls a method of Keras with the steps of endless streams.

    `steps` has, for the name of each argument that may be a stream, that of its number of steps.
    """
    bound = inspect.signature(function).bind(*args, **kwargs)
    for name, steps_name in steps.items():
        if bound.arguments.get(steps_name) is None:
            bound.arguments[steps_name] = steps_of(bound.arguments.get(name), name, steps_name)
    if "shuffle" in bound.signature.parameters and data_of(bound.arguments.get("x")):
        bound.arguments.setdefault("shuffle", False)  # the stream is shuffled: Keras would warn
    return function(**bound.arguments.pop("kwargs", {}), **bound.arguments)


def steps_of(dataset: Any, name: str, steps_name: str) -> int | None:
    """Returns the batches of one pass over the data of a stream; None for what has an end."""
    if not hasattr(dataset, "cardinality"):
        return None
    cardinality = int(dataset.cardinality())
    stream = _marked(dataset)
    is_unknown = cardinality == -2  # as after `filter`
    if cardinality == -1 or cardinality >= ENDLESS or (is_unknown and stream is not None):
        return _batches(dataset, stream, name, steps_name)
    return None


def is_training_stream(dataset: Any) -> bool:
    """Whether a data set is what `training_dataset` returned, with no change behind it."""
    return getattr(dataset, MARK, None) is not None


def data_of(dataset: Any) -> DataOrigin | None:
    """Returns the origin of the data of a stream; None for another data set."""
    stream = _marked(dataset)
    return None if stream is None else getattr(stream, MARK).data


def _batches(dataset: Any, stream: Any, name: str, steps_name: str) -> int:
    if stream is None:
        raise ValueError(
            f"{name} has no end; pass {steps_name}, the number of batches of an epoch."
        )
    epoch = getattr(stream, MARK)
    if _batch_size(dataset) != _batch_size(stream):
        raise ValueError(
            f"{name} has no end, and other batches than training_dataset made; pass {steps_name}: "
            f"an epoch is {epoch.data.num_images} images."
        )
    return epoch.num_batches


def _marked(dataset: Any) -> Any:
    """Returns the stream that a data set comes from by mapping, prefetching and the like."""
    while getattr(dataset, MARK, None) is None:
        inputs: Sequence[Any] = getattr(dataset, "_inputs", tuple)()
        if len(inputs) != 1:
            return None
        (dataset,) = inputs
    return dataset


def _batch_size(dataset: Any) -> tuple[int, int | None]:
    """Returns rank and first side of the first tensor of an element."""
    spec = dataset.element_spec
    while not hasattr(spec, "shape"):
        spec = next(iter(spec.values() if isinstance(spec, Mapping) else spec))
    return spec.shape.rank, (spec.shape or [None])[0]
