"""Diagrams and contact sheets of a data report, as PNG files."""

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import tensorflow as tf

from ssd_keras.core.files import make_folder, replacing
from ssd_keras.data.images import decode_image
from ssd_keras.data.records import Example
from ssd_keras.data.splits import Split
from ssd_keras.doctor.data_report import DataReport
from ssd_keras.doctor.default_box_report import DefaultBoxReport
from ssd_keras.doctor.dropped_sheet import dropped_images
from ssd_keras.doctor.findings import repeated_boxes
from ssd_keras.doctor.statistics import label_counts, pixel_boxes, sides_and_aspects
from ssd_keras.drawing.draw import class_colors, draw_boxes, save_image
from ssd_keras.drawing.fonts import plot_families
from ssd_keras.drawing.sheet import contact_sheet

MAX_IMAGES = 12
MAX_CLASSES = 40
MAX_LEGEND_CLASSES = 20
MAX_POINTS = 4000
MAX_LABEL = 40  # letters
MIN_OBJECTS_PER_BIN = 5
# Names of classes and splits are texts, also where a dollar sign would begin a formula.
STYLE: Any = {
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.alpha": 0.3,
    "text.parse_math": False,
}

Figure = Any  # of matplotlib, which is imported where it is used
Axes = Any
CaptionedImage = tuple[np.ndarray, str]


def write_plots(
    report: DataReport, default_boxes: DefaultBoxReport | None, directory: str
) -> list[str]:
    """Writes all diagrams and contact sheets that have content, and returns their paths."""
    make_folder(directory)
    splits = report.splits
    plots: dict[str, Callable[[Figure], None]] = {
        "classes": partial(_plot_classes, splits=splits),
        "sizes": partial(_plot_sizes, splits=splits),
    }
    sheets: dict[str, Iterable[CaptionedImage]] = {}
    if default_boxes is not None:
        plots["default_boxes"] = partial(_plot_default_boxes, report=default_boxes)
        plots["recall"] = partial(_plot_recall, report=default_boxes)
        sheets["unmatched"] = _unmatched_images(default_boxes)
    sheets |= {"dropped": dropped_images(splits)}
    sheets |= {"repeated": _repeated_images(splits), "duplicates": _duplicate_images(report)}
    paths = []
    for name, plot in plots.items():
        paths.append(os.path.join(directory, f"{name}.png"))
        _write_figure(plot, paths[-1], splits)
    for name, sheet in sheets.items():
        if captioned := list(sheet):
            images, captions = zip(*captioned, strict=True)
            paths.append(os.path.join(directory, f"{name}.png"))
            save_image(contact_sheet(images, captions=captions), paths[-1])
    return paths


def _write_figure(plot: Callable[[Figure], None], path: str, splits: Sequence[Split]) -> None:
    """Draws a diagram, in fonts that have the letters of the names in it."""
    import matplotlib
    from matplotlib.figure import Figure

    names = (*splits[0].data.class_names, *(split.name for split in splits))
    style = STYLE | {"font.family": plot_families(names)}
    with matplotlib.rc_context(style), replacing(path) as beside, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # `plot_families` has warned
        figure = Figure(dpi=110, layout="constrained")
        plot(figure)
        figure.savefig(beside, format="png")


def _plot_classes(figure: Figure, splits: Sequence[Split]) -> None:
    names = splits[0].data.class_names
    counts = np.array([label_counts(split.data) for split in splits])
    order = np.argsort(-counts.sum(axis=0), kind="stable")[:MAX_CLASSES]
    figure.set_size_inches(9, max(3, 1.2 + 0.28 * len(order) * len(splits)))
    axes = figure.subplots()
    height = 0.8 / len(splits)
    for number, split in enumerate(splits):
        y = np.arange(len(order)) + (number - (len(splits) - 1) / 2) * height
        bars = axes.barh(y, counts[number, order], height, label=_label(split.name))
        axes.bar_label(bars, padding=3, fontsize=8)
    axes.set_yticks(np.arange(len(order)), [_label(names[label]) for label in order])
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_title("objects of each class")
    axes.grid(visible=False, axis="y")
    if len(splits) > 1:
        axes.legend()


def _plot_sizes(figure: Figure, splits: Sequence[Split]) -> None:
    figure.set_size_inches(10, 4.5)
    titles = ("side (root of the area) in the image's pixels", "width / height")
    measured = zip(*(sides_and_aspects(pixel_boxes(split.data)) for split in splits), strict=True)
    for axes, title, values in zip(figure.subplots(1, 2), titles, measured, strict=True):
        every_value = np.concatenate(values)
        if not len(every_value):
            continue
        bins = np.geomspace(every_value.min() * 0.98, every_value.max() * 1.02, 31)
        for split, of_split in zip(splits, values, strict=True):
            weights = np.full(len(of_split), 100 / max(len(of_split), 1))
            options = {"histtype": "step", "linewidth": 1.5, "label": _label(split.name)}
            axes.hist(of_split, bins, weights=weights, **options)
        axes.set(xscale="log", title=title, ylabel="% of the objects")
        _plain_ticks(axes.xaxis)
    if len(splits) > 1:
        figure.axes[0].legend()


