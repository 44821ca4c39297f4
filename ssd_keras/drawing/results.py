"""What a detector finds in an image, as an object: to look at, to count, to hand on."""

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
    """The detections in one image, best first. `len` counts them.

    Args:
        boxes: float32 [n, 4], relative yxyx; 0..1 is the image, which boxes may reach beyond.
            `boxes_as` gives other forms.
        scores: float32 [n], 0..1, falling.
        labels: int32 [n], 0-based, without background.
        class_names: names by label.
        image_size: height and width of the image in pixels.
        image_id: what the image is called: the stem of its file, or its number in the call.
            Default 0.
        image: RGB [H, W, 3] in 0..255, or the path of its file, which is read when it is drawn.
            Default None: there is nothing to draw on.

    Example:
        >>> boxes, image = np.array([[0.25, 0.1, 0.75, 0.3]]), np.zeros((40, 100, 3), np.uint8)
        >>> found = DetectionResult(boxes, [0.9], [0], ("cat",), (40, 100), "a", image)
        >>> found
        DetectionResult('a', 100x40: 1 cat)
        >>> found.boxes_as("xywh").tolist()
        [[10.0, 10.0, 20.0, 20.0]]
        >>> found.plot().size
        (100, 40)
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
        cls, found: Mapping[str, np.ndarray], row: int, class_names: Sequence[str], **options: Any
    ) -> "DetectionResult":
        """One image of what a detector gave for a batch, without the unused places.

        Args:
            found: "boxes" relative yxyx [B, K, 4], "scores" [B, K], "labels" [B, K],
                "num_detections" [B].
            row: which image.
            class_names: names by label.
            **options: image_size, image_id and image.

        Returns:
            `DetectionResult`.
        """
        count = int(found["num_detections"][row])
        boxes, scores, labels = (found[name][row, :count] for name in ("boxes", "scores", "labels"))
        return cls(boxes, scores, labels, tuple(class_names), **options)

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        height, width = self.image_size
        counts = Counter(self.class_names[label] for label in self.labels)
        words = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"
        return f"DetectionResult({self.image_id!r}, {width}x{height}: {words})"

    def above(self, score: float) -> "DetectionResult":
        """The detections from a score on.

        Args:
            score: smallest one, 0..1.

        Returns:
            another `DetectionResult` of the same image.
        """
        kept = np.asarray(self.scores) >= score
        arrays = (np.asarray(values)[kept] for values in (self.boxes, self.scores, self.labels))
        boxes, scores, labels = arrays
        return replace(self, boxes=boxes, scores=scores, labels=labels)

    def boxes_as(self, box_format: str = "xyxy") -> np.ndarray:
        """The boxes in another form.

        Args:
            box_format: "xyxy" (default), "yxyx" or "xywh" in pixels; with "rel_" in front,
                relative to the image.

        Returns:
            float64 [n, 4].

        Raises:
            ValueError: for another format.
        """
        return convert_boxes(self.boxes, "rel_yxyx", box_format, self.image_size)

    def read_image(self) -> np.ndarray:
        """The image that was looked at.

        Returns:
            RGB uint8 [H, W, 3].

        Raises:
            ValueError: when there is none, or its file cannot be read any more.
        """
        if self.image is None:
            raise ValueError("the result has no image to draw on; pass `image` to it.")
        if isinstance(self.image, str):
            return read_image(self.image)
        image = np.asarray(self.image)
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)

    def plot(self, display_threshold: float = 0.5) -> Image.Image:
        """Draws the boxes, with classes and scores.

        Args:
            display_threshold: smallest score that is drawn, 0..1. Default 0.5.

        Returns:
            a Pillow image: a notebook shows it, `.save("found.png")` writes it.
        """
        arrays = (self.boxes, self.labels, self.scores, self.class_names)
        return Image.fromarray(
            draw_boxes(self.read_image(), *arrays, display_threshold=display_threshold)
        )

    def to_coco(self) -> list[dict[str, Any]]:
        """The detections in COCO's results form, as `ssd-keras score` reads it.

        Returns:
            a dictionary each: "image_id", "category_name", "bbox" [x, y, width, height] in pixels,
            "score".
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
        """The text of `to_coco`.

        Returns:
            JSON, a list.
        """
        return json.dumps(self.to_coco())

    def to_supervision(self) -> "supervision.Detections":
        """The detections for the package supervision, with its trackers, zones and annotators.

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
