"""Files and directories that are whole or absent: errors, fallbacks, links, kills at any moment."""

import ctypes
import errno
import os
import random
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
import tensorflow as tf

from ssd_keras.core import files
from ssd_keras.core.files import replacing, replacing_directory

NUM_FILES, FILE_SIZE = 5, 20_000

# Replaces a directory by number 1, 2, 3, ...: each file of directory n holds n again and again.
WRITER = f"""
import itertools, os, sys
from ssd_keras.core.files import replacing_directory
for n in itertools.count(int(sys.argv[2])):
    with replacing_directory(sys.argv[1]) as beside:
        os.makedirs(os.path.join(beside, "deep"))
        for index in range({NUM_FILES}):
            with open(os.path.join(beside, "deep", str(index)), "w") as file:
                file.write(f"{{n:09d}} " * {FILE_SIZE // 10})
"""

# Replaces a directory once where two cannot be exchanged, and is killed before the given rename.
KILLED_AT_RENAME = """
import os, signal, sys, types
from ssd_keras.core import files
files.ctypes.CDLL = lambda *arguments, **options: types.SimpleNamespace()
rename, calls = os.rename, []
def counted(first, second):
    calls.append(first)
    if len(calls) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    rename(first, second)
files.os.rename = counted
with files.replacing_directory(sys.argv[1]) as beside:
    os.makedirs(beside)
    open(os.path.join(beside, "new"), "w").close()
"""


def write(path: str, name: str) -> None:
    os.makedirs(path)
    (Path(path) / name).write_text(name)


def old_directory(tmp_path) -> str:
    path = str(tmp_path / "artefact")
    write(path, "old")
    return path


def test_a_file_is_replaced_when_whole_and_stays_when_not(tmp_path):
    path = tmp_path / "model.tflite"
    for text in ("old", "new"):
        with replacing(str(path)) as beside:
            assert beside.endswith(".tflite") and beside != str(path)
            Path(beside).write_text(text)
        assert path.read_text() == text
    with pytest.raises(KeyError), replacing(str(path)) as beside:
        Path(beside).write_text("half")
        raise KeyError
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["model.tflite"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "No space left on device"),
        (errno.EROFS, "Read-only file system"),
        (errno.EACCES, "Permission denied"),
    ],
)
def test_a_disk_that_refuses_is_told_and_the_old_file_stays(tmp_path, number, words):
    path = tmp_path / "state.json"
    path.write_text("old")
    message = rf"^'.*/state\.json' cannot be written \({words}\); make room there, or choose anot"
    with pytest.raises(ValueError, match=message), replacing(str(path)) as beside:
        Path(beside).write_text("half")
        raise OSError(number, os.strerror(number))
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["state.json"]
    with pytest.raises(FileNotFoundError), replacing(str(path)):  # no matter of the disk
        os.stat(tmp_path / "not there")
    with pytest.raises(PermissionError), replacing(str(path)):  # a file that is read
        raise OSError(errno.EACCES, "Permission denied", "/elsewhere/image.jpg")
    assert path.read_text() == "old"


ERRORS_OF_LIBRARIES = {
    "TensorFlow": tf.errors.ResourceExhaustedError(
        None, None, "m/.writing-1/saved_model.pb.tmp36; No space left on device"
    ),
    "HDF5": OSError(
        "Can't synchronously write data (file write failed: time = Mon, filename = 'a', "
        "file descriptor = 3, errno = 28, error message = 'No space left on device')"
    ),
    "HDF5 when it closes": RuntimeError(
        "Can't decrement id ref count (unable to close file, errno = 28, error message = 'No "
        "space left on device')"
    ),
    "the system": OSError(errno.ENOSPC, "No space left on device"),
    "the system, in another folder": OSError(errno.ENOSPC, "No space left on device", "/tmp/a"),
}


