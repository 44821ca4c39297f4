"""An exported detector, loaded back for evaluation like a Keras model."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ssd_keras.core.class_names import check_class_names
from ssd_keras.core.display_thresholds import DEFAULT, DisplayThreshold
from ssd_keras.core.images import MAX_PIXELS
from ssd_keras.core.origin import Origin
from ssd_keras.core.text import words_of
from ssd_keras.models.ssd import SSD
from ssd_keras.version import __version__


@contextlib.contextmanager
def artefact_errors(path: str) -> Iterator[None]:
    """Reports in one line what a runtime, or a file of a stranger, raises."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(repr(path)):
            raise
        raise ValueError(
            f"{path!r} cannot be used ({words_of(error)}); pass another file, "
            "such as `ssd-keras` writes."
        ) from error


@dataclasses.dataclass
class ExportedDetector:
    """What `ssd-keras export` wrote, as a detector; it may be the file of a stranger."""

    class_names: tuple[str, ...]
    image_size: tuple[int, int] | None  # None: of any size
    run: Callable[[np.ndarray], Mapping[str, Any]]  # images [B, H, W, 3] -> outputs by name
    display_threshold: DisplayThreshold = DEFAULT
    path: str = ""  # in messages

    def __post_init__(self) -> None:
        check_class_names(self.class_names)
        if self.image_size and not 0 < math.prod(self.image_size) <= MAX_PIXELS:
            raise ValueError(f"its input has the size {self.image_size}")

    def __call__(self, images: Any) -> dict[str, np.ndarray]:
        images = np.asarray(images)
        with artefact_errors(self.path), np.errstate(invalid="ignore"):
            found = {name: np.asarray(value) for name, value in self.run(images).items()}
            detections = {
                "boxes": found["detection_boxes"],
                "scores": found["detection_scores"],
                "labels": found["detection_classes"].astype("int32"),
                "num_detections": found["num_detections"].astype("int32").reshape(len(images)),
            }
            check_detections(detections, len(self.class_names))
        return detections


def check_detections(detections: Mapping[str, np.ndarray], num_classes: int) -> None:
    """Checks the shapes of a detector's outputs, and the numbers of the used slots."""
    boxes, scores, labels, counts = (
        detections[name] for name in ("boxes", "scores", "labels", "num_detections")
    )
    slots = boxes.shape[:2]
    if boxes.shape[2:] != (4,) or scores.shape != slots or labels.shape != slots:
        raise ValueError(f"it gives boxes {boxes.shape}, scores {scores.shape}")
    if slots[0] != len(counts) or (counts < 0).any() or (counts > slots[1]).any():
        raise ValueError(f"it gives {counts.tolist()[:8]} detections in {slots[1]} slots")
    is_used = np.arange(slots[1]) < counts[:, None]
    if not np.isfinite(boxes[is_used]).all() or not np.isfinite(scores[is_used]).all():
        raise ValueError("it gives boxes or scores that are not finite")
    if ((labels[is_used] < 0) | (labels[is_used] >= num_classes)).any():
        raise ValueError(f"it gives labels outside 0..{num_classes - 1}")


def exported_origin(model: SSD) -> Origin:
    """Returns the origin that an artefact records: the model's, or its name where it has none."""
    return model.origin or Origin(model.name, made_with=f"ssd_keras {__version__}")


def one_by_one(prepare: Callable, run: Callable) -> Callable:
    """Returns the function of a batch that runs one image after the other."""

    def run_batch(images: np.ndarray) -> dict[str, np.ndarray]:
        results = [run(prepare(image)) for image in images]
        return {name: np.concatenate([result[name] for result in results]) for name in results[0]}

    return run_batch
