"""Batch prediction on generated images: images a second against `predict` alone, and kills.

    python benchmarks/batch_prediction.py --images 20000 --rounds 3 --kills 10 --json FILE

Both sides detect the same JPEG files with the same model and draw nothing; they take turns, each
in a new process. Then batch prediction is killed again and again, its first process and its workers
in turns, and goes on with --resume: the files must be those of the run that nobody killed.
"""

import argparse
import dataclasses
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 320, 240
DETECTIONS_AN_IMAGE = 5  # of a model with random weights; a trained one finds about as many
BATCH_SIZE = 8
SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
ALONE = """
import sys, time
from ssd_keras.engine.detector import detect_several, load_detector
from ssd_keras.engine.image_paths import find_images
from ssd_keras.engine.predict import _batches, unique_stems
from tqdm import tqdm
detector = load_detector(sys.argv[1])
files = find_images([sys.argv[2]])
start, count = time.perf_counter(), 0
for _, images in _batches(unique_stems(files), 8, 10**8, [], tqdm(disable=True)):
    count += sum(len(result.to_coco()) for result in detect_several(detector, images, 8))
print(count, time.perf_counter() - start)
"""


def write_images(folder: Path, count: int) -> None:
    """Writes JPEGs of ellipses on a coloured ground, and one file in a thousand that is broken."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        image = Image.new("RGB", (WIDTH, HEIGHT), tuple(generator.integers(0, 255, 3).tolist()))
        pen = ImageDraw.Draw(image)
        for left, top, width, height in generator.integers(5, 200, (4, 4)).tolist():
            color = tuple(generator.integers(0, 255, 3).tolist())
            pen.ellipse((left, top, left + width, top + height), fill=color)
        path = folder / f"{number:06d}.jpg"
        image.save(path, quality=90)
        if number % 1000 == 7:
            path.write_bytes(path.read_bytes()[:2000])


def write_model(path: Path, images: Path) -> None:
    """Writes the demo's network with random weights and a threshold that few detections reach."""
    import keras

    from ssd_keras import from_preset

    keras.utils.set_random_seed(0)
    names = ["circle", "square", "triangle", "star", "cross"]
    model = from_preset("ssd192_small_shapes", class_names=names)
    paths = [str(image) for image in sorted(images.iterdir())[10:42]]
    scores = np.concatenate([found.scores for found in model.detect(paths)])
    smallest = np.sort(scores)[-DETECTIONS_AN_IMAGE * len(paths)]
    model.post_process = dataclasses.replace(model.post_process, score_threshold=float(smallest))
    model.save(path)


def run_alone(model: Path, images: Path) -> dict[str, float]:
    start = time.perf_counter()
    words = [sys.executable, "-c", ALONE, str(model), str(images)]
    process = subprocess.run(words, capture_output=True, text=True, check=True)
    count, seconds = process.stdout.split()
    return {
        "detections": int(count),
        "working": float(seconds),
        "whole": time.perf_counter() - start,
    }


def command(model: Path, images: Path, output: Path) -> list[str]:
    words = ["predict", model, images, "--format", "jsonl", "--output", output, "--resume"]
    return [sys.executable, "-m", "ssd_keras", *map(str, words)]


def run_batch(model: Path, images: Path, output: Path) -> dict[str, float]:
    start = time.perf_counter()
    subprocess.run(command(model, images, output), check=True, **SILENT)
    whole = time.perf_counter() - start
    lines = [json.loads(line) for line in (output / "_finished.jsonl").open() if line.strip()]
    times = sorted(path.stat().st_mtime for path in output.glob("part-*"))
    num_first = len(next(output.glob("part-000000.*")).read_text().splitlines())
    count = sum(line["num_images"] for line in lines) - num_first
    return {
        "detections": sum(line["num_detections"] for line in lines),
        # From the first finished part on: without the start of Ray and of the workers.
        "images_a_second_after_the_start": count / (times[-1] - times[0]),
        "whole": whole,
    }


def workers_of(driver: int) -> list[psutil.Process]:
    found = psutil.Process(driver).children(recursive=True)
    return [one for one in found if "MapWorker" in " ".join(one.cmdline())]


def content(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in output.glob("part-*")}


def wait_for_part(process: subprocess.Popen, output: Path) -> None:
    """Waits until one more part is finished, or the process has ended."""
    before = len(list(output.glob("part-*")))
    while process.poll() is None and len(list(output.glob("part-*"))) == before:
        time.sleep(0.05)


def kill_often(model: Path, images: Path, output: Path, count: int) -> list[str]:
    """Kills the first process and a worker in turns at random moments; returns what was killed."""
    moments, killed = random.Random(7), []
    while len(killed) < count:
        process = subprocess.Popen(command(model, images, output), **SILENT)
        while len(killed) < count:
            if moments.random() < 0.8:  # else maybe while it starts
                wait_for_part(process, output)
            time.sleep(moments.uniform(0, 5))
            workers = workers_of(process.pid) if process.poll() is None else []
            if process.poll() is not None:
                break
            if len(killed) % 2 == 0:
                process.send_signal(signal.SIGKILL)
                killed.append("first process")
                break
            if workers:
                moments.choice(workers).kill()
                killed.append("worker")
            print(f"{len(killed)} kills, {len(content(output))} parts", file=sys.stderr, flush=True)
        if process.wait() == 0 and len(killed) < count:  # done: once more from the start
            subprocess.run(["rm", "-rf", output], check=True)
    subprocess.run(command(model, images, output), check=True, **SILENT)
    return killed


def require(condition: bool, message: str) -> None:
    if not condition:
        raise SystemExit(message)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000, help="default 20000")
    parser.add_argument("--rounds", type=int, default=3, help="of both sides; default 3")
    parser.add_argument("--kills", type=int, default=10, help="default 10")
    parser.add_argument("--model", help="a trained model; default: random weights")
    parser.add_argument("--json", help="also write the figures to this file")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images, model = folder / "images", Path(parsed.model or folder / "model.keras")
        write_images(images, parsed.images)
        if not parsed.model:
            write_model(model, images)
        sides: dict[str, list[dict]] = {"alone": [], "batch": []}
        for number in range(parsed.rounds):
            sides["alone"].append(run_alone(model, images))
            sides["batch"].append(run_batch(model, images, folder / f"batch-{number}"))
            print(json.dumps({side: rows[-1] for side, rows in sides.items()}), flush=True)
        figures = {
            "images": parsed.images,
            "cores": os.cpu_count(),
            "machine": platform.processor() or platform.machine(),
            "sides": sides,
            "ratio_after_the_start": statistics.median(
                batch["images_a_second_after_the_start"] * alone["working"] / parsed.images
                for alone, batch in zip(*sides.values(), strict=True)
            ),
            "ratio_of_whole_commands": statistics.median(
                alone["whole"] / batch["whole"]
                for alone, batch in zip(*sides.values(), strict=True)
            ),
        }
        expected = content(folder / "batch-0")
        for number in range(parsed.rounds):
            require(content(folder / f"batch-{number}") == expected, "two runs differ")
        counts = {row["detections"] for rows in sides.values() for row in rows}
        require(len(counts) == 1, f"the sides find {counts} detections")
        if parsed.kills:
            killed = kill_often(model, images, folder / "killed", parsed.kills)
            require(content(folder / "killed") == expected, "other rows after kills")
            figures["killed"] = killed
            print(f"{len(killed)} kills: the same files, byte for byte")
    print(json.dumps({name: value for name, value in figures.items() if name != "sides"}))
    if parsed.json:
        Path(parsed.json).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
