"""Builds records from tables, such as those of a TOML file: strictly, typed by their annotations.

TOML has no value for None: the text "None" stands for it.
"""

import dataclasses
import inspect
import numbers
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ssd_keras.core.text import one_line, unknown_name

NONE = "None"
SCALARS = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "a text",
}


@dataclasses.dataclass(frozen=True)
class PartOf:
    """Marks the annotation of a table that describes a part of a kind; see `core.parts`."""

    kind: str


def field_types(record: Any) -> dict[str, Any]:
    """Returns the annotations of the fields that the constructor takes."""
    hints = typing.get_type_hints(record, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(record) if field.init}


def from_table(record: Any, table: Any, name: str = "") -> Any:
    """Builds a record from a table of its fields; `name` is that of the table in messages."""
    if not isinstance(table, Mapping):
        raise unexpected(name, table, "a table")
    annotations = field_types(record)
    for key in table:
        if key not in annotations:
            kind = f"{name}: option" if name else "group"
            raise ValueError(unknown_name(kind, key, annotations))
    values = {
        key: converted(value, annotations[key], dotted(name, key)) for key, value in table.items()
    }
    for field in dataclasses.fields(record):
        has_default = {field.default, field.default_factory} != {dataclasses.MISSING}
        if field.init and not has_default and field.name not in table:
            raise ValueError(f"{dotted(name, field.name)} is missing; add it.")
    try:
        return record(**values)
    except ValueError as error:
        # Most of them begin with the name of a field.
        joint = "." if re.match(r"\w*", str(error))[0] in annotations else ": "  # type: ignore[index]
        raise ValueError(f"{name}{joint}{error}" if name else str(error)) from error


