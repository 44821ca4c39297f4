"""Only one training at a time writes into a RUN folder; what a kill leaves does not block."""

import os
import re
import subprocess
import sys

import pytest

from ssd_keras.engine import run_lock as module
from ssd_keras.engine.run_lock import LOCK_FILE, run_lock


def test_the_second_training_is_refused_in_one_line(tmp_path):
    path = str(tmp_path / "run")
    message = (
        rf"^output '{re.escape(path)}' is in use: process {os.getpid()} on \S+ writes into it; "
        r"wait for its end, or choose another output\.$"
    )
    with run_lock(path):
        with pytest.raises(ValueError, match=message), run_lock(path):
            pass
        assert os.listdir(path) == [LOCK_FILE]  # of the first, which goes on
        with pytest.raises(ValueError, match=message), run_lock(path):
            pass
    with run_lock(path):
        pass


def test_nothing_is_left_of_a_refused_training_and_what_was_written_stays(tmp_path):
    path = tmp_path / "deep" / "run"
    with pytest.raises(RuntimeError), run_lock(str(path)):
        raise RuntimeError
    assert not (tmp_path / "deep").exists()
    with run_lock(str(path)):
        (path / "recipe.toml").write_text("")
    assert os.listdir(path) == ["recipe.toml"]
    path = tmp_path / "empty"
    path.mkdir()
    with run_lock(str(path)):
        pass
    assert path.is_dir()  # it was there before


def test_the_lock_ends_with_a_kill(tmp_path):
    path = str(tmp_path / "run")
    code = (
        "import os, signal; from ssd_keras.engine.run_lock import run_lock\n"
        f"with run_lock({path!r}): os.kill(os.getpid(), signal.SIGKILL)"
    )
    process = subprocess.run([sys.executable, "-c", code], check=False)
    assert process.returncode and os.listdir(path) == [LOCK_FILE]
    with run_lock(path):
        pass
    assert os.listdir(path) == []


def test_a_file_system_without_locks_goes_without(tmp_path, monkeypatch):
    def flock(file, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(module.fcntl, "flock", flock)
    with run_lock(str(tmp_path / "run")):
        assert os.listdir(tmp_path / "run") == [LOCK_FILE]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file", r"^output '.*file' is not an empty folder; choose another\.$"),
        ("file/run", r"^'.*file/run' cannot be written \(Not a directory\); make"),
    ],
)
def test_a_place_that_cannot_be_written_is_named(tmp_path, name, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=message), run_lock(str(tmp_path / name)):
        pass
