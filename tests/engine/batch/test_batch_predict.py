"""Batch prediction with Ray, run as a user runs it: equality, kills of workers and drivers."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from trainings import encoded, finished_run, write_voc

from ssd_keras.cli.parser import main
from ssd_keras.core.image_formats import IMAGE_EXTENSIONS
from ssd_keras.engine.batch.ray_workers import ray_workers

PREDICT = [sys.executable, "-m", "ssd_keras", "predict"]
slow = pytest.mark.slow


@pytest.fixture
def ray():
    return pytest.importorskip("ray.data", reason="NOT TESTED: Ray is not installed")


def predict(*words, **options):
    """Runs `ssd-keras predict` in a new process."""
    options = {"capture_output": True, "text": True, "encoding": "utf-8"} | options
    return subprocess.run([*PREDICT, *map(str, words)], **options)


def rows_of(folder):
    """The rows of all parts by image, each of which is there once."""
    lines = [
        json.loads(line)
        for path in sorted(folder.glob("part-*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    rows = {row["image"]: row for row in lines}
    assert len(rows) == len(lines)
    return rows


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--ray",),
            "--ray is of batch prediction; add --format parquet or jsonl, or leave",
        ),
        (("--resume", "--format", "coco"), "--resume is of batch prediction; add --format parquet"),
        (("--format", "jsonl", "--frames", "3"), "--frames has no use with --format jsonl; leave"),
        (
            ("--format", "parquet", "--display-threshold", "0.5"),
            "--display-threshold has no use",
        ),
        (("--format", "parquet"), "model 'gone' does not exist; pass the output folder of"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(words, message, tmp_path, capsys):
    (tmp_path / "a.jpg").write_bytes(encoded())
    output = tmp_path / "out"
    assert main(["predict", "gone", str(tmp_path / "a.jpg"), "--output", str(output), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"ssd-keras: {message}") and error.count("\n") == 1
    assert not output.exists()


def test_without_ray_the_message_names_the_extra(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "a.jpg").write_bytes(encoded())
    (tmp_path / "m.keras").write_bytes(b"any")
    words = ["predict", tmp_path / "m.keras", tmp_path / "a.jpg", "--output", tmp_path / "out"]
    assert main([*map(str, words), "--format", "jsonl"]) == 2
    message = "needs the package ray, which is not installed or does not load; run: pip install"
    assert f"{message} 'ssd_keras[ray]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "127.0.0.1:1",
            r"^no Ray cluster answers at '127\.0\.0\.1:1' \(.*refused\); start it with",
        ),
        ("ray://127.0.0.1:x", r"^no Ray cluster answers at 'ray://127\.0\.0\.1:x' \(invalid liter"),
        ("cluster", r"^'cluster' is no address of a Ray cluster; pass HOST:PORT, 'auto', or leave"),
    ],
)
def test_an_address_without_a_cluster_is_refused_at_once(ray, address, message):
    with pytest.raises(ValueError, match=message), ray_workers(str, str, address):
        pass


@slow
def test_detections_of_photographs_are_those_of_predict(ray, shared, tmp_path):
    """Real photographs, one of them broken and one turned by EXIF, in both formats."""
    parquet = pytest.importorskip("pyarrow.parquet")
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in sorted((shared / "data" / "photos").iterdir()):
        if path.name.endswith(IMAGE_EXTENSIONS):
            (photos / path.name).symlink_to(path)
    (photos / "turned.png").write_bytes(encoded("PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12"
                                                b"\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"))  # fmt: skip
    (photos / "broken.jpg").write_bytes(encoded()[:300])
    alone = predict(finished_run(), photos, "--output", tmp_path / "alone")
    assert alone.returncode == 0, alone.stderr
    expected = {}
    for one in json.loads((tmp_path / "alone" / "detections.json").read_text()):
        expected.setdefault(one["image_id"], []).append(one)
    for format in ("jsonl", "parquet"):
        output = tmp_path / format
        process = predict(finished_run(), photos, "--format", format, "--output", output)
        assert process.returncode == 0, process.stderr
        notes = process.stderr.splitlines()
        assert len(notes) == 1 and "broken.jpg: the JPEG file is cut off; expected" in notes[0]
        count = sum(map(len, expected.values()))
        line = f"wrote the rows of 9 images with {count} detections to {output}; 1 could not be"
        assert process.stdout.startswith(line)
        if format == "parquet":
            rows = {row["image"]: row for row in parquet.read_table(output).to_pylist()}
        else:
            rows = rows_of(output)
        assert set(rows) == {str(path) for path in photos.iterdir()}
        turned = rows[str(photos / "turned.png")]
        assert (turned["height"], turned["width"]) == (100, 80)
        for path, row in rows.items():
            found = expected.get(os.path.splitext(os.path.basename(path))[0], [])
            assert row["image_is_valid"] == (not path.endswith("broken.jpg"))
            assert row["scores"] == pytest.approx([one["score"] for one in found], abs=1e-6)
            assert row["class_names"] == [one["category_name"] for one in found]
            for box, one in zip(row["boxes_xyxy"], found, strict=True):
                x, y, width, height = one["bbox"]
                assert box == pytest.approx([x, y, x + width, y + height], abs=1e-2)


def write_images(folder, count):
    folder.mkdir()
    for number in range(count):
        color = (number % 251, 3 * number % 251, 7 * number % 251)
        (folder / f"{number:04d}.jpg").write_bytes(encoded(color=color))
    (folder / "0005.jpg").write_bytes(b"no image")
    return folder


def workers_of(driver):
    """The processes below a driver in which a model works."""
    import psutil

    found = psutil.Process(driver).children(recursive=True)
    return [one for one in found if "MapWorker" in " ".join(one.cmdline())]


@slow
def test_killed_workers_and_drivers_lose_and_double_nothing(ray, tmp_path):
    images = write_images(tmp_path / "images", 600)
    words = (finished_run(), images, "--format", "jsonl", "--workers", 2, "--output")
    whole = predict(*words, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    output = tmp_path / "killed"
    for number in range(2):
        driver = subprocess.Popen([*PREDICT, *map(str, words), str(output), "--resume"])
        end = time.monotonic() + 120
        done = len(list(output.glob("part-*")))
        while len(list(output.glob("part-*"))) < done + 3:
            assert time.monotonic() < end and driver.poll() is None
            time.sleep(0.02)
        if number == 0:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
        else:
            os.kill(workers_of(driver.pid)[0].pid, signal.SIGKILL)
            assert driver.wait(120) == 0
    last = predict(*words, output, "--resume")
    assert last.returncode == 0, last.stderr
    assert last.stdout.replace(str(output), "") == whole.stdout.replace(str(tmp_path / "whole"), "")
    expected = rows_of(tmp_path / "whole")
    assert rows_of(output) == expected and len(expected) == 600
    assert [row["image_is_valid"] for row in expected.values()].count(False) == 1
    assert not list(output.glob(".writing-*"))


POISON = """
import os
from ssd_keras.engine.batch.ray_workers import ray_workers

