"""Measures one artefact in the process that `benchmark` starts for it."""

import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from ssd_keras.core.hardware import machine_seconds, num_cores
from ssd_keras.core.hub import local_path
from ssd_keras.core.text import words_of
from ssd_keras.data.problems import problem_lines
from ssd_keras.data.sources import load_data
from ssd_keras.engine.detector import Detector, KerasDetector, detect_images, load_detector
from ssd_keras.engine.evaluate import evaluate
from ssd_keras.exporters.check import artefact_size
from ssd_keras.exporters.export import sample_images
from ssd_keras.exporters.formats import find_format

NUM_IMAGES = 20
GENERATED = f"synthetic:shapes@test[:{NUM_IMAGES}]"
GREY = np.full((480, 640, 3), 128, np.uint8)  # the first image
WARM_UP_RUNS = 5
RUNTIMES = {
    "tflite": "ai-edge-litert",
    "onnx": "onnxruntime",
    "triton": "onnxruntime",
    "torch": "torch",
    "jax": "jax",
}


def measure_artefact(path: str, threads: int, runs: int, data: list[str]) -> dict[str, Any]:
    """Returns size, load time, times of an image and, with data, AP; names as in the JSON file."""
    start = time.perf_counter()
    detector = load_detector(path, num_threads=threads)
    detect_images(detector, [GREY])
    load_seconds = time.perf_counter() - start
    truth = load_data(data, class_names=detector.class_names, part="validation") if data else None
    images = sample_images(load_data(GENERATED) if truth is None else truth, NUM_IMAGES)
    local = local_path(path)  # of a hub
    kind = _kind(local)
    result: dict[str, Any] = {
        "path": path,
        "format": kind,
        "threads": None if kind == "Keras on jax" else threads,
        "bytes": _size(local, detector),
        "load_seconds": round(load_seconds, 3),
        **_times(detector, images, runs),
        "class_names": list(detector.class_names),
        "accelerators": _accelerators(),
        "versions": _versions(kind),
    }
    if truth is not None:
        coco = evaluate(detector, truth, progress=False)["coco"]
        result |= {"num_images": len(truth), "problems": problem_lines(truth.problems)}
        result |= {"AP": coco["AP"], "AP50": coco["AP50"]}
    return result


def _times(detector: Detector, images: list[np.ndarray], runs: int) -> dict[str, Any]:
    """Returns quantiles of the time of one image, and the share of the cores that others used."""
    order = [index % len(images) for index in range(WARM_UP_RUNS + runs)]
    for index in order[:WARM_UP_RUNS]:
        detect_images(detector, [images[index]])
    machine, own, begin = machine_seconds(), time.process_time(), time.perf_counter()
    seconds = []
    for index in order[WARM_UP_RUNS:]:
        start = time.perf_counter()
        detect_images(detector, [images[index]])
        seconds.append(time.perf_counter() - start)
    others = (machine_seconds() or 0.0) - (machine or 0.0) - (time.process_time() - own)
    share = others / (time.perf_counter() - begin) / num_cores()
    milliseconds = {
        f"milliseconds_{name}": round(1e3 * float(np.percentile(seconds, percent)), 3)
        for name, percent in (("p50", 50), ("p95", 95), ("least", 0), ("most", 100))
    }
    rate = {"images_per_second": round(runs / sum(seconds), 2)}
    return milliseconds | rate | {"others_share": round(max(0.0, share), 3)}


def _kind(path: str) -> str:
    row = find_format(path)
    return row.name if row else f"Keras on {keras.backend.backend()}"


def _size(path: str, detector: Detector) -> int:
    """Returns the bytes of the artefact; of a RUN those of model.keras, of a preset its weights."""
    for known in (os.path.join(path, "model.keras"), path):
        if os.path.exists(known):
            return artefact_size(known)
    return 4 * detector.model.count_params() if isinstance(detector, KerasDetector) else 0


def _accelerators() -> list[str]:
    """Returns the names of the devices beside the processor that Keras' backend has."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    if backend == "torch":
        import torch

        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    import tensorflow as tf

    config = tf.config
    details = map(config.experimental.get_device_details, config.list_physical_devices("GPU"))
    return [one.get("device_name", "GPU") for one in details]


def _versions(kind: str) -> dict[str, str]:
    versions = {}
    for name in ("tensorflow", "keras", RUNTIMES.get(kind.split()[-1], "keras")):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # TensorFlow's own interpreter serves without LiteRT
    return versions


def set_threads(threads: int) -> None:
    """Sets the threads of TensorFlow and PyTorch, before they start."""
    import tensorflow as tf

    threading = tf.config.threading
    threading.set_intra_op_parallelism_threads(threads)
    threading.set_inter_op_parallelism_threads(threads)
    if keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(threads)


def main() -> None:
    """Reads a request from stdin; prints the result, or the error, as the last line of stdout."""
    request: Mapping[str, Any] = json.load(sys.stdin)
    set_threads(request["threads"])
    try:
        result = measure_artefact(**request)
    except (ValueError, OSError, ImportError) as error:
        result = {"error": words_of(error)}
    print(f"\n{json.dumps(result)}")


if __name__ == "__main__":
    main()
