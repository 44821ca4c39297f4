"""Runs a TFLite file in MediaPipe: python mediapipe_client.py image.jpg --model detector.tflite

It needs mediapipe. The same task, ObjectDetector, is what apps for Android and iOS use; it resizes
images and reads the labels itself. Its boxes are whole pixels.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file."""
    parser.add_argument("--model", required=True, help="file that `ssd-keras export` wrote")


@contextlib.contextmanager
def connect(parsed: argparse.Namespace) -> Iterator[common.Detector]:
    """A detector that runs the file on its images, one by one."""
    if not os.path.isfile(parsed.model):
        raise ValueError(f"model {parsed.model!r} does not exist")
    with common.quiet():
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

    def detect(input_images: Sequence[common.Image]):
        images = (
            mediapipe.Image(mediapipe.ImageFormat.SRGB, np.array(input_image.image))
            for input_image in input_images
        )
        with common.quiet():
            return [detections(detector.detect(image)) for image in images]

    with detector:
        yield detect


def detections(result) -> list[common.Detection]:
    """MediaPipe's result in the clients' form."""
    found = []
    for one in result.detections:
        box, category = one.bounding_box, one.categories[0]
        left, top = box.origin_x, box.origin_y
        corners = (left, top, left + box.width, top + box.height)
        found.append(common.Detection(category.category_name, category.score, corners))
    return found


if __name__ == "__main__":
    sys.exit(common.main(__doc__.splitlines()[0], add_arguments, connect))