def _plot_default_boxes(figure: Figure, report: DefaultBoxReport) -> None:
    figure.set_size_inches(8, 8.6)
    axes = figure.subplots()
    objects, names = report.objects[0], report.splits[0].data.class_names
    shapes = (objects.boxes[:, 2:] - objects.boxes[:, :2]) * np.array(report.grid.image_size)
    colors = class_colors(len(names)) / 255
    drawn = np.random.default_rng(0).permutation(len(shapes))[:MAX_POINTS]
    axes.scatter(*shapes[drawn, ::-1].T, s=6, color=colors[objects.labels[drawn]], alpha=0.35)
    series = [(report.grid, {"marker": "x", "color": "0.35", "label": "default boxes"})]
    if report.is_fitted:
        series[0][1]["label"] = "before"
        circles = {"marker": "o", "facecolors": "none", "edgecolors": "black", "label": "fitted"}
        series.append((report.fitted, circles))
    for grid, style in series:
        cell_shapes = np.concatenate(grid.cell_shapes()) * np.array(grid.image_size)
        axes.scatter(*cell_shapes[:, ::-1].T, s=45, **style)
    for label in np.unique(objects.labels)[:MAX_LEGEND_CLASSES]:
        axes.scatter([], [], s=20, color=colors[label], label=_label(names[label]))
    axes.set(
        title=f"{_label(report.splits[0].name)}: objects and shapes of default boxes",
        xlabel="width in pixels of the model's input",
        ylabel="height",
        xscale="log",
        yscale="log",
    )
    _plain_ticks(axes.xaxis)
    _plain_ticks(axes.yaxis)
    axes.grid(visible=True, which="both")
    figure.legend(fontsize=8, loc="outside lower center", ncols=7)


def _plot_recall(figure: Figure, report: DefaultBoxReport) -> None:
    figure.set_size_inches(11, 4.8)
    left, right = figure.subplots(1, 2)
    series = [("before", report.before, "--")]
    if report.is_fitted:
        series.append(("fitted", report.after, "-"))
    for number, (split, objects) in enumerate(zip(report.splits, report.objects, strict=True)):
        sides = objects.sides(report.grid.image_size)
        bins = np.digitize(np.log2(sides), np.arange(-2, 12, 0.5))
        full_bins = [b for b in np.unique(bins) if np.sum(bins == b) >= MIN_OBJECTS_PER_BIN]
        for name, ious, line in series:
            reachable = ious[number].claimed >= report.threshold
            style = {
                "linestyle": line,
                "color": f"C{number}",
                "label": f"{_label(split.name)}, {name}",
            }
            x = [np.median(sides[bins == b]) for b in full_bins]
            left.plot(x, [reachable[bins == b].mean() for b in full_bins], marker=".", **style)
            thresholds = np.linspace(0, 1, 101)
            shares = [ious[number].matched_share(threshold) for threshold in thresholds]
            right.plot(thresholds, shares, **style)
    left.set(
        title=f"reachable recall at IoU {report.threshold:g}, by size",
        xlabel="side in pixels of the model's input",
        xscale="log",
    )
    _plain_ticks(left.xaxis)
    right.axvline(report.threshold, color="0.5", linewidth=0.8)
    right.set(title="share of objects with at least this best IoU", xlabel="IoU")
    for axes in (left, right):
        axes.set_ylim(-0.02, 1.02)
        axes.legend(fontsize=8)


def _label(name: str) -> str:
    """Returns the label of a name, shortened in the middle where it would leave no room."""
    half = MAX_LABEL // 2
    label = name if len(name) <= MAX_LABEL else f"{name[:half]}…{name[-half:]}"
    return f" {label}" if label.startswith("_") else label  # else Matplotlib's legends leave it out


def _plain_ticks(axis: Any) -> None:
    """Labels a logarithmic axis with numbers such as 20 and 500 instead of powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _unmatched_images(report: DefaultBoxReport) -> Iterable[CaptionedImage]:
    """Yields the images with the most objects that no default box matches, those objects drawn."""
    data = report.splits[0].data
    rows_of: dict[int, list[int]] = {}
    for index, row, _ in report.unmatched():
        rows_of.setdefault(index, []).append(row)
    for index, rows in sorted(rows_of.items(), key=lambda item: -len(item[1]))[:MAX_IMAGES]:
        example = data.examples[index]
        caption = f"{len(rows)} of {len(example.labels)} unmatched: {example.image_id}"
        yield _drawn(example, rows, data.class_names), caption


def _repeated_images(splits: Sequence[Split]) -> Iterable[CaptionedImage]:
    found = (
        (example, pairs, split.data.class_names)
        for split in splits
        for example in split.data.examples
        if (pairs := repeated_boxes(example))
    )
    for example, pairs, class_names in islice(found, MAX_IMAGES):
        rows = sorted({*pairs, *pairs.values()})
        caption = f"{len(pairs)} annotated twice: {example.image_id}"
        yield _drawn(example, rows, class_names), caption


def _duplicate_images(report: DataReport) -> Iterable[CaptionedImage]:
    """Yields two images of each group side by side; the sheet's four columns hold two groups."""
    for group in report.duplicates[: MAX_IMAGES // 2]:
        relation = "same as next" if group.is_exact else "like next"
        if len(group.members) > 2:
            relation += f" and {len(group.members) - 2} more"
        for (s, i), words in zip(group.members[:2], (relation, ""), strict=True):
            split = report.splits[s]
            example = split.data.examples[i]
            image = _drawn(example, range(len(example.labels)), split.data.class_names)
            yield image, f"{split.name} {example.image_id} {words}"


def _drawn(example: Example, rows: Iterable[int], class_names: Sequence[str]) -> np.ndarray:
    """Returns the image with some of its boxes; grey where it cannot be decoded."""
    try:
        image = decode_image(example.read(), example.orientation).numpy()
    except (tf.errors.OpError, OSError):
        image = np.full((example.height, example.width, 3), 128, np.uint8)
    chosen = list(rows)
    boxes, labels = example.relative_boxes()[chosen], example.labels[chosen]
    return draw_boxes(image, boxes, labels, class_names=class_names)
