"""Runs a TFLite file in LiteRT: python litert_client.py image.jpg --model detector.tflite

It needs ai-edge-litert and NumPy: what a phone does, written out.
"""

import argparse
import contextlib
import sys
import zipfile
from collections.abc import Iterator, Sequence

import common
from PIL import Image

OUTPUTS = {"detection_boxes", "detection_classes", "detection_scores", "num_detections"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file, and how it is run."""
    parser.add_argument("--model", required=True, help="file that `ssd-keras export` wrote")
    parser.add_argument("--threads", type=int, default=2, help="default 2")


@contextlib.contextmanager
def connect(parsed: argparse.Namespace) -> Iterator[common.Detector]:
    """A detector that runs the file on its images, one by one."""
    labels = read_labels(parsed.model)
    run, height, width, dtype = load(parsed.model, parsed.threads)

    def detect(images: Sequence[common.Image]):
        return [
            detections(run(resized(image.image, width, height, dtype)), labels, image)
            for image in images
        ]

    yield detect


def read_labels(path: str) -> list[str]:
    """The class names: they lie in a zip archive behind the model, which MediaPipe reads too."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read("labels.txt").decode().splitlines()
    except FileNotFoundError:
        raise ValueError(f"model {path!r} does not exist") from None
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        raise ValueError(f"{path!r} has no labels; pass a file of `ssd-keras export`") from error


def load(path: str, num_threads: int):
    """A function from the input to the outputs by name; height, width and type of the input."""
    with common.quiet():
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


def resized(image: Image.Image, width: int, height: int, dtype):
    """The image as the network was trained on it, [1, height, width, 3] of 0..255.

    Bilinear at half-pixel centres, the shape not kept. Pillow's `resize` would smooth as well.
    """
    import numpy as np

    scale = (image.width / width, 0, 0, 0, image.height / height, 0)
    small = image.transform((width, height), Image.Transform.AFFINE, scale, Image.BILINEAR)
    return np.asarray(small, dtype)[None]


def detections(outputs: dict, labels: list[str], image: common.Image) -> list[common.Detection]:
    """The used places of the outputs; the others are zero."""
    return [
        common.Detection(
            labels[int(outputs["detection_classes"][0, place])],
            outputs["detection_scores"][0, place],
            common.to_pixels(outputs["detection_boxes"][0, place], image.image),
        )
        for place in range(int(outputs["num_detections"][0]))
    ]


if __name__ == "__main__":
    sys.exit(common.main(__doc__.splitlines()[0], add_arguments, connect))
