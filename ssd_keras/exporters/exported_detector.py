"""An exported detector, loaded back for evaluation like a Keras model."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


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


def one_by_one(prepare: Callable, run: Callable) -> Callable:
    """Returns the function of a batch that runs one image after the other."""

    def run_batch(images: np.ndarray) -> dict[str, np.ndarray]:
        results = [run(prepare(image)) for image in images]
        return {name: np.concatenate([result[name] for result in results]) for name in results[0]}

    return run_batch
