"""The detections in one image, to draw, count and convert."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from PIL import Image, ImageShow

from ssd_keras.boxes.formats import CORNERS
from ssd_keras.core.display_thresholds import by_label
from ssd_keras.core.extras import import_package
from ssd_keras.core.images import decode_image_file, read_image
from ssd_keras.core.indexing import chosen_rows
from ssd_keras.core.terminal import is_notebook
from ssd_keras.drawing.detection import Detection, converted_boxes
from ssd_keras.drawing.draw import draw_boxes, save_image
from ssd_keras.drawing.sheet import notebook_png
from ssd_keras.drawing.tables import table_of

if TYPE_CHECKING:
    import pandas
    import supervision


@dataclass(frozen=True, eq=False, repr=False)
class DetectionResult:
    """The detections in one image, by falling score. `len` counts them.

    An index gives one `Detection`, and so does iteration; a slice, a mask or several indices give a
    `DetectionResult` of the same image. A notebook shows the drawn image.

    Args:
        boxes: float32 [n, 4], relative yxyx; 0..1 is the image, boxes may reach beyond it.
            `boxes_as` converts them.
        scores: float32 [n], 0..1, falling.
        labels: int32 [n], 0-based, without background.
        class_names: names by label.
        image_size: height and width of the image in pixels.
        image_id: name of the image: the stem of its file, or its number in the call. Default 0.
        image: RGB [H, W, 3] in 0..255, or the path of its file, which is read when it is drawn, or
            the bytes of such a file. Default None: nothing to draw on.
        display_threshold: smallest score that is drawn, 0..1: for all classes, or one by label.
            Default 0.5.

    Raises:
        ValueError: the numbers of boxes, scores and labels differ, a label has no name, or a
            threshold lies outside 0..1.

    Example:
        >>> boxes = np.array([[0.25, 0.1, 0.75, 0.3], [0, 0, 1, 0.5]])
        >>> image = np.zeros((40, 100, 3), np.uint8)
        >>> found = DetectionResult(boxes, [0.9, 0.25], [0, 0], ("cat",), (40, 100), "a", image)
        >>> found
        DetectionResult('a', 100x40: 1 cat from a score of 0.5 on; 1 below)
        >>> found[0]
        cat 0.90 at (10, 10, 30, 30)
        >>> [one.score for one in found]
        [0.9, 0.25]
        >>> found[found.scores > 0.5]
        DetectionResult('a', 100x40: 1 cat)
        >>> found.boxes_as("xywh").tolist()
        [[10.0, 10.0, 20.0, 20.0], [0.0, 0.0, 50.0, 40.0]]
        >>> found.plot().size
        (100, 40)
        >>> found.to_dict()["detections"][1]["box"]
        {'xmin': 0.0, 'ymin': 0.0, 'xmax': 50.0, 'ymax': 40.0}
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    image_id: str | int = 0
    image: np.ndarray | str | bytes | None = None
    display_threshold: float | tuple[float, ...] = 0.5

    def __post_init__(self) -> None:
        boxes, scores, labels = map(np.asarray, (self.boxes, self.scores, self.labels))
        boxes, labels = boxes.reshape(-1, 4), labels.astype(np.int32, copy=False)
        if not boxes.shape[:1] == scores.shape == labels.shape:
            raise ValueError(
                f"boxes, scores and labels have the shapes {boxes.shape}, {scores.shape} and "
                f"{labels.shape}; expected [n, 4], [n] and [n], a row for each detection."
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.class_names):
            raise ValueError(
                f"labels are {labels.min()} to {labels.max()}; expected 0 to "
                f"{len(self.class_names) - 1}, the positions of their names in class_names."
            )
        values: dict[str, Any] = {"boxes": boxes, "scores": scores, "labels": labels}
        values |= {"class_names": tuple(self.class_names)}
        values |= {"display_threshold": by_label(self.display_threshold, self.class_names)}
        for name, value in values.items():
            object.__setattr__(self, name, value)

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

    def __iter__(self) -> Iterator[Detection]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Detection: ...

    @overload
    def __getitem__(self, index: Any) -> "DetectionResult": ...

    def __getitem__(self, index: Any) -> "Detection | DetectionResult":
        """Returns a detection; of a slice, a mask or several indices a result of the same image."""
        rows = chosen_rows(index, len(self), "detection")
        if isinstance(rows, int):
            label, box = int(self.labels[rows]), tuple(np.asarray(self.boxes[rows], float).tolist())
            name, score = self.class_names[label], float(self.scores[rows])
            return Detection(name, score, box, label, self.image_size)
        boxes, scores, labels = (values[rows] for values in (self.boxes, self.scores, self.labels))
        return replace(self, boxes=boxes, scores=scores, labels=labels)

    def __repr__(self) -> str:
        """Counts what `plot` draws by class, and what is below."""
        height, width = self.image_size
        drawn = self.above(self.display_threshold)
        counts = Counter(self.class_names[label] for label in drawn.labels)
        words = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"
        if below := len(self) - len(drawn):
            low, *others = set(np.ravel(self.display_threshold).tolist())
            smallest = "their classes' scores" if others else f"a score of {low:g}"
            words += f" from {smallest} on; {below} below"
        return f"DetectionResult({self.image_id!r}, {width}x{height}: {words})"

    def _repr_png_(self) -> bytes | None:
        """Returns the drawing for a notebook; None, where its image is missing, shows the text."""
        try:
            drawing = self.plot()
        except ValueError:
            return None
        return notebook_png(drawing)

    def _smallest(self, threshold: Any, argument: str) -> np.ndarray:
        """Returns the smallest score of each detection's class."""
        thresholds = by_label(threshold, self.class_names, argument)
        return np.broadcast_to(thresholds, len(self.class_names))[self.labels]

    def above(self, score_threshold: float | Sequence[float]) -> "DetectionResult":
        """Returns the detections from a score on.

        Args:
            score_threshold: smallest score, 0..1: for all classes, or one by label.

        Returns:
            A new `DetectionResult` of the same image.

        Raises:
            ValueError: a threshold lies outside 0..1, or there is not one for each class.
        """
        smallest = self._smallest(score_threshold, "score_threshold")
        # As the scores' type: a score of 0.7 in float32 is less than 0.7 in float64.
        return self[self.scores >= smallest.astype(self.scores.dtype)]

    def boxes_as(self, box_format: str = "xyxy", *, clip: bool = False) -> np.ndarray:
        """Returns the boxes in another format.

        Args:
            box_format: "xyxy" (default), "yxyx" or "xywh" in pixels; "rel_xyxy", "rel_yxyx" or
                "rel_xywh" relative to the image.
            clip: cut off what lies outside the image, as drawings, `to_pandas` and `to_dict` do.
                Default False, as metrics count.

        Returns:
            float64 [n, 4].

        Raises:
            ValueError: the format is unknown.
        """
        return converted_boxes(self.boxes, box_format, clip, self.image_size)

    def read_image(self) -> np.ndarray:
        """Returns the pixels of the image; reads them where `image` is a path or encoded.

        Returns:
            RGB uint8 [H, W, 3].

        Raises:
            ValueError: there is no image, or its file cannot be read.
        """
        if self.image is None:
            raise ValueError("the result has no image to draw on; pass `image` to it.")
        if isinstance(self.image, str):
            return read_image(self.image)
        if isinstance(self.image, bytes):
            return decode_image_file(self.image).pixels
        image = np.asarray(self.image)
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)

    def plot(self, display_threshold: float | Sequence[float] | None = None) -> Image.Image:
        """Draws the boxes with their classes and scores.

        Args:
            display_threshold: smallest score that is drawn, 0..1: for all classes, or one by
                label. Default None: the result's own.

        Returns:
            A Pillow image: a notebook shows it, `.save("found.png")` writes it.

        Raises:
            ValueError: there is no image, or its file cannot be read.
        """
        smallest = self.display_threshold if display_threshold is None else display_threshold
        drawn = self.above(smallest)
        arrays = (drawn.boxes, drawn.labels, drawn.scores, drawn.class_names)
        return Image.fromarray(draw_boxes(self.read_image(), *arrays))

    def show(self, display_threshold: float | Sequence[float] | None = None) -> None:
        """Shows the drawing: below the cell of a notebook, elsewhere in the system's viewer.

        Args:
            display_threshold: as of `plot`. Default None: the result's own.

        Raises:
            ValueError: there is no image, or no program that shows it.
        """
        drawing = self.plot(display_threshold)
        if is_notebook():
            from IPython.display import display

            display(drawing)
        elif not ImageShow.show(drawing):
            raise ValueError("no program shows images here; write one with `.save(path)`.")

    def save(
        self, path: str | os.PathLike, display_threshold: float | Sequence[float] | None = None
    ) -> None:
        """Writes the drawing.

        Args:
            path: file to write, which ends in .png, .jpg or .jpeg. An older one is replaced.
            display_threshold: as of `plot`. Default None: the result's own.

        Raises:
            ValueError: the path has another ending, is that of the image itself, or cannot be
                written; or there is no image.
        """
        path = os.fspath(path)
        if isinstance(self.image, str) and os.path.realpath(path) == os.path.realpath(self.image):
            raise ValueError(
                f"{path!r} is the image itself, which the drawing would overwrite; choose another "
                "path."
            )
        save_image(np.asarray(self.plot(display_threshold)), path)

    def to_dict(self) -> dict[str, Any]:
        """Returns the detections as numbers and texts alone, ready for JSON.

        Returns:
            "image_id", "width", "height", and "detections": for each "class_name", "label",
            "score" and "box" with "xmin", "ymin", "xmax" and "ymax" in pixels inside the image.
        """
        height, width = self.image_size
        boxes = self.boxes_as("xyxy", clip=True).tolist()
        detections = [
            {
                "class_name": one.class_name,
                "label": one.label,
                "score": one.score,
                "box": dict(zip(CORNERS, box, strict=True)),
            }
            for one, box in zip(self, boxes, strict=True)
        ]
        size = {"width": int(width), "height": int(height)}
        return {"image_id": self.image_id, **size, "detections": detections}

    def to_pandas(self) -> "pandas.DataFrame":
        """Returns the detections as a table, such as for `.to_csv("found.csv")`.

        Returns:
            `pandas.DataFrame` with the columns image_id, class_name, score, xmin, ymin, xmax and
            ymax, a row for each detection; pixels inside the image.

        Raises:
            ImportError: pandas is not installed.
        """
        return table_of([self.to_dict()])

    def to_coco(self) -> list[dict[str, Any]]:
        """Returns the detections in COCO's results form, which `ssd-keras score` reads.

        Returns:
            A dictionary for each detection: "image_id", "category_name", "bbox" ([x, y, width,
            height] in pixels, 0-based and continuous, not clipped to the image) and "score".
        """
        columns = (self.boxes_as("xywh"), self.scores, self.labels)
        return [
            {
                "image_id": self.image_id,
                "category_name": self.class_names[label],
                "bbox": box,
                "score": score,
            }
            for box, score, label in zip(*(column.tolist() for column in columns), strict=True)
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
        labels = self.labels.astype(int)
        return import_package("supervision", "to_supervision").Detections(
            xyxy=self.boxes_as("xyxy").astype(np.float32),
            confidence=self.scores.astype(np.float32),
            class_id=labels,
            data={"class_name": np.array(self.class_names)[labels]},
        )
