"""Runs an exported detector in a process of its own, without this package.

`python runner.py ARTEFACT IMAGES.npz RESULTS.npz` imports TensorFlow for a SavedModel and
LiteRT for a TFLite file, and neither Keras nor ssd_keras: what it can do, a server or a phone can.
The images are arrays uint8 [H, W, 3] named "0", "1", ...; results are named "0/boxes" and so on,
and "seconds" holds the time of each image.
"""

import sys
import time

import numpy as np

NUM_THREADS = 2


def _load_saved_model(path):
    """A function from an image to the detections of the signature serving_default."""
    import tensorflow as tf

    detect = tf.saved_model.load(path).signatures["serving_default"]

    def run(image):
        encoded = tf.io.encode_png(image)[None]
        start = time.perf_counter()
        outputs = detect(image_bytes=encoded)
        return {name: value.numpy() for name, value in outputs.items()}, start

    return run


def _load_tflite(path):
    """A function from an image of the input's size to the outputs by name."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=NUM_THREADS)
    runner = interpreter.get_signature_runner()
    ((name, details),) = runner.get_input_details().items()

    def run(image):
        start = time.perf_counter()
        return runner(**{name: image[None].astype(details["dtype"])}), start

    return run


def _main():
    path, images_file, results_file = sys.argv[1:]
    run = _load_tflite(path) if path.endswith(".tflite") else _load_saved_model(path)
    results = {}
    seconds = []
    with np.load(images_file) as images:
        for name in images.files:
            run(images[name])  # the first call of a size compiles
            outputs, start = run(images[name])
            seconds.append(time.perf_counter() - start)
            results.update({f"{name}/{key}": value for key, value in outputs.items()})
    # Class names come as objects, which no .npz takes without pickle.
    texts = {key: value.astype("S") for key, value in results.items() if value.dtype == object}
    np.savez(results_file, seconds=seconds, **{**results, **texts})


if __name__ == "__main__":
    _main()