def start(num_threads):
    return lambda task: os._exit(1) if task == "poison" else task.upper()

def fail(num_threads):
    raise OSError("no model here")

if __name__ == "__main__":
    for make in (start, fail):
        with ray_workers(make, "task {}".format, num_workers=1) as run:
            try:
                for number, result in run({1: "fine", 2: "poison"}):
                    print(number, result)
            except ValueError as error:
                print(error)
"""


@slow
def test_an_image_that_kills_workers_ends_in_one_line(ray, tmp_path):
    (tmp_path / "poison.py").write_text(POISON)
    process = subprocess.run(
        [sys.executable, tmp_path / "poison.py"], capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines() == [
        "1 FINE",
        "5 workers ended at task 2; see that there is memory for all (--workers takes fewer), or "
        "leave these images out.",
        "no model here",
    ]


@slow
def test_metrics_with_ray_are_those_without(ray, tmp_path):
    data = write_voc(tmp_path / "voc", objects=("circle", "star"), count=13)
    metrics = []
    for words in ((), ("--ray",)):
        path = tmp_path / f"metrics{len(words)}.json"
        command = ["evaluate", finished_run(), "--batch-size", "3", "--data", data, "--json", path]
        process = subprocess.run(
            [sys.executable, "-m", "ssd_keras", *map(str, command), *words],
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, process.stderr
        metrics.append(json.loads(path.read_text()))
        assert metrics[-1].pop("images_per_second") > 0
    assert metrics[0] == metrics[1]
    assert re.search(r"'num_images': 13\b", str(metrics[0]))
