"""Calibration: whether scores can be read as probabilities."""

from collections.abc import Sequence

import numpy as np

from ssd_keras.evaluation.matches import Matches

Bin = dict[str, float | int]
""""low", "high" (bounds of the score), "count", "mean_score", "precision"."""


def reliability_bins(
    matches: Matches, num_bins: int = 10, score_threshold: float = 0.0
) -> list[Bin]:
    """Returns the share of true detections and the mean score, for score bins of equal width.

    A detection of score s should be true with the probability s. Ignored detections (on
    difficult objects and crowds) do not count. Empty bins are left out.
    """
    kept = ~matches.is_ignored & (matches.detections.scores >= score_threshold)
    scores, is_true = matches.detections.scores[kept], matches.is_true[kept]
    if len(scores) and not 0.0 <= scores.min() <= scores.max() <= 1.0:
        raise ValueError(
            f"scores reach from {scores.min():g} to {scores.max():g}; expected probabilities, 0 "
            "to 1; convert them first."
        )
    bounds = np.arange(1, num_bins) / num_bins
    bin_index = np.searchsorted(bounds, scores, side="right")
    return [
        {
            "low": index / num_bins,
            "high": (index + 1) / num_bins,
            "count": int(np.sum(bin_index == index)),
            "mean_score": float(scores[bin_index == index].mean()),
            "precision": float(is_true[bin_index == index].mean()),
        }
        for index in np.unique(bin_index).tolist()
    ]


def expected_calibration_error(bins: Sequence[Bin]) -> float | None:
    """Returns the mean distance of scores from the share of true detections, over detections.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, arXiv 1706.04599, eq. 3.
    """
    total = sum(b["count"] for b in bins)
    gaps = (b["count"] * abs(b["precision"] - b["mean_score"]) for b in bins)
    return float(sum(gaps) / total) if total else None
