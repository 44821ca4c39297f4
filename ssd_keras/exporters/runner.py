"""Runs an exported detector in a fresh process:

    python runner.py START ARTEFACT NUM_THREADS IMAGES.npz RESULTS.npz

START is a file with the function `start` of the artefact's format, which imports the runtime and
neither Keras nor ssd_keras: what runs here, runs on a server or a phone. Images are arrays uint8
[H, W, 3], results are named "0/detection_boxes" and so on by the image's position, and "seconds"
holds the time of each.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """Runs the artefact of the command line on every image."""
    start_file, path, num_threads, images_file, results_file = sys.argv[1:]
    names: dict[str, Any] = {"np": np, "Any": Any, "Callable": Callable}
    exec(Path(start_file).read_text(encoding="utf-8"), names)
    prepare, run = names["start"](path, int(num_threads))
    results: dict[str, np.ndarray] = {}
    seconds = []
    with np.load(images_file) as images:
        for index, name in enumerate(images.files):
            inputs = prepare(images[name])
            run(inputs)  # the first call of a size compiles
            start = time.perf_counter()
            outputs = run(inputs)
            seconds.append(time.perf_counter() - start)
            results.update({f"{index}/{key}": value for key, value in outputs.items()})
    # Class names are objects, which .npz stores with pickle alone.
    texts = {key: value.astype("S") for key, value in results.items() if value.dtype == object}
    arrays: Any = {**results, **texts, "seconds": seconds}
    np.savez(results_file, **arrays)


if __name__ == "__main__":
    main()
