"""An exported detector, loaded back for evaluation like a Keras model."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ssd_keras.core.origin import Origin
from ssd_keras.models.ssd import SSD
from ssd_keras.version import __version__


@dataclasses.dataclass
class ExportedDetector:
    """What `ssd-keras export` wrote, as a detector."""

    class_names: tuple[str, ...]
    image_size: tuple[int, int] | None  # None: of any size
    run: Callable[[np.ndarray], Mapping[str, Any]]  # images [B, H, W, 3] -> outputs by name

    def __call__(self, images: Any) -> dict[str, np.ndarray]:
        found = {name: np.asarray(value) for name, value in self.run(np.asarray(images)).items()}
        return {
            "boxes": found["detection_boxes"],
            "scores": found["detection_scores"],
            "labels": found["detection_classes"].astype("int32"),
            "num_detections": found["num_detections"].astype("int32"),
        }


def exported_origin(model: SSD) -> Origin:
    """Returns the origin that an artefact records: the model's, or its name where it has none."""
    return model.origin or Origin(model.name, made_with=f"ssd_keras {__version__}")


def one_by_one(prepare: Callable, run: Callable) -> Callable:
    """Returns the function of a batch that runs one image after the other."""

    def run_batch(images: np.ndarray) -> dict[str, np.ndarray]:
        results = [run(prepare(image)) for image in images]
        return {name: np.concatenate([result[name] for result in results]) for name in results[0]}

    return run_batch
