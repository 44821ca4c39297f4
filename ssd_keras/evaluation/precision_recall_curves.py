"""Precision-recall curves of the classes, and the score threshold with the highest F1."""

from dataclasses import dataclass

import numpy as np

from ssd_keras.evaluation.matches import Matches
from ssd_keras.evaluation.voc import average_precision, precision_recall


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """Recall and precision of one class after each detection that counts."""

    scores: np.ndarray  # [n], falling
    recall: np.ndarray  # [n], 0..1
    precision: np.ndarray  # [n], 0..1
    num_objects: int  # objects to be found

    @property
    def average_precision(self) -> float | None:
        """Area under the curve made monotonic; None where there are no objects."""
        return average_precision(self.recall, self.precision) if self.num_objects else None


def class_curves(matches: Matches) -> list[PrecisionRecallCurve]:
    """Returns the curve of every class, in the order of the labels."""
    curves = []
    for label, num_objects in enumerate(matches.num_objects.tolist()):
        rows = (matches.detections.labels == label) & ~matches.is_ignored
        recall, precision = precision_recall(matches.is_true[rows], num_objects)
        scores = matches.detections.scores[rows]
        curves.append(PrecisionRecallCurve(scores, recall, precision, num_objects))
    return curves


def all_classes_curve(matches: Matches) -> PrecisionRecallCurve:
    """Returns the curve of one threshold for all classes."""
    rows, num_objects = ~matches.is_ignored, int(matches.num_objects.sum())
    recall, precision = precision_recall(matches.is_true[rows], num_objects)
    return PrecisionRecallCurve(matches.detections.scores[rows], recall, precision, num_objects)


def best_f1(curve: PrecisionRecallCurve) -> dict[str, float]:
    """Returns the "score" with the highest "F1" = 2 P R / (P + R), "precision" and "recall"."""
    if not len(curve.scores) or not curve.num_objects:
        return {}
    # A score threshold cannot part detections of one score: only the last of them is a point.
    points = np.flatnonzero(np.append(curve.scores[1:] < curve.scores[:-1], True))
    precision, recall = curve.precision[points], curve.recall[points]
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    best = int(np.argmax(f1))
    values = (curve.scores[points][best], f1[best], precision[best], recall[best])
    return dict(zip(("score", "F1", "precision", "recall"), map(float, values), strict=True))
