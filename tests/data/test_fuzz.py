"""Hostile and damaged files: what readers do with them, and that the fuzzer sees their faults."""

import dataclasses
import importlib.util
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import bad_work
import numpy as np
import pytest
import tensorflow as tf
from fuzz import judge as judges
from fuzz.attacks import ATTACKS, write_attack
from fuzz.corpus import (
    KINDS,
    NAMED,
    OUTSIDE,
    image,
    record,
    write_good,
    write_input,
    write_records,
)
from fuzz.judge import ACCEPTED, LOST, REPORTED, judge, judge_files, run_input
from fuzz.mutations import PNG_SIGNATURE, fix_checksums, split_records
from fuzz.pool import Task, run_all
from fuzz.user_files import FILE_KINDS
from PIL import Image, UnidentifiedImageError

from ssd_keras.data import load_data

ROOT = Path(__file__).parents[2]
INPUTS = 6  # of each kind; `make fuzz` takes more


def skip_without_yaml(name):
    if name.startswith("yolo") and importlib.util.find_spec("yaml") is None:
        pytest.skip("NOT TESTED: PyYAML is not installed")


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_reported_or_does_nothing(tmp_path, name):
    skip_without_yaml(name)
    folder = tmp_path / "input"
    verdict = judge(write_attack(name, folder), str(folder))
    words = ATTACKS[name].words
    assert verdict.kind in ((REPORTED, ACCEPTED) if words else (ACCEPTED,)), verdict.words
    assert re.search(words, verdict.words)


@pytest.mark.parametrize("kind", KINDS)
def test_good_data_are_accepted_and_damaged_data_not_lost(tmp_path, kind):
    skip_without_yaml(kind)
    assert judge(write_good(kind, tmp_path / "good"), str(tmp_path / "good")).kind == ACCEPTED
    kinds = set()
    for number in range(INPUTS):
        folder = tmp_path / str(number)
        verdict = judge(write_input(kind, 11, number, folder), str(folder))
        assert verdict.kind != LOST, f"input {number} of seed 11: {verdict.words}"
        kinds.add(verdict.kind)
    assert REPORTED in kinds  # else nothing was damaged


@pytest.mark.parametrize("kind", FILE_KINDS)
def test_good_files_are_accepted_and_damaged_ones_not_lost(tmp_path, kind):
    FILE_KINDS[kind].write(tmp_path / "good" / NAMED)
    assert judge_files(kind, str(tmp_path / "good")) == (ACCEPTED, "")
    for number in range(INPUTS):
        verdict = run_input(Task(kind, 11, str(number)), str(tmp_path / str(number)))
        assert verdict.kind != LOST, f"input {number} of seed 11: {verdict.words}"


def test_folders_of_a_data_set_may_be_links(tmp_path):
    """People keep their images on another disk; a link to a single file is another matter."""
    spec = write_good("voc", tmp_path / "input")
    named, elsewhere = tmp_path / "input" / NAMED, tmp_path / "disk"
    (named / "JPEGImages").rename(elsewhere)
    (named / "JPEGImages").symlink_to(elsewhere)
    assert (len(load_data(spec)), load_data(spec).problems) == (2, ())
    (named / "raw.jpg").write_bytes(image("JPEG"))
    (named / "JPEGImages").unlink()
    elsewhere.rename(named / "JPEGImages")
    (named / "JPEGImages/p0.jpg").unlink()
    (named / "JPEGImages/p0.jpg").symlink_to(named / "raw.jpg")
    assert (len(load_data(spec)), load_data(spec).problems) == (2, ())


# The inputs


def test_an_input_is_made_again_from_its_numbers(tmp_path):
    for kind in KINDS:
        contents = []
        for seed, number, name in ((3, 8, "a"), (3, 8, "b"), (3, 9, "c"), (4, 8, "d")):
            folder = tmp_path / kind / name
            write_input(kind, seed, number, folder)
            targets = [folder / NAMED / target for target in KINDS[kind].targets]
            contents.append(b"".join(target.read_bytes() for target in targets))
        assert contents[0] == contents[1]
        assert len(set(contents)) == 3


def test_checksums_are_corrected():
    damaged = bytearray(image("PNG"))
    damaged[len(PNG_SIGNATURE) + 11] += 3  # the width's last byte, 40
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(damaged))
    opened = Image.open(io.BytesIO(fix_checksums(bytes(damaged))))
    opened.verify()
    assert opened.size == (43, 32)


def test_records_are_split_as_tensorflow_splits_them(tmp_path):
    path = tmp_path / "a.tfrecord"
    write_records(path, [record(0), record(1), b""])
    expected = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    assert split_records(path.read_bytes()) == expected == [record(0), record(1), b""]


# The fuzzer sees what goes wrong


def misread(change):
    """A reader whose first record has been changed."""

    def load(spec):
        data = load_data(spec)
        change(data)
        return data

    return load


def read_outside(spec):
    data = load_data(spec)
    folder = Path(data.examples[0].image).parents[2]
    return data if (folder / OUTSIDE / "secret.txt").read_text() else None


def list_above(spec):
    data = load_data(spec)
    return data if os.listdir(Path(data.examples[0].image).parents[3]) else None


