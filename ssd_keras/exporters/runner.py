"""Runs an exported detector in a fresh process: python runner.py ARTEFACT IMAGES.npz RESULTS.npz

It imports TensorFlow for a SavedModel, LiteRT for a TFLite file, and neither Keras nor ssd_keras:
what it can do, a server or a phone can do. Images are arrays uint8 [H, W, 3], results are
named "0/detection_boxes" and so on by the image's position, and "seconds" holds the time of each.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

NUM_THREADS = 2
# Returns the outputs of one image and the time at which its detection began.
Run = Callable[[np.ndarray], tuple[dict[str, np.ndarray], float]]


def load_saved_model(path: str) -> Run:
    """Loads the signature serving_default, which takes images of any size."""
    import tensorflow as tf

    detect = tf.saved_model.load(path).signatures["serving_default"]

    def run(image: np.ndarray) -> tuple[dict[str, np.ndarray], float]:
        encoded = tf.io.encode_png(image)[None]
        start = time.perf_counter()
        outputs = detect(image_bytes=encoded)
        return {name: value.numpy() for name, value in outputs.items()}, start

    return run


def load_tflite(path: str) -> Run:
    """Loads a TFLite file, which takes images of its input's size."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=NUM_THREADS)
    runner = interpreter.get_signature_runner()
    ((name, details),) = runner.get_input_details().items()

    def run(image: np.ndarray) -> tuple[dict[str, np.ndarray], float]:
        start = time.perf_counter()
        return runner(**{name: image[None].astype(details["dtype"])}), start

    return run


def main() -> None:
    """Runs the artefact of the command line on every image."""
    path, images_file, results_file = sys.argv[1:]
    run = load_tflite(path) if path.endswith(".tflite") else load_saved_model(path)
    results: dict[str, np.ndarray] = {}
    seconds = []
    with np.load(images_file) as images:
        for index, name in enumerate(images.files):
            run(images[name])  # the first call of a size compiles
            outputs, start = run(images[name])
            seconds.append(time.perf_counter() - start)
            results.update({f"{index}/{key}": value for key, value in outputs.items()})
    # Class names are objects, which .npz stores with pickle alone.
    texts = {key: value.astype("S") for key, value in results.items() if value.dtype == object}
    arrays: Any = {**results, **texts, "seconds": seconds}
    np.savez(results_file, **arrays)


if __name__ == "__main__":
    main()