@pytest.mark.parametrize("error", ERRORS_OF_LIBRARIES.values(), ids=ERRORS_OF_LIBRARIES)
@pytest.mark.parametrize("replace", [replacing, replacing_directory])
def test_a_full_disk_gives_one_line_whichever_library_meets_it(tmp_path, replace, error):
    path = tmp_path / "artefact"
    message = r"^'.*/artefact' cannot be written \(No space left on device\); make room there, or"
    with pytest.raises(ValueError, match=message), replace(str(path)):
        raise error
    assert os.listdir(tmp_path) == []


def test_a_path_that_cannot_be_written_is_known_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    files.check_writable(str(tmp_path / "new" / "folder" / "file"))
    files.check_writable(str(tmp_path / "new" / "folder"), is_folder=True)
    files.check_writable(str(tmp_path / "file"))
    for path, is_folder, words in (
        ("file/below", False, "Not a directory"),
        ("file", True, "Not a directory"),
        (".", False, "Is a directory"),
        ("/proc/nowhere/x", False, ".*"),
    ):
        with pytest.raises(ValueError, match=rf" cannot be written \({words}\); make room there, "):
            files.check_writable(str(tmp_path / path), is_folder)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED: /proc names open files")
@pytest.mark.parametrize("replace", [replacing, replacing_directory])
def test_everything_is_flushed_before_it_takes_its_place(tmp_path, monkeypatch, replace):
    """After a power cut the names of a directory may be there without what was not flushed."""
    steps = []
    fsync, move = os.fsync, os.replace

    def flush(descriptor):
        steps.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path))
        fsync(descriptor)

    def moved(first, second):
        steps.append("moved")
        move(first, second)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(os, "replace", moved)
    monkeypatch.setattr(os, "rename", moved)
    with replace(str(tmp_path / "new")) as beside:
        if replace is replacing_directory:
            write(os.path.join(beside, "deep"), "file")
        else:
            Path(beside).write_text("new")
    *before, after = "".join(f"{step}\n" for step in steps).split("moved\n")
    beside = [".writing-new"]
    if replace is replacing_directory:
        beside += [".writing-new/deep", ".writing-new/deep/file"]
    assert sorted(before[0].split()) == beside and after == ".\n"


# Systems that can and cannot let two directories change places.


def without_exchange(monkeypatch) -> None:
    """A C library that has no renameat2."""
    monkeypatch.setattr(ctypes, "CDLL", lambda *arguments, **options: types.SimpleNamespace())


def refused_exchange(monkeypatch) -> None:
    """A file system on which renameat2 fails."""
    library = types.SimpleNamespace(renameat2=lambda *arguments: -1)
    monkeypatch.setattr(ctypes, "CDLL", lambda *arguments, **options: library)


def other_system(monkeypatch) -> None:
    monkeypatch.setattr(files, "sys", types.SimpleNamespace(platform="darwin"))


SYSTEMS = {
    "as it is": lambda monkeypatch: None,
    "without renameat2": without_exchange,
    "renameat2 refuses": refused_exchange,
    "no Linux": other_system,
}
on_every_system = pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)


@on_every_system
def test_new_replaces_old_and_nothing_else_stays(tmp_path, monkeypatch, system):
    system(monkeypatch)
    path = str(tmp_path / "artefact")
    for name in ("first", "second", "third"):
        with replacing_directory(path) as beside:
            assert not os.path.exists(beside) and os.path.dirname(beside) == str(tmp_path)
            write(beside, name)
        assert os.listdir(path) == [name]
        assert os.listdir(tmp_path) == ["artefact"]


@on_every_system
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_old_stays_when_the_block_raises(tmp_path, monkeypatch, system, error):
    system(monkeypatch)
    path = old_directory(tmp_path)
    with pytest.raises(error), replacing_directory(path) as beside:
        write(beside, "new")
        raise error
    assert os.listdir(path) == ["old"]
    assert os.listdir(tmp_path) == ["artefact"]


