"""Exported detectors, loaded back for evaluation like a Keras model."""

import os
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from ssd_keras.exporters.tflite import OUTPUTS
from ssd_keras.tflite.metadata import LABELS_FILE, read_labels


class SavedModelDetector:
    """A SavedModel that `ssd-keras export` wrote."""

    image_size = None

    def __init__(self, path: str) -> None:
        self.signatures = tf.saved_model.load(path).signatures
        labels_file = os.path.join(path, "assets", LABELS_FILE)
        if "image_tensor" not in self.signatures or not os.path.isfile(labels_file):
            raise ValueError(
                f"{path!r} is a SavedModel without the signature image_tensor or labels; expected "
                "one that `ssd-keras export` wrote."
            )
        self._detect = self.signatures["image_tensor"]
        with open(labels_file, encoding="utf-8") as file:
            self.class_names = tuple(file.read().splitlines())

    def __call__(self, images: Any) -> dict[str, np.ndarray]:
        outputs = self._detect(images=tf.constant(images, tf.uint8))
        return {
            "boxes": outputs["detection_boxes"].numpy(),
            "scores": outputs["detection_scores"].numpy(),
            "labels": outputs["detection_classes"].numpy(),
            "num_detections": outputs["num_detections"].numpy(),
        }


class TFLiteDetector:
    """A TFLite file that `ssd-keras export` wrote, with its post-processing inside."""

    def __init__(self, path: str, num_threads: int = 2) -> None:
        with open(path, "rb") as file:
            content = file.read()
        try:
            self.class_names = read_labels(content)
            self._interpreter = Interpreter(model_content=content, num_threads=num_threads)
            self._run = self._interpreter.get_signature_runner()
        except ValueError as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"{path!r} cannot be used: {reason}") from error
        if set(self._run.get_output_details()) != set(OUTPUTS):
            raise ValueError(
                f"{path!r} has no post-processing inside; evaluate an export with "
                "--post-processing builtin."
            )
        ((self._input, details),) = self._run.get_input_details().items()
        self._dtype = details["dtype"]
        self.image_size = tuple(details["shape"].tolist()[1:3])

    def __call__(self, images: Any) -> dict[str, np.ndarray]:
        images = np.asarray(images)
        if np.issubdtype(self._dtype, np.integer):
            images = np.clip(np.rint(images), 0, 255)
        results = [self._run(**{self._input: image[None].astype(self._dtype)}) for image in images]
        boxes, labels, scores, counts = (
            np.concatenate([result[name] for result in results]) for name in OUTPUTS
        )
        return {
            "boxes": boxes,
            "scores": scores,
            "labels": labels.astype("int32"),
            "num_detections": counts.astype("int32"),
        }
