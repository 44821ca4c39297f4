"""Files and directories that are whole or absent, whatever happens while they are written."""

import os
import random
import subprocess
import sys
import time

import pytest

from ssd_keras import files
from ssd_keras.files import replacing, replacing_directory


def write_directory(path, text):
    os.mkdir(path)
    for name in "abc":
        with open(os.path.join(path, name), "w", encoding="utf-8") as file:
            file.write(text)


def content_of(path):
    return {name: (path / name).read_text() for name in sorted(os.listdir(path))}


def test_a_file_is_replaced_when_whole_and_stays_when_not(tmp_path):
    path = tmp_path / "model.tflite"
    for text in ("old", "new"):
        with replacing(str(path)) as beside:
            assert beside.endswith(".tflite") and beside != str(path)
            with open(beside, "w", encoding="utf-8") as file:
                file.write(text)
        assert path.read_text() == text
    with pytest.raises(KeyError), replacing(str(path)) as beside:
        with open(beside, "w", encoding="utf-8") as file:
            file.write("half")
        raise KeyError
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["model.tflite"]


@pytest.mark.parametrize("has_exchange", [True, False])
def test_a_directory_is_replaced_when_whole_and_stays_when_not(tmp_path, has_exchange, monkeypatch):
    if not has_exchange:
        monkeypatch.setattr(files.sys, "platform", "other")
    path = tmp_path / "1"
    for text in ("old", "new"):
        with replacing_directory(str(path)) as beside:
            write_directory(beside, text)
        assert content_of(path) == dict.fromkeys("abc", text)
    with pytest.raises(KeyError), replacing_directory(str(path)) as beside:
        os.mkdir(beside)
        raise KeyError
    assert content_of(path) == dict.fromkeys("abc", "new") and os.listdir(tmp_path) == ["1"]


WRITER = """
import os, sys
from ssd_keras.files import replacing_directory
number = 0
while True:
    number += 1
    with replacing_directory(sys.argv[1]) as beside:
        os.mkdir(beside)
        for name in "abc":
            with open(os.path.join(beside, name), "w") as file:
                file.write(str(number))
    if number == 1:
        print("ready", flush=True)
"""


def test_a_kill_leaves_a_whole_directory(tmp_path):
    draw = random.Random(7)
    path = tmp_path / "1"
    seen = set()
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(draw.uniform(0.001, 0.05))
            process.kill()
        found = content_of(path)
        assert set(found) == set("abc") and len(set(found.values())) == 1
        seen.add(found["a"])
    assert len(seen) > 3
    with replacing_directory(str(path)) as beside:
        write_directory(beside, "last")
    assert os.listdir(tmp_path) == ["1"] and content_of(path)["b"] == "last"
