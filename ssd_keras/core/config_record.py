"""Frozen records that Keras serialises by their fields."""

import dataclasses
from typing import Any, Self


@dataclasses.dataclass(frozen=True)
class ConfigRecord:
    """Base of records that are parts of a model's configuration."""

    def __post_init__(self) -> None:
        # Lists come back from JSON: tuples keep the record hashable and comparable.
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, as_tuples(getattr(self, field.name)))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments; Keras serialises the records among them."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Builds the record from the dictionary of `get_config`."""
        import keras

        return cls(**{k: keras.saving.deserialize_keras_object(v) for k, v in config.items()})


def as_tuples(value: Any) -> Any:
    """Turns lists into tuples, at any depth."""
    return tuple(map(as_tuples, value)) if isinstance(value, list | tuple) else value
