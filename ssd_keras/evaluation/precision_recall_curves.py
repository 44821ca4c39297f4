"""Precision-recall curves of the classes, and where on them a detector is best used."""

from dataclasses import dataclass

import numpy as np

from ssd_keras.evaluation.matches import Matches
from ssd_keras.evaluation.voc import average_precision, precision_recall


@dataclass(frozen=True, eq=False)
class Curve:
    """The precision-recall curve of one class."""

    scores: np.ndarray  # [n], of the detections that count, falling
    recall: np.ndarray  # [n], 0..1
    precision: np.ndarray  # [n], 0..1
    num_objects: int  # objects to be found

    @property
    def average_precision(self) -> float | None:
        """Area under the curve made monotonic; None where there is nothing to be found."""
        return average_precision(self.recall, self.precision) if self.num_objects else None

    def thresholds(self) -> np.ndarray:
        """int [k], the points of the curve that a threshold on the score can reach.

        Detections of one score cannot be told apart: only the last of them is such a point.
        """
        if not len(self.scores):
            return np.zeros(0, int)
        return np.flatnonzero(np.append(self.scores[1:] < self.scores[:-1], True))


def class_curves(matches: Matches) -> list[Curve]:
    """The curve of every class, in the order of the labels."""
    curves = []
    for label, num_objects in enumerate(matches.num_objects.tolist()):
        own = (matches.rows["label"] == label) & ~matches.is_ignored
        recall, precision = precision_recall(matches.is_true[own], num_objects)
        curves.append(Curve(matches.rows["score"][own], recall, precision, num_objects))
    return curves


def best_f1(curve: Curve) -> dict[str, float]:
    """The threshold on the score with the highest F1, 2 P R / (P + R)."""
    points = curve.thresholds()
    if not len(points) or not curve.num_objects:
        return {}
    precision, recall = curve.precision[points], curve.recall[points]
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    best = int(np.argmax(f1))
    values = (curve.scores[points][best], f1[best], precision[best], recall[best])
    return dict(zip(("score", "F1", "precision", "recall"), map(float, values), strict=True))
