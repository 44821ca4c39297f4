"""The operating point of a detector: the smallest score that is drawn and counted."""

import json
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, TypeAlias

from ssd_keras.core.class_names import labels_by_name
from ssd_keras.core.text import one_line, unknown_name

DEFAULT = 0.5
THRESHOLDS_FILE = "display_threshold.json"  # in exports
MAX_REASON = 200

DisplayThreshold: TypeAlias = float | tuple[float, ...]
"""One smallest score for all classes, or one for each label."""


def by_label(
    value: Any, class_names: Sequence[str], name: str = "display_threshold"
) -> DisplayThreshold:
    """Returns thresholds by label from one number, a table by class name, or numbers by label.

    Classes that a table does not name have the default; they may be aliases. `name` is that of
    the argument, for messages.
    """
    if isinstance(value, Mapping):
        labels, thresholds = labels_by_name(class_names), [DEFAULT] * len(class_names)
        for class_name, threshold in value.items():
            if class_name not in labels:
                raise ValueError(unknown_name(f"class of {name}", class_name, class_names))
            thresholds[labels[class_name]] = _checked(threshold, name)
        return tuple(thresholds)
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != len(class_names):
            raise ValueError(
                f"{name} has {len(value)} numbers; expected one for each of "
                f"{len(class_names)} classes, or a single number."
            )
        return tuple(_checked(each, name) for each in value)
    return _checked(value, name)


def by_name(thresholds: DisplayThreshold, class_names: Sequence[str]) -> float | dict[str, float]:
    """Returns thresholds by label as a table by class name; one number stays one."""
    if isinstance(thresholds, tuple):
        return dict(zip(class_names, thresholds, strict=True))
    return thresholds


def thresholds_text(thresholds: DisplayThreshold, class_names: Sequence[str]) -> str:
    """Returns the JSON that an export holds."""
    return json.dumps(by_name(thresholds, class_names), ensure_ascii=False) + "\n"


def read_thresholds(
    text: str | bytes | None, class_names: Sequence[str], location: str
) -> DisplayThreshold:
    """Reads the JSON of an export, which may be a stranger's; None gives the default."""
    if text is None:
        return DEFAULT
    try:
        return by_label(json.loads(text), class_names)
    except (ValueError, RecursionError) as error:
        reason = one_line(" ".join(str(error).split()), MAX_REASON)
        raise ValueError(
            f"{location} holds no thresholds ({reason}); remove it, or export the model again."
        ) from error


def thresholds_line(thresholds: DisplayThreshold, class_names: Sequence[str]) -> str:
    """Returns one line with the thresholds."""
    if not isinstance(thresholds, tuple):
        return f"display threshold: {thresholds:g}"
    pairs = zip(class_names, thresholds, strict=True)
    return "display thresholds: " + ", ".join(f"{name} {value:.4g}" for name, value in pairs)


def _checked(value: Any, name: str) -> float:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not 0.0 <= float(value) <= 1.0:
        raise ValueError(
            f"{name}={one_line(repr(value), MAX_REASON)}: expected a score from 0 to 1 "
            "for all classes, or one for each class name."
        )
    return float(value)
