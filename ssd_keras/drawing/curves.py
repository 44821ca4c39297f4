"""Plots the curves of a training."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssd_keras.drawing.draw import write_whole


def plot_history(rows: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draws the curves of a training run as a PNG: loss, validation AP, learning rate."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    panels = (
        ("Loss", ("loss", "box_loss", "class_loss")),
        ("Validation AP", ("val_AP", "val_AP50")),
        ("Learning rate", ("learning_rate",)),
    )
    figure = Figure(figsize=(8, 9), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    all_axes = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    for axes, (title, names) in zip(all_axes, panels, strict=True):
        curves = {name: points for name in names if (points := _curve(rows, name))}
        for name, points in curves.items():
            axes.plot(*zip(*points, strict=True), marker=".", label=name.removeprefix("val_"))
        values = [y for points in curves.values() for _, y in points]
        if values and min(values) > 0 and max(values) / min(values) > 20:
            axes.set_yscale("log")  # else the first epochs flatten the rest
        if curves:
            axes.legend(loc="best")
        else:
            axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", va="center")
        axes.set_title(title, loc="left")
        axes.grid(alpha=0.3)
    all_axes[-1].set_xlabel("epoch")
    all_axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    write_whole(path, lambda file: figure.savefig(file, format="png"))


def _curve(rows: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    values = [(row.get("epoch", number), row.get(name, "")) for number, row in enumerate(rows, 1)]
    points = [
        (float(x), float(y)) for x, y in values if x not in (None, "") and y not in (None, "")
    ]
    return [point for point in points if all(map(math.isfinite, point))]
