"""Whether scores can be read as probabilities."""

import numpy as np

from ssd_keras.evaluation.matches import Matches


def reliability(
    matches: Matches, num_bins: int = 10, display_threshold: float = 0.0
) -> list[dict[str, float | int]]:
    """The share of true detections beside the mean score, for bins of equal width.

    A detection of score s should be true with the probability s. Detections that do not count
    (on difficult objects and crowds) are left out.
    """
    kept = ~matches.is_ignored & (matches.rows["score"] >= display_threshold)
    scores, is_true = matches.rows["score"][kept], matches.is_true[kept]
    if len(scores) and not 0.0 <= scores.min() <= scores.max() <= 1.0:
        raise ValueError(
            f"scores reach from {scores.min():g} to {scores.max():g}; expected 0 to 1, as "
            "probabilities are; turn them into probabilities first."
        )
    bounds = np.arange(1, num_bins) / num_bins
    bins = np.searchsorted(bounds, scores, side="right")
    return [
        {
            "low": index / num_bins,
            "high": (index + 1) / num_bins,
            "count": int(np.sum(bins == index)),
            "mean_score": float(scores[bins == index].mean()),
            "precision": float(is_true[bins == index].mean()),
        }
        for index in np.unique(bins).tolist()
    ]


def expected_calibration_error(bins: list[dict[str, float | int]]) -> float | None:
    """How far scores are from the share of true detections, on average over the detections.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, arXiv 1706.04599, eq. 3.
    """
    total = sum(one["count"] for one in bins)
    gaps = (one["count"] * abs(one["precision"] - one["mean_score"]) for one in bins)
    return float(sum(gaps) / total) if total else None
