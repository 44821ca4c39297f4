"""The detections in one image, to draw, count and convert."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ssd_keras.boxes.formats import convert_boxes
from ssd_keras.core.images import read_image
from ssd_keras.drawing.draw import draw_boxes

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, eq=False)
class DetectionResult:
    """The detections in one image, by falling score. `len` counts them.

    Args:
        boxes: float32 [n, 4], relative yxyx; 0..1 is the image, boxes may reach beyond it.
            `boxes_as` converts them.
        scores: float32 [n], 0..1, falling.
        labels: int32 [n], 0-based, without background.
        class_names: names by label.
        image_size: height and width of the image in pixels.
        image_id: name of the image: the stem of its file, or its number in the call. Default 0.
        image: RGB [H, W, 3] in 0..255, or the path of its file, which is read when it is drawn.
            Default None: nothing to draw on.

    Example:
        >>> boxes, image = np.array([[0.25, 0.1, 0.75, 0.3]]), np.zeros((40, 100, 3), np.uint8)
        >>> found = DetectionResult(boxes, [0.9], [0], ("cat",), (40, 100), "a", image)
        >>> found
        DetectionResult('a', 100x40: 1 cat)
        >>> found.boxes_as("xywh").tolist()
        [[10.0, 10.0, 20.0, 20.0]]
        >>> len(found.above(0.95))
        0
        >>> found.plot().size
        (100, 40)
        >>> sorted(found.to_coco()[0])
        ['bbox', 'category_name', 'image_id', 'score']
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    image_id: str | int = 0
    image: np.ndarray | str | None = None

    @classmethod
    def from_batch(
        cls, batch: Mapping[str, np.ndarray], row: int, class_names: Sequence[str], **options: Any
    ) -> "DetectionResult":
        """Returns the detections in one image of a batch.

        Args:
            batch: a detector's outputs: "boxes" relative yxyx [B, K, 4], "scores" [B, K],
                "labels" [B, K], "num_detections" [B]; slots beyond that number are unused.
            row: index of the image in the batch.
            class_names: names by label.
            **options: image_size, image_id and image.

        Returns:
            `DetectionResult`.

        Example:
            >>> batch = {"boxes": np.zeros((1, 2, 4)), "scores": np.array([[0.9, 0.0]])}
            >>> batch |= {"labels": np.zeros((1, 2), int), "num_detections": np.array([1])}
            >>> DetectionResult.from_batch(batch, 0, ["cat"], image_size=(40, 100))
            DetectionResult(0, 100x40: 1 cat)
        """
        count = int(batch["num_detections"][row])
        boxes, scores, labels = (batch[name][row, :count] for name in ("boxes", "scores", "labels"))
        return cls(boxes, scores, labels, tuple(class_names), **options)

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        height, width = self.image_size
        counts = Counter(self.class_names[label] for label in self.labels)
        words = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"
        return f"DetectionResult({self.image_id!r}, {width}x{height}: {words})"

    def above(self, score_threshold: float) -> "DetectionResult":
        """Returns the detections from a score on.

        Args:
            score_threshold: smallest score, 0..1.

        Returns:
            A new `DetectionResult` of the same image.
        """
        kept = np.asarray(self.scores) >= score_threshold
        columns = (self.boxes, self.scores, self.labels)
        boxes, scores, labels = (np.asarray(column)[kept] for column in columns)
        return replace(self, boxes=boxes, scores=scores, labels=labels)

    def boxes_as(self, box_format: str = "xyxy") -> np.ndarray:
        """Returns the boxes in another format.

        Args:
            box_format: "xyxy" (default), "yxyx" or "xywh" in pixels; "rel_xyxy", "rel_yxyx" or
                "rel_xywh" relative to the image.

        Returns:
            float64 [n, 4].

        Raises:
            ValueError: the format is unknown.
        """
        return convert_boxes(self.boxes, "rel_yxyx", box_format, self.image_size)

    def read_image(self) -> np.ndarray:
        """Returns the pixels of the image; reads them where `image` is a path.

        Returns:
            RGB uint8 [H, W, 3].

        Raises:
            ValueError: there is no image, or its file cannot be read.
        """
        if self.image is None:
            raise ValueError("the result has no image to draw on; pass `image` to it.")
        if isinstance(self.image, str):
            return read_image(self.image)
        image = np.asarray(self.image)
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)

    def plot(self, display_threshold: float = 0.5) -> Image.Image:
        """Draws the boxes with their classes and scores.

        Args:
            display_threshold: smallest score that is drawn, 0..1. Default 0.5.

        Returns:
            A Pillow image: a notebook shows it, `.save("found.png")` writes it.

        Raises:
            ValueError: there is no image, or its file cannot be read.
        """
        arrays = (self.boxes, self.labels, self.scores, self.class_names)
        return Image.fromarray(
            draw_boxes(self.read_image(), *arrays, display_threshold=display_threshold)
        )

    def to_coco(self) -> list[dict[str, Any]]:
        """Returns the detections in COCO's results form, which `ssd-keras score` reads.

        Returns:
            A dictionary for each detection: "image_id", "category_name", "bbox" ([x, y, width,
            height] in pixels, 0-based and continuous) and "score".
        """
        columns = (self.boxes_as("xywh"), self.scores, self.labels)
        lists = (np.asarray(column).tolist() for column in columns)
        return [
            {
                "image_id": self.image_id,
                "category_name": self.class_names[label],
                "bbox": box,
                "score": score,
            }
            for box, score, label in zip(*lists, strict=True)
        ]

    def to_json(self) -> str:
        """Returns `to_coco` as text.

        Returns:
            A JSON list.
        """
        return json.dumps(self.to_coco())

    def to_supervision(self) -> "supervision.Detections":
        """Returns the detections for the package supervision: trackers, zones, annotators.

        Returns:
            `supervision.Detections` with "class_name" in its data.

        Raises:
            ImportError: supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise ImportError(
                "to_supervision needs the package supervision: pip install supervision"
            ) from error
        labels = np.asarray(self.labels, int)
        return supervision.Detections(
            xyxy=self.boxes_as("xyxy").astype(np.float32),
            confidence=np.asarray(self.scores, np.float32),
            class_id=labels,
            data={"class_name": np.array(self.class_names)[labels]},
        )
