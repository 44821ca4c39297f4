"""The state of a training, from which it resumes: a record and its JSON."""

import dataclasses
import json
from collections.abc import Sequence
from numbers import Real
from typing import Any

from ssd_keras.core.records import from_table
from ssd_keras.core.text import is_plain_text, one_line


@dataclasses.dataclass
class TrainingState:
    """The progress of a training."""

    epoch: int = 0  # finished epochs of the saved model
    best: float | None = None  # best validation AP so far
    history: list[dict] = dataclasses.field(default_factory=list)  # one entry for each epoch
    model_file: str = ""  # holds weights and optimizer
    length: Sequence[int] = ()  # of a training by time: epochs, and steps of each
    step: int = 0  # steps of the next epoch that the saved model has seen
    sums: Sequence[float] = ()  # of that epoch's losses, as the model's metrics keep them

    @classmethod
    def from_json(cls, text: str) -> "TrainingState":
        """Reads a state strictly: it names the file that is loaded."""
        try:
            tables = json.loads(text)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        if not isinstance(tables, dict):
            raise ValueError("it is not a table")
        names = [each.name for each in dataclasses.fields(cls)]
        missing = [name for name in names if name not in (*tables, "step", "sums")]
        if missing:
            raise ValueError(f"it has no {', '.join(missing)}")
        history = tables.pop("history", [])
        state = from_table(cls, tables, "state")
        state.history = [_entry(row) for row in history] if isinstance(history, list) else []
        if len(state.history) != state.epoch or state.epoch < 0:
            raise ValueError(f"epoch {state.epoch} has {len(state.history)} entries of history")
        if state.step and not _is_count(state.step) or bool(state.step) != bool(state.sums):
            raise ValueError(f"step {state.step} has {len(state.sums)} sums of losses")
        expected = model_file_of(state.epoch, state.step) if state.epoch or state.step else ""
        if state.model_file != expected:
            raise ValueError(f"model_file is {one_line(state.model_file)!r}, expected {expected!r}")
        if len(state.length) not in (0, 2) or not all(_is_count(each) for each in state.length):
            raise ValueError(f"length is {state.length}, expected epochs and steps")
        return state


def model_file_of(epoch: int, step: int = 0) -> str:
    """Returns the name of the file with the model after an epoch and steps of the next."""
    return f"state-{epoch}-{step}.keras" if step else f"state-{epoch}.keras"


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 < value < 2**31


def _entry(row: Any) -> dict[str, float]:
    """Returns an entry of the history: numbers by name."""
    is_entry = isinstance(row, dict) and all(
        is_plain_text(name) and isinstance(value, Real) for name, value in row.items()
    )
    if not is_entry:
        raise ValueError(f"history holds {one_line(repr(row))}, expected numbers by name")
    return row
