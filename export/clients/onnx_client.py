"""Runs an ONNX file in ONNX Runtime: python onnx_client.py image.jpg --model detector.onnx

It needs onnxruntime, NumPy and Pillow.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence

import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the file and the number of threads."""
    parser.add_argument("--model", required=True, help="file that `ssd-keras export` wrote")
    parser.add_argument("--threads", type=int, default=2, help="default 2")


@contextlib.contextmanager
def connect(parsed: argparse.Namespace) -> Iterator[common.Detector]:
    """Opens a detector that runs the file on one image at a time."""
    if not os.path.isfile(parsed.model):
        raise ValueError(f"model {parsed.model!r} does not exist")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = parsed.threads
    try:
        session = onnxruntime.InferenceSession(parsed.model, options)
        labels = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
    except Exception as error:  # ONNX Runtime has no common class of its errors
        raise ValueError(f"model {parsed.model!r} cannot be loaded: {error}") from error
    (images_input,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    _, height, width, _ = images_input.shape

    def detect_one(image: common.ImageFile) -> list[common.Detection]:
        pixels = common.resized(image.image, width, height, "uint8")
        outputs = session.run(names, {images_input.name: pixels})
        return common.detections_of(dict(zip(names, outputs, strict=True)), image, labels)

    def detect(images: Sequence[common.ImageFile]) -> list[list[common.Detection]]:
        return [detect_one(image) for image in images]

    yield detect


if __name__ == "__main__":
    sys.exit(common.main(__doc__.splitlines()[0], add_arguments, connect))
