"""Small trainings, data and detectors that tests of `ssd_keras.engine` and the command share."""

import csv
import functools
import io
import os
import time
from pathlib import Path

import numpy as np
from PIL import Image

from ssd_keras.data.sources import load_data
from ssd_keras.engine.recipes import TrainRecipe, parse_recipe

TRAIN_DATA = "synthetic:shapes@train[:32]"
VALIDATION_DATA = "synthetic:shapes@val[:8]"
STEPS_PER_EPOCH = 4  # 32 images in batches of 8
RECIPE_TEXT = """
[model]
preset = "ssd192_small_shapes"
options = {image_size = [64, 64], width = 4}

[loss.classes]
min_negatives = 3

[optimizer]
name = "adamw"
learning_rate = 3e-3
weight_decay = 0.05
gradient_norm = 5.0

[schedule]
name = "cosine"
epochs = 5
warmup_steps = 3

[run]
batch_size = 8
validate_every = 2
seed = 3
"""

# Without augmentation a training takes two seconds less to start.
PLAIN = {f"augmentation.{name}": False for name in ("photometric", "zoom_out", "crop", "flip")}

# Assigned in the training step. Each table as a whole, because options depend on the type.
BY_PREDICTIONS = {
    "assigner": {"type": "task_aligned", "top_k": 7},
    "loss.boxes": {"type": "giou"},
    "loss.classes": {"type": "focal"},
}


def recipe(changes=None) -> TrainRecipe:
    """The recipe of `RECIPE_TEXT`; states and validations are due after epochs 2, 4 and 5."""
    return parse_recipe(RECIPE_TEXT.encode(), "the tests' recipe").replace(changes or {})


def build_model(recipe, class_names, total_steps):
    """The compiled model that a training by a recipe starts from."""
    from ssd_keras.core.precision import dtype_policy
    from ssd_keras.engine.train import compile_model, initial_model

    with dtype_policy(recipe.run.precision):
        model = initial_model(recipe, class_names)
    compile_model(model, recipe, total_steps)
    return model


@functools.cache
def train_data():
    return load_data(TRAIN_DATA)


@functools.cache
def validation_data():
    return load_data(VALIDATION_DATA)


@functools.cache
def finished_run() -> str:
    """The RUN folder of `recipe()`, trained once for all workers, which leave it as it is."""
    from ssd_keras.engine.train import train

    folder = Path(os.environ["SSD_KERAS_TEST_FOLDER"])
    run, partial = folder / "run", folder / "partial"
    try:
        (folder / "training").mkdir()
    except FileExistsError:  # another worker trains
        deadline = time.monotonic() + 300
        while not run.exists():
            assert time.monotonic() < deadline, "the training of another worker failed"
            time.sleep(0.2)
        return str(run)
    train(recipe(), train_data(), validation_data(), str(partial))
    return str(partial.rename(run))


def load(path):
    """A saved model with its optimizer."""
    import keras

    return keras.models.load_model(path)


def difference(path, other) -> float:
    """Largest difference between two saved models, optimizers included."""
    model, twin = load(path), load(other)
    pairs = zip(
        model.weights + model.optimizer.variables,
        twin.weights + twin.optimizer.variables,
        strict=True,
    )
    return max(np.abs(np.asarray(a, float) - np.asarray(b, float)).max() for a, b in pairs)


def steps_of(path) -> int:
    """Training steps that a saved model has seen."""
    return int(load(path).optimizer.iterations)


class StubDetector:
    """Gives known detections and keeps the images that it saw.

    Args:
        per_image: for each image in order, boxes (relative yxyx), scores and labels; one
            entry serves all images.
        class_names: names by label.
        image_size: height and width of the images it takes.
    """

    SLOTS = 20

    def __init__(self, per_image, class_names=("dog", "car"), image_size=(32, 48)):
        self.per_image = list(per_image)
        self.class_names = tuple(class_names)
        self.image_size = image_size
        self.images = []

    def __call__(self, images):
        found = {
            "boxes": np.zeros((len(images), self.SLOTS, 4), np.float32),
            "scores": np.zeros((len(images), self.SLOTS), np.float32),
            "labels": np.zeros((len(images), self.SLOTS), np.int32),
            "num_detections": np.zeros(len(images), np.int32),
        }
        for row, image in enumerate(np.asarray(images)):
            index = min(len(self.images), len(self.per_image) - 1)
            boxes, scores, labels = self.per_image[index]
            count = len(scores)
            found["boxes"][row, :count] = np.reshape(boxes, (-1, 4))
            found["scores"][row, :count] = scores
            found["labels"][row, :count] = labels
            found["num_detections"][row] = count
            self.images.append(image)
        return found


def encoded(kind="JPEG", size=(100, 80), color=(90, 90, 90), mode="RGB", **options) -> bytes:
    """An image of one colour; `size` is width and height."""
    buffer = io.BytesIO()
    image = Image.new("RGB", size, color)
    # `convert` would round the colour to one of a fixed palette.
    image = image.quantize() if mode == "P" else image.convert(mode)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_voc(root: Path, objects=("dog",), count=2, split="train") -> str:
    """A VOC folder of 100x80 images `p0`, `p1`, ..., each with one box of each named class."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    boxes = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{11 + 5 * i}</xmin><ymin>21</ymin>"
        f"<xmax>{60 + 5 * i}</xmax><ymax>60</ymax></bndbox></object>"
        for i, name in enumerate(objects)
    )
    text = f"<annotation><size><width>100</width><height>80</height></size>{boxes}</annotation>"
    for index in range(count):
        (root / "Annotations" / f"p{index}.xml").write_text(text)
        (root / "JPEGImages" / f"p{index}.jpg").write_bytes(encoded())
    stems = "\n".join(f"p{index}" for index in range(count))
    (root / "ImageSets" / "Main" / f"{split}.txt").write_text(stems)
    return f"voc:{root}@{split}"


def read_history(path: str) -> list[dict]:
    """The rows of a RUN's history.csv; numbers as floats, empty cells left out."""
    with open(path, newline="") as file:
        return [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(file)
        ]
