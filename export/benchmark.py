"""Compares exported detectors with their model: accuracy, size and time in one table.

    python export/benchmark.py runs/cells cells_saved cells.tflite cells_int8.tflite \
        --data voc:bccd@val --output cells.json

AP and AP50 are COCO's over all images of --data, as in `ssd-keras evaluate`. An MB is 10^6 bytes:
of the file, of all files of a SavedModel, of model.keras in a RUN folder, which also holds the
optimizer's state.

ms is the median time of `detect_images` of `ssd_keras.engine.detector` for a batch of one: from a
decoded uint8 image of any size to detections as NumPy arrays. It includes resizing, network and
NMS, but not reading and decoding. The artefacts take turns with the same images, after a first
round that does not count.
"""

import argparse
import datetime
import importlib.metadata
import os
import statistics
import sys
import time

from ssd_keras.core.terminal import import_tensorflow, is_terminal

sys.path.append(os.path.join(os.path.dirname(__file__), "../benchmarks"))
from pairs import MAX_OTHERS_SHARE

from ssd_keras.core.hardware import hardware, machine_seconds, num_cores

PACKAGES = ("tensorflow", "keras", "ai-edge-litert")
TIMED_STEPS = "batch 1, from a decoded uint8 image to detections, resizing included"
NUM_IMAGES, NUM_ROUNDS = 20, 5


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artefacts", nargs="+", help="RUN, .keras, or any export")
    parser.add_argument("--data", nargs="+", action="extend", required=True, help="voc:ROOT@SPLIT")
    parser.add_argument("--output", help="JSON file to write; the printed table is Markdown")
    parser.add_argument(
        "--threads", type=int, default=2, help="threads of each artefact; default 2"
    )
    parsed = parser.parse_args(arguments)
    try:
        result = compare(parsed)
        print(f"{table(result['artefacts'])}\n\nms: median of {result['times']}")
        if (share := result["others_share"]) > MAX_OTHERS_SHARE:
            print(
                f"warning: other processes used {share:.0%} of the cores; run again",
                file=sys.stderr,
            )
        if parsed.output:
            from ssd_keras.engine.evaluate import write_json

            write_json(result, parsed.output)
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("SSD_KERAS_TRACEBACK"):
            raise
        print("error:", " ".join((str(error) or repr(error)).split()), file=sys.stderr)
        return 2
    return 0


def compare(parsed):
    """Measures all artefacts and returns the content of the JSON file."""
    if parsed.threads < 1:
        raise ValueError(f"--threads {parsed.threads} must be 1 or more")
    # --threads sets TensorFlow's threads alone.
    os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3")
    tf = import_tensorflow()
    tf.config.threading.set_intra_op_parallelism_threads(parsed.threads)
    tf.config.threading.set_inter_op_parallelism_threads(parsed.threads)
    from ssd_keras.data.sources import load_data
    from ssd_keras.engine.evaluate import evaluate
    from ssd_keras.exporters.check import artefact_size
    from ssd_keras.exporters.export import sample_images
    from ssd_keras.exporters.formats import find_format

    progress = is_terminal()
    detectors = load_detectors(parsed.artefacts, parsed.threads)
    data = load_data(parsed.data, class_names=detectors[0].class_names, progress=progress)
    images = sample_images(data, NUM_IMAGES)
    rows = []
    for path, detector in zip(parsed.artefacts, detectors, strict=True):
        coco = evaluate(detector, data, progress=progress)["coco"]
        model_file = os.path.join(path, "model.keras")
        size = artefact_size(model_file if os.path.isfile(model_file) else path)
        rows.append({"path": path, "AP": coco["AP"], "AP50": coco["AP50"], "bytes": size})
    formats = filter(None, map(find_format, parsed.artefacts))
    packages = dict.fromkeys([*PACKAGES, *(name for row in formats for name in row.packages)])
    others_share = measure(detectors, rows, images, progress)
    return {
        "data": parsed.data,
        "num_images": len(data),
        "times": f"{len(images)} images x {NUM_ROUNDS}, threads: {parsed.threads}, {TIMED_STEPS}",
        "others_share": others_share,
        "hardware": hardware(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "date": datetime.date.today().isoformat(),
        "artefacts": rows,
    }


def load_detectors(paths, threads):
    """Loads a detector for each path; a ValueError names one with other classes."""
    from ssd_keras.engine.detector import load_detector
    from ssd_keras.exporters.formats import find_format

    rows = [find_format(path) for path in paths]
    detectors = [
        row.functions.load(path, threads) if row else load_detector(path)
        for path, row in zip(paths, rows, strict=True)
    ]
    first, *others = [", ".join(detector.class_names) for detector in detectors]
    for path, names in zip(paths[1:], others, strict=True):
        if names != first:
            raise ValueError(f"{path!r} has the classes {names}; expected {first}")
    return detectors


def measure(detectors, rows, images, progress):
    """Adds times to the rows and returns the share of the cores that other processes used."""
    from tqdm import tqdm

    from ssd_keras.engine.detector import detect_images

    seconds = [[] for _ in detectors]
    for turn in tqdm(range(1 + NUM_ROUNDS), "timing", unit="round", disable=not progress):
        if turn == 1:  # turn 0 compiles and warms up
            begin, used = time.perf_counter(), used_by_others()
        for detector, values in zip(detectors, seconds, strict=True):
            for image in images:
                start = time.perf_counter()
                detect_images(detector, [image])
                values += [time.perf_counter() - start] * bool(turn)
    for row, values in zip(rows, seconds, strict=True):
        for name, choose in (("median", statistics.median), ("least", min), ("most", max)):
            row[f"milliseconds_{name}"] = round(1e3 * choose(values), 3)
    seconds_of_cores = num_cores() * (time.perf_counter() - begin)
    return round(max(0.0, (used_by_others() - used) / seconds_of_cores), 3)


def used_by_others():
    return (machine_seconds() or 0.0) - time.process_time()


def table(rows):
    lines = ["| artefact | AP | AP50 | MB | ms |", "|---|---|---|---|---|"]
    for row in rows:
        size, time = f"{row['bytes'] / 1e6:.2f}", f"{row['milliseconds_median']:.1f}"
        lines.append(f"| {row['path']} | {row['AP']:.3f} | {row['AP50']:.3f} | {size} | {time} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
