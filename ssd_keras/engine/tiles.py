"""Tiled prediction: a detector sees an image whole and tile by tile, each resized to its input.

An object of 20 pixels in an image of 4000 is a pixel or two of the model's input, and in a tile of
400 it is 15. NMS merges what is found in the tiles and in the whole image.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ssd_keras.boxes.nms import class_offsets
from ssd_keras.core.display_thresholds import DEFAULT, DisplayThreshold
from ssd_keras.core.text import one_line
from ssd_keras.engine.detector_protocol import Detector, detect_images
from ssd_keras.models.post_process import PostProcess

TileSize = int | Sequence[int]

OVERLAP = 0.2
SMALLEST_TILE, LARGEST_OVERLAP = 16, 0.9  # pixels; share of a tile's side
# Of a tile's side. An edge that is found this close to its border is not that of a whole object.
CUT_MARGIN = 0.02


class Tile(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


def tiled(
    detector: Detector, tiles: TileSize | None, tile_overlap: float = OVERLAP, batch_size: int = 8
) -> Detector:
    """Returns the detector that sees images tile by tile too; for `tiles` of None as it is."""
    if tiles is None:
        return detector
    return TiledDetector(detector, tiles, tile_overlap, batch_size)


class TiledDetector:
    """A detector of images of any size: another one sees each whole and in tiles.

    A box that ends at a border inside the image is dropped: it may be of a part of an object, which
    another tile shows whole if it is no larger than the overlap, and else the whole image. An image
    that one tile covers is seen once. At most `batch_size` tiles are resized at once.
    """

    image_size = None

    def __init__(
        self,
        detector: Detector,
        tiles: TileSize,
        tile_overlap: float = OVERLAP,
        batch_size: int = 8,
    ) -> None:
        self.detector, self.batch_size = detector, batch_size
        self.class_names = detector.class_names
        self.tile_size, self.tile_overlap = checked_tiles(tiles, tile_overlap)
        # Exports do not state the thresholds of their NMS: the paper's stand for them.
        self.post_process = getattr(detector, "post_process", PostProcess())

    @property
    def display_threshold(self) -> DisplayThreshold:
        """The detector's."""
        return getattr(self.detector, "display_threshold", DEFAULT)

    def __call__(self, images: Any) -> dict[str, np.ndarray]:
        images = np.asarray(images)
        tiles = tile_grid(images.shape[1:3], self.tile_size, self.tile_overlap)
        if len(tiles) == 1:
            return detect_images(self.detector, list(images))
        found = [self._detect(image, tiles) for image in images]
        return {name: np.stack([one[name] for one in found]) for name in found[0]}

    def _detect(self, image: np.ndarray, tiles: Sequence[Tile]) -> dict[str, np.ndarray]:
        height, width = image.shape[:2]
        views = [*tiles, Tile(0, 0, height, width)]  # of equal scores the finer view wins
        parts: list[tuple[np.ndarray, ...]] = []
        for start in range(0, len(views), self.batch_size):
            batch = views[start : start + self.batch_size]
            crops = [image[y : y + h, x : x + w] for y, x, h, w in batch]
            found = detect_images(self.detector, crops)
            parts += [
                whole_objects(found, row, tile, (height, width)) for row, tile in enumerate(batch)
            ]
        boxes, scores, labels = map(np.concatenate, zip(*parts, strict=True))
        num_slots = found["scores"].shape[1]
        return merge(boxes, scores, labels, len(self.class_names), num_slots, self.post_process)


def checked_tiles(tiles: TileSize, tile_overlap: float) -> tuple[tuple[int, int], float]:
    """Returns height and width of a tile, and the overlap; raises a ValueError for wrong ones."""
    sides = np.atleast_1d(np.asarray(tiles))
    if (
        sides.dtype.kind not in "iu"
        or sides.shape not in ((1,), (2,))
        or (sides < SMALLEST_TILE).any()
    ):
        raise ValueError(
            f"tiles={one_line(repr(tiles))}: expected a side in pixels, or (height, width), of "
            f"{SMALLEST_TILE} or more."
        )
    if not 0 <= tile_overlap <= LARGEST_OVERLAP:
        raise ValueError(
            f"tile_overlap={one_line(repr(tile_overlap))}: expected a share of the tile's side "
            f"from 0 to {LARGEST_OVERLAP}."
        )
    return (int(sides[0]), int(sides[-1])), float(tile_overlap)


def tile_grid(
    image_size: Sequence[int], tile_size: tuple[int, int], tile_overlap: float
) -> list[Tile]:
    """Returns the tiles of an image, row by row: as few as overlap enough, evenly spread.

    They are of one size, at most the image's. The first and the last end at its borders.
    """
    # 640 pixels in tiles of 320 with an overlap of 64 or more: two would have none, so there are
    # three, and the overlap is 160.
    #   0       160     320     480     640
    #   |---------------|
    #           |---------------|
    #                   |---------------|
    height, width = map(min, image_size, tile_size)
    rows = _starts(image_size[0], height, tile_overlap)
    columns = _starts(image_size[1], width, tile_overlap)
    return [Tile(top, left, height, width) for top in rows for left in columns]


def _starts(length: int, side: int, tile_overlap: float) -> list[int]:
    step = math.floor(side * (1 - tile_overlap) + 1e-6)
    count = 1 + math.ceil((length - side) / step)
    return np.linspace(0, length - side, count).astype(int).tolist()


def whole_objects(
    found: dict[str, np.ndarray], row: int, tile: Tile, image_size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns boxes relative to the image, scores and labels of what a tile shows whole."""
    is_used = np.arange(found["scores"].shape[1]) < found["num_detections"][row]
    boxes = found["boxes"][row]
    start, side, limit = np.array(tile[:2]), np.array(tile[2:]), np.array(image_size)
    is_cut = ((boxes[:, :2] < CUT_MARGIN) & (start > 0)).any(axis=1)
    is_cut |= ((boxes[:, 2:] > 1 - CUT_MARGIN) & (start + side < limit)).any(axis=1)
    boxes = (boxes.reshape(-1, 2, 2) * side + start) / limit
    rows = is_used & ~is_cut
    return (
        boxes.reshape(-1, 4)[rows].astype(np.float32),
        found["scores"][row][rows],
        found["labels"][row][rows],
    )


def merge(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    num_slots: int,
    post_process: PostProcess,
) -> dict[str, np.ndarray]:
    """Returns the detections of an image that NMS keeps, as a detector's outputs for one image.

    The kernels of `boxes.nms` are compiled for a number of candidates, which differs here by image.
    """
    moved = boxes if post_process.class_agnostic else boxes + class_offsets(num_classes)[labels]
    iou_threshold = post_process.iou_threshold
    kept = tf.image.non_max_suppression(moved, scores, len(scores), iou_threshold).numpy()
    if limit := post_process.max_detections_per_class:
        of_class = labels[kept, None] == np.arange(num_classes)
        rank = (np.cumsum(of_class, axis=0) * of_class).sum(axis=1)
        kept = kept[rank <= limit]
    kept = kept[:num_slots]
    unused = num_slots - len(kept)
    return {
        "boxes": np.pad(boxes[kept], ((0, unused), (0, 0))),
        "scores": np.pad(scores[kept], (0, unused)),
        "labels": np.pad(labels[kept], (0, unused)),
        "num_detections": np.array(len(kept), np.int32),
    }
