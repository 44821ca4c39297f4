"""The output folder of batch prediction: numbered parts, and what a later call needs to go on.

Beside the parts lie files whose names begin with "_", which readers of such folders leave out: the
list of images, what the parts were made with, and a line for each part that is finished. Only one
process writes, a part is moved into place when it is whole, and its line comes after it: a part
counts where both are there. So a kill at any moment loses nothing and doubles nothing.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ssd_keras.core.files import PARTIAL_PREFIX, disk_errors, replacing
from ssd_keras.core.text import one_line
from ssd_keras.data.problems import Problem, ProblemKind
from ssd_keras.engine.batch.sources import lines_of, split_list
from ssd_keras.engine.evaluate import write_json
from ssd_keras.engine.run_lock import run_lock

IMAGES_FILE, SETTINGS_FILE, FINISHED_FILE = "_images.txt", "_settings.json", "_finished.jsonl"
LOCK_FILE = "_writing.lock"
# About 64 parts, so that every worker has some and a kill costs little; of a bounded size, since a
# worker holds the detections of a part, and a kill loses them.
NUM_PARTS, MAX_PART = 64, 1000


class Part(NamedTuple):
    """The file of a part, and what is in it."""

    content: bytes
    num_images: int
    num_invalid: int
    num_detections: int
    problems: list[Problem]


@dataclasses.dataclass
class Totals:
    """What all finished parts hold together."""

    num_images: int = 0
    num_invalid: int = 0
    num_detections: int = 0
    problems: list[Problem] = dataclasses.field(default_factory=list)

    def add(self, part: "Part | Totals") -> None:
        """Adds the numbers and problems of a part."""
        self.num_images += part.num_images
        self.num_invalid += part.num_invalid
        self.num_detections += part.num_detections
        self.problems += part.problems


class BatchOutput:
    """A folder that is open for writing; `todo` are the images of each part that is missing."""

    def __init__(self, folder: str, settings: dict[str, Any], locations: Sequence[str]) -> None:
        self.folder = folder
        self.extension = settings["format"]
        self.parts = list(split_list(locations, settings["part_size"]))
        finished = {number: part for number, part in self._journal() if self._exists(number)}
        self.totals = Totals()
        for part in finished.values():
            self.totals.add(part)
        missing = [number for number in range(len(self.parts)) if number not in finished]
        self.todo = {number: self.parts[number] for number in missing}

    def write(self, number: int, part: Part) -> None:
        """Writes a part and its line."""
        with replacing(self._path(number)) as beside, open(beside, "wb") as file:
            file.write(part.content)
        journal = os.path.join(self.folder, FINISHED_FILE)
        # The line break comes first: behind a line that a kill has cut off, too.
        line = f"\n{json.dumps({'part': number, **_to_record(part)})}"
        with disk_errors(journal), open(journal, "a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self.totals.add(part)

    def _path(self, number: int) -> str:
        return os.path.join(self.folder, f"part-{number:06d}.{self.extension}")

    def _exists(self, number: int) -> bool:
        return os.path.isfile(self._path(number))

    def _journal(self) -> Iterator[tuple[int, Totals]]:
        path = os.path.join(self.folder, FINISHED_FILE)
        if not os.path.exists(path):
            return
        with open(path, encoding="utf-8") as file:
            for line in file:
                with contextlib.suppress(ValueError):  # cut off by a kill
                    record = json.loads(line)
                    yield record.pop("part"), _from_record(record)


@contextlib.contextmanager
def open_output(
    folder: str, settings: dict[str, Any], locations: Sequence[str], resume: bool
) -> Iterator[BatchOutput]:
    """Opens a new output, or one that was begun with the same images and settings."""
    step = settings["batch_size"]
    size = min(MAX_PART, -(-len(locations) // NUM_PARTS))
    settings |= {"num_images": len(locations), "part_size": -(-size // step) * step}
    settings["images_sha256"] = hashlib.sha256(lines_of(locations)).hexdigest()
    with run_lock(folder, LOCK_FILE):
        begun = _read_settings(folder)
        if begun is not None and resume:
            _check_equal(folder, begun, settings)
        else:
            _begin(folder, settings, locations)
        for name in os.listdir(folder):
            if _is_partial(name):  # of a killed process
                os.remove(os.path.join(folder, name))
        yield BatchOutput(folder, settings, locations)


def _is_partial(name: str) -> bool:
    return name.startswith(PARTIAL_PREFIX)


def _read_settings(folder: str) -> dict[str, Any] | None:
    path = os.path.join(folder, SETTINGS_FILE)
    try:
        with open(path, encoding="utf-8") as file:
            settings = json.load(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path!r} cannot be read ({one_line(str(error))}); choose another output."
        ) from error
    return settings


def _begin(folder: str, settings: dict[str, Any], locations: Sequence[str]) -> None:
    """Writes the list, then the settings, with which the output begins."""
    names = os.listdir(folder)
    own = {LOCK_FILE, IMAGES_FILE, SETTINGS_FILE}
    others = [name for name in names if not (name in own or _is_partial(name))]
    if others and SETTINGS_FILE in names:
        raise ValueError(
            f"output {folder!r} holds detections; pass --resume (resume=True) to go on with them, "
            "or choose another folder."
        )
    if others:
        raise ValueError(
            f"output {folder!r} is not empty: it holds {one_line(others[0])!r}; choose a new "
            "folder."
        )
    if SETTINGS_FILE in names:  # of a run that has finished no part
        os.remove(os.path.join(folder, SETTINGS_FILE))
    with replacing(os.path.join(folder, IMAGES_FILE)) as beside, open(beside, "wb") as file:
        file.write(lines_of(locations))
    write_json(settings, os.path.join(folder, SETTINGS_FILE))


def _check_equal(folder: str, begun: dict[str, Any], settings: dict[str, Any]) -> None:
    """Raises a `ValueError` where an output was begun with something else."""
    if begun.get("images_sha256") != settings["images_sha256"]:
        raise ValueError(
            f"output {folder!r} was begun with other images, {begun.get('num_images')} instead of "
            f"{settings['num_images']}; pass {os.path.join(folder, IMAGES_FILE)!r} as the source "
            "to go on with them, or choose another output."
        )
    if begun.get("model_sha256") != settings["model_sha256"]:
        raise ValueError(
            f"output {folder!r} was begun with another model, {one_line(str(begun.get('model')))}; "
            "pass that one as it was, or choose another output."
        )
    for name, value in settings.items():
        if name not in ("model", "part_size") and begun.get(name) != value:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"output {folder!r} was begun with {option} {begun.get(name)}, not {value}; pass "
                "the same, or choose another output."
            )
    settings["part_size"] = begun["part_size"]


def _to_record(part: Part) -> dict[str, Any]:
    """Returns what the journal keeps of a part."""
    record = part._asdict()
    del record["content"]
    record["problems"] = [
        [one.kind.name, one.location, one.detail, one.action, one.group] for one in part.problems
    ]
    return record


def _from_record(record: dict[str, Any]) -> Totals:
    problems = [Problem(ProblemKind[kind], *words) for kind, *words in record.pop("problems")]
    return Totals(problems=problems, **record)