def write_inside(spec):
    data = load_data(spec)
    (Path(data.examples[0].image).parent / "cache.bin").write_bytes(b"1")
    return data


def fail_with(error):
    def load(spec):
        raise error

    return load


def set_field(name, value):
    return lambda data: object.__setattr__(data.examples[0], name, value)


BAD_READERS = {
    "another error": (fail_with(KeyError("bbox")), r"KeyError: 'bbox'"),
    "two lines": (fail_with(ValueError("one\ntwo")), r"not one short line: 'one\\ntwo'"),
    "no words": (fail_with(ValueError()), r"not one short line: ''"),
    "endless words": (fail_with(ValueError("a" * 6000)), r"not one short line"),
    "outside": (read_outside, r"touched open \('.*outside/secret\.txt'"),
    "above": (list_above, r"touched os\.listdir"),
    "writing": (write_inside, r"files were changed"),
    "NaN": (misread(lambda data: data.examples[0].boxes.fill(np.nan)), r"boxes \[\[nan"),
    "beyond": (misread(lambda data: data.examples[0].boxes.fill(90)), r"box \[90"),
    "label": (misread(lambda data: data.examples[0].labels.fill(2)), r"labels \[2 2\]"),
    "count": (misread(set_field("labels", np.zeros(3, int))), r"3 labels beside boxes \(2, 4\)"),
    "place": (misread(set_field("image", "/etc/hostname")), r"an image elsewhere: '/etc/host"),
    "size": (misread(set_field("height", 31)), r"decoded to \(32, 40\), but the header says \(31"),
    "id": (misread(set_field("image_id", "a\x1b[2J")), r"image id 'a\\x1b\[2J'"),
}  # fmt: skip


@pytest.mark.parametrize(("reader", "words"), BAD_READERS.values(), ids=BAD_READERS)
def test_a_reader_that_goes_wrong_is_seen(tmp_path, monkeypatch, reader, words):
    folder = tmp_path / "input"
    spec = write_good("voc", folder)
    monkeypatch.setattr(judges, "load_data", reader)
    verdict = judge(spec, str(folder))
    assert verdict.kind == LOST and re.search(words, verdict.words), verdict


def refuse(words):
    def use(folder):
        raise ValueError(words.replace("FOLDER", str(folder)))

    return use


def decode(folder):
    b"\xff".decode()


def list_outside(folder):
    os.listdir(folder.parents[1])
    return []


def write_beside(folder):
    (folder / "x").write_text("x")
    return []


BAD_USES = {
    "not finite": (lambda folder: ["weights not finite"], r"^weights not finite"),
    "no file": (refuse("it is damaged"), r"^no file is named"),
    "another library's": (decode, r"an error of another library: UnicodeDecodeError"),
    "raw": (lambda folder: {}["x"], r"KeyError: 'x'"),
    "two lines": (refuse("'FOLDER/a' is\ndamaged"), r"not one short line"),
    "outside": (list_outside, r"touched os\.listdir"),
    "writing": (write_beside, r"files were changed"),
}


@pytest.mark.parametrize(("use", "words"), BAD_USES.values(), ids=BAD_USES)
def test_a_file_that_is_used_wrongly_is_seen(tmp_path, monkeypatch, use, words):
    FILE_KINDS["labels"].write(tmp_path / "input" / NAMED)
    kind = dataclasses.replace(FILE_KINDS["labels"], use=use)
    monkeypatch.setitem(judges.FILE_KINDS, "labels", kind)
    verdict = judge_files("labels", str(tmp_path / "input"))
    assert verdict.kind == LOST and re.search(words, verdict.words), verdict


def test_processes_that_die_and_hang_are_seen(tmp_path):
    names = ["one", "crash", "two", "hang", "memory", "three"]
    tasks = [Task("work", 5, name) for name in names]
    results = list(run_all(tasks, str(tmp_path), bad_work.do, processes=1, seconds=2))
    assert [result.task.name for result in results] == names
    words = {result.task.name: (result.verdict, result.words) for result in results}
    for name in ("one", "two", "three"):
        assert words[name] == (REPORTED, f"{name} in work-5-{name}")
    assert words["crash"] == (LOST, "crash: the process ended with -6")
    assert words["hang"] == (LOST, "hangs: no answer after 2 seconds")
    assert words["memory"][0] == LOST
    lost = {"work-5-crash", "work-5-hang", "work-5-memory"}
    assert set(os.listdir(tmp_path)) == lost | {f"{name}.txt" for name in lost}


@pytest.mark.slow
def test_the_command_prints_a_table(tmp_path):
    places = os.pathsep.join(
        [
            str(ROOT),
            str(ROOT / "tests"),
            str(ROOT / "tests" / "helpers"),
            os.environ.get("PYTHONPATH", ""),
        ]
    )
    words = ["--kinds", "toml", "--count", "4", "--processes", "1", "--output", str(tmp_path / "l")]
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": places},
    )
    assert done.returncode == 0, done.stderr
    title, row, total = done.stdout.splitlines()
    assert title.split() == ["kind", "tried", "accepted", "reported", "lost"]
    name, tried, *parts = row.split()
    assert (name, tried, parts[2]) == ("toml", "4", "0") and sum(map(int, parts)) == 4
    assert total.split() == ["all", tried, *parts]
    assert not (tmp_path / "l").exists()
