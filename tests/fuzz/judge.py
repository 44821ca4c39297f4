"""Judges one input: accepted, reported, or lost."""

import os
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import tensorflow as tf

from fuzz.attacks import write_attack
from fuzz.corpus import NAMED, write_input
from fuzz.pool import Task
from fuzz.user_files import FILE_KINDS, write_damaged
from ssd_keras.core.downloads import CACHE_VARIABLE
from ssd_keras.data import DetectionData, Example, load_data
from ssd_keras.data.images import decode_image
from ssd_keras.data.records import fit_box

ATTACK = "attacks"
ACCEPTED, REPORTED, LOST = "accepted", "reported", "lost"
MAX_LINE = 5000
MAX_DECODED = 4
# Audit events of calls that change files, start programs or use the network.
FAR_CALLS = (
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.truncate",
    "os.chmod", "os.chown", "os.utime", "os.system", "os.exec", "os.posix_spawn",
    "subprocess.Popen", "socket.connect", "socket.getaddrinfo", "shutil.rmtree",
)  # fmt: skip
OPENING = ("open", "os.listdir", "os.scandir")
# Modules are imported late, and libraries read properties of the system.
HARMLESS = (
    sys.prefix, sys.base_prefix, str(Path(__file__).resolve().parents[2]), "/proc", "/sys",
    "/dev/null", "/dev/urandom", *(os.path.realpath(path) for path in sys.path if path),
)  # fmt: skip


class Verdict(NamedTuple):
    """How an input ended, and the message."""

    kind: str
    words: str


Report = tuple[list[str], list[str], list[str]]  # losses, notes, faults


class Watch:
    """Records the files opened outside a folder; one per process, since audit hooks stay."""

    def __init__(self) -> None:
        self.folder = self.cache = ""
        self.touched: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple) -> None:
        if not self.folder or event not in (*FAR_CALLS, *OPENING):
            return
        path = arguments[0] if arguments else None
        is_path = isinstance(path, str | bytes) and b"\0" not in os.fsencode(path)
        place = os.path.realpath(os.fsdecode(path)) if is_path else ""
        if event in FAR_CALLS and not place.startswith(self.cache):
            self.touched.append(f"{event} {arguments}")
        is_opened = is_path and event in OPENING
        if is_opened and not self._may_open(place):
            self.touched.append(f"{event} {arguments}")

    def _may_open(self, place: str) -> bool:
        beside = (self.folder + os.sep, self.cache, *HARMLESS)
        return place == self.folder or place.startswith(beside)


WATCH = Watch()


def run_input(task: Task, folder: str) -> Verdict:
    """Writes one input and judges it."""
    if task.kind in FILE_KINDS:
        write_damaged(task.kind, task.seed, int(task.name), Path(folder, NAMED))
        return judge_files(task.kind, folder)
    if task.kind == ATTACK:
        spec = write_attack(task.name, Path(folder))
    else:
        spec = write_input(task.kind, task.seed, int(task.name), Path(folder))
    return judge(spec, folder)


def judge(spec: str, folder: str) -> Verdict:
    """Loads a data set, looks at its records and decodes its images."""

    def use() -> Report:
        data = load_data(spec)
        faults = _faults(data, WATCH.folder)
        losses = [str(problem) for problem in data.problems if problem.is_loss]
        notes = [str(problem) for problem in data.problems if not problem.is_loss]
        losses += [line for x in data.examples[:MAX_DECODED] for line in _decode(x)]
        return losses, notes, faults

    return _judged(use, folder)


def judge_files(kind: str, folder: str) -> Verdict:
    """Reads files that are no data set, and looks at what was accepted."""
    use = FILE_KINDS[kind].use
    return _judged(lambda: ([], [], use(Path(folder, NAMED))), folder, names_file=kind != "set")


