"""Shared by the tests of clients and servers: a small exported detector, images, comparisons."""

import atexit
import functools
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from exports import encoded, images, lively_model
from PIL import Image, ImageOps

from ssd_keras.exporters.saved_model import write_saved_model
from ssd_keras.exporters.tflite import tflite_model
from ssd_keras.models.post_process import PostProcess

EXPORT = Path(__file__).parents[2] / "export"
CLASS_NAMES = ("circle", "square", "Fünfeck")
IMAGE_SIZE = (64, 96)
# Fewer detections than the limit. Clipped: MediaPipe moves boxes that cross the border.
SETTINGS = PostProcess(0.7, 0.3, max_detections=300, clip_boxes="before")


PACKAGES = {"mediapipe": ("mediapipe", "MediaPipe"), "onnx": ("onnxruntime", "ONNX Runtime")}


def call(client, *words):
    """Runs a client in a new process."""
    if client in PACKAGES:
        package, title = PACKAGES[client]
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"NOT TESTED: {title} is not installed")
    command = [sys.executable, EXPORT / "clients" / f"{client}_client.py", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")


def results_of(client, *words):
    """The results that a client prints, one for each image."""
    process = call(client, *words, "--display-threshold", 0.0)
    assert process.returncode == 0 and process.stderr == "", process.stderr
    return [json.loads(line) for line in process.stdout.splitlines()]


@functools.cache
def model():
    options = {"image_size": IMAGE_SIZE, "width": 8, "post_process": SETTINGS}
    return lively_model(class_names=CLASS_NAMES, **options)


@functools.cache
def exported() -> Path:
    """A folder with the exports; images of the input's size, smaller, and rotated by EXIF data;
    files that are no image or no model."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    write_saved_model(model(), str(folder / "detector" / "1"))
    (folder / "detector.tflite").write_bytes(tflite_model(model()))
    (folder / "raw.tflite").write_bytes(tflite_model(model(), post_processing="none"))
    fitting = Image.fromarray(images()[0]).resize(IMAGE_SIZE[::-1])
    (folder / "fitting.png").write_bytes(encoded(np.asarray(fitting)))
    (folder / "small.png").write_bytes(encoded(images()[1][:90, :70]))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    (folder / "rotated.jpg").write_bytes(encoded(images()[2], "JPEG", quality=95, exif=exif))
    (folder / "no_image.png").write_bytes(b"no image")
    (folder / "tiff.png").write_bytes(encoded(images()[3], "TIFF"))
    (folder / "no_model.tflite").write_bytes(b"no model")
    return folder


def keras_result(path):
    """The Keras model's detections of an image file, in the clients' form."""
    image = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    height, width = image.shape[:2]
    found = model().detect(image)
    scale = np.array([height, width, height, width])
    return {
        "width": width,
        "height": height,
        "detections": [
            {
                "label": CLASS_NAMES[found.labels[index]],
                "score": float(found.scores[index]),
                "box": (found.boxes[index] * scale)[[1, 0, 3, 2]].tolist(),
            }
            for index in range(len(found))
        ],
    }


def assert_equal(result, expected, score=2e-4, pixels=0.05):
    """The same detections, one to one; those of nearly equal scores may change places."""
    assert (result["width"], result["height"]) == (expected["width"], expected["height"])
    detections, rest = result["detections"], list(expected["detections"])
    assert len(detections) == len(rest)
    assert 5 < len(detections) < SETTINGS.max_detections
    for detection in detections:
        same = [
            index
            for index, other in enumerate(rest)
            if detection["label"] == other["label"]
            and abs(detection["score"] - other["score"]) <= score
            and np.abs(np.subtract(detection["box"], other["box"])).max() <= pixels
        ]
        assert same, detection
        del rest[same[0]]


def assert_alike(result, expected, min_score=0.8, score=0.05, min_iou=0.8, share=0.95):
    """Most clear detections of each side have a partner on the other, which resizes differently."""
    assert (result["width"], result["height"]) == (expected["width"], expected["height"])
    for side, others in ((result, expected), (expected, result)):
        clear = [each for each in side["detections"] if each["score"] >= min_score]
        partners = [
            any(
                each["label"] == other["label"]
                and abs(each["score"] - other["score"]) <= score
                and iou(each["box"], other["box"]) >= min_iou
                for other in others["detections"]
            )
            for each in clear
        ]
        assert len(partners) > 20
        assert np.mean(partners) >= share, f"{sum(partners)} of {len(partners)}"


def iou(first, second):
    """IoU of two boxes (left, top, right, bottom)."""
    corners = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    intersection = np.prod(np.clip(corners[1] - corners[0], 0, None))
    areas = [np.prod(np.subtract(box[2:], box[:2])) for box in (first, second)]
    return intersection / (sum(areas) - intersection)
