"""What `ssd-keras info` says about recipes."""

import dataclasses
import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ssd_keras.core.parts import find_part
from ssd_keras.core.records import NONE, dotted, field_types, meanings, part_kind
from ssd_keras.core.text import one_line
from ssd_keras.engine.recipes import TrainRecipe, load_recipe, recipe_names
from ssd_keras.presets import preset_options

WIDTH = 100


class Value(NamedTuple):
    """A value of a recipe, and what it is for."""

    name: str
    value: Any
    default: Any  # `dataclasses.MISSING` where there is none
    meaning: str

    def __str__(self) -> str:
        has_default = self.default is not dataclasses.MISSING
        is_changed = self.value != self.default
        default = f" (default {value_text(self.default)})" if has_default and is_changed else ""
        text = f"{'*' if is_changed else ' '} {self.name} = {value_text(self.value)}{default}"
        meaning = textwrap.fill(
            self.meaning, WIDTH, initial_indent="    ", subsequent_indent="    "
        )
        return f"{text}\n{meaning}" if self.meaning else text


def recipe_list() -> list[str]:
    """Returns a line for each recipe that is shipped: preset, paper, expected result."""
    lines = []
    for name in recipe_names():
        recipe = load_recipe(name)
        facts = [recipe.record.title, recipe.model.preset, recipe.record.paper]
        lines.append(f"{name}: {'; '.join(filter(None, [*facts, expected_result(recipe)]))}")
    return lines


def expected_result(recipe: TrainRecipe) -> str:
    """Returns the expected metric with its tolerance, who says so, and the hardware."""
    record, parts = recipe.record, []
    if record.expected is not None:
        tolerance = "" if record.tolerance is None else f" ± {record.tolerance:g}"
        parts = [f"expected {record.metric} {record.expected:g}{tolerance}"]
    return ", ".join(filter(None, [*parts, record.source, record.hardware]))


def recipe_summary(recipe: TrainRecipe) -> str:
    """Returns every value of a recipe with its default and its meaning."""
    facts = dataclasses.asdict(recipe.record)
    texts = [f"{name}: {value}".rstrip() for name, value in facts.items() if value]
    known = [one_line(line, len(line)) for text in texts for line in text.splitlines()]
    values = map(str, recipe_values(recipe))
    return "\n".join([*known, "", "* differs from the default", "", *values])


def recipe_values(recipe: TrainRecipe) -> Iterator[Value]:
    """Yields all values of a recipe but those of its record."""
    for group, annotation in field_types(TrainRecipe).items():
        value = getattr(recipe, group)
        if kind := part_kind(annotation):
            default = _default(TrainRecipe, group)
            yield from _part_values(group, value, default, kind, meanings(TrainRecipe)[group])
        elif group != "record":
            yield from _record_values(group, value)
        if group == "model":
            yield from _option_values(recipe)


def _record_values(name: str, record: Any) -> Iterator[Value]:
    texts = meanings(record)
    for field, annotation in field_types(type(record)).items():
        full, value = dotted(name, field), getattr(record, field)
        default, meaning = _default(type(record), field), texts.get(field, "")
        if kind := part_kind(annotation):
            yield from _part_values(full, value, default, kind, meaning)
        elif full != "model.options":
            yield Value(full, value, default, meaning)


def _part_values(
    name: str, table: Mapping[str, Any], default: Mapping[str, Any], kind: str, meaning: str
) -> Iterator[Value]:
    part = find_part(kind, table["type"])
    summary = (part.__doc__ or "").partition("\n")[0]
    yield Value(name, table["type"], default["type"], f"{meaning} {table['type']}: {summary}")
    texts = meanings(part)
    for option in field_types(part):
        fallback = _default(part, option)
        value = table.get(option, fallback)
        yield Value(dotted(name, option), value, fallback, texts.get(option, ""))


def _option_values(recipe: TrainRecipe) -> Iterator[Value]:
    for option, default, meaning in preset_options(recipe.model.preset):
        if option != "backbone_weights":  # a value of the model
            value = recipe.model.options.get(option, default)
            yield Value(f"model.options.{option}", value, default, meaning)


def _default(record: Any, name: str) -> Any:
    """Returns the default of a field, or `dataclasses.MISSING`."""
    (field,) = (field for field in dataclasses.fields(record) if field.name == name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def value_text(value: Any) -> str:
    """Returns a value as it is written after `--set NAME=`."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key} = {value_text(each)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_text, value))}]"
    if isinstance(value, str | bool | int | float | None):
        return json.dumps(NONE if value is None else value, ensure_ascii=False)
    return repr(value)
