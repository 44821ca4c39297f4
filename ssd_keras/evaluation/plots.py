"""The diagrams of the report, as PNG bytes.

They show no class names: the page has fonts for every script, matplotlib has not.
"""

import io
from collections.abc import Callable, Sequence
from typing import Any

from ssd_keras.evaluation.calibration import Bin
from ssd_keras.evaluation.precision_recall_curves import PrecisionRecallCurve, best_f1
from ssd_keras.evaluation.slices import ALL, SLICES, Slices

BLUE, ORANGE, GREY = "#1f5fa8", "#b84e00", "#666666"
DOTS_PER_INCH = 150


def precision_recall_plot(curve: PrecisionRecallCurve) -> bytes:
    """Draws the precision-recall curve of a class, with the point of the highest F1."""

    def draw(axes: Any) -> None:
        axes.plot([0.0, *curve.recall], [1.0, *curve.precision], color=BLUE, linewidth=1.5)
        axes.set(xlim=(0, 1.03), ylim=(0, 1.05), xlabel="recall", ylabel="precision")
        if best := best_f1(curve):
            point = (best["recall"], best["precision"])
            axes.plot(*point, "o", color=ORANGE, markersize=6)
            # Towards the middle of the diagram, where there is room.
            x_offset, alignment = (8, "left") if point[0] < 0.5 else (-8, "right")
            y_offset = 8 if point[1] < 0.5 else -12
            offset = {"xytext": (x_offset, y_offset), "textcoords": "offset points"}
            backdrop = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
            text = f"from {best['score']:.2f}"
            axes.annotate(text, point, **offset, ha=alignment, color=ORANGE, bbox=backdrop)

    return _png(draw, size=(3.2, 2.6))


def reliability_plot(bins: Sequence[Bin]) -> bytes:
    """Draws the share of true detections by score; the diagonal means probabilities."""

    def draw(axes: Any) -> None:
        lows = [b["low"] for b in bins]
        widths = [b["high"] - b["low"] for b in bins]
        shares = [b["precision"] for b in bins]
        axes.bar(lows, shares, widths, align="edge", color=BLUE, edgecolor="white", zorder=2)
        axes.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, zorder=3)
        axes.plot([b["mean_score"] for b in bins], shares, "o", color=ORANGE, zorder=4)
        for b in bins:
            middle = (b["low"] + b["high"]) / 2
            axes.text(middle, 1.04, _short(b["count"]), ha="center", fontsize=8, color=GREY)
        axes.set(xlim=(0, 1), ylim=(0, 1.15), xlabel="score", ylabel="share that is true")

    return _png(draw, size=(4.6, 3.4))


def slices_plot(by_size: Slices, by_aspect: Slices) -> bytes:
    """Draws the normalised AP by size and by aspect ratio, with all objects as a dashed line."""

    def draw(left: Any, right: Any) -> None:
        for axes, by, slices, color in (
            (left, "size", by_size, BLUE),
            (right, "aspect", by_aspect, ORANGE),
        ):
            parts = [part for part in SLICES[by] if part in slices]
            positions = [SLICES[by].index(part) for part in parts]
            values = [slices[part]["normalised_AP"] for part in parts]
            axes.bar(positions, values, color=color, zorder=2)
            axes.axhline(slices[ALL]["normalised_AP"], color=GREY, linestyle="--", zorder=3)
            counts = {part: _short(slices[part]["num_objects"]) for part in parts}
            labels = [f"{part}\n{counts.get(part, 0)}" for part in SLICES[by]]
            axes.set_xticks(range(len(labels)), labels)
            axes.set(xlim=(-0.6, 4.6), ylim=(0, 1))
        left.set(xlabel="size", ylabel="normalised AP")
        right.set(xlabel="aspect ratio", yticklabels=[])

    return _png(draw, columns=2, size=(4.6, 2.6))


def _png(draw: Callable[..., None], size: tuple[float, float], columns: int = 1) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    all_axes = figure.subplots(1, columns, squeeze=False)[0]
    draw(*all_axes)
    for axes in all_axes:
        axes.grid(alpha=0.3, axis="y", zorder=0)
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _short(number: float) -> str:
    return f"{number:.0f}" if number < 10_000 else f"{number / 1000:.0f}k"
