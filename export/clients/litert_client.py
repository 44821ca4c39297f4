"""Runs a TFLite file in LiteRT: python litert_client.py image.jpg --model detector.tflite

It needs ai-edge-litert and NumPy, and does each step that an app on a phone does.
"""

import argparse
import contextlib
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import common

OUTPUTS = {"detection_boxes", "detection_classes", "detection_scores", "num_detections"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the file and the number of threads."""
    parser.add_argument("--model", required=True, help="file that `ssd-keras export` wrote")
    parser.add_argument("--threads", type=int, default=2, help="default 2")


@contextlib.contextmanager
def connect(parsed: argparse.Namespace) -> Iterator[common.Detector]:
    """Opens a detector that runs the file on one image at a time."""
    labels = read_labels(parsed.model)
    run, height, width, dtype = load(parsed.model, parsed.threads)

    def detect(images: Sequence[common.ImageFile]) -> list[list[common.Detection]]:
        outputs = (run(common.resized(image.image, width, height, dtype)) for image in images)
        return [common.detections_of(*pair, labels) for pair in zip(outputs, images, strict=True)]

    yield detect


def read_labels(path: str) -> list[str]:
    """Reads the class names from the zip archive at the end of the file, as MediaPipe does."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read("labels.txt").decode().splitlines()
    except FileNotFoundError:
        raise ValueError(f"model {path!r} does not exist") from None
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise ValueError(f"{path!r} has no labels; pass a file of `ssd-keras export`") from error


def load(path: str, num_threads: int) -> tuple[Callable, int, int, Any]:
    """Returns a function from the input to outputs by name, and the input's height, width, type."""
    with common.silence_stderr():
        from ai_edge_litert.interpreter import Interpreter

        try:
            interpreter = Interpreter(model_path=path, num_threads=num_threads)
            interpreter.allocate_tensors()
            runner = interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"model {path!r} cannot be loaded: {error}") from error
    ((name, details),) = runner.get_input_details().items()
    if set(runner.get_output_details()) != OUTPUTS:
        raise ValueError(f"{path!r} gives raw outputs; export it with --post-processing builtin")
    _, height, width, _ = details["shape"]
    return lambda pixels: runner(**{name: pixels}), int(height), int(width), details["dtype"]


if __name__ == "__main__":
    sys.exit(common.main(__doc__.splitlines()[0], add_arguments, connect))
