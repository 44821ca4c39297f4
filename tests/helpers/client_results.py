"""What tests of the clients share: a small exported detector, images, and how to compare."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
from exports import encoded, images, lively_model
from PIL import Image, ImageOps

from ssd_keras.exporters.saved_model import write_saved_model
from ssd_keras.exporters.tflite import tflite_model
from ssd_keras.models.post_process import PostProcess

EXPORT = Path(__file__).parents[2] / "export"
CLASS_NAMES = ("circle", "square", "Fünfeck")
IMAGE_SIZE = (64, 96)
# Fewer detections than places. Clipped: MediaPipe moves boxes that reach over the border.
SETTINGS = PostProcess(0.7, 0.3, max_detections=300, clip_boxes=True)


@functools.cache
def model():
    options = {"image_size": IMAGE_SIZE, "width": 8, "post_process": SETTINGS}
    return lively_model(class_names=CLASS_NAMES, **options)


@functools.cache
def exported() -> Path:
    """A folder with the exports, and images: one as large as the input, a small one, a turned
    JPEG, and files that are none."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    write_saved_model(model(), str(folder / "detector" / "1"))
    (folder / "detector.tflite").write_bytes(tflite_model(model()))
    (folder / "raw.tflite").write_bytes(tflite_model(model(), post_processing="none"))
    fitting = Image.fromarray(images()[0]).resize(IMAGE_SIZE[::-1])
    (folder / "fitting.png").write_bytes(encoded(np.asarray(fitting)))
    (folder / "small.png").write_bytes(encoded(images()[1][:90, :70]))
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    (folder / "turned.jpg").write_bytes(encoded(images()[2], "JPEG", quality=95, exif=exif))
    (folder / "no_image.png").write_bytes(b"no image")
    (folder / "tiff.png").write_bytes(encoded(images()[3], "TIFF"))
    (folder / "no_model.tflite").write_bytes(b"no model")
    return folder


def keras_finds(path):
    """What the Keras model finds in an image file, in the clients' form."""
    image = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    height, width = image.shape[:2]
    found = model().detect(image)
    scale = np.array([height, width, height, width])
    return {
        "width": width,
        "height": height,
        "detections": [
            {
                "label": CLASS_NAMES[found.labels[place]],
                "score": float(found.scores[place]),
                "box": (found.boxes[place] * scale)[[1, 0, 3, 2]].tolist(),
            }
            for place in range(len(found))
        ],
    }


def assert_equal(answer, wanted, score=2e-4, pixels=0.05):
    """The same detections, one to one; those of nearly equal scores may stand in another order."""
    assert (answer["width"], answer["height"]) == (wanted["width"], wanted["height"])
    ones, others = answer["detections"], list(wanted["detections"])
    assert len(ones) == len(others)
    assert 5 < len(ones) < SETTINGS.max_detections
    for one in ones:
        same = [
            place
            for place, other in enumerate(others)
            if one["label"] == other["label"]
            and abs(one["score"] - other["score"]) <= score
            and np.abs(np.subtract(one["box"], other["box"])).max() <= pixels
        ]
        assert same, one
        del others[same[0]]


def assert_alike(answer, wanted, above=0.8, score=0.05, overlap=0.8, share=0.95):
    """Most clear detections of each side have a partner on the other, resized elsewise."""
    assert (answer["width"], answer["height"]) == (wanted["width"], wanted["height"])
    for ones, others in ((answer, wanted), (wanted, answer)):
        clear = [one for one in ones["detections"] if one["score"] >= above]
        partners = [
            any(
                one["label"] == other["label"]
                and abs(one["score"] - other["score"]) <= score
                and iou(one["box"], other["box"]) >= overlap
                for other in others["detections"]
            )
            for one in clear
        ]
        assert len(partners) > 20
        assert np.mean(partners) >= share, f"{sum(partners)} of {len(partners)}"


def iou(one, other):
    """Overlap of two boxes left, top, right, bottom."""
    corners = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = np.prod(np.clip(corners[1] - corners[0], 0, None))
    areas = [np.prod(np.subtract(box[2:], box[:2])) for box in (one, other)]
    return shared / (sum(areas) - shared)
