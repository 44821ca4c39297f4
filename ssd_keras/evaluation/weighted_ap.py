"""COCO's average precision for any weights of the images, of many weights at once.

A whole weight counts an image that often, as if it were in the data so many times.
"""

from typing import TypeAlias

import numpy as np

from ssd_keras.evaluation.coco_matches import IOU_THRESHOLDS, SIZES, ClassMatches

RECALLS = np.linspace(0.0, 1.0, 101)
_BEYOND = np.append(RECALLS, np.inf)
BLOCK = 100  # weights at once: their numbers stay in the processor's cache

AveragePrecisions: TypeAlias = np.ndarray
"""[T, A, weights]: by IoU threshold and size, 0..1, NaN where there are no objects."""


def weighted_average_precision(matches: ClassMatches, weights: np.ndarray) -> AveragePrecisions:
    """Returns the average precision of a class for each column of weights [images, weights]."""
    blocks = [
        _of_block(matches, weights[:, start : start + BLOCK].astype(float))
        for start in range(0, weights.shape[1], BLOCK)
    ]
    return np.concatenate(blocks, axis=-1)


def _of_block(matches: ClassMatches, weights: np.ndarray) -> AveragePrecisions:
    num_objects = matches.num_objects @ weights
    result = np.full((len(IOU_THRESHOLDS), len(SIZES), weights.shape[1]), np.nan)
    for size in range(len(SIZES)):
        if not num_objects[size].any():
            continue
        result[:, size] = _of_size(matches, size, weights, num_objects[size])
    return result


def _of_size(
    matches: ClassMatches, size: int, weights: np.ndarray, num_objects: np.ndarray
) -> np.ndarray:
    """Returns the average precisions [T, weights] of one size."""
    has_size, is_true = matches.has_size[size], matches.is_true[:, size]
    # A detection counts if its own size does. Where its match says otherwise, that corrects it.
    corrections = (~matches.is_ignored[:, size]).astype(float) - has_size[matches.near]
    used = np.flatnonzero((is_true | (corrections != 0)).any(axis=0))
    rows = matches.near[used]
    of_detection = weights[matches.image_index[rows]]
    counted = np.flatnonzero(has_size)
    cumulated = np.cumsum(weights[matches.image_index[counted]], axis=0)
    cumulated = np.concatenate([np.zeros((1, weights.shape[1])), cumulated])
    before = cumulated[np.searchsorted(counted, rows, side="right")]
    total = before + np.cumsum(corrections[:, used, None] * of_detection, axis=1)
    found = np.cumsum(is_true[:, used, None] * of_detection, axis=1)
    precision = np.divide(found, total, out=np.zeros_like(found), where=total > 0)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = found / np.maximum(num_objects, 1.0)
    steps = np.diff(_num_reached(recall), axis=1, prepend=0)
    values = (steps * best).sum(axis=1) / len(RECALLS)
    return np.where(num_objects > 0, values, np.nan)


def _num_reached(recall: np.ndarray) -> np.ndarray:
    """Returns how many of `RECALLS` are at most a recall."""
    index = (recall * (len(RECALLS) - 1)).astype(int)
    index += _BEYOND[index + 1] <= recall
    index -= RECALLS[index] > recall
    return index + 1
