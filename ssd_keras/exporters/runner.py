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


def load_saved_model(path: str) -> tuple[Callable, Callable]:
    """Returns functions from an image to the inputs of serving_default, and on to its outputs."""
    import tensorflow as tf

    detect = tf.saved_model.load(path).signatures["serving_default"]

    def run(inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        return {name: value.numpy() for name, value in detect(**inputs).items()}

    return lambda image: {"image_bytes": tf.io.encode_png(image)[None]}, run


def load_tflite(path: str) -> tuple[Callable, Callable]:
    """Returns functions from an image of the input's size to the inputs, and on to the outputs."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=NUM_THREADS)
    runner = interpreter.get_signature_runner()
    ((name, details),) = runner.get_input_details().items()

    def run(inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        return runner(**inputs)

    return lambda image: {name: image[None].astype(details["dtype"])}, run


def main() -> None:
    """Runs the artefact of the command line on every image."""
    path, images_file, results_file = sys.argv[1:]
    prepare, run = load_tflite(path) if path.endswith(".tflite") else load_saved_model(path)
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