@on_every_system
def test_old_stays_when_nothing_was_written(tmp_path, monkeypatch, system):
    system(monkeypatch)
    path = old_directory(tmp_path)
    with pytest.raises(FileNotFoundError), replacing_directory(path):
        pass
    assert os.listdir(path) == ["old"]
    assert os.listdir(tmp_path) == ["artefact"]


@pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED: only Linux has renameat2")
def test_on_linux_no_moment_is_without_a_directory(tmp_path, monkeypatch):
    path = old_directory(tmp_path)
    write(str(tmp_path / "other"), "new")

    def refuse(*arguments):
        raise AssertionError("os.rename was called")

    monkeypatch.setattr(os, "rename", refuse)
    files._exchange(str(tmp_path / "other"), path)
    assert os.listdir(path) == ["new"] and os.listdir(tmp_path / "other") == ["old"]


def test_relative_paths_and_slashes_at_the_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("artefact", "artefact/", "./artefact//"):
        with replacing_directory(path) as beside:
            write(beside, "new")
        assert os.listdir("artefact") == ["new"] and os.listdir() == ["artefact"]


def test_behind_a_link_its_target_is_replaced(tmp_path):
    target = tmp_path / "models" / "7"
    write(str(target), "old")
    link = tmp_path / "current"
    link.symlink_to(target)
    with replacing_directory(str(link)) as beside:
        write(beside, "new")
    assert link.is_symlink() and os.listdir(target) == ["new"]
    assert sorted(os.listdir(tmp_path)) == ["current", "models"]
    assert os.listdir(target.parent) == ["7"]


# Kills


def run(script: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", script, *arguments])


def number_of(path: Path) -> int:
    """The number of a directory of `WRITER`; fails where that is not whole."""
    assert os.listdir(path) == ["deep"]
    assert sorted(os.listdir(path / "deep")) == [str(index) for index in range(NUM_FILES)]
    (text,) = {(path / "deep" / str(index)).read_text() for index in range(NUM_FILES)}
    assert len(text) == FILE_SIZE
    (number,) = set(text.split())
    return int(number)


def number_in_passing(path: Path) -> int:
    """The number of a directory that may be replaced meanwhile; 0 where it just went away."""
    try:
        return int((path / "deep" / "0").read_text()[:9])
    except FileNotFoundError:
        return 0


def test_a_kill_at_any_moment_leaves_a_whole_directory(tmp_path):
    path = tmp_path / "artefact"
    moments = random.Random(11)
    number = num_left_overs = 0
    for _ in range(10):
        process = run(WRITER, str(path), str(number + 1))
        while number_in_passing(path) <= number:  # the last process' directory, or none
            assert process.poll() is None
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.05))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert number_of(path) > number
        number = number_of(path)
        assert set(os.listdir(tmp_path)) <= {"artefact", ".writing-artefact"}
        num_left_overs += len(os.listdir(tmp_path)) - 1
    assert num_left_overs  # else no kill came in the middle of something
    with replacing_directory(str(path)) as beside:
        write(beside, "new")
    assert os.listdir(tmp_path) == ["artefact"] and os.listdir(path) == ["new"]


@pytest.mark.parametrize(
    ("rename", "names", "survivor"),
    [
        # The old one moves aside, the new one in, the old one to where it is removed.
        (1, [".writing-artefact", "artefact"], "old"),
        (2, [".writing-artefact", ".writing-artefact.old"], "old"),
        (3, [".writing-artefact.old", "artefact"], "new"),
    ],
)
def test_a_kill_where_directories_cannot_be_exchanged(tmp_path, rename, names, survivor):
    path = old_directory(tmp_path)
    assert run(KILLED_AT_RENAME, path, str(rename)).wait() == -signal.SIGKILL
    assert sorted(os.listdir(tmp_path)) == names
    with pytest.raises(ValueError), replacing_directory(path) as beside:
        assert os.listdir(path) == [survivor]
        assert not os.path.exists(beside)
        raise ValueError
    assert os.listdir(tmp_path) == ["artefact"] and os.listdir(path) == [survivor]
