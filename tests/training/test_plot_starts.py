"""The table of what is reachable by when, from curves made by hand."""

from pathlib import Path

import pytest

TRAINING = Path(__file__).parents[2] / "training"
# Epoch, minutes, AP, AP50. A long training is behind a short one until it overtakes it.
SHORT, LONG = [[1, 5.0, 0.2, 0.6], [2, 10.8, 0.4, 0.5]], [[1, 9.0, 0.1, 0.7], [4, 39.0, 0.5, 0.8]]
OTHER = [[3, 11.1, 0.9, 0.9], [2, 8.0, 0.3, 0.4]]


@pytest.fixture
def plot_starts(monkeypatch):
    monkeypatch.syspath_prepend(TRAINING)
    import plot_starts

    return plot_starts


def test_best_by_the_minute(plot_starts):
    record = {"starts": {"A, short": {"curve": SHORT}, "B": {"curve": OTHER}}}
    record["starts"]["A, long"] = {"curve": LONG}
    starts = plot_starts.by_start(record)
    assert starts == {"A": [SHORT, LONG], "B": [OTHER]}
    minutes, best = plot_starts.best_so_far(starts["A"], 2)
    assert minutes == [5.0, 9.0, 10.8, 39.0] and best == [0.2, 0.2, 0.4, 0.5]
    # 10.8 minutes are within a tenth of 10, 11.1 are not.
    assert plot_starts.table(starts).splitlines() == [
        "start | 10 min: AP, AP50 | 20 min: AP, AP50 | 40 min: AP, AP50",
        "A | 0.400, 0.700 | 0.400, 0.700 | 0.500, 0.800",
        "B | 0.300, 0.400 | 0.900, 0.900 | 0.900, 0.900",
    ]
