"""Kinds of errors and what each costs, after TIDE.

Bolya, Foley, Hays, Hoffman: "TIDE: A General Toolbox for Identifying Object Detection Errors",
ECCV 2020, arXiv 2008.08115, section 2.
"""

from collections.abc import Mapping

import numpy as np

from ssd_keras.evaluation.matches import Matches
from ssd_keras.evaluation.voc import average_precision, precision_recall

FALSE_KINDS = ("localisation", "confusion", "both", "duplicate", "background")
"""Kinds of false detections; what the paper calls Loc, Cls, Both, Dupe and Bkg."""

BACKGROUND_IOU = 0.1
"""Below this overlap with every object a detection lies on background (the paper's t_b)."""


def false_kinds(matches: Matches) -> np.ndarray:
    """The kind of error of every false detection.

    With t the least IoU of a match (0.5), in this order where several fit, as the paper's own
    program has it:

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
    kinds = np.select(
        list(conditions.values()),
        [FALSE_KINDS.index(kind) for kind in conditions],
        FALSE_KINDS.index("both"),
    )
    return np.where(matches.is_false, kinds, -1)


def is_missed(matches: Matches) -> np.ndarray:
    """The objects that no detection came near to, at any score."""
    kinds = false_kinds(matches)
    missed = ~matches.is_ignored_object
    missed[matches.target[matches.is_true]] = False
    for kind, target in _mendable(matches).items():
        missed[target[kinds == FALSE_KINDS.index(kind)]] = False
    return missed


def error_costs(matches: Matches) -> dict[str, dict[str, float | int | None]]:
    """How many errors of each kind there are, and what mending that kind alone would gain.

    The paper's oracles. Localisation: the box becomes the object's. Confusion: the class becomes
    the object's. Where two detections of one object result, the one of the lower score goes; on an
    object that does not count, the detection goes. Both, duplicate, background: the detection
    goes. Missed: the objects need not be found. Gains of kinds do not add up. (The paper's program
    drops a mended detection of an object that another one has found, whatever their scores.)
    """
    kinds, mendable = false_kinds(matches), _mendable(matches)
    labels, is_true, num_objects = matches.rows["label"], matches.is_true, matches.num_objects
    counts = ~matches.is_ignored
    before = _mean_ap(matches, labels[counts], is_true[counts], num_objects)

    def gain(labels: np.ndarray, is_true: np.ndarray, num_objects: np.ndarray) -> float | None:
        after = _mean_ap(matches, labels, is_true, num_objects)
        return None if before is None or after is None else after - before

    result: dict[str, dict[str, float | int | None]] = {}
    for index, kind in enumerate(FALSE_KINDS):
        wrong = kinds == index
        if kind in mendable:
            mended = gain(*_mended(matches, wrong, mendable[kind]), num_objects)
        else:
            kept = counts & ~wrong
            mended = gain(labels[kept], is_true[kept], num_objects)
        result[kind] = {"count": int(wrong.sum()), "AP": mended}
    missed = np.bincount(matches.objects["label"][is_missed(matches)], minlength=len(num_objects))
    found = np.bincount(labels[is_true], minlength=len(num_objects))
    for kind, left in (("missed", num_objects - missed), ("false negatives", found)):
        mended = gain(labels[counts], is_true[counts], left)
        result[kind] = {"count": int((num_objects - left).sum()), "AP": mended}
    mended = gain(labels[is_true], is_true[is_true], num_objects)
    result["false positives"] = {"count": int(matches.is_false.sum()), "AP": mended}
    return result


def _mendable(matches: Matches) -> Mapping[str, np.ndarray]:
    """The object that a mended detection would find, by kind of error."""
    return {"localisation": matches.target, "confusion": matches.other_target}


def _mended(
    matches: Matches, wrong: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Classes and truth of the detections when some of them find their target."""
    target = np.where(wrong, target, matches.target)
    # One place more, for the target -1.
    is_ignored_object = np.append(matches.is_ignored_object, True)[target]
    target_label = np.append(matches.objects["label"], -1)[target]
    claimants = np.flatnonzero(matches.is_true | wrong & ~is_ignored_object)
    _, first = np.unique(target[claimants], return_index=True)  # the highest score of each object
    is_true = np.zeros(len(target), bool)
    is_true[claimants[first]] = True
    kept = is_true | matches.is_false & ~wrong
    labels = np.where(is_true, target_label, matches.rows["label"])
    return labels[kept], is_true[kept]


def _mean_ap(
    matches: Matches, labels: np.ndarray, is_true: np.ndarray, num_objects: np.ndarray
) -> float | None:
    """The mean over the classes that have objects, whatever `num_objects` leaves of them."""
    known = np.flatnonzero(matches.num_objects)
    curves = [precision_recall(is_true[labels == one], num_objects[one]) for one in known]
    return float(np.mean([average_precision(*curve) for curve in curves])) if curves else None
