"""The RUN directory: what a training leaves behind and resumes from.

Every file is written beside its place and moved there when whole, and `state.json` is moved
last, so that a kill at any moment leaves the previous state.
"""

import csv
import dataclasses
import glob
import json
import os
from collections.abc import Sequence

import keras

from ssd_keras.core.files import WRITING, cannot_write, replacing
from ssd_keras.engine.recipes import TrainRecipe


@dataclasses.dataclass
class TrainingState:
    """How far a training has come."""

    epoch: int = 0  # finished epochs that the state's model has seen. Default 0.
    best: float | None = None  # best validation AP so far, or None
    history: list[dict] = dataclasses.field(default_factory=list)  # one dictionary a finished epoch
    model_file: str = ""  # name of the file with weights and optimizer


class RunDirectory:
    """Reads and writes a RUN directory."""

    def __init__(self, path: str):
        self.path = path

    def file(self, name: str) -> str:
        """The path of a file of the run."""
        return os.path.join(self.path, name)

    def open(self, recipe: TrainRecipe, class_names: Sequence[str], resume: bool) -> TrainingState:
        """Checks that a new run may start here, or finds where to resume; `start` comes next."""
        if not resume:
            if self._is_taken():
                raise ValueError(
                    f"output {self.path!r} is not an empty directory; choose another, or pass "
                    "--resume to continue the training in it."
                )
            return TrainingState()
        if not os.path.isfile(self.file("recipe.json")):
            raise ValueError(
                f"output {self.path!r} holds no training to resume; leave --resume away to start "
                "one."
            )
        if self._read_recipe() != TrainRecipe.from_json(recipe.to_json()):
            raise ValueError(
                f"the training in {self.path!r} was started with another recipe (see its "
                "recipe.json); resume with the same one, or choose another output."
            )
        names_file = self.file("class_names.txt")
        if os.path.isfile(names_file) and self.read_text("class_names.txt") != _lines(class_names):
            raise ValueError(
                f"the training in {self.path!r} has other classes (see its class_names.txt) "
                "than the training data; resume with the same data."
            )
        state = TrainingState()
        if os.path.isfile(self.file("state.json")):
            state = TrainingState(**json.loads(self.read_text("state.json")))
        self._remove_leftovers(state)
        return state

    def start(self, recipe: TrainRecipe, class_names: Sequence[str]) -> None:
        """Makes the directory and writes down what is trained in it."""
        try:
            os.makedirs(self.path, exist_ok=True)
        except OSError as error:
            raise ValueError(f"output {cannot_write(self.path, error)}") from error
        self.write_text("recipe.json", recipe.to_json())
        self.write_text("class_names.txt", _lines(class_names))

    def _is_taken(self) -> bool:
        """Whether there is anything but what a kill during the first file leaves behind."""
        if not os.path.isdir(self.path):
            return os.path.exists(self.path)
        return not all(name.startswith(WRITING) for name in os.listdir(self.path))

    def _read_recipe(self) -> TrainRecipe:
        try:
            return TrainRecipe.from_json(self.read_text("recipe.json"))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{self.file('recipe.json')!r} is no recipe of this version ({error}); choose "
                "another output."
            ) from error

    def _remove_leftovers(self, state: TrainingState) -> None:
        """Removes what kills left behind, and states before this one."""
        for pattern in (f"{WRITING}*", "state-*.keras"):
            for path in glob.glob(os.path.join(glob.escape(self.path), pattern)):
                if os.path.basename(path) != state.model_file:
                    os.remove(path)

    def load_state_model(self, state: TrainingState) -> keras.Model:
        """The compiled model of a state, optimizer included."""
        path = self.file(state.model_file)
        if not os.path.isfile(path):
            raise ValueError(
                f"{path!r} is not there, from which the training goes on; --output must be a "
                "directory that all hosts see."
            )
        return keras.models.load_model(path)

    def save_state(self, model: keras.Model, state: TrainingState) -> None:
        """Makes the present moment the one to resume from."""
        state.model_file = f"state-{state.epoch}.keras"
        with replacing(self.file(state.model_file)) as path:
            model.save(path)
        self.write_text("state.json", json.dumps(dataclasses.asdict(state)))
        self._remove_leftovers(state)

    def save_model(self, model: keras.Model) -> None:
        """Writes model.keras, the run's result."""
        with replacing(self.file("model.keras")) as path:
            model.save(path)

    def write_history(self, history: list[dict]) -> None:
        """Writes history.csv."""
        columns = list(dict.fromkeys(name for row in history for name in row))
        with replacing(self.file("history.csv")) as path, open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(history)

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file whole or not at all."""
        with replacing(self.file(name)) as path, open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def read_text(self, name: str) -> str:
        """Reads a text file."""
        with open(self.file(name), encoding="utf-8") as file:
            return file.read()


def _lines(class_names: Sequence[str]) -> str:
    return "".join(f"{name}\n" for name in class_names)
