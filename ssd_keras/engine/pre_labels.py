"""Writes detections as annotations, from which labelling starts."""

import numpy as np

from ssd_keras.boxes.formats import convert_boxes
from ssd_keras.core.images import MAX_PIXELS
from ssd_keras.data.image_files import convert_image, read_image_header
from ssd_keras.data.records import DetectionData, Example
from ssd_keras.data.splits import Split
from ssd_keras.data.writers.write_splits import check_new_folder, write_splits
from ssd_keras.drawing.results import DetectionResult

SPLIT_NAME = "train"  # which YOLO's tools expect in data.yaml


class PreLabels:
    """A data set of detections: images with the boxes from a score on.

    Without `score_threshold` these are the boxes that are drawn.
    """

    def __init__(
        self,
        format: str,
        folder: str,
        score_threshold: float | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        check_new_folder(folder)
        self.format, self.folder, self.score_threshold = format, folder, score_threshold
        self._max_pixels = max_pixels
        self._examples: list[Example] = []
        self._class_names: tuple[str, ...] = ()

    @property
    def num_boxes(self) -> int:
        """Number of boxes of all images."""
        return sum(len(example.labels) for example in self._examples)

    def add(self, result: DetectionResult, path: str) -> None:
        """Adds an image, also one without detections; its file is copied by `write`."""
        header = read_image_header(path, self._max_pixels)
        smallest = self.score_threshold
        kept = result.above(result.display_threshold if smallest is None else smallest)
        relative = np.clip(kept.boxes, 0.0, 1.0)
        boxes = convert_boxes(relative, "rel_yxyx", "xywh", result.image_size)
        has_area = (boxes[:, 2:] > 0).all(axis=1)
        boxes, scores = boxes[has_area], np.asarray(kept.scores, np.float64)[has_area]
        flags = np.zeros(len(boxes), bool)
        self._class_names = result.class_names
        self._examples.append(
            Example(
                image_id=f"{result.image_id}.jpg",  # writers take an ending off
                image=path if header.is_handed_on else convert_image(path, self._max_pixels),
                height=result.image_size[0],
                width=result.image_size[1],
                boxes=boxes,
                labels=np.asarray(kept.labels, np.int32)[has_area],
                is_difficult=flags,
                is_crowd=flags,
                areas=boxes[:, 2] * boxes[:, 3],
                orientation=header.orientation,
                scores=scores,
            )
        )

    def write(self, progress: bool = False) -> str:
        """Writes the images and annotations; returns the spec to read them."""
        data = DetectionData(self._class_names, tuple(self._examples))
        split = Split(SPLIT_NAME, data)
        (spec,) = write_splits([split], self.folder, self.format, progress=progress)
        return spec
