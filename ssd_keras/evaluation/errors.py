"""Types of errors and what each costs, after TIDE.

Bolya, Foley, Hays, Hoffman: "TIDE: A General Toolbox for Identifying Object Detection Errors",
ECCV 2020, arXiv 2008.08115, section 2.
"""

import numpy as np

from ssd_keras.evaluation.matches import Matches
from ssd_keras.evaluation.voc import average_precision, precision_recall

ERROR_TYPES = ("localisation", "confusion", "both", "duplicate", "background")
"""Types of false detections, the paper's Loc, Cls, Both, Dupe and Bkg."""

BACKGROUND_IOU = 0.1
"""A detection with less IoU with every object lies on background (the paper's t_b)."""


def error_types(matches: Matches) -> np.ndarray:
    """Returns the index into `ERROR_TYPES` of every false detection, -1 for others, int [n].

    With t the smallest IoU of a match (0.5), in this order where several fit, as in the paper's
    program:

    - localisation: IoU in 0.1..t with an object of its class.
    - confusion: IoU of t or more with an object of another class.
    - duplicate: IoU of t or more with an object of its class that another detection has found.
    - background: IoU below 0.1 with every object.
    - both: the rest, IoU in 0.1..t with an object of another class.
    """
    iou, other_iou, threshold = matches.iou, matches.other_iou, matches.iou_threshold
    conditions = {
        "localisation": (iou >= BACKGROUND_IOU) & (iou < threshold),
        "confusion": other_iou >= threshold,
        "duplicate": iou >= threshold,
        "background": np.maximum(iou, other_iou) < BACKGROUND_IOU,
    }
    types = np.select(
        list(conditions.values()),
        [ERROR_TYPES.index(name) for name in conditions],
        ERROR_TYPES.index("both"),
    )
    return np.where(matches.is_false, types, -1)


def missed_objects(matches: Matches) -> np.ndarray:
    """Returns which objects no detection finds or would find if corrected, bool [m]."""
    types = error_types(matches)
    is_missed = ~matches.objects.is_ignored
    is_missed[matches.target[matches.is_true]] = False
    for name, target in _correct_targets(matches).items():
        is_missed[target[types == ERROR_TYPES.index(name)]] = False
    return is_missed


def error_costs(matches: Matches) -> dict[str, dict[str, float | int | None]]:
    """Returns {type: {"count": errors, "AP": gain of mAP if that type alone were corrected}}.

    The paper's oracles. Localisation: the box becomes the object's. Confusion: the class becomes
    the object's. Where two detections of one object result, the one of the lower score goes; on an
    object that does not count, the detection goes. Both, duplicate, background: the detection
    goes. Missed: the objects need not be found. Gains of types do not add up. (The paper's program
    drops a corrected detection of an object that another one has found, even of a lower score.)
    """
    types, correct_targets = error_types(matches), _correct_targets(matches)
    labels, is_true, num_objects = matches.detections.labels, matches.is_true, matches.num_objects
    counts = ~matches.is_ignored
    before = _mean_ap(matches, labels[counts], is_true[counts], num_objects)

    def gain(labels: np.ndarray, is_true: np.ndarray, num_objects: np.ndarray) -> float | None:
        after = _mean_ap(matches, labels, is_true, num_objects)
        return None if before is None or after is None else after - before

    costs: dict[str, dict[str, float | int | None]] = {}
    for index, name in enumerate(ERROR_TYPES):
        is_wrong = types == index
        if name in correct_targets:
            value = gain(*_corrected(matches, is_wrong, correct_targets[name]), num_objects)
        else:
            kept = counts & ~is_wrong
            value = gain(labels[kept], is_true[kept], num_objects)
        costs[name] = {"count": int(is_wrong.sum()), "AP": value}
    num_missed = np.bincount(
        matches.objects.labels[missed_objects(matches)], minlength=len(num_objects)
    )
    num_found = np.bincount(labels[is_true], minlength=len(num_objects))
    for name, left in (("missed", num_objects - num_missed), ("false negatives", num_found)):
        value = gain(labels[counts], is_true[counts], left)
        costs[name] = {"count": int((num_objects - left).sum()), "AP": value}
    value = gain(labels[is_true], is_true[is_true], num_objects)
    costs["false positives"] = {"count": int(matches.is_false.sum()), "AP": value}
    return costs


def _correct_targets(matches: Matches) -> dict[str, np.ndarray]:
    """The object that a corrected detection would find, by error type."""
    return {"localisation": matches.target, "confusion": matches.other_target}


def _corrected(
    matches: Matches, is_wrong: np.ndarray, correct_target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and truth of the detections once the wrong ones find their correct target."""
    target = np.where(is_wrong, correct_target, matches.target)
    # One element more, for the target -1.
    is_ignored_object = np.append(matches.objects.is_ignored, True)[target]
    target_label = np.append(matches.objects.labels, -1)[target]
    candidates = np.flatnonzero(matches.is_true | is_wrong & ~is_ignored_object)
    _, first = np.unique(target[candidates], return_index=True)  # the highest score of each object
    is_true = np.zeros(len(target), bool)
    is_true[candidates[first]] = True
    kept = is_true | matches.is_false & ~is_wrong
    labels = np.where(is_true, target_label, matches.detections.labels)
    return labels[kept], is_true[kept]


def _mean_ap(
    matches: Matches, labels: np.ndarray, is_true: np.ndarray, num_objects: np.ndarray
) -> float | None:
    """The mean AP of the classes that have objects in the data."""
    known = np.flatnonzero(matches.num_objects)
    curves = [precision_recall(is_true[labels == label], num_objects[label]) for label in known]
    return float(np.mean([average_precision(*curve) for curve in curves])) if curves else None
