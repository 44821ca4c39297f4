"""All numbers of the analysis, ready for JSON."""

from typing import Any

from ssd_keras.evaluation.calibration import expected_calibration_error, reliability_bins
from ssd_keras.evaluation.errors import error_costs
from ssd_keras.evaluation.matches import Matches
from ssd_keras.evaluation.operating_point import operating_point
from ssd_keras.evaluation.precision_recall_curves import best_f1, class_curves
from ssd_keras.evaluation.slices import sliced_average_precision

CONFIDENT = 0.3
"""Calibration is also given from this score on, because most detections have low scores."""


def summarize(matches: Matches, point: dict[str, Any] | None = None) -> dict[str, Any]:
    """Returns the numbers that the report shows; `point` is an `operating_point`, default 0.5."""
    names, scores = matches.data.class_names, matches.detections.scores
    calibration = None
    if not len(scores) or 0.0 <= scores.min() <= scores.max() <= 1.0:
        bins = reliability_bins(matches)
        confident = reliability_bins(matches, score_threshold=CONFIDENT)
        calibration = {
            "bins": bins,
            "expected_calibration_error": expected_calibration_error(bins),
            f"from_{CONFIDENT}": expected_calibration_error(confident),
        }
    return {
        "num_images": len(matches.data),
        "iou_threshold": matches.iou_threshold,
        "classes": {
            name: {
                "num_objects": curve.num_objects,
                "AP": curve.average_precision,
                "best_threshold": best_f1(curve),
            }
            for name, curve in zip(names, class_curves(matches), strict=True)
        },
        "errors": error_costs(matches),
        "operating_point": point or operating_point(matches),
        "calibration": calibration,
        "by_size": sliced_average_precision(matches, "size"),
        "by_aspect": sliced_average_precision(matches, "aspect"),
    }
