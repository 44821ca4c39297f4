"""Draws `results/blood_cells_starts.json`: what AP and AP50 are reachable in how many minutes.

Thin lines are single trainings, whose schedules end where they do; the thick one is the best that
any training from the same start had reached by then.

python training/plot_starts.py
"""

import itertools
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

RESULTS = Path(__file__).parent / "results"
MARKS = (10, 20, 40)
TOLERANCE = 1.1  # trainings were planned for these minutes; some took a little longer
PLACES = {"AP": (2, (0.3, 0.65)), "AP50": (3, (0.6, 0.95))}


def by_start(record: dict) -> dict[str, list[list]]:
    """The curves of each start, whose trainings are named "start, length"."""
    starts: dict[str, list[list]] = {}
    for name, run in record["starts"].items():
        starts.setdefault(name.partition(",")[0], []).append(run["curve"])
    return starts


def best_so_far(curves: list[list], column: int) -> tuple[list[float], list[float]]:
    """Minutes, and the best value that any of the curves had reached by then."""
    points = sorted((row[1], row[column]) for curve in curves for row in curve)
    minutes, values = zip(*points, strict=True)
    return list(minutes), list(itertools.accumulate(values, max))


def table(starts: dict[str, list[list]]) -> str:
    """The best values by the minutes of `MARKS`, a line for each start."""
    lines = [" | ".join(["start", *(f"{mark} min: AP, AP50" for mark in MARKS)])]
    for start, curves in starts.items():
        cells = []
        for mark in MARKS:
            rows = [row for curve in curves for row in curve if row[1] <= mark * TOLERANCE]
            cells.append(f"{max(row[2] for row in rows):.3f}, {max(row[3] for row in rows):.3f}")
        lines.append(" | ".join([start, *cells]))
    return "\n".join(lines)


def main() -> None:
    starts = by_start(json.loads((RESULTS / "blood_cells_starts.json").read_text()))
    print(table(starts))
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 5), layout="constrained")
    for axis, (name, (column, limits)) in zip(axes, PLACES.items(), strict=True):
        for number, (start, curves) in enumerate(starts.items()):
            color = f"C{number}"
            for curve in curves:
                minutes, values = [row[1] for row in curve], [row[column] for row in curve]
                axis.plot(minutes, values, color=color, linewidth=0.8, alpha=0.6)
            best = best_so_far(curves, column)
            axis.step(*best, color=color, linewidth=2.5, where="post", label=start)
        axis.set(xlabel="minutes on 2 cores", title=f"{name} on BCCD val", xlim=(0, 42))
        axis.set(ylim=limits, xticks=(0, *MARKS, 30))
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(RESULTS / "blood_cells_starts.png", dpi=100)


if __name__ == "__main__":
    main()
