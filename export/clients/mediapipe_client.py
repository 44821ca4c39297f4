"""Runs a TFLite file in MediaPipe: python mediapipe_client.py image.jpg --model detector.tflite

It needs mediapipe. Apps for Android and iOS use the same task, ObjectDetector, which resizes
images and reads the labels itself. Its boxes are whole pixels.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the file."""
    parser.add_argument("--model", required=True, help="file that `ssd-keras export` wrote")


@contextlib.contextmanager
def connect(parsed: argparse.Namespace) -> Iterator[common.Detector]:
    """Opens a detector that runs the file on one image at a time."""
    if not os.path.isfile(parsed.model):
        raise ValueError(f"model {parsed.model!r} does not exist")
    with common.silence_stderr():
        import mediapipe
        import numpy as np
        from mediapipe.tasks.python import BaseOptions, vision

        options = vision.ObjectDetectorOptions(
            base_options=BaseOptions(model_asset_path=parsed.model),
            score_threshold=parsed.display_threshold,
        )
        try:
            detector = vision.ObjectDetector.create_from_options(options)
        except (ValueError, RuntimeError, NotImplementedError) as error:
            raise ValueError(f"model {parsed.model!r} cannot be loaded: {error}") from error

    def detect(files: Sequence[common.ImageFile]) -> list[list[common.Detection]]:
        images = (
            mediapipe.Image(mediapipe.ImageFormat.SRGB, np.array(file.image)) for file in files
        )
        with common.silence_stderr():
            return [detections_of(detector.detect(image)) for image in images]

    with detector:
        yield detect


def detections_of(result: Any) -> list[common.Detection]:
    """Converts MediaPipe's result."""
    detections = []
    for detection in result.detections:
        box, category = detection.bounding_box, detection.categories[0]
        left, top = box.origin_x, box.origin_y
        corners = (left, top, left + box.width, top + box.height)
        detections.append(common.Detection(category.category_name, category.score, corners))
    return detections


if __name__ == "__main__":
    sys.exit(common.main(__doc__.splitlines()[0], add_arguments, connect))
