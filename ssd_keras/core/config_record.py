"""Frozen records that Keras serialises by their fields."""

import dataclasses
from typing import Any, Self


@dataclasses.dataclass(frozen=True)
class ConfigRecord:
    """Base of records that are parts of a model's configuration."""

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Builds the record from the dictionary of `get_config`."""
        return cls(**config)
