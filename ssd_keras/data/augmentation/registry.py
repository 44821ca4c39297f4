"""Augmentation steps by name. Loads no TensorFlow: recipes hold steps."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ssd_keras.core.parts import add_part, make_part, part_name, parts
from ssd_keras.core.records import as_part_table

KIND = "augmentation_step"
Step = Callable[..., tuple[Any, Any, Any]]
"""Turns image, boxes, labels and a seed into image, boxes and labels."""

Registered = TypeVar("Registered", bound=Callable)


def register_augmentation_step(name: str) -> Callable[[Registered], Registered]:
    """Decorator: gives an augmentation step a name, by which recipes choose it.

    A step is called with the image (float32 [H, W, 3], RGB in 0..255), its boxes (float32 [n, 4],
    relative yxyx in 0..1), their labels (int32 [n]) and a seed (int64 [2]), and returns image,
    boxes and labels. It runs inside a graph of `tf.data`: use TensorFlow operators, `tf.where` or
    `tf.cond` for `if`, and for random numbers `tf.random.stateless_*` with this seed. The seed is
    a function of the recipe's seed, the position in the stream and the step's place in its row, so
    a resumed training draws the same. Afterwards boxes are clipped to the image, and those without
    area are dropped.

    Args:
        name: what recipes write: `augmentation.after = [{type = "salt"}]`. The fields of a
            dataclass are options: `{type = "salt", share = 0.02}`; a function has none.

    Returns:
        the decorator of a function, or of a frozen dataclass with `__call__`. Import its module
        before a recipe that names it is read.

    Raises:
        ValueError: another step has this name, or what is decorated is no step.

    Example:

    >>> import tensorflow as tf
    >>> @register_augmentation_step("salt")
    ... @dataclasses.dataclass(frozen=True)
    ... class Salt:
    ...     share: float = 0.01
    ...
    ...     def __call__(self, image, boxes, labels, seed):
    ...         draws = tf.random.stateless_uniform(tf.shape(image)[:2], seed)
    ...         return tf.where(draws[..., None] < self.share, 255.0, image), boxes, labels
    >>> from ssd_keras import Augmentation
    >>> Augmentation(after=[{"type": "salt", "share": 0.02}]).after
    (Salt(share=0.02),)
    """

    def register(step: Registered) -> Registered:
        # Every class can be called; `__call__` must be that of its objects.
        is_record = inspect.isclass(step) and dataclasses.is_dataclass(step)
        if not inspect.isfunction(step) and not (is_record and "__call__" in dir(step)):
            raise ValueError(
                f"augmentation step {name!r} is {step!r}; expected a function, or a dataclass "
                "with __call__: write this decorator above @dataclasses.dataclass."
            )
        taken = parts(KIND).get(name)
        if taken is not None and taken.__module__ != step.__module__:
            raise ValueError(
                f"augmentation step {name!r} is taken by {taken.__module__}; choose another name."
            )
        add_part(KIND, name, step)
        return step

    return register


def make_step(step: Step | str | Mapping[str, Any]) -> Step:
    """Returns the step that a name or a table describes, or the step itself."""
    if isinstance(step, str | Mapping):
        return make_part(KIND, as_part_table(step, KIND))
    if isinstance(step, type) or not callable(step):
        raise ValueError(
            f"{step!r} is not an augmentation step; expected a function, an object such as "
            'Grey(), or a table such as {"type": "grey"}.'
        )
    return step


def step_name(step: Step) -> str:
    """Returns the name of a step for messages: the registered one, or that of its code."""
    return part_name(KIND, step) or str(getattr(step, "__name__", type(step).__name__))