def _judged(use: Callable[[], Report], folder: str, names_file: bool = True) -> Verdict:
    """Runs a function; judges its messages, and what it touched."""
    losses, notes, faults = [], [], []
    before = _listing(folder)
    WATCH.touched.clear()
    WATCH.cache = os.path.realpath(f"{folder}.cache")
    WATCH.folder = os.path.realpath(os.path.join(folder, NAMED))
    try:
        with (
            warnings.catch_warnings(),
            mock.patch.dict(os.environ, {CACHE_VARIABLE: WATCH.cache}),
        ):
            warnings.simplefilter("ignore")
            losses, notes, faults = use()
    except (ValueError, FileNotFoundError) as error:
        losses = [str(error)]
        if names_file and str(folder) not in str(error):
            faults = ["no file is named"]
        if not _is_ours(error):
            faults += [f"an error of another library: {type(error).__name__}"]
    except BaseException:
        return Verdict(LOST, traceback.format_exc())
    finally:
        WATCH.folder = ""
        shutil.rmtree(WATCH.cache, ignore_errors=True)
    faults += [f"it touched {what}" for what in WATCH.touched]
    faults += _line_faults([*losses, *notes])
    if _listing(folder) != before:
        faults.append("files were changed")
    if faults:
        return Verdict(LOST, "\n".join(faults))
    return Verdict(REPORTED if losses else ACCEPTED, [*losses, *notes, ""][0])


def _is_ours(error: Exception) -> bool:
    """Whether an error has the type of our messages; subclasses are other libraries'."""
    module = type(error).__module__
    return type(error) in (ValueError, FileNotFoundError) or module.startswith("ssd_keras")


def _listing(folder: str) -> list[tuple[str, int, int]]:
    """Returns path, size and time of each file."""
    entries = []
    for parent, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(parent, name)
            status = os.lstat(path)
            entries.append((path, status.st_size, status.st_mtime_ns))
    return sorted(entries)


def _line_faults(lines: Sequence[str]) -> list[str]:
    return [f"not one short line: {line[:200]!r}" for line in lines if not _is_line(line)]


def _is_line(text: str) -> bool:
    return text.isprintable() and 0 < len(text) <= MAX_LINE


def _is_name(text: str) -> bool:
    """Whether a text is one line of UTF-8 without control characters."""
    has_control = any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text)
    is_broken = any(0xD800 <= ord(c) < 0xE000 for c in text)
    return text.splitlines() == [text] and not has_control and not is_broken


def _faults(data: DetectionData, folder: str) -> list[str]:
    """Returns what is wrong with the records that a reader has accepted."""
    faults = [f"class name {name!r}" for name in data.class_names if not _is_name(name)]
    if len(set(data.class_names)) < len(data.class_names):
        faults.append(f"repeated class names {data.class_names}")
    if not data.examples:
        faults.append("no image, and no message")
    for example in data.examples:
        path = getattr(example.image, "path", example.image)
        places = (folder + os.sep, WATCH.cache)  # converted images lie in the cache
        if isinstance(path, str) and not os.path.realpath(path).startswith(places):
            faults.append(f"an image elsewhere: {path!r}")
        if not _is_name(str(example.image_id)):
            faults.append(f"image id {example.image_id!r}")
        faults += _box_faults(example, len(data.class_names))
    return faults


def _box_faults(example: Example, num_classes: int) -> list[str]:
    count = len(example.labels)
    flags = (example.is_difficult, example.is_crowd, example.areas)
    if example.boxes.shape != (count, 4) or any(len(values) != count for values in flags):
        return [f"{count} labels beside boxes {example.boxes.shape}"]
    faults = []
    if not 0 < example.height < 2**31 or not 0 < example.width < 2**31:
        faults.append(f"size {example.width}x{example.height}")
    if not np.isfinite(example.areas).all() or not np.isfinite(example.relative_boxes()).all():
        faults.append(f"boxes {example.boxes} of areas {example.areas}")
    if any(not 0 <= label < num_classes for label in example.labels):
        faults.append(f"labels {example.labels}")
    for box in example.boxes:
        if fit_box(box, example.height, example.width)[1]:
            faults.append(f"box {box} in {example.width}x{example.height}")
    return faults


@tf.function(input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int32)])
def _decoded(data: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    return decode_image(data, orientation)


# Traced here, because tracing writes files.
_decoded.get_concrete_function()


def _decode(example: Example) -> list[str]:
    """Returns the error of decoding an image, as a list of at most one line."""
    try:
        image = _decoded(example.read(), example.orientation)
    except tf.errors.OpError as error:
        return [" ".join(str(error).split())[:120]]
    if image.shape[:2] != (example.height, example.width):
        expected = (example.height, example.width)
        raise TypeError(f"decoded to {image.shape[:2]}, but the header says {expected}")
    return []
