"""Where a model comes from: data, weights it started from, licences, recipe, version."""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from ssd_keras.core.records import from_table
from ssd_keras.core.text import one_line

ORIGIN_FILE = "origin.json"  # in a RUN and in exports
NOT_STATED = "not stated"
MAX_REASON = 200


@dataclasses.dataclass(frozen=True)
class DataOrigin:
    """The training data of a model."""

    sources: tuple[str, ...] = ()  # as the user named them
    num_images: int = 0
    num_objects: int = 0
    licence: str = NOT_STATED

    def __str__(self) -> str:
        sources = ", ".join(self.sources) or NOT_STATED
        return one_line(
            f"data: {sources} ({self.num_images} images, {self.num_objects} objects); "
            f"licence: {self.licence}"
        )


@dataclasses.dataclass(frozen=True)
class Origin:
    """The origin of a model or of published weights."""

    name: str = ""  # of a preset, of published weights, or of a file
    address: str = ""  # at which the weights are published
    licence: str = NOT_STATED  # of the weights, as their publisher states it
    data: DataOrigin | None = None
    recipe: str = ""  # a shipped one's name, else the SHA-256 of the run's recipe.toml
    made_with: str = ""
    parent: "Origin | None" = None  # of the weights that the training started from

    @classmethod
    def from_dict(cls, table: Any) -> "Origin":
        """Builds the record; raises a ValueError for another form."""
        return from_table(cls, table, "origin")

    @classmethod
    def from_json(cls, text: str | bytes, location: str) -> "Origin":
        """Reads the text of `to_json`; `location` names it in messages."""
        try:
            return cls.from_dict(json.loads(text))
        except (ValueError, RecursionError) as error:
            reason = one_line(" ".join(str(error).split()), MAX_REASON)
            raise ValueError(
                f"{location} holds no origin of a model ({reason}); remove it, or put back what "
                "ssd_keras wrote."
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Returns the values that are known, as JSON has them."""
        return _known(dataclasses.asdict(self))

    def to_json(self) -> str:
        """Returns the text of `ORIGIN_FILE`."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"

    @property
    def licences(self) -> tuple[str, ...]:
        """The licences of all data and weights, each once, those of the data first."""
        own = [self.data.licence] if self.data else [self.licence]
        return tuple(dict.fromkeys([*own, *(self.parent.licences if self.parent else ())]))

    def lines(self) -> list[str]:
        """Returns the origin in words; each line of the parent begins with "parent"."""
        lines = []
        if self.data:
            lines.append(str(self.data))
        else:
            address = f" ({self.address})" if self.address else ""
            lines.append(one_line(f"weights: {self.name}{address}; licence: {self.licence}"))
        made = [f"recipe: {self.recipe}"] if self.recipe else []
        made += [f"made with {self.made_with}"] if self.made_with else []
        lines += [one_line("; ".join(made))] if made else []
        parent = self.parent.lines() if self.parent else []
        return lines + [f"parent {line}" for line in parent]


def read_origin(path: str) -> Origin | None:
    """Reads an `ORIGIN_FILE`; None where there is none."""
    if not os.path.isfile(path):
        return None
    with open(path, "rb") as file:
        return Origin.from_json(file.read(), repr(path))


def origin_lines(origin: Origin | None) -> list[str]:
    """Returns lines for `ssd-keras info`."""
    return origin.lines() if origin else [f"origin: {NOT_STATED}"]


def joined_licences(licences: Iterable[str]) -> str:
    """Returns several licences as one text; data without one stay visible."""
    return "; ".join(dict.fromkeys(each or NOT_STATED for each in licences)) or NOT_STATED


def _known(value: Any) -> Any:
    """Returns tables without empty values, and lists for tuples."""
    if isinstance(value, Mapping):
        return {key: _known(each) for key, each in value.items() if each not in ("", None)}
    return list(value) if isinstance(value, tuple) else value