def converted(value: Any, annotation: Any, name: str) -> Any:
    """Returns a value as an annotation has it; raises a `ValueError` where it has another type."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        is_part = part_kind(annotation)
        return as_part_table(value, name) if is_part else converted(value, arguments[0], name)
    if origin in (Union, types.UnionType):
        return _one_of(value, arguments, name)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(unknown_name(name, value, arguments))
        return value
    if annotation in SCALARS:
        return _scalar(value, annotation, name)
    if annotation is Any or (isinstance(annotation, type) and isinstance(value, annotation)):
        return value
    if dataclasses.is_dataclass(annotation):
        return from_table(annotation, value, name)
    kind = origin or annotation
    if kind in (tuple, list, Sequence):
        return _sequence(value, arguments or (Any, ...), name)
    if kind in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise unexpected(name, value, "a table")
        return plain(value, name)
    if kind is Callable and not callable(value):
        raise unexpected(name, value, "a function")
    return value


def as_part_table(value: Any, name: str) -> dict[str, Any]:
    """Returns the table of a part: its type and its options; a text is the type alone."""
    if not isinstance(value, str | Mapping):
        raise unexpected(name, value, "a type or a table with a type")
    return {"type": value} if isinstance(value, str) else plain(value, name)


def default_part(name: str) -> Any:
    """Returns a dataclass field that holds the table of a part, by default one of this type."""
    return dataclasses.field(default_factory=lambda: {"type": name})


def complete_parts(record: Any) -> None:
    """Makes tables of a record's parts; where one has no type, it is the default's."""
    fields = {field.name: field for field in dataclasses.fields(record)}
    for name, annotation in field_types(type(record)).items():
        if part_kind(annotation):
            table = as_part_table(getattr(record, name), name)
            default: Any = fields[name].default_factory
            object.__setattr__(
                record, name, {**default(), **table} if "type" not in table else table
            )


def part_kind(annotation: Any) -> str:
    """Returns the kind of the part whose table a field holds, or ""."""
    markers = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((marker.kind for marker in markers if isinstance(marker, PartOf)), "")


def plain(value: Any, name: str) -> Any:
    """Returns a value of tables, tuples, texts, numbers, booleans and None."""
    if isinstance(value, Mapping):
        return {str(key): plain(each, dotted(name, key)) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return tuple(plain(each, name) for each in value)
    if value is None or value == NONE:
        return None
    if not isinstance(value, bool | int | float | str):
        raise unexpected(name, value, "a text, a number, true, false, a list or a table")
    return _scalar(value, float, name) if isinstance(value, float) else value


def unexpected(name: str, value: Any, expected: str) -> ValueError:
    """Returns the error for a value of a wrong type."""
    return ValueError(f"{name or 'it'} is {one_line(repr(value))}; expected {expected}.")


def dotted(name: str, key: object) -> str:
    return f"{name}.{key}" if name else str(key)


def check_ranges(
    record: Any,
    positive: Iterable[str] = (),
    not_negative: Iterable[str] = (),
    shares: Iterable[str] = (),
) -> None:
    """Raises a `ValueError` for a field out of its range; NaN is out of every range."""
    for name in positive:
        if not getattr(record, name) > 0:
            raise ValueError(f"{name}={getattr(record, name)} must be above 0.")
    for name in not_negative:
        if not getattr(record, name) >= 0:
            raise ValueError(f"{name}={getattr(record, name)} must be 0 or more.")
    for name in shares:
        if not 0 <= getattr(record, name) <= 1:
            raise ValueError(f"{name}={getattr(record, name)} must be between 0 and 1.")


def check_whole_numbers(record: Any, names: Iterable[str], least: int = 1) -> None:
    """Raises a `ValueError` for a field that is no whole number, or is below the least one."""
    for name in names:
        value = getattr(record, name)
        if not isinstance(value, numbers.Integral) or value < least:
            raise ValueError(f"{name}={value!r} must be a whole number of {least} or more.")


def meanings(record: Any) -> dict[str, str]:
    """Returns the texts of the section Args of a docstring by argument.

    Records that extend others document their own fields alone.
    """
    docstring = inspect.cleandoc(record.__doc__ or "")
    section = re.search(r"^Args:\n((?:[ ].*\n?|\n)+)", docstring, re.MULTILINE)
    bases = [base for base in getattr(record, "__bases__", ()) if dataclasses.is_dataclass(base)]
    texts = {name: text for base in bases for name, text in meanings(base).items()}
    for entry in re.split(r"\n {4}(?=\S)", "\n" + section[1].rstrip("\n")) if section else ():
        names, colon, text = entry.partition(":")
        for name in names.split(",") if colon else ():
            texts[name.strip("` *")] = " ".join(text.split())
    return texts


def _one_of(value: Any, annotations: Sequence[Any], name: str) -> Any:
    """Returns the value with the first type that takes it."""
    if types.NoneType in annotations and (value is None or value == NONE):
        return None
    if isinstance(value, Mapping) and any(get_origin(each) is Mapping for each in annotations):
        return plain(value, name)  # of what, the table's reader knows
    errors = []
    for annotation in annotations:
        if annotation is not types.NoneType:
            try:
                return converted(value, annotation, name)
            except ValueError as error:
                errors.append(error)
    raise errors[0]


def _scalar(value: Any, kind: type, name: str) -> Any:
    accepted: Any = {int: numbers.Integral, float: numbers.Real}.get(kind, kind)  # NumPy's too
    is_right = isinstance(value, accepted) and isinstance(value, bool) is (kind is bool)
    if not is_right or (kind is float and not abs(value) <= sys.float_info.max):
        raise unexpected(name, value, SCALARS[kind])
    return kind(value)


def _sequence(value: Any, annotations: Sequence[Any], name: str) -> tuple:
    value = value.tolist() if hasattr(value, "tolist") else value  # an array
    if not isinstance(value, list | tuple):
        raise unexpected(name, value, "a list")
    if len(annotations) == 1 or annotations[1:] == (...,):
        annotations = (annotations[0],) * len(value)
    if len(annotations) != len(value):
        raise unexpected(name, value, f"a list of {len(annotations)}")
    return tuple(
        converted(each, annotation, f"{name}[{index}]")
        for index, (each, annotation) in enumerate(zip(value, annotations, strict=True))
    )
