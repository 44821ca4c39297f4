"""The RUN folder: the files of a training, and the state from which it resumes."""

# Each file is written under a temporary name and then moved, in this order:
#
#     state-N.keras     weights and optimizer of the new state
#     state.json        names state-N.keras: from here on, resuming starts at epoch N
#     state-M.keras     of the previous state is removed
#
# A kill before state.json is moved leaves the previous state whole; a kill after it leaves at
# most an old file, which the next start removes.

import csv
import dataclasses
import glob
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import keras

from ssd_keras.core.files import PARTIAL_PREFIX, check_writable, lies_within, make_folder, replacing
from ssd_keras.core.origin import ORIGIN_FILE, DataOrigin, Origin, read_origin
from ssd_keras.engine.recipes import RUN_FILE, TrainRecipe, load_recipe
from ssd_keras.engine.run_lock import LOCK_FILE
from ssd_keras.engine.training_state import TrainingState, model_file_of
from ssd_keras.models.model_file import load_ssd


class RunDirectory:
    """Reads and writes a RUN folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def file(self, name: str) -> str:
        """Returns the path of a file of the run."""
        return os.path.join(self.path, name)

    def open(self, recipe: TrainRecipe, class_names: Sequence[str], resume: bool) -> TrainingState:
        """Checks that a run can start or resume here; returns its state. `start` comes next."""
        is_taken = self._is_taken()
        if not resume or not is_taken:
            if is_taken:
                raise ValueError(
                    f"output {self.path!r} is not an empty folder; choose another, or pass "
                    "--resume to continue the training in it."
                )
            check_writable(self.path, is_folder=True)
            return TrainingState()
        if not os.path.isfile(self.file(RUN_FILE)):
            raise ValueError(
                f"output {self.path!r} is no RUN folder, and not empty; choose another."
            )
        if load_recipe(self.file(RUN_FILE)) != recipe:
            raise ValueError(
                f"the training in {self.path!r} was started with another recipe (see its "
                f"{RUN_FILE}); resume with --recipe {self.path!r}, or choose another output."
            )
        names_file = self.file("class_names.txt")
        if os.path.isfile(names_file) and self._read("class_names.txt") != _lines(class_names):
            raise ValueError(
                f"the training in {self.path!r} has other classes (see its class_names.txt) "
                "than the training data; resume with the same data."
            )
        state = TrainingState()
        if os.path.isfile(self.file("state.json")):
            state = self._read("state.json", TrainingState.from_json)
        if state.model_file:
            self._state_model(state)
        if state.best is not None and not zipfile.is_zipfile(self.file("model.keras")):
            raise ValueError(
                f"{self.file('model.keras')!r}, the best model so far, is missing or damaged; put "
                "back a copy of the file, or start again in another output."
            )
        check_writable(self.path, is_folder=True)
        self._remove_leftovers(state)
        return state

    def start(
        self, recipe: TrainRecipe, class_names: Sequence[str], origin: Origin | None = None
    ) -> None:
        """Makes the folder and writes recipe, class names and origin."""
        make_folder(self.path)
        self.write_text(RUN_FILE, recipe.to_toml())
        self.write_text("class_names.txt", _lines(class_names))
        if origin:
            self.write_text(ORIGIN_FILE, origin.to_json())

    def check_data(self, data: DataOrigin) -> None:
        """Refuses to resume with other data than those of the start."""
        origin = read_origin(self.file(ORIGIN_FILE))
        old = origin.data if origin else None
        if old and (old.num_images, old.num_objects) != (data.num_images, data.num_objects):
            raise ValueError(
                f"the training in {self.path!r} was started with {old.num_images} images and "
                f"{old.num_objects} objects, but the data have {data.num_images} and "
                f"{data.num_objects}; resume with the same data, or choose another output."
            )

    def _is_taken(self) -> bool:
        """Whether the folder holds more than the lock and partial files of a killed start."""
        if not os.path.isdir(self.path):
            return os.path.exists(self.path)
        return not all(
            name.startswith((PARTIAL_PREFIX, LOCK_FILE)) for name in os.listdir(self.path)
        )

    def _remove_leftovers(self, state: TrainingState) -> None:
        """Removes partial files of killed runs, and states before this one."""
        for pattern in (f"{PARTIAL_PREFIX}*", "state-*.keras"):
            for path in glob.glob(os.path.join(glob.escape(self.path), pattern)):
                if os.path.basename(path) != state.model_file:
                    os.remove(path)

    def load_state_model(self, state: TrainingState) -> keras.Model:
        """Loads the compiled model of a state, optimizer included."""
        return load_ssd(self._state_model(state), compile=True)

    def _state_model(self, state: TrainingState) -> str:
        """Returns the path of the model of a state, which must lie in the run."""
        path = self.file(state.model_file)
        if not os.path.isfile(path):
            raise ValueError(
                f"{path!r}, from which the training resumes, does not exist; put it back, or start "
                "again in another output. Several hosts need an output that all see."
            )
        if not lies_within(path, self.path):
            raise ValueError(
                f"{path!r} is a symbolic link that leads out of the run; copy the file there."
            )
        return path

    def save_state(self, model: keras.Model, state: TrainingState) -> None:
        """Saves the state from which a killed training resumes."""
        state.model_file = model_file_of(state.epoch, state.step)
        with replacing(self.file(state.model_file)) as path:
            model.save(path)
        self.write_state(state)
        self._remove_leftovers(state)

    def write_state(self, state: TrainingState) -> None:
        """Writes state.json."""
        self.write_text("state.json", json.dumps(dataclasses.asdict(state)))

    def save_model(self, model: keras.Model) -> None:
        """Writes model.keras, the result of the run."""
        with replacing(self.file("model.keras")) as path:
            model.save(path)

    def write_history(self, history: list[dict]) -> None:
        columns = list(dict.fromkeys(name for row in history for name in row))
        with replacing(self.file("history.csv")) as path, open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(history)

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file, whole or not at all."""
        with replacing(self.file(name)) as path, open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def _read(self, name: str, parse: Callable[[str], Any] = str) -> Any:
        """Reads a file that a resumed training needs."""
        try:
            return parse(self.read_text(name))
        except ValueError as error:
            raise ValueError(
                f"{self.file(name)!r} is damaged ({error}); the training cannot go on from it: "
                "start again in another output, or put back a copy of the file."
            ) from error

    def read_text(self, name: str) -> str:
        with open(self.file(name), encoding="utf-8") as file:
            return file.read()


def _lines(class_names: Sequence[str]) -> str:
    return "".join(f"{name}\n" for name in class_names)
