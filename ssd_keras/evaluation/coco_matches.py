"""COCO's matches of detections with objects, of all IoU thresholds and sizes, kept as arrays.

They hold what an average precision needs, so that it is computed again for other weights of the
images (`ssd_keras.evaluation.weighted_ap`) without matching again.
"""

from dataclasses import dataclass

import numpy as np

from ssd_keras.boxes.formats import convert_boxes
from ssd_keras.boxes.iou import intersection_and_union
from ssd_keras.data.records import DetectionData
from ssd_keras.evaluation.coco import ranks
from ssd_keras.evaluation.detection_table import DetectionTable, ObjectTable

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
MAX_DETECTIONS = 100  # of a class in an image
SIZES = {  # smallest and largest area in square pixels
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}


@dataclass(frozen=True, eq=False)
class ClassMatches:
    """The n detections of a class by falling score; m of them reach an object at some threshold.

    T are `IOU_THRESHOLDS`, A are `SIZES`. A detection that is neither true nor ignored is false.
    """

    image_index: np.ndarray  # int [n]
    has_size: np.ndarray  # bool [A, n], the detection's own area is of the size
    near: np.ndarray  # int [m], rising positions of the detections that may match
    is_true: np.ndarray  # bool [T, A, m]
    is_ignored: np.ndarray  # bool [T, A, m]
    num_objects: np.ndarray  # int [A, images], objects that count


def coco_matches(data: DetectionData, table: DetectionTable) -> list[ClassMatches]:
    """Returns the matches of each class, in the order of the labels."""
    objects = ObjectTable.from_data(data, as_annotated=True)
    # The order of the images decides between equal scores.
    order = np.lexsort((ranks([e.image_id for e in data.examples])[table.image_index],))
    table = table[order].by_score()
    return [
        _of_class(
            _first_of_images(table[table.labels == label]),
            objects[objects.labels == label],
            len(data),
        )
        for label in range(len(data.class_names))
    ]


def _first_of_images(table: DetectionTable) -> DetectionTable:
    """Returns the best `MAX_DETECTIONS` of each image."""
    by_image = np.argsort(table.image_index, kind="stable")
    images = table.image_index[by_image]
    rank = np.empty(len(table), int)
    rank[by_image] = np.arange(len(table)) - np.searchsorted(images, images)
    return table[rank < MAX_DETECTIONS]


def _of_class(table: DetectionTable, objects: ObjectTable, num_images: int) -> ClassMatches:
    is_outside = [~_has_size(objects.areas, size) | objects.is_crowd for size in SIZES]
    is_ignored = np.array(is_outside).reshape(len(SIZES), len(objects))
    has_size = np.array([_has_size(table.areas, size) for size in SIZES])
    detection, target, iou = _pairs(table, objects)
    # Runs of pairs: those of one detection, by falling score within an image.
    near, first = np.unique(detection, return_index=True)
    shape = (len(IOU_THRESHOLDS), len(SIZES), len(near))
    is_true, is_void = np.zeros(shape, bool), np.zeros(shape, bool)
    is_taken = np.zeros((*shape[:2], len(objects)), bool)
    for row, (start, end) in enumerate(zip(first, np.append(first, len(iou))[1:], strict=True)):
        chosen = target[start:end]
        matched, best = _choose(
            iou[start:end],
            is_taken[..., chosen] & ~objects.is_crowd[chosen],
            is_ignored[:, chosen],
        )
        best = chosen[best]
        threshold, size = np.nonzero(matched)
        is_taken[threshold, size, best[matched]] = True
        on_ignored = np.take_along_axis(is_ignored, best.T, axis=1).T
        is_true[..., row] = matched & ~on_ignored
        is_void[..., row] = np.where(matched, on_ignored, ~has_size[:, near[row]])
    counts = [
        np.bincount(objects.image_index[~ignored], minlength=num_images) for ignored in is_ignored
    ]
    return ClassMatches(table.image_index, has_size, near, is_true, is_void, np.array(counts))


def _has_size(areas: np.ndarray, size: str) -> np.ndarray:
    low, high = SIZES[size]
    return (low <= areas) & (areas <= high)


def _pairs(
    table: DetectionTable, objects: ObjectTable
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns detections, objects of their images, and IoUs that reach the lowest threshold."""
    start, end = (
        np.searchsorted(objects.image_index, table.image_index, side=side)
        for side in ("left", "right")
    )
    count = end - start
    detection = np.repeat(np.arange(len(table)), count)
    target = np.arange(len(detection)) - np.repeat(np.cumsum(count) - count - start, count)
    found, truth = table.boxes[detection], objects.boxes[target]
    edges, others = (convert_boxes(boxes, "xywh", "xyxy").T for boxes in (found, truth))
    areas = found[:, 2] * found[:, 3], truth[:, 2] * truth[:, 3]
    shared, union = intersection_and_union(edges, others, np, areas)
    # Of a crowd, the share of the detection that lies in it.
    union = np.where(objects.is_crowd[target], areas[0], union)
    iou = np.divide(shared, union, out=np.zeros(len(union)), where=union > 0)
    kept = iou >= IOU_THRESHOLDS[0]
    return detection[kept], target[kept], iou[kept]


def _choose(
    iou: np.ndarray, is_taken: np.ndarray, is_ignored: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns whether a detection matches, and the best of its objects, each [T, A].

    An object that counts comes before all ignored ones; of equal IoUs the last object is taken.
    """
    is_open = (iou >= IOU_THRESHOLDS[:, None])[:, None] & ~is_taken
    counts = is_open & ~is_ignored
    candidates = np.where(counts.any(axis=-1, keepdims=True), counts, is_open)
    rank = np.where(candidates, iou, -1.0)[..., ::-1]
    return candidates.any(axis=-1), len(iou) - 1 - rank.argmax(axis=-1)
