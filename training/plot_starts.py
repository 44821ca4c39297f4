"""Draws `results/blood_cells_starts.json`: AP and AP50 by minutes of training, for each start.

python training/plot_starts.py
"""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    record = json.loads((RESULTS / "blood_cells_starts.json").read_text())
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 5), layout="constrained")
    for axis, column, name in zip(axes, (2, 3), ("AP", "AP50"), strict=True):
        for start, run in record["starts"].items():
            minutes = [row[1] for row in run["curve"]]
            axis.plot(minutes, [row[column] for row in run["curve"]], marker="o", label=start)
        axis.set(
            xlabel="minutes on 2 cores", title=f"{name} on BCCD val", ylim=(0, 1), xlim=(0, 40)
        )
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.savefig(RESULTS / "blood_cells_starts.png", dpi=100)


if __name__ == "__main__":
    main()
